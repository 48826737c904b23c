"""A stack's settings: its config and the platform's facts as one frozen, typed object, or one error with every problem.

Components never see any of this: stacks/arguments.py turns settings into their arguments.
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import pulumi
from pydantic import BaseModel, SecretStr, ValidationError

from stacks import cluster, production
from stacks.models import Settings
from stacks.platform import Platform, fill_in, read_platform, substitute, without_load_balancer

NAMESPACE = "modelops"
PROMOTED = ("gate",)
"""What a stack still says of a model that it takes from another environment."""
SECRETS = tuple(
    name
    for name, field in Settings.model_fields.items()
    if SecretStr in (field.annotation, *get_args(field.annotation))
)
"""Settings that must be stored encrypted."""


class SettingsError(pulumi.RunError):
    """Wrong settings, all of them in one message. Raised before anything is created."""


@dataclass(frozen=True)
class Loaded:
    """Settings, and what the program should say about them."""

    settings: Settings
    context: str | None
    """Context of the kubeconfig to use; None means its current one, which is local then."""
    warnings: tuple[str, ...]


def load() -> Loaded:
    """Settings of the running stack. Raises SettingsError."""
    values = _config_values()
    namespace = f"{NAMESPACE}:"
    own = {key.removeprefix(namespace): value for key, value in values.items() if key.startswith(namespace)}
    return read(
        pulumi.get_stack(),
        own,
        context=values.get("kubernetes:context"),
        is_secret=lambda key: pulumi.runtime.is_config_secret(namespace + key),
    )


def read(
    stack: str,
    values: Mapping[str, Any],
    *,
    context: str | None,
    is_secret: Callable[[str], bool] = lambda _: True,
    platform: Platform | None = None,
) -> Loaded:
    """Settings from config values by key (objects as JSON text or as they are). Raises SettingsError."""
    problems: list[str] = []
    # A secret stays the text that it is, such as a receivers' configuration that somebody wrote as JSON.
    raw = {key: value if key in SECRETS else _parsed(value) for key, value in copy.deepcopy(dict(values)).items()}
    raw.setdefault("namespace", f"{NAMESPACE}-{stack}")
    try:
        platform = read_platform() if platform is None else platform
    except ValueError as error:
        problems.append(str(error))
        platform = Platform()
    fill_in(raw, platform)
    warnings, unavailable = substitute(raw, platform)
    warnings += without_load_balancer(raw, platform)
    problems += unavailable
    settings = None
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        problems += [_problem(detail) for detail in error.errors(include_url=False)]
    problems += _cross_checks(raw, values)
    if raw.get("production") in (True, "true"):
        problems += production.unsafe(raw, context)
    problems += [
        f"{NAMESPACE}:{key} is not encrypted, must be set with `pulumi config set --secret {NAMESPACE}:{key}`"
        for key in SECRETS
        if key in values and not is_secret(key)
    ]
    if context is None and (problem := cluster.problem_with_current_context()):
        problems.append(problem)
    if problems or settings is None:
        lines = "".join(f"\n  - {problem}" for problem in problems)
        raise SettingsError(f"wrong settings of the stack {stack!r}, nothing was changed:{lines}")
    return Loaded(settings, context, tuple(warnings))


def _config_values() -> dict[str, Any]:
    """Every value of the stack's config: as the engine handed it over, or as a test set it."""
    return {**pulumi.runtime.config.get_config_env(), **pulumi.runtime.config.CONFIG.get()}


def _parsed(value: Any) -> Any:
    """Objects and lists come as JSON text, everything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _problem(detail: Any) -> str:
    key = f"{NAMESPACE}:{'.'.join(str(part) for part in detail['loc'])}"
    kind, context = detail["type"], detail.get("ctx") or {}
    if kind == "missing":
        hint = " (or a platform that has a registry)" if key.endswith("images.registry") else ""
        return f"{key} is missing, it is required{hint}"
    shown = "not shown" if detail["loc"][0] in SECRETS else repr(detail["input"])
    if kind == "extra_forbidden":
        known = ", ".join(sorted(_fields_at(detail["loc"][:-1])))
        return f"{key} is {shown}, must not be given; known are {known}"
    rules = {
        "greater_than_equal": "must be at least {ge}",
        "less_than_equal": "must be at most {le}",
        "literal_error": "must be one of {expected}",
        "string_pattern_mismatch": "must match {pattern}",
        "too_short": "must have at least {min_length} characters",
        "string_too_long": "must have at most {max_length} characters",
    }
    rule = rules[kind].format(**context) if kind in rules else detail["msg"].replace("Input should be", "must be")
    return f"{key} is {shown}, {rule}"


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """The fields that are known at a place in the settings."""
    model: type[BaseModel] = Settings
    for part in location:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        candidates = [annotation, *get_args(annotation)]
        models = [found for found in candidates if isinstance(found, type) and issubclass(found, BaseModel)]
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)


def _cross_checks(raw: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Rules between settings. They look at the raw values, so that they hold even where something else is wrong."""
    return [
        *_source_checks(raw),
        *_service_checks(raw),
        *_gate_checks(raw),
        *_monitoring_checks(raw),
        *_production_checks(raw, given),
    ]


def _source_checks(raw: Mapping[str, Any]) -> list[str]:
    """A release is made here or taken from elsewhere: what belongs to the one has no meaning for the other."""
    promote, model = raw.get("promote"), raw.get("model")
    if not isinstance(promote, Mapping):
        untold = isinstance(model, Mapping) and "framework" not in model
        return ["modelops:model.framework is missing, it is required unless a release is promoted"] if untold else []
    problems = []
    if ("stack" in promote) == ("file" in promote):
        problems.append("modelops:promote must have either stack or file: where the release comes from")
    idle = ["images"] if "images" in raw else []
    idle += [f"model.{key}" for key in (model if isinstance(model, Mapping) else {}) if key not in PROMOTED]
    problems += [f"modelops:{key} is given, must not be with promote: nothing is built or trained" for key in idle]
    return problems


def _at(raw: Any, *path: str) -> Any:
    for key in path:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw


def _service_checks(raw: Mapping[str, Any]) -> list[str]:
    bounds, replicas = _at(raw, "service", "autoscaling"), _at(raw, "service", "replicas")
    if not isinstance(bounds, Mapping):
        return []
    problems = []
    low, high = bounds.get("min_replicas", 0 if "scale_to_zero" in bounds else 2), bounds.get("max_replicas")
    if isinstance(low, int) and isinstance(high, int) and high < low:
        problems.append(f"modelops:service.autoscaling.max_replicas is {high}, must be at least min_replicas ({low})")
    if replicas is not None:
        problems.append(
            f"modelops:service.replicas is {replicas}, must not be given with autoscaling, which decides it"
        )
    return problems


def _gate_checks(raw: Mapping[str, Any]) -> list[str]:
    gate, problems = _at(raw, "model", "gate"), []
    for metric, bounds in gate.items() if isinstance(gate, Mapping) else ():
        if not bounds:
            problems.append(f"modelops:model.gate.{metric} is {bounds!r}, must have min, max, min_delta or max_delta")
        for least, most in (("min", "max"), ("min_delta", "max_delta")):
            low, high = _at(bounds, least), _at(bounds, most)
            if isinstance(low, int | float) and isinstance(high, int | float) and high < low:
                problems.append(f"modelops:model.gate.{metric}.{most} is {high}, must be at least {least} ({low})")
    return problems


def _monitoring_checks(raw: Mapping[str, Any]) -> list[str]:
    problems = []
    if _at(raw, "monitoring", "grafana", "enabled") is True and not raw.get("grafana_admin_password"):
        problems.append("modelops:grafana_admin_password is missing, it is required when monitoring.grafana is on")
    if _at(raw, "monitoring", "grafana", "enabled") is True and _at(raw, "monitoring", "attach") is not None:
        problems.append("modelops:monitoring.grafana.enabled is True, must be false with monitoring.attach")
    if _at(raw, "monitoring", "elk", "elasticsearch", "snapshots") is not None:
        problems += [
            f"modelops:{key} is missing, it is required with monitoring.elk.elasticsearch.snapshots"
            for key in ("snapshot_access_key", "snapshot_secret_key")
            if not raw.get(key)
        ]
    on = {part: _at(raw, "monitoring", part, "enabled") for part in ("prometheus", "grafana")}
    if on["grafana"] is True and on["prometheus"] is False:
        problems.append("modelops:monitoring.grafana.enabled is True, must be false when prometheus is off")
    return problems


def _production_checks(raw: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    if raw.get("production") not in (True, "true"):
        return []
    problems = []
    # A cluster with its own Alertmanager has its receivers there.
    operated = isinstance(_at(raw, "monitoring", "attach", "prometheus_operator"), Mapping)
    if not operated and not given.get("alertmanager_config"):
        problems.append(
            "modelops:alertmanager_config is missing, it is required in production: alerts must go somewhere"
        )
    if not operated and _at(raw, "monitoring", "web", "tls") is not True:
        problems.append(
            "modelops:monitoring.web.tls is not true, must be true in production: Prometheus and Alertmanager speak TLS"
        )
    if _at(raw, "registry", "protect") is not True:
        problems.append(
            "modelops:registry.protect is not true, must be true in production: the registry has every model"
        )
    if not given.get("registry_admin_password"):
        problems.append(
            "modelops:registry_admin_password is missing, it is required in production: nobody else may write models"
        )
    if not isinstance(_at(raw, "registry", "database"), Mapping):
        problems.append(
            "modelops:registry.database is missing, it is required in production ({} runs a PostgreSQL server): SQLite "
            "takes one writer and has no back-up of its own"
        )
    if not isinstance(_at(raw, "registry", "backup"), Mapping):
        problems.append("modelops:registry.backup is missing, it is required in production")
    if _at(raw, "service", "replicas") == 1:
        problems.append("modelops:service.replicas is 1, must be at least 2 in production")
    return problems
