"""The pipeline's image, one namespace with a volume that has raw data, and a pod that mounts the volume."""

import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.data.pipelines import Pipelines
from tests.cluster.provider.harness import Stack
from tests.cluster.support import apply, kubectl, platform_facts
from tests.cluster.training.images import TrainingImages


@pytest.fixture(scope="package")
def prepare_image(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of the target `prepare`, by digest."""
    facts = platform_facts()
    return TrainingImages(tmp_path_factory.mktemp("image"), facts).target("prepare")


@pytest.fixture(scope="package")
def pipelines(
    platform_env: dict[str, str], test_image: str, prepare_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipelines]:
    """Runs pipelines in a namespace with raw data."""
    namespace = f"data-{uuid.uuid4().hex[:8]}"
    folder = tmp_path_factory.mktemp("data")
    made: list[Stack] = []

    def new_stack() -> Stack:
        made.append(Stack(folder / f"stack{len(made)}", namespace=namespace))
        return made[-1]

    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    found = Pipelines(namespace, prepare_image, new_stack)
    try:
        apply(found.claim(), found.volume_pod(test_image), found.salt_secret())
        kubectl("wait", "--namespace", namespace, "--for=condition=Ready", "pod/volume", "--timeout=180s")
        found.write_raw_data()
        yield found
    finally:
        for stack in reversed(made):
            stack.destroy(succeed=None)
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)
