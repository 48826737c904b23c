"""What the machine's platform offers (the file that MODELOPS_PLATFORM names), and what that means for the settings."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelops import UPSTREAM_IMAGES

VARIABLE = "MODELOPS_PLATFORM"
_REQUIRED = {"mlflow": "registry.image", "mlflow_full": "registry.image", "postgres": "registry.database.image"}
"""Part that can't be turned off → the setting with its image."""
_WITH = {
    "prometheus": ("grafana",),
    "elasticsearch": ("elk",),
}
"""Part → the parts that make no sense without it."""

OPERATED = ("prometheus", "alertmanager", "node_exporter", "kube_state_metrics")
"""Parts that are not there where the cluster's prometheus-operator does their work."""


@dataclass(frozen=True)
class Platform:
    """Facts about the platform. Without a file there are none, and the settings stand as they are."""

    registry: str | None = None
    builder: str | None = None
    base_image: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    """Upstream image → the one that stands in for it here."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Upstream image → why the cluster can't pull it."""
    load_balancer: bool = True
    """Whether Services of type LoadBalancer get an address."""
    node_host: str | None = None
    """Name or address at which node ports answer, where that isn't `localhost`."""


def read_platform(environment: Mapping[str, str] | None = None) -> Platform:
    """The platform that the environment names. Raises ValueError when its file can't be read."""
    path = (os.environ if environment is None else environment).get(VARIABLE)
    if not path:
        return Platform()
    try:
        facts = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{VARIABLE} is {path!r}, must be a readable JSON file: {error}") from error
    return Platform(
        registry=facts.get("registry"),
        builder=facts.get("builder"),
        base_image=facts.get("base_image"),
        images=facts.get("images") or {},
        unavailable=facts.get("unavailable") or {},
        load_balancer=facts.get("load_balancer") is not False,
        node_host=facts.get("node_host"),
    )


def fill_in(raw: dict[str, Any], platform: Platform) -> None:
    """Takes the platform's facts where the stack's config says nothing."""
    # Where a release is promoted, no image is built.
    images = raw.get("images") if "promote" in raw else raw.setdefault("images", {})
    if not isinstance(images, dict):
        return
    facts = {"registry": platform.registry, "builder_name": platform.builder, "base_image": platform.base_image}
    for key, value in facts.items():
        if value is not None and not (key == "builder_name" and images.get("builder") == "docker"):
            images.setdefault(key, value)


def parts(raw: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of each program that runs an upstream image, by program; made where they are not there."""
    monitoring = _section(raw, "monitoring")
    elk = _section(monitoring, "elk")
    registry = _section(raw, "registry")
    database = registry.get("database")
    found = {
        "mlflow": registry,
        "mlflow_full": registry,
        "postgres": database if isinstance(database, dict) else {},
        "elk": elk,
    }
    for name in ("prometheus", "alertmanager", "node_exporter", "kube_state_metrics", "grafana"):
        found[name] = _section(monitoring, name)
    for name in ("elasticsearch", "logstash", "kibana", "filebeat"):
        found[name] = _section(elk, name)
    attach = monitoring.get("attach")
    if isinstance(attach, dict) and "prometheus_operator" in attach:
        found |= {name: {"enabled": False} for name in OPERATED}
    return found


def wanted_images(raw: Mapping[str, Any]) -> dict[str, str]:
    """Program → image, for each program that these settings would run."""
    found = parts(raw)
    on = [name for name in UPSTREAM_IMAGES if _enabled(name, found)]
    # Which of MLflow's two images it is depends on what the registry is asked for.
    full = bool(raw.get("registry_admin_password")) or bool({"database", "artifacts"} & found["mlflow"].keys())
    on.remove("mlflow" if full else "mlflow_full")
    return {name: str(found[name].get("image") or UPSTREAM_IMAGES[name]) for name in on}


def substitute(raw: dict[str, Any], platform: Platform) -> tuple[list[str], list[str]]:
    """Puts substitutes in, and turns off what the cluster can't pull: (warnings, problems)."""
    warnings: list[str] = []
    problems: list[str] = []
    found = parts(raw)
    for name, image in wanted_images(raw).items():
        if image in platform.images:
            found[name]["image"] = platform.images[image]
        elif image in platform.unavailable and _enabled(name, found):
            reason = f"{image} can't be pulled ({platform.unavailable[image]})"
            if name in _REQUIRED:
                setting = f"modelops:{_REQUIRED[name]}"
                problems.append(f"{setting} is {image!r}, must be an image that can be had: {reason}")
            else:
                _turn_off(name, reason, found, warnings)
    return warnings, problems


def without_load_balancer(raw: dict[str, Any], platform: Platform) -> list[str]:
    """Makes LoadBalancer Services reachable at node ports where nothing would give them an address: warnings."""
    warnings: list[str] = []
    for name in ("service", "registry", "monitoring") if not platform.load_balancer else ():
        section = _section(raw, name)
        if section.get("expose") == "LoadBalancer":
            section["expose"] = "NodePort"
            if platform.node_host:
                section.setdefault("host", platform.node_host)
            warnings.append(f"{name} is exposed at node ports for this run: this cluster has no load balancer")
    return warnings


def _turn_off(name: str, reason: str, found: Mapping[str, dict[str, Any]], warnings: list[str]) -> None:
    # Elasticsearch has no switch of its own: the whole `elk` goes.
    if name != "elasticsearch":
        found[name]["enabled"] = False
        warnings.append(f"{name} is off for this run: {reason}")
    for dependent in _WITH.get(name, ()):
        if _enabled(dependent, found):
            _turn_off(dependent, reason, found, warnings)


def _enabled(name: str, found: Mapping[str, Mapping[str, Any]]) -> bool:
    if name in ("mlflow", "mlflow_full"):
        return True
    if name == "postgres":
        # Also where the database is somebody else's: back-ups are made by its programs.
        return "database" in found["mlflow"]
    if name in ("elasticsearch", "logstash", "kibana", "filebeat") and not found["elk"].get("enabled", False):
        return False
    return bool(found[name].get("enabled", name not in ("grafana", "elk")))


def _section(raw: Any, key: str) -> dict[str, Any]:
    section = raw.setdefault(key, {}) if isinstance(raw, dict) else {}
    return section if isinstance(section, dict) else {}
