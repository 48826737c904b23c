"""The gate: bounds that the metrics have to meet before anything is published."""

from collections.abc import Mapping
from typing import Any

from model.contract import ConfigurationError, ContractError, Exit, is_number

Gate = dict[str, dict[str, float]]


def parse(gate: Mapping[str, Any]) -> Gate:
    """`{"mse": {"max": 1.2}}`: `min` and `max` for each metric. Raises ConfigurationError with every problem."""
    problems = []
    for metric, bounds in gate.items():
        if not isinstance(bounds, dict) or not bounds:
            problems.append(f"MODELOPS_GATE: {metric} must be an object with min, max or both")
            continue
        problems += [
            f"MODELOPS_GATE: {metric}.{key} is unknown, use min or max" for key in bounds.keys() - {"min", "max"}
        ]
        problems += [
            f"MODELOPS_GATE: {metric}.{key} is {bound!r}, must be a finite number"
            for key, bound in bounds.items()
            if key in ("min", "max") and not is_number(bound)
        ]
    if problems:
        raise ConfigurationError(*problems)
    return {metric: {key: float(bound) for key, bound in bounds.items()} for metric, bounds in gate.items()}


def check(gate: Gate, metrics: Mapping[str, float]) -> list[str]:
    """One line for each bound that is met.

    Raises ConfigurationError when a metric is not reported; ContractError (exit 3) with metric, value and bound of
    each bound that is not met. A bound itself still passes; a value that is not a number never does.
    """
    missing = sorted(gate.keys() - metrics.keys())
    if missing:
        reported = ", ".join(sorted(metrics)) or "none"
        raise ConfigurationError(f"MODELOPS_GATE: {', '.join(missing)} not reported; reported metrics: {reported}")
    passed: list[str] = []
    failed: list[str] = []
    for metric, bounds in gate.items():
        value = metrics[metric]
        for key, bound in bounds.items():
            met = value <= bound if key == "max" else value >= bound
            words = "at most" if key == "max" else "at least"
            line = f"{metric} is {value:.6g}, must be {words} {bound:.6g}"
            (passed if met else failed).append(line)
    if failed:
        raise ContractError(*(f"gate not met: {line}" for line in failed), code=Exit.GATE)
    return passed
