"""docs/how-to/training-examples.md, done as it says: trained, published, and reported to the stack's outputs."""

import json
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
from tests.cluster.training.plain_trainings import program_text
from tests.cluster.training.registry import TINY, Program, platform_image

pytestmark = [pytest.mark.training, pytest.mark.long]

PAGE = (REPOSITORY / "docs" / "how-to" / "training-examples.md").read_text()
SNIPPETS = dict(re.findall(r"^## (\w+).*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
SMALL = {"cpu": "20m", "memory": "400Mi", "memory_limit": "3Gi"}
TINY_MODEL = f"{program_text('tiny_language_model')}\nimport sys\nos.execvp(sys.argv[1], sys.argv[1:])"


@pytest.fixture(scope="module")
def stack(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    namespace = f"examples-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    made = Stack(tmp_path_factory.mktemp("examples") / "stack", namespace=namespace)
    yield made
    made.destroy(succeed=None)
    kubectl("delete", "namespace", namespace, "--wait=false")


def changed(args: dict[str, Any]) -> dict[str, Any]:
    """What this cluster has in place of GPUs, a filled cache and a storage class for several nodes."""
    args["resources"] = SMALL
    if "model_cache" not in args:
        return args
    one_node = {"storage_size": "1Gi", "access_modes": ["ReadWriteOnce"]}
    args |= {"model_cache": one_node, "checkpoints": {**one_node, "interval_steps": 10}, "environment": {}}
    # Once a pod, before torchrun starts the processes: the base model that a team would have put into the cache.
    command = ["python", "-c", TINY_MODEL, *args["command"]]
    return {**args, "shared_memory": "256Mi", "timeout_seconds": 1800, "command": command}


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
                args = changed({**args, "namespace": str(stack.namespace)})
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


@pytest.mark.parametrize("example", ["TensorFlow", "PyTorch", "MXNet", "Fine"])
def test_an_example_is_trained_published_and_reported(
    stack: Stack, program: Callable[[str], Program], example: str
) -> None:
    made = program(SNIPPETS[example])
    stack.up(made)
    stack.unchanged(made)
    said = stack.outputs()
    name = "assistant" if example == "Fine" else "clouds"
    query = f"name={name}&alias={said['model_version']}"
    version = get_json(f"{said['url']}/api/2.0/mlflow/registered-models/alias?{query}")["model_version"]
    run = get_json(f"{said['url']}/api/2.0/mlflow/runs/get?run_id={version['run_id']}")["run"]
    logged = {each["key"]: each["value"] for each in run["data"]["metrics"]}
    assert {name: logged[name] for name in said["metrics"]} == pytest.approx(said["metrics"])
    assert version["run_id"] in said["run_url"]
    if example == "Fine":
        history = metric_history(said["url"], version["run_id"], "loss")
        # A little: the tiny model's texts are mostly chance, and its base weights are frozen.
        assert len(history) == 3 and history[-1] < 0.95 * history[0], json.dumps(history)
        assert said["metrics"]["perplexity"] < 20
    else:
        assert said["metrics"]["accuracy"] >= 0.9


def metric_history(url: str, run: str, metric: str) -> list[float]:
    found = get_json(f"{url}/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key={metric}")["metrics"]
    return [each["value"] for each in sorted(found, key=lambda each: int(each["step"]))]
