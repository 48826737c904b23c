"""A sweep's runs: every combination of the values to try."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from modelops.training.args import Goal, TrainingJobArgs

MAX_TRIALS = 200


def trials(sweep: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The parameters of each run. Their order depends on the order of the values, not on that of the names."""
    names = sorted(sweep)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(sweep[name] for name in names))]


def goal(args: TrainingJobArgs) -> pulumi.Output[str]:
    """Whether the best run has the smallest or the largest value: `min` or `max`."""
    return pulumi.Output.from_input(args.get("sweep_goal", Goal.MIN)).apply(lambda value: Goal(value).value)
