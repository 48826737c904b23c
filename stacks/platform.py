"""The local platform's facts (the file that MODELOPS_PLATFORM names), and how they change the settings."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelops import UPSTREAM_IMAGES

VARIABLE = "MODELOPS_PLATFORM"
_REQUIRED = {
    "python": "service.runtime_image",
    "mlflow": "registry.image",
    "mlflow_full": "registry.image",
    "postgres": "registry.database.image",
}
"""Part that can't be turned off → the setting with its image."""
_DEPENDENTS = {"prometheus": ("grafana",), "elasticsearch": ("elk",)}
"""Part → the parts that are useless without it."""

OPERATED = ("prometheus", "alertmanager", "node_exporter", "kube_state_metrics")
"""Parts that the cluster's prometheus-operator replaces."""


@dataclass(frozen=True)
class Platform:
    """Facts about the platform. The defaults change no setting."""

    registry: str | None = None
    builder: str | None = None
    base_image: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    """Upstream image → its local substitute."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Upstream image → why the cluster can't pull it."""
    load_balancer: bool = True
    """Whether Services of type LoadBalancer get an address."""
    node_host: str | None = None
    """Host at which node ports answer. Default: `localhost`."""
    kubeconfig: str | None = None
    """The kubeconfig of a cluster that the platform has made on this machine, whatever address it has."""


def read_platform(environment: Mapping[str, str] | None = None) -> Platform:
    """The platform that the environment names. Raises ValueError if its file can't be read."""
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
        kubeconfig=facts.get("kubeconfig"),
    )


def fill_in(raw: dict[str, Any], platform: Platform) -> None:
    """Fills in the platform's facts where the stack's config has no value."""
    # A promotion builds no image.
    images = raw.get("images") if "promote" in raw else raw.setdefault("images", {})
    if not isinstance(images, dict):
        return
    facts = {"registry": platform.registry, "builder_name": platform.builder, "base_image": platform.base_image}
    for key, value in facts.items():
        if value is not None and not (key == "builder_name" and images.get("builder") == "docker"):
            images.setdefault(key, value)


def parts(raw: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of each program that runs an upstream image, by program; missing sections are added to `raw`."""
    monitoring = _section(raw, "monitoring")
    elk = _section(monitoring, "elk")
    registry = _section(raw, "registry")
    database = registry.get("database")
    settings = {
        # Where a substitute is used, the cluster finds it under the upstream image's name.
        "python": _own_image("service", raw),
        "mlflow": _own_image("model", raw) if _needs_full_image(raw) else registry,
        "mlflow_full": registry,
        "postgres": database if isinstance(database, dict) else {},
        "elk": elk,
    }
    for name in (*OPERATED, "grafana"):
        settings[name] = _section(monitoring, name)
    for name in ("elasticsearch", "logstash", "kibana", "filebeat"):
        settings[name] = _section(elk, name)
    attach = monitoring.get("attach")
    if isinstance(attach, dict) and "prometheus_operator" in attach:
        settings |= {name: {"enabled": False} for name in OPERATED}
    return settings


def required_images(raw: Mapping[str, Any]) -> dict[str, str]:
    """Program → image, for each program that these settings would run."""
    settings = parts(raw)
    enabled = [name for name in UPSTREAM_IMAGES if _enabled(name, settings)]
    if not _needs_full_image(raw):
        enabled.remove("mlflow_full")
    elif "promote" in raw:
        enabled.remove("mlflow")  # nothing is trained and published
    return {name: str(settings[name].get("image") or UPSTREAM_IMAGES[name]) for name in enabled}


def substitute(raw: dict[str, Any], platform: Platform) -> tuple[list[str], list[str]]:
    """Sets the platform's substitutes and turns off what the cluster can't pull. Returns (warnings, problems)."""
    warnings: list[str] = []
    problems: list[str] = []
    settings = parts(raw)
    for name, image in required_images(raw).items():
        if image in platform.images:
            settings[name]["image"] = platform.images[image]
        elif image in platform.unavailable and _enabled(name, settings):
            reason = f"{image} can't be pulled ({platform.unavailable[image]})"
            if name in _REQUIRED:
                publishes = name == "mlflow" and _needs_full_image(raw)
                setting = f"modelops:{'model.runtime_image' if publishes else _REQUIRED[name]}"
                problems.append(f"{setting} is {image!r}, must be an image that the cluster can pull: {reason}")
            else:
                _turn_off(name, reason, settings, warnings)
    return warnings, problems


def without_load_balancer(raw: dict[str, Any], platform: Platform) -> list[str]:
    """Exposes LoadBalancer Services at node ports if nothing would assign them an address. Returns warnings."""
    warnings: list[str] = []
    for name in ("service", "registry", "monitoring") if not platform.load_balancer else ():
        section = _section(raw, name)
        if section.get("expose") == "LoadBalancer":
            section["expose"] = "NodePort"
            if platform.node_host:
                section.setdefault("host", platform.node_host)
            warnings.append(f"{name} is exposed at node ports for this run: this cluster has no load balancer")
    return warnings


def _turn_off(name: str, reason: str, settings: Mapping[str, dict[str, Any]], warnings: list[str]) -> None:
    # Elasticsearch has no switch of its own: all of `elk` is turned off.
    if name != "elasticsearch":
        settings[name]["enabled"] = False
        warnings.append(f"{name} is off for this run: {reason}")
    for dependent in _DEPENDENTS.get(name, ()):
        if _enabled(dependent, settings):
            _turn_off(dependent, reason, settings, warnings)


def _enabled(name: str, settings: Mapping[str, Mapping[str, Any]]) -> bool:
    if name in ("python", "mlflow", "mlflow_full"):
        return True
    if name == "postgres":
        # Even with an existing database server: backups need PostgreSQL's programs.
        return "database" in settings["mlflow_full"]
    if name in ("elasticsearch", "logstash", "kibana", "filebeat") and not settings["elk"].get("enabled", False):
        return False
    return bool(settings[name].get("enabled", name not in ("grafana", "elk")))


def _needs_full_image(raw: Mapping[str, Any]) -> bool:
    """Whether the registry's features need the larger of MLflow's images. What publishes needs the smaller one."""
    return bool(raw.get("registry_admin_password")) or bool(
        {"database", "artifacts"} & _section(raw, "registry").keys()
    )


def _own_image(section: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    return {"image": _section(raw, section).get("runtime_image")}


def _section(raw: Any, key: str) -> dict[str, Any]:
    section = raw.setdefault(key, {}) if isinstance(raw, dict) else {}
    return section if isinstance(section, dict) else {}
