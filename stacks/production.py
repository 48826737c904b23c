"""The rules of a production stack."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stacks import cluster

_FLOATING = re.compile(
    r"^(?!.*@sha256:)(?:[^/]*/)*[^:/]+(?::(?:latest|stable|main|master|edge|nightly|dev|lts|v?\d+))?$"
)
"""An image without a digest whose tag is missing or meant to move."""
_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET|CREDENTIAL|API_?KEY|PRIVATE_?KEY", re.IGNORECASE)
_PASSWORD_IN_URI = re.compile(r"://[^/@:]+:[^/@]+@")


def value_at(raw: Any, *path: str) -> Any:
    """The value under nested keys; None if one of them is missing."""
    for key in path:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw


def unmet(raw: Mapping[str, Any]) -> Iterator[str]:
    """Problems of a production stack that lacks protection, accounts, backups, receivers or replicas."""
    # An operated Alertmanager has receivers of its own.
    if not isinstance(value_at(raw, "monitoring", "attach", "prometheus_operator"), Mapping):
        if not raw.get("alertmanager_config"):
            yield "modelops:alertmanager_config is missing, it is required in production: alerts must go somewhere"
        if value_at(raw, "monitoring", "web", "tls") is not True:
            yield (
                "modelops:monitoring.web.tls is not true, must be true in production: Prometheus and Alertmanager must "
                "use TLS"
            )
    if value_at(raw, "registry", "protect") is not True:
        yield "modelops:registry.protect is not true, must be true in production: the registry holds every model"
    if not raw.get("registry_admin_password"):
        yield "modelops:registry_admin_password is missing, it is required in production: anyone could write models"
    if not isinstance(value_at(raw, "registry", "database"), Mapping):
        yield (
            "modelops:registry.database is missing, it is required in production ({} deploys a PostgreSQL server): "
            "SQLite allows one writer and has no backups"
        )
    if not isinstance(value_at(raw, "registry", "backup"), Mapping):
        yield "modelops:registry.backup is missing, it is required in production"
    if value_at(raw, "service", "replicas") == 1:
        yield "modelops:service.replicas is 1, must be at least 2 in production"


def unsafe(raw: Mapping[str, Any], context: str | None) -> Iterator[str]:
    """Problems of a production stack with its cluster, gate, autoscaling, images, alerts and secrets."""
    if context is None:
        yield "kubernetes:context is missing, it is required in production: no release may reach a cluster by accident"
    elif cluster.is_local(context, ""):
        yield f"kubernetes:context is {context!r}, must not be a local cluster in production"
    if not value_at(raw, "model", "gate"):
        yield (
            "modelops:model.gate is missing, it is required in production: without one, any model is released; "
            'set one such as {"mse": {"max": 0.1}}'
        )
    if (low := value_at(raw, "service", "autoscaling", "min_replicas")) in (0, 1):
        yield f"modelops:service.autoscaling.min_replicas is {low}, must be at least 2 in production"
    if value_at(raw, "monitoring", "alertmanager", "enabled") in (False, "false"):
        yield "modelops:monitoring.alertmanager.enabled is false, must be true in production: alerts must go somewhere"
    yield from _plain_text_secrets(raw)
    for path, image in _images(raw):
        if _FLOATING.match(image):
            yield f"modelops:{path} is {image!r}, must have a digest or a tag that does not move in production"


def _plain_text_secrets(raw: Mapping[str, Any]) -> Iterator[str]:
    """Settings that would put a secret into the state and the pods as plain text. The value is never shown."""
    for area in ("data", "model"):
        variables = value_at(raw, area, "environment")
        for name in sorted(variables) if isinstance(variables, Mapping) else ():
            if _SECRET_NAME.search(name):
                yield (
                    f"modelops:{area}.environment.{name} looks like a secret, must come from a Secret in the namespace"
                )
    for path in (("model", "data_uri"), ("registry", "artifacts", "uri"), ("model", "checkpoints", "uri")):
        value = value_at(raw, *path)
        if isinstance(value, str) and _PASSWORD_IN_URI.search(value):
            yield f"modelops:{'.'.join(path)} contains a password, must not: put it in a Secret"


def _images(raw: Mapping[str, Any], *path: str) -> Iterator[tuple[str, str]]:
    """Every image in the settings, with its path."""
    for key, value in sorted(raw.items()):
        if isinstance(value, Mapping):
            yield from _images(value, *path, key)
        elif key in ("image", "base_image", "runtime_image") and isinstance(value, str):
            yield ".".join((*path, key)), value
