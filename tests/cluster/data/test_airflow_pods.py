"""The API server accepts the pods that AirflowPipeline's DAG would create, with GPUs, other devices and CPU limits."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import AirflowPipeline
from tests.airflow import dag_module
from tests.cluster.provider.harness import Stack
from tests.cluster.support import kubectl

pytestmark = pytest.mark.data

IMAGE = f"registry.example.com/team/model@sha256:{'a' * 64}"
DEVICES = {"gpus": 2, "cpu": "1", "cpu_limit": "2", "devices": {"rdma/hca_shared_devices_a": 1}}
SLICE = {"gpus": 1, "gpu_resource": "nvidia.com/mig-1g.10gb", "cpu_limit": "3"}
WHERE = {
    "node_selector": {"gpu": "h100"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}


@pytest.fixture
def stack(namespace: str, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "stack", namespace=namespace)
    yield stack
    stack.destroy(succeed=None)


def dry_run(namespace: str, document: dict[str, Any]) -> dict[str, Any]:
    """What the API server would store; it admits and checks the object, and stores nothing."""
    command = ["kubectl", "create", "--namespace", namespace, "--dry-run=server", "--output=json", "--filename=-"]
    done = subprocess.run(command, input=json.dumps(document), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Pods of a Job that break the namespace's restricted standard are only warned of.
    assert "Warning" not in done.stderr, done.stderr
    return dict(json.loads(done.stdout))


def test_pods_of_the_dag_with_gpus_and_cpu_limits_are_accepted(
    stack: Stack, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        args: Any = {
            "namespace": namespace,
            "claim": "raw",
            "data": {
                "image": IMAGE,
                "sources": [{"uri": "/data/raw/*.csv"}],
                "steps": [{"split": {}}],
                "target": "y",
                "resources": SLICE,
            },
            "training": {
                "image": IMAGE,
                "framework": "pytorch",
                "model_name": "customers",
                "tracking_uri": "http://registry:5000",
                "gate": {"mse": {"max": 1.2}},
                "resources": DEVICES,
            },
            "helper_resources": {"cpu_limit": "500m"},
            **WHERE,
            "existing": {"service_account": "default", "namespace": namespace},
        }
        made = AirflowPipeline("nightly", args, pulumi.ResourceOptions(provider=provider))
        return {"dag_files": made.dag_files}

    stack.up(build)
    name = stack.outputs()["dag_files"]
    files = json.loads(kubectl("get", "configmap", name, "--namespace", namespace, "--output", "json"))["data"]
    dag = dag_module(tmp_path, files, monkeypatch)
    pods = {}
    for step in ("prepare", "train", "evaluate", "register"):
        job = dag.job_of(step, dag.run_variables("v1"))
        job["metadata"]["name"] = f"nightly-{step}"
        dry_run(namespace, job)
        template = job["spec"]["template"]
        metadata = {**template["metadata"], "name": f"nightly-{step}"}
        pods[step] = dry_run(namespace, {"apiVersion": "v1", "kind": "Pod", **template, "metadata": metadata})
    limits = {step: pod["spec"]["containers"][0]["resources"]["limits"] for step, pod in pods.items()}
    own = {step: {key: value for key, value in found.items() if key != "memory"} for step, found in limits.items()}
    assert own == {
        "prepare": {"cpu": "3", "nvidia.com/mig-1g.10gb": "1"},
        "train": {"cpu": "2", "nvidia.com/gpu": "2", "rdma/hca_shared_devices_a": "1"},
        "evaluate": {"cpu": "500m"},
        "register": {"cpu": "500m"},
    }
    # The API server itself sets the requests of devices.
    assert pods["train"]["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"] == "2"
    for pod in pods.values():
        assert pod["spec"]["nodeSelector"] == WHERE["node_selector"]
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["spec"]["tolerations"]
