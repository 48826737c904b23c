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
from modelops_runtime.data.table import Rows, hashes, shuffled

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
        """The three parts by name, each with its rows in their order. Raises DataError: empty part.

        Nothing can be in two parts: a row's part follows from its key alone, which equal rows, of a group all rows,
        and rows of one time have in common.
        """
        context.require(rows, [self.column] if self.column else [])
        keys = rows.map(self._keys, context)
        edges = quantiles.at(keys, self._edges)
        cuts = {group: [self._last(end) for end in ends] for group, ends in edges.items()}
        parts = dict(zip(PARTS, rows.divide(keys, partial(_part, cuts=cuts), len(PARTS), context), strict=True))
        for name, part in parts.items():
            if not part.count():
                raise errors.empty(f"{rows.count()} rows split by {self.by}: the part {name}")
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
            assert self.column is not None
            return quantiles.table(0, times(frame, self.column, context, "split by it"), frame.index)
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


def _part(keys: pd.DataFrame, *, cuts: dict[int, list[int]]) -> Codes:
    """The number of each row's part."""
    groups, places = np.unique(keys[quantiles.GROUP].to_numpy(), return_inverse=True)
    last = np.array([cuts[group] for group in groups.tolist()], dtype="uint64").reshape(-1, len(PARTS) - 1)
    part: Codes = (keys[quantiles.KEY].to_numpy()[:, None] > last[places]).sum(axis=1)
    return part


def times(frame: pd.DataFrame, column: str, context: Context, why: str) -> Keys:
    """Keys in the order of a column of numbers or ISO 8601 times; those without a zone are UTC. Raises DataError."""
    context.require(frame, [column])
    values, rule = frame[column], f"must be a number or an ISO 8601 time to {why}"
    if is_nested(values):
        raise context.bad_row(frame.index[0], column, rule)
    if (missing := values.isna().to_numpy()).any():
        rule = f"is missing, and must be there to {why}: leave such rows out by fill with by: drop"
        raise context.bad_row(frame.index[missing.argmax()], column, rule)
    if not pd.api.types.is_numeric_dtype(values):
        values = pd.to_datetime(values, errors="coerce", format="ISO8601", utc=True)
    if values.isna().any():
        raise context.bad_row(frame.index[values.isna().to_numpy().argmax()], column, rule)
    if pd.api.types.is_float_dtype(values):
        return quantiles.of_floats(values.to_numpy("float64") + 0.0)
    if pd.api.types.is_unsigned_integer_dtype(values):
        return np.asarray(values, dtype="uint64")
    if not pd.api.types.is_numeric_dtype(values):
        values = values.dt.as_unit("us").astype("int64")
    return quantiles.of_integers(values.to_numpy().astype("int64"))
