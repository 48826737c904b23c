"""Namespaces with a quota on limits and with limit ranges: no pod of a component is forbidden, or the words say why."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelRegistry, MonitoringStack, TrainingJob
from tests.cluster.provider.harness import Stack
from tests.cluster.support import apply, eventually, kubectl, objects, platform_facts
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


RANGES = [
    {
        "type": "Container",
        "default": {"cpu": "1", "memory": "512Mi"},
        "defaultRequest": {"cpu": "50m", "memory": "64Mi"},
        "min": {"cpu": "5m", "memory": "16Mi"},
        "max": {"cpu": "2", "memory": "2Gi"},
    },
    {"type": "Pod", "max": {"cpu": "6", "memory": "8Gi"}},
    {"type": "PersistentVolumeClaim", "min": {"storage": "100Mi"}, "max": {"storage": "5Gi"}},
]


@pytest.fixture
def limited(namespace: str) -> str:
    """A namespace with limit ranges: defaults, bounds of containers, of pods and of volumes."""
    metadata = {"name": "team", "namespace": namespace}
    apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": RANGES}})
    return namespace


def test_a_stack_comes_up_under_limit_ranges(stack: Stack, limited: str) -> None:
    facts = platform_facts()

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        opts = pulumi.ResourceOptions(provider=provider)
        registry: Any = {
            "namespace": limited,
            "image": platform_image(facts, "mlflow_full"),
            "resources": TINY,
            "storage_size": "1Gi",
            "database": {"image": platform_image(facts, "postgres"), "storage_size": "1Gi"},
            "auth": {"admin_password": pulumi.Output.secret("planted-admin-password")},
            "backup": {"storage_size": "1Gi"},
        }
        monitoring: Any = {
            "namespace": limited,
            "watched_namespaces": [limited],
            "prometheus": {"image": platform_image(facts, "prometheus"), "storage_size": "1Gi"},
            "alertmanager": {"image": platform_image(facts, "alertmanager")},
            "kube_state_metrics": {"image": platform_image(facts, "kube_state_metrics")},
            # It reads the node's files, which the restricted standard of this namespace forbids.
            "node_exporter": {"enabled": False},
        }
        made = ModelRegistry("registry", registry, opts)
        MonitoringStack("watch", monitoring, opts)
        return {"tracking_uri": made.tracking_uri}

    stack.up(build)
    kubectl("create", "job", "backup-now", "--namespace", limited, "--from=cronjob/registry-backup")
    eventually(lambda: objects("jobs", limited)[0]["status"].get("succeeded") == 1)
    # The limit range's default CPU limit is in every container, as none has one of its own.
    pods = [pod for pod in objects("pods", limited) if pod["metadata"]["name"].startswith("registry-")]
    containers = [container for pod in pods for container in pod["spec"]["containers"]]
    assert {container["resources"]["limits"]["cpu"] for container in containers} == {"1"}
    stack.unchanged(build)


def test_what_a_limit_range_forbids_is_told_in_its_words(stack: Stack, limited: str) -> None:
    image = platform_image(platform_facts(), "mlflow")

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        args: Any = {
            "namespace": limited,
            "image": image,
            "framework": "other",
            "model_name": "large",
            "tracking_uri": "http://registry:5000",
            "runtime_image": image,
            "resources": {"memory": "3Gi"},
        }
        made = TrainingJob("large", args, pulumi.ResourceOptions(provider=provider))
        return {"run_id": made.run_id}

    refused = stack.up(build, succeed=False)
    assert "maximum memory usage per Container is 2Gi, but limit is 3Gi" in refused.text
