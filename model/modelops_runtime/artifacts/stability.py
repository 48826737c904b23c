"""How far two distributions are from each other."""

import math
from collections.abc import Sequence

SMALLEST_FRACTION = 1e-4
"""An empty bin would make the index infinite."""


def population_stability_index(expected: Sequence[float], counts: Sequence[int]) -> float:
    """How far the distribution of `counts` is from `expected`: the sum over the bins of (a - e) * ln(a / e).

    0 means no difference; by convention, below 0.1 nothing has changed and above 0.25 a lot has. Formula and reading:
    N. Siddiqi, Credit Risk Scorecards, Wiley 2006 (system stability index); it is the symmetric Kullback-Leibler
    divergence. By chance alone it is about (bins - 1) * (1 / n + 1 / m) with n rows here and m in the baseline:
    B. Yurdakul, Statistical Properties of Population Stability Index, Western Michigan University 2018.
    """
    total = sum(counts)
    index = 0.0
    for share, count in zip(expected, counts, strict=True):
        expected_share = max(share, SMALLEST_FRACTION)
        actual = max(count / total, SMALLEST_FRACTION)
        index += (actual - expected_share) * math.log(actual / expected_share)
    return index
