"""The example of fine-tuning in docs/how-to/training-examples.md as it is, without GPUs: two pods of two processes.

The base model and the texts are made by a pod, on the volumes that the example names.
"""

import json
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

import modelops
from tests.cluster.llm.images import size_of
from tests.cluster.provider.harness import Stack
from tests.cluster.support import REPOSITORY, exposure, get_json, kubectl, platform_facts
from tests.cluster.training.images import TrainingImages
from tests.cluster.training.registry import TINY, platform_image

pytestmark = [pytest.mark.llm, pytest.mark.long]

PAGE = (REPOSITORY / "docs" / "how-to" / "training-examples.md").read_text()
(SNIPPET,) = re.findall(r"^## Fine-tuning a language model\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
SMALL = {"cpu": "20m", "memory": "400Mi", "memory_limit": "4Gi"}
ONE_NODE = {"storage_size": "1Gi", "access_modes": ["ReadWriteOnce"]}
PREPARE = """
import sys
from pathlib import Path
sys.path[:0] = ["/app", "/made"]
from language_models import chats, make, write_lines
from modelops_runtime.artifacts.language_model import digest
make(Path("/weights/tiny"), dropout=0.0)
write_lines(Path("/texts/chats.jsonl"), chats(60))
print(digest(Path("/weights/tiny")))
"""


@pytest.fixture(scope="module")
def image(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return TrainingImages(tmp_path_factory.mktemp("images"), platform_facts()).target("finetune")


@pytest.fixture(scope="module")
def stack(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    namespace = f"llm-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    made = Stack(tmp_path_factory.mktemp("llm") / "stack", namespace=namespace)
    yield made
    made.destroy(succeed=None)
    kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def digest(stack: Stack, image: str) -> str:
    """That of the base on the claim `weights`; the texts are on the claim `texts`."""
    namespace = str(stack.namespace)
    source = {"language_models.py": (REPOSITORY / "tests" / "language_models.py").read_text()}
    claims = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        for name in ("weights", "texts")
    ]
    mounted = ("weights", "texts", "made", "tmp")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "prepare", "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "prepare",
                    "image": image,
                    "command": ["python", "-c", PREPARE],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in mounted],
                }
            ],
            "volumes": [
                *({"name": name, "persistentVolumeClaim": {"claimName": name}} for name in ("weights", "texts")),
                {"name": "made", "configMap": {"name": "made"}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }
    script = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made", "namespace": namespace}}
    objects = {"apiVersion": "v1", "kind": "List", "items": [*claims, {**script, "data": source}, pod]}
    subprocess.run(["kubectl", "apply", "--filename", "-"], input=json.dumps(objects), text=True, check=True)
    done = "--for=jsonpath={.status.phase}=Succeeded"
    kubectl("wait", "--namespace", namespace, done, "pod/prepare", "--timeout=600s")
    printed = kubectl("logs", "--namespace", namespace, "prepare")
    return printed.split()[-1]


def test_the_size_of_the_image_that_fine_tunes(image: str, figure: Callable[[str], None]) -> None:
    """Without the CUDA libraries, which an image for GPUs has."""
    size = size_of(image)
    figure(f"image that fine-tunes on processors: {size / 1e9:.2f} GB to pull")
    assert size < 4e9


def test_two_pods_of_two_processes_fine_tune_a_model_that_is_published(stack: Stack, image: str, digest: str) -> None:
    facts = platform_facts()

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
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
            """With what this cluster has in place of GPUs and a storage class for several nodes."""
            changed = {
                "namespace": str(stack.namespace),
                "resources": SMALL,
                "base_model": {**args["base_model"], "digest": digest},
                "checkpoints": {**ONE_NODE, "interval_steps": 10},
                "environment": {},
                "parameters": {**args["parameters"], "max_length": 128},
                "shared_memory": "256Mi",
                "timeout_seconds": 1800,
                "gate": {"perplexity": {"max": 280}},
            }
            return modelops.TrainingJob(name, {**args, **changed}, there)  # type: ignore[typeddict-item]

        names: dict[str, Any] = {
            "pulumi": SimpleNamespace(export=lambda *_: None),
            "ModelImage": lambda *_: SimpleNamespace(ref=image),
            "TrainingJob": training,
            "registry": registry,
        }
        exec(SNIPPET, names)
        made = names["training"]
        return {"url": registry.url, "metrics": made.metrics, "model_version": made.model_version}

    stack.up(program)
    stack.unchanged(program)
    said = stack.outputs()
    query = f"name=assistant&alias={said['model_version']}"
    version = get_json(f"{said['url']}/api/2.0/mlflow/registered-models/alias?{query}")["model_version"]
    history = metric_history(said["url"], version["run_id"], "loss")
    assert len(history) >= 9 and history[-1] < history[0], json.dumps(history)
    assert said["metrics"]["perplexity"] < 280
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert (tags["modelops.language_model"], tags["modelops.base"]) == ("adapter", "pvc://weights/tiny")
    assert tags["modelops.base_digest"] == digest


def metric_history(url: str, run: str, metric: str) -> list[float]:
    found = get_json(f"{url}/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key={metric}")["metrics"]
    return [each["value"] for each in sorted(found, key=lambda each: int(each["step"]))]
