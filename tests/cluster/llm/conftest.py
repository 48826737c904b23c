"""One namespace with an engine's image and its models for all tests of engines; the stacks in it are the tests' own.

The data of language models is prepared as any other, and examples are run as teams run them.
"""

import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.data.conftest import pipelines, prepare_image
from tests.cluster.examples import installed
from tests.cluster.llm.images import built
from tests.cluster.llm.support import Place
from tests.cluster.support import kubectl, platform_facts

__all__ = ["installed", "pipelines", "prepare_image"]


@pytest.fixture(scope="package")
def place(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, namespace = tmp_path_factory.mktemp("llm"), f"llm-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    images, found = built(folder, platform_facts(), namespace)
    try:
        made = Place(namespace, folder, **found)
        made.keys(team="first")
        yield made
    finally:
        images.destroy(succeed=None)
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)
