"""Fields that can't be changed in place: a change means a new object."""

from collections.abc import Sequence
from typing import Any

from ..cluster.settings import Settings
from ..objects import kinds

Path = tuple[str | int, ...]

_CONTAINER_FIELDS = (
    "args command env image imagePullPolicy lifecycle livenessProbe ports readinessProbe resources securityContext "
    "stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir"
).split()

_POD_FIELDS = (
    "affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases hostIPC hostNetwork "
    "hostPID hostname imagePullSecrets nodeName nodeSelector overhead preemptionPolicy priority priorityClassName "
    "readinessGates restartPolicy runtimeClassName schedulerName securityContext serviceAccount serviceAccountName "
    "shareProcessNamespace subdomain terminationGracePeriodSeconds volumes"
).split()

_VOLUME_SOURCES = (
    "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker gcePersistentDisk glusterfs "
    "hostPath iscsi local nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos vsphereVolume"
).split()


def _spec(*fields: str) -> list[str]:
    return [f"spec.{field}" for field in fields]


_BY_KIND: dict[tuple[str, str], list[str]] = {
    ("apps", "Deployment"): _spec("selector"),
    ("apps", "DaemonSet"): _spec("selector"),
    ("apps", "StatefulSet"): _spec(
        "podManagementPolicy", "revisionHistoryLimit", "selector", "serviceName", "volumeClaimTemplates"
    ),
    ("batch", "Job"): _spec("completions", "parallelism", "selector", "template"),
    ("", "PersistentVolume"): _spec(*_VOLUME_SOURCES),
    ("", "PersistentVolumeClaim"): _spec("accessModes", "selector", "storageClassName", "volumeName"),
    ("", "Pod"): [
        *_spec(*_POD_FIELDS),
        *[f"spec.{which}.*.{field}" for which in ("containers", "initContainers") for field in _CONTAINER_FIELDS],
    ],
    ("", "ResourceQuota"): _spec("scopes"),
    ("", "Secret"): ["type"],
    ("", "Service"): _spec("clusterIP"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ["roleRef"],
    ("rbac.authorization.k8s.io", "RoleBinding"): ["roleRef"],
    ("storage.k8s.io", "StorageClass"): ["parameters", "provisioner"],
}

_IDENTITY = ["metadata.name", "metadata.namespace"]


def immutable_fields(obj: dict[str, Any], settings: Settings) -> list[str]:
    """The fields of `obj`'s kind whose change replaces it; `*` stands for an item of a list."""
    gvk = kinds.of_object(obj)
    fields = list(_IDENTITY)
    fixed = obj.get("immutable") is True
    if (gvk.group, gvk.kind) == ("", "Secret") and (fixed or not settings.secret_mutable):
        return [*fields, "type", "stringData", "data"]
    if (gvk.group, gvk.kind) == ("", "ConfigMap") and (fixed or not settings.config_map_mutable):
        return [*fields, "binaryData", "data"]
    return fields + _BY_KIND.get((gvk.group, gvk.kind), [])


def replaces(path: Path, value: Any, fields: Sequence[str]) -> bool:
    """Whether a change of `value` at `path` touches one of `fields`: it is inside one, or contains one."""
    return any(_touches(path, value, field.split(".")) for field in fields)


def _touches(path: Path, value: Any, field: list[str]) -> bool:
    for step, part in zip(path, field, strict=False):
        if not (part == "*" if isinstance(step, int) else part == step):
            return False
    return len(path) >= len(field) or _has(value, field[len(path) :])


def _has(value: Any, field: list[str]) -> bool:
    if not field:
        return True
    if field[0] == "*":
        return isinstance(value, list) and any(_has(item, field[1:]) for item in value)
    return isinstance(value, dict) and field[0] in value and _has(value[field[0]], field[1:])
