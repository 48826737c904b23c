"""Which kinds are Kubernetes' own."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from devkit.pulumi_plugins.kubernetes_provider.objects import kinds


def _groups_of_the_sdk() -> set[str]:
    """The groups that Pulumi's Kubernetes SDK has classes for."""
    spec = find_spec("pulumi_kubernetes")
    assert spec is not None and spec.origin is not None
    overlays = {"helm", "kustomize", "yaml", "meta"}
    folders = {path.parent.parent.name for path in Path(spec.origin).parent.glob("*/v*/__init__.py")}
    return folders - overlays


def test_the_groups_of_the_sdk_are_built_in() -> None:
    groups = _groups_of_the_sdk()
    assert {"core", "apps", "rbac", "networking"} < groups
    known = {group.split(".")[0] for group in kinds._BUILT_IN_GROUPS}
    assert groups - {"core"} <= known


@pytest.mark.parametrize(
    "token",
    [
        "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute",
        "kubernetes:jobset.x-k8s.io/v1alpha2:JobSet",
        "kubernetes:metrics.k8s.io/v1beta1:PodMetrics",
    ],
)
def test_custom_resources_of_the_projects_of_kubernetes_are_custom_resources(token: str) -> None:
    assert not kinds.of_type(token).built_in


def test_a_cluster_scoped_custom_resource_is_asked_for_at_the_server() -> None:
    assert kinds.of_type("kubernetes:gateway.networking.k8s.io/v1:GatewayClass").known_scope is None
    assert kinds.of_type("kubernetes:storage.k8s.io/v1:StorageClass").known_scope is False
