"""docs/how-to/training-examples.md, done as it says: trained, published, and reported to the stack's outputs.

Its last example, fine-tuning, is in tests/cluster/llm.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

import modelops
from tests.cluster.provider.harness import Stack
from tests.cluster.support import REPOSITORY, exposure, get_json, kubectl, platform_facts
from tests.cluster.training.images import TrainingImages
from tests.cluster.training.registry import TINY, Program, platform_image

pytestmark = [pytest.mark.training, pytest.mark.long]

PAGE = (REPOSITORY / "docs" / "how-to" / "training-examples.md").read_text()
SNIPPETS = dict(re.findall(r"^## (\w+).*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
SMALL = {"cpu": "20m", "memory": "400Mi", "memory_limit": "3Gi"}


@pytest.fixture(scope="module")
def stack(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    namespace = f"examples-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    made = Stack(tmp_path_factory.mktemp("examples") / "stack", namespace=namespace)
    yield made
    made.destroy(succeed=None)
    kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def program(stack: Stack, training_images: TrainingImages) -> Callable[[str], Program]:
    """Makes a program of a snippet: with a registry, in the test namespace."""
    facts = platform_facts()

    def make(snippet: str) -> Program:
        target = re.search(r'"target": "(.*?)"', snippet)
        assert target
        image = training_images.target(target[1])

        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            there = pulumi.ResourceOptions(provider=provider)
            registry = modelops.ModelRegistry(
                "registry",
                {
                    "namespace": str(stack.namespace),
                    "image": platform_image(facts, "mlflow"),
                    "storage_size": "1Gi",
                    "resources": TINY,  # type: ignore[typeddict-item]
                    "expose": exposure(),  # type: ignore[typeddict-item]
                },
                there,
            )

            def training(name: str, args: dict[str, Any]) -> modelops.TrainingJob:
                args = {**args, "namespace": str(stack.namespace), "resources": SMALL}
                return modelops.TrainingJob(name, args, there)  # type: ignore[arg-type]

            names: dict[str, Any] = {
                "pulumi": SimpleNamespace(export=lambda *_: None),
                "ModelImage": lambda *_: SimpleNamespace(ref=image),
                "TrainingJob": training,
                "registry": registry,
            }
            exec(snippet, names)
            made = names["training"]
            outputs = ("metrics", "model_version", "run_url", "run_id")
            return {"url": registry.url, **{name: getattr(made, name) for name in outputs}}

        return build

    return make


@pytest.mark.parametrize("example", ["TensorFlow", "PyTorch", "MXNet"])
def test_an_example_is_trained_published_and_reported(
    stack: Stack, program: Callable[[str], Program], example: str
) -> None:
    made = program(SNIPPETS[example])
    stack.up(made)
    stack.unchanged(made)
    said = stack.outputs()
    query = f"name=clouds&alias={said['model_version']}"
    version = get_json(f"{said['url']}/api/2.0/mlflow/registered-models/alias?{query}")["model_version"]
    run = get_json(f"{said['url']}/api/2.0/mlflow/runs/get?run_id={version['run_id']}")["run"]
    logged = {each["key"]: each["value"] for each in run["data"]["metrics"]}
    assert {name: logged[name] for name in said["metrics"]} == pytest.approx(said["metrics"])
    assert version["run_id"] in said["run_url"]
    assert said["metrics"]["accuracy"] >= 0.9
