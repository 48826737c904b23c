"""What every step is: a declaration (plain data, checked), and what it does to rows.

Rows are a pandas DataFrame whose index is each row's place of origin (see `place`): it survives every step, so that an
error names file and row, and rows worked on by several workers come together in their order.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict

from model.preprocessing import Operation
from model.steps import errors

if TYPE_CHECKING:
    from model.steps.rows import Rows

ROW_BITS = 40
"""Bits of a row's place that count within its file."""


def place(file: int, row: int) -> int:
    """The index of row `row` (from 0) of the `file`-th file that was read."""
    return (file << ROW_BITS) + row


@dataclass
class Context:
    """What steps share: the names of the files, the salt, and the report that they write."""

    files: Sequence[str] = ()
    salt: bytes = field(default=b"", repr=False)
    """Secret key of hashes and pseudonyms; 16 bytes or more where a step needs it."""
    report: list[dict[str, Any]] = field(default_factory=list)

    def origin(self, index: Any) -> tuple[str, int]:
        """File and row that an index stands for."""
        number, row = int(index) >> ROW_BITS, int(index) & ((1 << ROW_BITS) - 1)
        return (self.files[number] if number < len(self.files) else "the data"), row

    def bad_row(self, index: Any, column: str, rule: str) -> errors.DataError:
        return errors.bad_row(*self.origin(index), column, rule)

    def require(self, frame: "pd.DataFrame | Rows", columns: Sequence[str]) -> None:
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


class Step(BaseModel):
    """A declaration. A field that is not there is refused; every problem is reported at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: ClassVar[str]

    @property
    def rowwise(self) -> bool:
        """Whether a row's result depends on that row alone: such steps run in shards."""
        return False

    @property
    def fitted(self) -> bool:
        """Whether it learns from the training split, and so comes after the split."""
        return False

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        """The rows after this step. Raises DataError."""
        raise NotImplementedError

    @property
    def in_pieces(self) -> bool:
        """Whether it can do its work on rows that are in no one's memory as a whole."""
        return True

    def on(self, rows: "Rows", context: Context) -> "Rows":
        """The same of rows that may be in pieces. Raises DataError."""
        return rows.map(self.apply, context)

    def fit(self, train: "Rows", context: Context) -> list[Operation]:
        """What a fitted step learns from the training split: operations, applied in their order to every split."""
        raise NotImplementedError


STEPS: dict[str, type[Step]] = {}
"""Every step by the name under which it is declared."""

S = TypeVar("S", bound=type[Step])


def step(kind: S) -> S:
    """Registers a step; its name is that of the class, in lower case with underscores."""
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__).lstrip("_")
    kind.name = name
    STEPS[name] = kind
    return kind


def canonical(value: Mapping[str, Any]) -> str:
    """JSON with one spelling a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
