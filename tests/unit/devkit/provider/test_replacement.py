"""Which changes need a new object."""

import pytest

from devkit.pulumi_plugins.kubernetes_provider.cluster.settings import Settings
from devkit.pulumi_plugins.kubernetes_provider.operations.replacement import Path, immutable_fields, replaces


def _replaces(kind: tuple[str, str], path: Path, value: object = "x", **fields: object) -> bool:
    obj = {"apiVersion": kind[0], "kind": kind[1], **fields}
    return replaces(path, value, immutable_fields(obj, Settings()))


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (("v1", "ServiceAccount"), ("metadata", "name")),
        (("v1", "ServiceAccount"), ("metadata", "namespace")),
        (("apps/v1", "Deployment"), ("spec", "selector", "matchLabels", "app")),
        (("batch/v1", "Job"), ("spec", "template", "spec", "containers", 0, "image")),
        (("batch/v1", "Job"), ("spec", "parallelism")),
        (("v1", "Pod"), ("spec", "containers", 0, "env", 2, "value")),
        (("v1", "Pod"), ("spec", "initContainers", 1, "image")),
        (("v1", "PersistentVolumeClaim"), ("spec", "storageClassName")),
        (("v1", "ConfigMap"), ("data", "key")),
        (("v1", "Secret"), ("stringData", "key")),
        (("v1", "Service"), ("spec", "clusterIP")),
        (("rbac.authorization.k8s.io/v1", "RoleBinding"), ("roleRef", "name")),
        (("storage.k8s.io/v1", "StorageClass"), ("parameters", "type")),
    ],
)
def test_immutable_fields_replace(kind: tuple[str, str], path: Path) -> None:
    assert _replaces(kind, path)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (("v1", "ConfigMap"), ("metadata", "labels", "a")),
        (("apps/v1", "Deployment"), ("spec", "template", "spec", "containers", 0, "image")),
        (("batch/v1", "Job"), ("spec", "backoffLimit")),
        (("batch/v1", "Job"), ("spec", "completionMode")),
        (("batch/v1", "CronJob"), ("spec", "jobTemplate", "spec", "template")),
        (("v1", "PersistentVolumeClaim"), ("spec", "resources", "requests", "storage")),
        (("v1", "Service"), ("spec", "ports", 0, "port")),
        (("policy/v1", "PodDisruptionBudget"), ("spec", "minAvailable")),
    ],
)
def test_other_fields_update(kind: tuple[str, str], path: Path) -> None:
    assert not _replaces(kind, path)


def test_a_new_parent_with_an_immutable_field_inside_replaces() -> None:
    assert _replaces(("apps/v1", "StatefulSet"), ("spec",), {"serviceName": "x"})
    assert not _replaces(("apps/v1", "StatefulSet"), ("spec",), {"replicas": 1})


def test_data_is_mutable_when_the_provider_says_so_and_the_object_does_not_forbid_it() -> None:
    loose = Settings(config_map_mutable=True, secret_mutable=True)
    for kind in ("ConfigMap", "Secret"):
        obj = {"apiVersion": "v1", "kind": kind}
        assert not replaces(("data", "a"), "x", immutable_fields(obj, loose))
        assert replaces(("data", "a"), "x", immutable_fields({**obj, "immutable": True}, loose))
    assert replaces(("type",), "x", immutable_fields({"apiVersion": "v1", "kind": "Secret"}, loose))
