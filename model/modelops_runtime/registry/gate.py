"""The gate: bounds that the metrics have to meet before a version is registered.

`min` and `max` bound the value itself, `min_delta` and `max_delta` its difference to the same metric of the version
that serves now. Where no version serves yet, or this very run is the one that serves, there is nothing to compare with,
and relative bounds hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelops_runtime.contract import ConfigurationError, ContractError, Environment, Exit, is_number

Gate = dict[str, dict[str, float]]
ABSOLUTE = ("min", "max")
RELATIVE = ("min_delta", "max_delta")


@dataclass(frozen=True)
class Serving:
    """The version that serves now."""

    version: str
    metrics: Mapping[str, float]


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
        _all_reported(compared, serving.metrics, f" by version {serving.version}, which serves now")
    passed: list[str] = []
    failed: list[str] = []
    for metric, bounds in gate.items():
        for key, bound in bounds.items():
            met, line = _judged(metric, metrics[metric], key, bound, serving)
            (passed if met else failed).append(line)
    if failed:
        raise ContractError(*(f"gate not met: {line}" for line in failed), code=Exit.GATE)
    return passed


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
        return True, f"{metric} is {value:.6g}, {key} {bound:.6g} has no version now serving to compare with"
    limit = serving.metrics[metric] + bound
    met = value <= limit if key == "max_delta" else value >= limit
    compared = f"version {serving.version}, which serves now, has {serving.metrics[metric]:.6g}"
    return met, f"{metric} is {value:.6g}, must be {words} {limit:.6g} ({key} {bound:.6g}; {compared})"
