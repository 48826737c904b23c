"""Training images; one namespace and a registry of a few lines for all the trainings without a framework."""

import json
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.support import kubectl, platform_facts
from tests.cluster.training.images import TrainingImages
from tests.cluster.training.plain_trainings import PlainTrainings, registry_objects


@pytest.fixture(scope="package")
def trainings(
    platform_env: dict[str, str], test_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PlainTrainings]:
    """Runs trainings without a framework, in a namespace with a small registry."""
    folder = tmp_path_factory.mktemp("trainings")
    namespace = f"training-{uuid.uuid4().hex[:8]}"
    made: list[Stack] = []

    def new_stack() -> Stack:
        made.append(Stack(folder / f"stack{len(made)}", namespace=namespace))
        return made[-1]

    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    try:
        objects = json.dumps(registry_objects(namespace, test_image))
        subprocess.run(["kubectl", "apply", "--filename", "-"], input=objects, text=True, check=True)
        kubectl("wait", "--namespace", namespace, "--for=condition=Ready", "pod/registry", "--timeout=180s")
        yield PlainTrainings(namespace, test_image, new_stack)
    finally:
        for stack in reversed(made):
            stack.destroy(succeed=None)
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)


@pytest.fixture(scope="session")
def training_images(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> TrainingImages:
    """`training_images["pytorch"]` and the like."""
    facts = platform_facts()
    return TrainingImages(tmp_path_factory.mktemp("images"), facts)
