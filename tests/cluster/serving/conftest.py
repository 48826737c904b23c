"""One namespace, image and registry for all the serving tests of a session; the stacks on them are the tests' own."""

import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.serving.support import Serving, base_program
from tests.cluster.support import kubectl, platform_facts


@pytest.fixture(scope="package")
def serving(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A registry and an image to serve with. Versions are published as tests ask for them."""
    folder = tmp_path_factory.mktemp("serving")
    namespace = f"serving-{uuid.uuid4().hex[:8]}"
    made: list[Stack] = []

    def new_stack() -> Stack:
        made.append(Stack(folder / f"stack{len(made)}", namespace=namespace))
        return made[-1]

    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    try:
        base = new_stack()
        base.up(base_program(namespace, platform_facts()))
        yield Serving(namespace=namespace, new_stack=new_stack, **base.outputs())
    finally:
        for stack in reversed(made):
            stack.destroy(succeed=None)
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)
