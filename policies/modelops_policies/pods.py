"""The pods in a resource, wherever its kind keeps them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelops_policies.values import UNKNOWN, at

FIELDS = ("initContainers", "containers", "ephemeralContainers")
"""Where a pod's spec has containers."""
_TEMPLATES = {
    "Pod": (),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"), ("spec", "template")
    ),
}
"""Kubernetes' own kinds, and where each has its pod's template."""
_MERGED = {
    "ServingRuntime",
    "ClusterServingRuntime",
    "Prometheus",
    "PrometheusAgent",
    "Alertmanager",
    "ThanosRuler",
}
"""Custom resources whose controllers complete the pods that they describe."""
_CONTAINER_SETTINGS = (
    "command",
    "args",
    "env",
    "resources",
    "resourcesPerNode",
    "securityContext",
    "modelFormat",
    "numNodes",
    "storageUri",
)
"""What stands beside the image of a container that isn't in a list of containers."""
_CONTEXTS = ("securityContext", "podSecurityContext", "containerSecurityContext")
_HOST = ("hostNetwork", "hostPID", "hostIPC")


@dataclass(frozen=True)
class Pod:
    """A pod's template, or a part of one."""

    spec: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = True
    """False for what is merged into a pod from elsewhere, such as a patch: what it leaves out may be set there."""

    def containers(self, *fields: str) -> Iterator[Mapping[str, Any]]:
        """Its containers, of all fields or of those named."""
        for each in fields or FIELDS:
            yield from _mappings(self.spec.get(each))


def pods_of(kind: str, inputs: Mapping[str, Any]) -> Iterator[Pod]:
    """All pods that an object of this Kubernetes kind describes."""
    own = kind.removesuffix("Patch")
    template = at(inputs, *_TEMPLATES[own]) if own in _TEMPLATES else None
    if template == UNKNOWN:
        return
    if isinstance(template, Mapping) and isinstance(spec := template.get("spec"), Mapping):
        yield Pod(spec, _mapping(template.get("metadata")), whole=kind == own)
    elif kind == "Release":
        yield from _found(inputs.get("manifest"), {}, whole=True)
        yield from _in_values(inputs.get("values"))
    else:
        yield from _found(inputs, {}, whole=kind not in _MERGED)


def _found(value: Any, metadata: Mapping[str, Any], *, whole: bool) -> Iterator[Pod]:
    """Every pod in a value: whatever has containers is one, in any custom resource."""
    if isinstance(value, Mapping):
        if any(value.get(each) == UNKNOWN or _are_containers(value.get(each)) for each in FIELDS):
            complete = whole and any("image" in container for container in _mappings(value.get("containers")))
            yield Pod(value, metadata, complete)
        elif _is_container(value):
            resources = value.get("resources", value.get("resourcesPerNode"))
            container = {"name": "the pod's container", **value, "resources": resources}
            yield Pod({"containers": [container]}, metadata, whole=False)
        else:
            for child in value.values():
                yield from _found(child, _mapping(value.get("metadata")), whole=whole)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for child in value:
            yield from _found(child, {}, whole=whole)


def _are_containers(value: Any) -> bool:
    return bool(_mappings(value)) and all("name" in each or "image" in each for each in _mappings(value))


def _is_container(value: Mapping[str, Any]) -> bool:
    """Whether it describes a single container without a list around it, as a TrainJob's `trainer` does."""
    if any("name" in variable for variable in _mappings(value.get("env"))):
        return True
    return _is_image(value.get("image")) and any(setting in value for setting in _CONTAINER_SETTINGS)


def _is_image(value: Any) -> bool:
    return isinstance(value, str) and "://" not in value


def _in_values(value: Any, name: str = "values") -> Iterator[Pod]:
    """What a Helm chart's values say of its pods. How the chart uses them is up to its templates."""
    if isinstance(value, Mapping):
        spec: dict[str, Any] = {host: True for host in _HOST if value.get(host) is True}
        container: dict[str, Any] = {"name": name}
        for key, child in value.items():
            if key.endswith(_CONTEXTS) or key[:1].lower() + key[1:] in _CONTEXTS:
                container["securityContext"] = spec["securityContext"] = child
            elif key.lower().endswith("volumes"):
                spec["volumes"] = child
            elif key.lower().endswith(("containers", "sidecars")) and _are_containers(child):
                yield Pod({"containers": child}, whole=False)
        if image := _values_image(value.get("image")):
            container["image"] = image
        if len(container) > 1 or spec:
            yield Pod({**spec, "containers": [container]}, whole=False)
        for key, child in value.items():
            yield from _in_values(child, f"{name}.{key}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _in_values(child, f"{name}.{index}")


def _values_image(value: Any) -> str | None:
    """An image as charts write it: whole, or in parts."""
    if _is_image(value):
        return str(value)
    parts = _mapping(value)
    words = [parts.get(key) for key in ("registry", "repository", "tag", "digest")]
    if not parts.get("repository") or UNKNOWN in words:
        return None
    registry, repository, tag, digest = (str(word or "") for word in words)
    image = f"{registry}/{repository}".strip("/") + (f":{tag}" if tag else "")
    return f"{image}@{digest}" if digest else image


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
