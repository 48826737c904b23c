"""Metadata of objects, and the annotations that steer the provider."""

import json
from collections.abc import Mapping
from typing import Any

PREFIX = "pulumi.com/"
AUTONAMED = PREFIX + "autonamed"
SKIP_AWAIT = PREFIX + "skipAwait"
WAIT_FOR = PREFIX + "waitFor"
TIMEOUT_SECONDS = PREFIX + "timeoutSeconds"
REPLACE_UNREADY = PREFIX + "replaceUnready"
PATCH_FORCE = PREFIX + "patchForce"
FIELD_MANAGER = PREFIX + "patchFieldManager"
DELETION_PROPAGATION = PREFIX + "deletionPropagationPolicy"

# Kinds for which skipAwait also skips the wait for deletion.
_SKIPS_DELETION_TOO = {
    "Namespace",
    "Pod",
    "ReplicationController",
    "DaemonSet",
    "Deployment",
    "StatefulSet",
    "Job",
}


def metadata(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object's metadata; empty when it is absent or unknown."""
    meta = obj.get("metadata")
    return meta if isinstance(meta, Mapping) else {}


def text(value: Any) -> str:
    """`value` when it is a known string, else an empty one."""
    return value if isinstance(value, str) else ""


def name(obj: Mapping[str, Any]) -> str:
    """The object's name; empty when it has none or it is unknown."""
    return text(metadata(obj).get("name"))


def namespace(obj: Mapping[str, Any]) -> str:
    """The object's namespace; empty when it has none or it is unknown."""
    return text(metadata(obj).get("namespace"))


def full_name(obj: Mapping[str, Any]) -> str:
    """`namespace/name`, or the name alone."""
    return f"{namespace(obj)}/{name(obj)}" if namespace(obj) else name(obj)


def parse_id(resource_id: str) -> tuple[str, str]:
    """The namespace (may be empty) and name in a resource's id."""
    parts = resource_id.split("/")
    return ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def annotation(obj: Mapping[str, Any], key: str) -> str:
    """The annotation's value; empty when absent or unknown."""
    annotations = metadata(obj).get("annotations")
    return text(annotations.get(key)) if isinstance(annotations, Mapping) else ""


def is_true(obj: Mapping[str, Any], key: str) -> bool:
    """Whether the annotation is "true"."""
    return annotation(obj, key) == "true"


def set_annotation(obj: dict[str, Any], key: str, value: str) -> None:
    """Set an annotation, unless the metadata or the annotations are unknown."""
    meta = obj.setdefault("metadata", {})
    if not isinstance(meta, dict):
        return
    annotations = meta.setdefault("annotations", {})
    if isinstance(annotations, dict):
        annotations[key] = value


def timeout_seconds(obj: Mapping[str, Any], custom: float, default: float) -> float:
    """How long to wait: the resource option's timeout, else the annotation's, else `default`."""
    if custom:
        return custom
    try:
        return float(int(annotation(obj, TIMEOUT_SECONDS)))
    except ValueError:
        return default


def propagation_policy(obj: Mapping[str, Any]) -> str:
    """How dependents are deleted: Foreground unless the annotation says Background or Orphan."""
    policy = annotation(obj, DELETION_PROPAGATION).lower()
    return {"orphan": "Orphan", "background": "Background"}.get(policy, "Foreground")


def skips_deletion_wait(obj: Mapping[str, Any]) -> bool:
    """Whether to skip the wait for the object's deletion."""
    return is_true(obj, SKIP_AWAIT) and obj.get("kind") in _SKIPS_DELETION_TOO


def wait_expressions(obj: Mapping[str, Any]) -> list[str]:
    """The expressions of the waitFor annotation: one, or a JSON list of them."""
    value = annotation(obj, WAIT_FOR)
    if not value:
        return []
    try:
        listed = json.loads(value)
    except ValueError:
        return [value]
    return [str(item) for item in listed] if isinstance(listed, list) else [value]
