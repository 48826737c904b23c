"""A sweep's runs: every combination of the values to try."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

MAX_TRIALS = 200


def trials(sweep: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The parameters of each run. Their order depends on the order of the values, not on that of the names."""
    names = sorted(sweep)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(sweep[name] for name in names))]
