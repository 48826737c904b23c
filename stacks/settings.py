"""A stack's settings: its config and the platform's facts as one frozen, typed object, or one error with every problem.

Components never see them: stacks/arguments.py turns settings into arguments.
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import pulumi
from pydantic import BaseModel, SecretStr, ValidationError

from modelops.core.shown import shortened, shown
from stacks import cluster, production
from stacks.models import Settings
from stacks.platform import Platform, fill_in, read_platform, substitute, without_load_balancer
from stacks.production import value_at

NAMESPACE = "modelops"
PROMOTED = ("gate", "first_version")
"""The settings of a model that still apply when it is promoted from another environment."""
PREPARED = ("data_uri", "data_version", "data_claim", "data_secret")
"""The settings of a model that follow from the data that is prepared for it."""
SECRETS = tuple(
    name
    for name, field in Settings.model_fields.items()
    if SecretStr in (field.annotation, *get_args(field.annotation))
)
"""Settings that must be stored encrypted."""


class SettingsError(pulumi.RunError):
    """Every problem with the settings, in one message. Raised before anything is created."""


@dataclass(frozen=True)
class Loaded:
    """Settings, with the warnings to print about them."""

    settings: Settings
    context: str | None
    """Context of the kubeconfig to use; None means its current one, which is then local."""
    warnings: tuple[str, ...]


def load() -> Loaded:
    """Settings of the running stack. Raises SettingsError."""
    # The config as the engine passed it on, or as a test set it.
    config = {**pulumi.runtime.config.get_config_env(), **pulumi.runtime.config.CONFIG.get()}
    prefix = f"{NAMESPACE}:"
    return read(
        pulumi.get_stack(),
        {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)},
        context=config.get("kubernetes:context"),
        is_secret=lambda key: pulumi.runtime.is_config_secret(prefix + key),
    )


def read(
    stack: str,
    values: Mapping[str, Any],
    *,
    context: str | None,
    is_secret: Callable[[str], bool] = lambda _: True,
    platform: Platform | None = None,
) -> Loaded:
    """Settings from config values by key; objects may be JSON text. Raises SettingsError."""
    problems: list[str] = []
    # Secrets stay text, such as a configuration of receivers that somebody wrote as JSON.
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
    # These rules look at the raw values, so that they hold even if something else is wrong.
    problems += [*_source_checks(raw), *_service_checks(raw), *_gate_checks(raw), *_monitoring_checks(raw)]
    if raw.get("production") in (True, "true"):
        problems += [*production.unmet(raw), *production.unsafe(raw, context)]
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


def _parsed(value: Any) -> Any:
    """The value of a setting, which for objects and lists may be JSON text."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _problem(detail: Any) -> str:
    key = shortened(f"{NAMESPACE}:{'.'.join(str(part) for part in detail['loc'])}")
    kind, context = detail["type"], detail.get("ctx") or {}
    if kind == "missing":
        hint = " (or a platform that has a registry)" if key.endswith("images.registry") else ""
        return f"{key} is missing, it is required{hint}"
    value = "not shown" if detail["loc"][0] in SECRETS else shown(detail["input"])
    if kind == "extra_forbidden":
        fields = ", ".join(sorted(_fields_at(detail["loc"][:-1])))
        return f"{key} is {value}, must not be given; valid fields are {fields}"
    rules = {
        "greater_than_equal": "must be at least {ge}",
        "less_than_equal": "must be at most {le}",
        "literal_error": "must be one of {expected}",
        "string_pattern_mismatch": "must match {pattern}",
        "too_short": "must have at least {min_length} "
        + ("entries" if isinstance(detail["input"], list) else "characters"),
        "string_too_long": "must have at most {max_length} characters",
    }
    rule = rules[kind].format(**context) if kind in rules else detail["msg"].replace("Input should be", "must be")
    return f"{key} is {value}, {rule}"


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """The valid fields of a group of settings."""
    model: type[BaseModel] = Settings
    for part in location:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        candidates = [annotation, *get_args(annotation)]
        models = [each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)]
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)


def _source_checks(raw: Mapping[str, Any]) -> list[str]:
    """A release is either made here or promoted, and each way has settings that make no sense for the other."""
    promote, model = raw.get("promote"), raw.get("model")
    if not isinstance(promote, Mapping):
        prepared = [key for key in PREPARED if "data" in raw and isinstance(model, Mapping) and key in model]
        if prepared:
            return [f"modelops:model.{key} must not be given with data, which makes it" for key in prepared]
        missing = isinstance(model, Mapping) and "framework" not in model
        return ["modelops:model.framework is missing, it is required unless a release is promoted"] if missing else []
    problems = []
    if ("stack" in promote) == ("file" in promote):
        problems.append(f"modelops:promote is {sorted(promote)}, must have exactly one of stack and file")
    unused = [key for key in ("images", "data") if key in raw]
    unused += [f"model.{key}" for key in (model if isinstance(model, Mapping) else {}) if key not in PROMOTED]
    problems += [f"modelops:{key} must not be given with promote: nothing is built or trained" for key in unused]
    return problems


def _service_checks(raw: Mapping[str, Any]) -> list[str]:
    bounds, replicas = value_at(raw, "service", "autoscaling"), value_at(raw, "service", "replicas")
    if not isinstance(bounds, Mapping):
        return []
    problems = []
    low, high = bounds.get("min_replicas", 0 if "scale_to_zero" in bounds else 2), bounds.get("max_replicas")
    if isinstance(low, int) and isinstance(high, int) and high < low:
        problems.append(f"modelops:service.autoscaling.max_replicas is {high}, must be at least min_replicas ({low})")
    if replicas is not None:
        problems.append(f"modelops:service.replicas is {replicas}, must not be given with autoscaling, which sets it")
    return problems


def _gate_checks(raw: Mapping[str, Any]) -> list[str]:
    gate, problems = value_at(raw, "model", "gate"), []
    for metric, bounds in gate.items() if isinstance(gate, Mapping) else ():
        if not bounds:
            problems.append(f"modelops:model.gate.{metric} is {bounds!r}, must have min, max, min_delta or max_delta")
        for least, most in (("min", "max"), ("min_delta", "max_delta")):
            low, high = value_at(bounds, least), value_at(bounds, most)
            if isinstance(low, int | float) and isinstance(high, int | float) and high < low:
                problems.append(f"modelops:model.gate.{metric}.{most} is {high}, must be at least {least} ({low})")
    return problems


def _monitoring_checks(raw: Mapping[str, Any]) -> list[str]:
    problems = []
    monitoring = raw.get("monitoring")
    grafana = value_at(monitoring, "grafana", "enabled") is True
    if grafana and not raw.get("grafana_admin_password"):
        problems.append("modelops:grafana_admin_password is missing, it is required when monitoring.grafana is on")
    if grafana and value_at(monitoring, "attach") is not None:
        problems.append("modelops:monitoring.grafana.enabled is True, must be false with monitoring.attach")
    if value_at(monitoring, "elk", "elasticsearch", "snapshots") is not None:
        problems += [
            f"modelops:{key} is missing, it is required with monitoring.elk.elasticsearch.snapshots"
            for key in ("snapshot_access_key", "snapshot_secret_key")
            if not raw.get(key)
        ]
    shared = [raw.get("namespace"), f"{raw.get('namespace')}-monitoring"]
    agents = value_at(monitoring, "agents_namespace")
    if agents in shared and raw.get("create_namespaces") not in (False, "false"):
        problems.append(
            f"modelops:monitoring.agents_namespace is {agents!r}, must be another one: nothing else may be in it"
        )
    if grafana and value_at(monitoring, "prometheus", "enabled") is False:
        problems.append("modelops:monitoring.grafana.enabled is True, must be false when prometheus is off")
    return problems
