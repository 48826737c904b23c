"""Values by rank without sorting all rows: a histogram of the keys' leading bits finds the bin of a rank, and the next
pass looks into that bin only. Exact, in memory that does not grow with the rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from modelops_runtime.data.table import Rows, added, counted

GROUP, KEY = "group", "key"
_SIGN = np.uint64(1 << 63)
_FEW = 16
"""Groups up to which a pass takes 16 bits, and 8 beyond."""
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class AtRank:
    """The key at a rank, how many keys of its group are smaller, and how many are equal."""

    rank: int
    key: int
    below: int
    same: int


def table(groups: Any, keys: Keys, index: Any = None) -> pd.DataFrame:
    """Rows as `at` takes them: uint64 each."""
    return pd.DataFrame({GROUP: np.broadcast_to(np.uint64(groups), keys.shape), KEY: keys}, index=index)


def at(rows: Rows, ranks_of: Callable[[int], Sequence[int]]) -> dict[int, list[AtRank]]:
    """By group, the keys at the ranks (from 0) that `ranks_of` returns for its number of keys.

    Rows have `table`'s columns. `ranks_of` returns equally many for every group; a rank beyond the last is the last.
    """
    counts = rows.fold(_counts, added)
    if not counts:
        return {}
    groups = np.array(sorted(counts), dtype="uint64")
    asked = [list(ranks_of(counts[group])) for group in groups.tolist()]
    ranks = np.array(
        [np.minimum(of_group, counts[group] - 1) for group, of_group in zip(groups.tolist(), asked, strict=True)]
    ).T
    prefix, below = np.zeros(ranks.shape, dtype="uint64"), np.zeros(ranks.shape, dtype="int64")
    bits = 16 if len(groups) <= _FEW else 8
    same = below
    for shift in range(64 - bits, -1, -bits):
        histogram = rows.fold(partial(_histogram, groups=groups, prefix=prefix, shift=shift, bits=bits), np.add)
        ends = histogram.cumsum(axis=2)
        digit = (ends <= (ranks - below)[:, :, None]).sum(axis=2)[:, :, None]
        same = np.take_along_axis(histogram, digit, axis=2)[:, :, 0]
        below = below + np.take_along_axis(ends, digit, axis=2)[:, :, 0] - same
        prefix = (prefix << np.uint64(bits)) | digit[:, :, 0].astype("uint64")
    return {
        group: [AtRank(rank, int(prefix[n, g]), int(below[n, g]), int(same[n, g])) for n, rank in enumerate(asked[g])]
        for g, group in enumerate(groups.tolist())
    }


def _counts(frame: pd.DataFrame) -> dict[int, int]:
    return counted(frame[GROUP].to_numpy())


def _histogram(frame: pd.DataFrame, *, groups: Keys, prefix: Keys, shift: int, bits: int) -> Any:
    """How many keys have which next bits, for each rank and group, of those that begin as `prefix` does."""
    keys, places = frame[KEY].to_numpy(), np.searchsorted(groups, frame[GROUP].to_numpy())
    shifted = keys >> np.uint64(shift)
    digits, begin = shifted & np.uint64(2**bits - 1), shifted >> np.uint64(bits)
    cells = places * 2**bits + digits.astype("int64")
    size = len(groups) * 2**bits
    histograms = [np.bincount(cells[begin == starts[places]], minlength=size) for starts in prefix]
    return np.array(histograms).reshape(len(prefix), len(groups), 2**bits)


def of_floats(numbers: npt.NDArray[np.float64]) -> Keys:
    """Keys in the order of the numbers."""
    bits = numbers.view("uint64")
    keys: Keys = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return keys


def of_integers(numbers: npt.NDArray[np.int64]) -> Keys:
    """Keys in the order of the numbers."""
    return numbers.view("uint64") ^ _SIGN


def to_float(key: int) -> float:
    """The number whose key by `of_floats` this is."""
    bits = key ^ (1 << 63) if key >> 63 else ~key & (2**64 - 1)
    return float(np.uint64(bits).view("float64"))


def quantiles(rows: Rows, columns: Sequence[str], shares: Sequence[float], context: Any) -> dict[str, list[float]]:
    """Quantiles of each column's present values, interpolated linearly; a column without values is left out.

    Raises DataError where a value is not a number.
    """
    keys = rows.select(columns).map(partial(_numbers, columns=columns), context)

    def ranks_of(count: int) -> list[int]:
        return [rank for share in shares for rank in (int(share * (count - 1)), int(share * (count - 1)) + 1)]

    by_group: Mapping[int, list[AtRank]] = at(keys, ranks_of)
    counts = keys.fold(_counts, added) if by_group else {}
    results: dict[str, list[float]] = {}
    for group, ranks in by_group.items():
        ends = [to_float(rank.key) for rank in ranks]
        between = [share * (counts[group] - 1) % 1 for share in shares]
        results[columns[group]] = [
            low + (high - low) * part for low, high, part in zip(ends[::2], ends[1::2], between, strict=True)
        ]
    return results


def _numbers(frame: pd.DataFrame, context: Any, *, columns: Sequence[str]) -> pd.DataFrame:
    tables = []
    for number, column in enumerate(columns):
        values = context.numbers(frame, column).dropna()
        tables.append(table(number, of_floats(values.to_numpy("float64")), values.index))
    return pd.concat(tables)
