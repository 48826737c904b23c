"""Where a row came from, and what the steps of one run share.

The index of a row is its place of origin (see `place`): it survives every step, so that an error names file and row,
and rows worked on by several workers come together in their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd

from modelops_runtime.data import errors

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
    """What steps share: the names of the files, the salt, and the report that they write."""

    files: Sequence[str] = ()
    salt: bytes = field(default=b"", repr=False)
    """Secret key of hashes and pseudonyms; 16 bytes or more where a step needs it."""
    report: list[dict[str, Any]] = field(default_factory=list)

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
                raise errors.missing_column(", ".join(self.files) or "the data", column, list(map(str, frame.columns)))

    def numbers(self, frame: pd.DataFrame, column: str) -> pd.Series:
        """A column as float64. Raises DataError naming the first row that has no number."""
        self.require(frame, [column])
        numbers = pd.to_numeric(frame[column], errors="coerce").astype("float64")
        wrong = numbers.isna() & frame[column].notna()
        if wrong.any():
            raise self.bad_row(frame.index[wrong.to_numpy().argmax()], column, "must be a number")
        return numbers
