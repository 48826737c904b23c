"""Engines go to GPUs: the API server takes all that says so, and keeps it. `make verify-gpu` shows that they run there.

A pod of the very template is created with `--dry-run=server`, which all admission sees.
"""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.llm.support import Place
from tests.cluster.provider.harness import Stack
from tests.cluster.support import apply, remove

pytestmark = [pytest.mark.llm, pytest.mark.long]

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What Pulumi writes in a preview for a value that it doesn't know yet."""
PLACED: dict[str, Any] = {
    "node_selector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h100"]}]}]
            }
        }
    },
}


@pytest.fixture(scope="module")
def classes(platform_env: dict[str, str]) -> Iterator[dict[str, str]]:
    """A priority class and a runtime class that are there: admission looks them up."""
    name = f"gpus-{uuid.uuid4().hex[:8]}"
    made: list[dict[str, Any]] = [
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000},
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": "runc"},
    ]
    apply(*made)
    yield {"priority_class": name, "runtime_class": name}
    remove(*made)


def pod_template(place: Place, folder: Path, **args: Any) -> dict[str, Any]:
    """The Deployment's, as a preview plans it."""
    stack = Stack(folder / "stack", namespace=place.namespace)
    stack.preview(place.program("placed", **args))
    events = [json.loads(line) for line in (folder / "stack" / "events.json").read_text().splitlines()]
    states = [event["resourcePreEvent"]["metadata"]["new"] for event in events if "resourcePreEvent" in event]
    [planned] = [state["inputs"] for state in states if state["type"] == "kubernetes:apps/v1:Deployment"]
    return dict(planned["spec"]["template"])


def accepted(place: Place, template: dict[str, Any]) -> dict[str, Any]:
    """The specification of a pod as the API server would keep it."""
    spec = {**template["spec"], "serviceAccountName": "default"}
    metadata = {**template["metadata"], "name": "placed", "namespace": place.namespace}
    pod = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    assert UNKNOWN not in pod
    command = ["kubectl", "create", "--dry-run=server", "--validate=strict", "--output=json", "--filename=-"]
    done = subprocess.run(command, input=pod, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["spec"])


def serve(spec: dict[str, Any]) -> dict[str, Any]:
    """The resources of the engine's container."""
    return next(dict(each["resources"]) for each in spec["containers"] if each["name"] == "serve")


def test_an_engine_with_gpus_that_are_counted(place: Place, classes: dict[str, str], tmp_path: Path) -> None:
    gpus = {"resources": {"cpu": "4", "memory": "16Gi", "gpus": 2}}
    spec = accepted(place, pod_template(place, tmp_path, **PLACED, **classes, **gpus))
    assert (spec["nodeSelector"], spec["affinity"]) == (PLACED["node_selector"], PLACED["affinity"])
    assert PLACED["tolerations"][0] in spec["tolerations"]
    assert (spec["priority"], spec["runtimeClassName"]) == (1000, classes["runtime_class"])
    assert serve(spec)["limits"]["nvidia.com/gpu"] == "2"


def test_an_engine_with_gpus_by_claims(place: Place, classes: dict[str, str], tmp_path: Path) -> None:
    spec = accepted(place, pod_template(place, tmp_path, **PLACED, resource_claims={"gpus": "four-gpus"}, resources={}))
    assert spec["resourceClaims"] == [{"name": "gpus", "resourceClaimTemplateName": "four-gpus"}]
    assert serve(spec)["claims"] == [{"name": "gpus"}]
    assert "nvidia.com/gpu" not in serve(spec)["limits"]
