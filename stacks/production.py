"""What a production stack refuses, each with its rule and what to do."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stacks import cluster

_FLOATING = re.compile(
    r"^(?!.*@sha256:)(?:[^/]*/)*[^:/]+(?::(?:latest|stable|main|master|edge|nightly|dev|lts|v?\d+))?$"
)
"""An image without a digest that has no tag, or one that is made to move."""
_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET|CREDENTIAL|API_?KEY|PRIVATE_?KEY", re.IGNORECASE)
_PASSWORD_IN_URI = re.compile(r"://[^/@:]+:[^/@]+@")


def unsafe(raw: Mapping[str, Any], context: str | None) -> Iterator[str]:
    """Problems of a production stack with its cluster, gate, replicas, images, alerts and secrets."""
    if context is None:
        yield "kubernetes:context is missing, it is required in production: a release goes to no cluster by accident"
    elif cluster.is_local(context, ""):
        yield f"kubernetes:context is {context!r}, must not be a local cluster in production"
    if not _at(raw, "model", "gate"):
        yield (
            "modelops:model.gate is missing, it is required in production: without one any model is released; "
            'set it as {"mse": {"max": 0.1}}'
        )
    if _at(raw, "service", "autoscaling", "min_replicas") in (0, 1):
        low = _at(raw, "service", "autoscaling", "min_replicas")
        yield f"modelops:service.autoscaling.min_replicas is {low}, must be at least 2 in production"
    if _at(raw, "monitoring", "alertmanager", "enabled") in (False, "false"):
        yield "modelops:monitoring.alertmanager.enabled is false, must be true in production: alerts must go somewhere"
    yield from _secrets_in_clear(raw)
    for path, image in _images(raw):
        if _FLOATING.match(image):
            yield f"modelops:{path} is {image!r}, must have a digest or a tag that does not move in production"


def _secrets_in_clear(raw: Mapping[str, Any]) -> Iterator[str]:
    """Settings that would put a secret into the state and the pods in clear. The value is never shown."""
    variables = _at(raw, "model", "environment")
    for name in sorted(variables) if isinstance(variables, Mapping) else ():
        if _SECRET_NAME.search(name):
            yield (
                f"modelops:model.environment.{name} looks like a secret in clear, must come from a Secret in the "
                "namespace instead"
            )
    for path in (("model", "data_uri"), ("registry", "artifacts", "uri"), ("model", "checkpoints", "uri")):
        value = _at(raw, *path)
        if isinstance(value, str) and _PASSWORD_IN_URI.search(value):
            yield f"modelops:{'.'.join(path)} has a password in it, must be without: give it in a Secret"


def _at(raw: Any, *path: str) -> Any:
    for key in path:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw


def _images(raw: Mapping[str, Any], *path: str) -> Iterator[tuple[str, str]]:
    """Every image that the settings name, and where."""
    for key, value in sorted(raw.items()):
        if isinstance(value, Mapping):
            yield from _images(value, *path, key)
        elif key in ("image", "base_image") and isinstance(value, str):
            yield ".".join((*path, key)), value
