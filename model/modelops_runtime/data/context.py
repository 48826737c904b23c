"""Where a row came from, and what the steps of one run share.

The index of a row is its place of origin (see `place`): it survives every step, so that an error names file and row,
and rows worked on by several workers come together in their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real
from typing import Any, Protocol

import numpy as np
import pandas as pd

from modelops_runtime.data import errors
from modelops_runtime.data.nested import to_numbers
from modelops_runtime.data.progress import Progress

LARGEST_WHOLE = 2**53
MIXED_UP = "must be at most 2^53, beyond which double precision mixes numbers up: give it the type text in its source"
ROW_BITS = 40
"""Bits of a row's place that count within its file."""


def place(file: int, row: int) -> int:
    """The index of row `row` (from 0) of the `file`-th file that was read."""
    return (file << ROW_BITS) + row


class HasColumns(Protocol):
    """A table, in memory or in partitions."""

    @property
    def columns(self) -> Any: ...


@dataclass
class Context:
    """What steps share: the names of the files, the salt, the report that they write, and how far the run is."""

    files: Sequence[str] = ()
    salt: bytes = field(default=b"", repr=False)
    """Secret key of hashes and pseudonyms; 16 bytes or more where a step needs it."""
    report: list[dict[str, Any]] = field(default_factory=list)
    before: tuple[str, str] = ("", "")
    """Name and profile of the version before."""
    progress: Progress = field(default_factory=Progress, repr=False)

    def origin(self, index: Any) -> tuple[str, int]:
        """File and row of an index."""
        number, row = int(index) >> ROW_BITS, int(index) & ((1 << ROW_BITS) - 1)
        return (self.files[number] if number < len(self.files) else "the data"), row

    def bad_row(self, index: Any, column: str, rule: str) -> errors.DataError:
        return errors.bad_row(*self.origin(index), column, rule)

    def require(self, frame: HasColumns, columns: Sequence[str]) -> None:
        """Raises DataError when a column is not there."""
        for column in columns:
            if column not in frame.columns:
                # What encode made has values in its name, and a message may not have one.
                there = [name for name in map(str, frame.columns) if "=" not in name]
                raise errors.missing_column(", ".join(self.files) or "the data", column, there)

    def numbers(self, frame: pd.DataFrame, column: str, *, finite: bool = True) -> pd.Series:
        """A column as float64. Raises DataError naming the first row that has no number, or no finite one."""
        self.require(frame, [column])
        numbers, there = as_numbers(frame[column]), frame[column].notna().to_numpy(dtype=bool)
        for wrong, rule, counts in (
            (numbers.isna(), "must be a number", True),
            (np.isinf(numbers), "must be a finite number", finite),
            (beyond_float(frame[column]), MIXED_UP, True),
        ):
            of_rows = wrong.to_numpy() & there
            if of_rows.any() and counts:
                raise self.bad_row(frame.index[of_rows.argmax()], column, rule)
        return numbers


def beyond_float(column: pd.Series) -> pd.Series:
    """Where a column of whole numbers has one that float64 may not have exactly."""
    if not pd.api.types.is_integer_dtype(column.dtype):
        return pd.Series(False, index=column.index)
    large: pd.Series = column > LARGEST_WHOLE
    if not pd.api.types.is_unsigned_integer_dtype(column.dtype):
        large |= column < -LARGEST_WHOLE
    return large.fillna(False).astype(bool)


def as_numbers(column: pd.Series) -> pd.Series:
    """As float64, NaN where there is no number. Times are none, though pandas would count their nanoseconds."""
    if column.dtype.kind in "mM":
        return pd.Series(np.nan, index=column.index)
    if column.dtype == object:
        column = column.map(lambda cell: cell if isinstance(cell, Real | Decimal | str) else None)
    return to_numbers(column)
