"""A namespace with a quota on CPU and memory limits: no pod of a component is forbidden."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelRegistry
from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, kubectl, objects, platform_facts
from tests.cluster.training.registry import TINY, platform_image

pytestmark = [pytest.mark.clusters]

LIMITS = {"cpu_limit": "1"}


@pytest.fixture
def stack(namespace: str, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "stack", namespace=namespace)
    yield stack
    stack.destroy(succeed=None)


def test_a_registry_and_its_back_up_come_up_under_a_quota_on_limits(stack: Stack, namespace: str) -> None:
    hard = "limits.cpu=8,limits.memory=8Gi,requests.cpu=4,requests.memory=8Gi"
    kubectl("create", "quota", "limits", "--namespace", namespace, f"--hard={hard}")

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        args: Any = {
            "namespace": namespace,
            "image": platform_image(platform_facts(), "mlflow"),
            "resources": {**TINY, **LIMITS},
            "backup": {"storage_size": "1Gi"},
            "helper_resources": LIMITS,
            "node_selector": {"kubernetes.io/os": "linux"},
            "topology_spread": [{"topology_key": "kubernetes.io/hostname"}],
            "pod_labels": {"example.com/team": "ml"},
            "environment": {"TEAM": "ml"},
        }
        made = ModelRegistry("registry", args, pulumi.ResourceOptions(provider=provider))
        return {"tracking_uri": made.tracking_uri}

    stack.up(build)
    kubectl("create", "job", "backup-now", "--namespace", namespace, "--from=cronjob/registry-backup")
    eventually(lambda: objects("jobs", namespace)[0]["status"].get("succeeded") == 1)
    assert {pod["metadata"]["labels"]["example.com/team"] for pod in objects("pods", namespace)} == {"ml"}
    stack.unchanged(build)
