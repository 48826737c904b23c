"""The gate: bounds that the metrics have to meet before a version is registered.

`min` and `max` bound the value itself, `min_delta` and `max_delta` its difference to the same metric of the version
that serves now. A run that is registered already is judged by the figures in the registry, so a changed gate needs no
training.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelops_runtime.contract import ConfigurationError, ContractError, Environment, Exit, is_number

Gate = dict[str, dict[str, float]]
ABSOLUTE = ("min", "max")
RELATIVE = ("min_delta", "max_delta")
MET = "modelops.gate_met"
"""Tag of a version with the fingerprint of the relative bounds that it has met: they are not judged twice, or going
back to an older version would be refused for being worse than the newer one."""
COMPARED = "modelops.compared_with"
"""Tag with the number of the version that served when this one was registered."""


@dataclass(frozen=True)
class Serving:
    """The version that serves now, or that served before."""

    version: str
    metrics: Mapping[str, float]
    when: str = "which serves now"
    same_run: bool = False
    """Whether it is the very run that is judged."""


@dataclass(frozen=True)
class Comparison:
    """What relative bounds compare with: the version that an alias of the model names."""

    model: str
    alias: str
    first_version: bool
    """Whether there need be none, because the version that is judged is the first."""


def parse(gate: Mapping[str, Any]) -> Gate:
    """`{"mse": {"max": 1.2}}`: bounds for each metric. Raises ConfigurationError with every problem."""
    known = (*ABSOLUTE, *RELATIVE)
    problems = []
    for metric, bounds in gate.items():
        if not isinstance(bounds, dict) or not bounds:
            problems.append(f"MODELOPS_GATE: {metric} must be an object with {', '.join(known)} or several of them")
            continue
        problems += [
            f"MODELOPS_GATE: {metric}.{key} is unknown, use {', '.join(known)}" for key in bounds.keys() - {*known}
        ]
        problems += [
            f"MODELOPS_GATE: {metric}.{key} is {bound!r}, must be a finite number"
            for key, bound in bounds.items()
            if key in known and not is_number(bound)
        ]
    if problems:
        raise ConfigurationError(*problems)
    return {metric: {key: float(bound) for key, bound in bounds.items()} for metric, bounds in gate.items()}


def read(env: Environment, content: Mapping[str, Any]) -> Gate:
    """The gate that an environment gives; what is wrong with it goes to the environment's other problems."""
    try:
        return parse(content)
    except ConfigurationError as error:
        env.problems.extend(error.problems)
        return {}


def say_met(lines: list[str]) -> None:
    """Prints what `check` found."""
    for line in lines:
        print(f"gate met: {line}", flush=True)


def absolute(gate: Gate) -> Gate:
    """The bounds that can be checked without asking anybody."""
    return _only(gate, ABSOLUTE)


def relative(gate: Gate) -> Gate:
    """The bounds that compare with the version now serving."""
    return _only(gate, RELATIVE)


def _only(gate: Gate, keys: tuple[str, ...]) -> Gate:
    """The metrics stay, with or without a bound, so that one that is not reported is found at once."""
    return {metric: {key: bounds[key] for key in keys if key in bounds} for metric, bounds in gate.items()}


def check(gate: Gate, metrics: Mapping[str, float], serving: Serving | None = None) -> list[str]:
    """One line for each bound that is met.

    Raises ConfigurationError when a metric is not reported, here or by the version to compare with; ContractError
    (exit 3) with metric, value and bound of each bound that is not met. A bound itself still passes; a value that is
    not a number never does.
    """
    _all_reported(gate.keys(), metrics, "")
    if serving is not None:
        compared = [metric for metric, bounds in gate.items() if bounds.keys() & {*RELATIVE}]
        _all_reported(compared, serving.metrics, f" by version {serving.version}, {serving.when}")
    passed: list[str] = []
    failed: list[str] = []
    for metric, bounds in gate.items():
        for key, bound in bounds.items():
            met, line = _judged(metric, metrics[metric], key, bound, serving)
            (passed if met else failed).append(line)
    if failed:
        raise ContractError(*(f"gate not met: {line}" for line in failed), code=Exit.GATE)
    return passed


def judge(gate: Gate, metrics: Mapping[str, float], comparison: Comparison, serving: Serving | None) -> dict[str, str]:
    """Judges a run that is not registered yet, and prints the bounds that are met; the tags that its version gets.

    Raises what `check` raises, and ConfigurationError where relative bounds have nothing to compare with.
    """
    say_met(check(gate, metrics, _compared(gate, comparison, serving)))
    tags = {MET: _fingerprint(gate, comparison)}
    if serving is not None and not serving.same_run:
        tags[COMPARED] = serving.version
    return {key: value for key, value in tags.items() if value}


def judge_again(
    gate: Gate,
    metrics: Mapping[str, float],
    comparison: Comparison,
    tags: Mapping[str, str],
    serving: Callable[[], Serving | None],
    before: Callable[[str], Serving | None],
) -> dict[str, str]:
    """Judges a registered version by its metrics in the registry; the tags to add to those that it has.

    Relative bounds that it has met stay met. Others compare with what `serving` gives; where that is this very run,
    with the version `before` it, if that is known and still there.
    """
    say_met(check(absolute(gate), metrics))
    fingerprint = _fingerprint(gate, comparison)
    if not fingerprint or tags.get(MET) == fingerprint:
        return {}
    now = serving()
    compared = _compared(gate, comparison, now)
    if now is not None and now.same_run and COMPARED in tags:
        compared = before(tags[COMPARED])
    say_met(check(relative(gate), metrics, compared))
    return {MET: fingerprint}


def _compared(gate: Gate, comparison: Comparison, serving: Serving | None) -> Serving | None:
    if serving is not None:
        return None if serving.same_run else serving
    bounds = [f"{metric}.{key}" for metric, keys in relative(gate).items() for key in keys]
    if bounds and not comparison.first_version:
        raise ConfigurationError(
            f"MODELOPS_GATE: no version of {comparison.model} has the alias {comparison.alias}, which "
            f"{', '.join(bounds)} would compare with: set first_version for the first version, or make serving_alias "
            "the alias that ModelService moves after a rollout"
        )
    return None


def _fingerprint(gate: Gate, comparison: Comparison) -> str:
    """Of the relative bounds and their alias; empty without such bounds."""
    bounds = {metric: keys for metric, keys in relative(gate).items() if keys}
    if not bounds:
        return ""
    return hashlib.sha256(json.dumps([comparison.alias, bounds], sort_keys=True).encode()).hexdigest()[:12]


def _all_reported(bounded: Any, metrics: Mapping[str, float], by: str) -> None:
    missing = sorted(set(bounded) - metrics.keys())
    if missing:
        reported = ", ".join(sorted(metrics)) or "none"
        raise ConfigurationError(f"MODELOPS_GATE: {', '.join(missing)} not reported{by}; reported metrics: {reported}")


def _judged(metric: str, value: float, key: str, bound: float, serving: Serving | None) -> tuple[bool, str]:
    """Whether the bound is met, and the line to print."""
    words = "at most" if key.startswith("max") else "at least"
    if key in ABSOLUTE:
        met = value <= bound if key == "max" else value >= bound
        return met, f"{metric} is {value:.6g}, must be {words} {bound:.6g}"
    if serving is None:
        return True, f"{metric} is {value:.6g}, {key} {bound:.6g} has no other version to compare with"
    limit = serving.metrics[metric] + bound
    met = value <= limit if key == "max_delta" else value >= limit
    compared = f"version {serving.version}, {serving.when}, has {serving.metrics[metric]:.6g}"
    return met, f"{metric} is {value:.6g}, must be {words} {limit:.6g} ({key} {bound:.6g}; {compared})"
