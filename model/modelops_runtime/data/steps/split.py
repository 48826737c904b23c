"""Training, validation and test rows, with no row in two of them."""

from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from modelops_runtime.data import errors, quantiles
from modelops_runtime.data.context import Context
from modelops_runtime.data.nested import is_nested
from modelops_runtime.data.quantiles import AtRank, Keys
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.table import InMemory, Rows, comparable, hashes, shuffled

PARTS = ("train", "validation", "test")
Codes = npt.NDArray[Any]


@step
class Split(Step):
    """Parts the rows: `random`ly; `stratified`, each value of `column` in the same proportion; `grouped`, all rows of
    one value of `column` in the same part; by `time`, the oldest by `column` for training, the newest for the test.

    Equal rows always come into the same part, and so do rows of the same time. The same seed gives the same parts.
    """

    takes_nested: ClassVar[bool] = True
    by: Literal["random", "stratified", "grouped", "time"] = "random"
    column: str | None = None
    validation: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows."""
    test: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows."""
    seed: int = Field(default=7, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _makes_sense(self) -> "Split":
        if (self.by == "random") != (self.column is None):
            raise ValueError("column must be given, unless by is random")
        if self.validation + self.test > 0.9:
            raise ValueError("validation + test must be at most 0.9")
        return self

    def parts(self, rows: Rows, context: Context) -> dict[str, Rows]:
        """The three parts by name, each with its rows in their order. Raises DataError: empty part, leak."""
        context.require(rows, [self.column] if self.column else [])
        edges = quantiles.at(rows.map(self._keys, context), self._edges)
        cuts = {group: [self._last(end) for end in ends] for group, ends in edges.items()}
        parts = dict(zip(PARTS, rows.divide(partial(self._part, cuts=cuts), len(PARTS), context), strict=True))
        for name, part in parts.items():
            if not part.count():
                raise errors.empty(f"{rows.count()} rows split by {self.by}: the part {name}")
        if isinstance(rows, InMemory):
            # In pieces it would need all rows in one memory; the part follows from the row's own hash there as here.
            frames = {name: next(part.frames()) for name, part in parts.items()}
            check_no_leak(frames, self.column if self.by == "grouped" else None)
        return parts

    def _edges(self, count: int) -> list[int]:
        """The ranks at which validation and test begin."""
        test = round(count * self.test)
        return [count - test - round(count * self.validation), count - test]

    def _last(self, edge: AtRank) -> int:
        """The last key before a cut. Rows with the key at the rank stay together: where most of them are; those of one
        time, before the cut unless they begin at it."""
        reach = 0 if self.by == "time" else edge.same / 2
        return edge.key if edge.below + reach < edge.rank else max(edge.key - 1, 0)

    def _keys(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        """The order in which rows are cut: of time, or of the hash of what must stay together; by stratum."""
        if self.by == "time":
            return quantiles.table(0, self._times(frame, context), frame.index)
        if self.by == "random":
            return quantiles.table(0, shuffled(hashes(frame), self.seed), frame.index)
        missing = frame[self.column].isna().to_numpy()
        if missing.any():
            assert self.column is not None
            raise context.bad_row(frame.index[missing.argmax()], self.column, "must be there to split by it")
        values = hashes(frame[[self.column]])
        if self.by == "grouped":
            return quantiles.table(0, shuffled(values, self.seed), frame.index)
        return quantiles.table(values, shuffled(hashes(frame), self.seed), frame.index)

    def _times(self, frame: pd.DataFrame, context: Context) -> Keys:
        assert self.column is not None
        values = frame[self.column]
        if is_nested(values):
            raise context.bad_row(frame.index[0], self.column, "must be a number or an ISO 8601 time to split by it")
        if not pd.api.types.is_numeric_dtype(values):
            values = pd.to_datetime(values, errors="coerce", format="ISO8601", utc=True)
        if values.isna().any():
            index = frame.index[values.isna().to_numpy().argmax()]
            raise context.bad_row(index, self.column, "must be a number or an ISO 8601 time to split by it")
        if pd.api.types.is_float_dtype(values):
            return quantiles.of_floats(values.to_numpy("float64") + 0.0)
        if not pd.api.types.is_numeric_dtype(values):
            values = values.dt.as_unit("us").astype("int64")
        return quantiles.of_integers(values.to_numpy().astype("int64"))

    def _part(self, frame: pd.DataFrame, context: Context, *, cuts: dict[int, list[int]]) -> Codes:
        """The number of each row's part."""
        keys = self._keys(frame, context)
        groups, places = np.unique(keys[quantiles.GROUP].to_numpy(), return_inverse=True)
        last = np.array([cuts[group] for group in groups.tolist()], dtype="uint64").reshape(-1, len(PARTS) - 1)
        part: Codes = (keys[quantiles.KEY].to_numpy()[:, None] > last[places]).sum(axis=1)
        return part


def check_no_leak(parts: dict[str, pd.DataFrame], group: str | None = None) -> None:
    """Raises DataError when two parts share a row's values, or a value of the column `group`."""
    whole = comparable(pd.concat(parts.values()))
    part = np.repeat(np.arange(len(parts)), [len(frame) for frame in parts.values()])
    for what, codes in (("equal rows", _equal_rows(whole)), (f"the same {group}", _group(whole, group))):
        shared = int((pd.Series(part).groupby(codes).nunique() > 1).sum())
        if shared:
            raise errors.leak(
                f"{shared} times, {what} are in more than one of {', '.join(parts)}: remove duplicates before the split"
            )


def _equal_rows(frame: pd.DataFrame) -> Codes:
    """A number for each row, the same for equal rows, in the order in which they first appear."""
    codes: Codes = frame.groupby(list(frame.columns), dropna=False, sort=False).ngroup().to_numpy()
    return codes


def _group(frame: pd.DataFrame, column: str | None) -> Codes:
    codes: Codes = np.arange(len(frame)) if column is None else pd.factorize(frame[column])[0]
    return codes
