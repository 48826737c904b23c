"""Training, validation and test rows, with no row in two of them."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from model.steps import errors
from model.steps.base import Context, Step, step

PARTS = ("train", "validation", "test")
Codes = npt.NDArray[Any]


@step
class Split(Step):
    """Parts the rows: `random`ly; `stratified`, each value of `column` in the same proportion; `grouped`, all rows of
    one value of `column` in the same part; by `time`, the oldest by `column` for training, the newest for the test.

    Equal rows always come into the same part, and so do rows of the same time. The same seed gives the same parts.
    """

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

    def parts(self, frame: pd.DataFrame, context: Context) -> dict[str, pd.DataFrame]:
        """The three parts by name, each with its rows in their order. Raises DataError: empty part, leak."""
        context.require(frame, [self.column] if self.column else [])
        rows = _equal_rows(frame)
        if self.by == "time":
            part = self._by_time(frame, context)
        elif self.by == "grouped":
            part = self._random(self._codes(frame, context), len(frame))
        elif self.by == "stratified":
            part = np.empty(len(frame), dtype="int64")
            strata = self._codes(frame, context)
            for stratum in range(strata.max(initial=-1) + 1):
                of_it = np.flatnonzero(strata == stratum)
                part[of_it] = self._random(pd.factorize(rows[of_it])[0], len(of_it), stratum)
        else:
            part = self._random(rows, len(frame))
        parts = {name: frame[part == number] for number, name in enumerate(PARTS)}
        for name, of_it in parts.items():
            if of_it.empty:
                raise errors.empty(f"{len(frame)} rows split by {self.by}: the part {name}")
        check_no_leak(parts, self.column if self.by == "grouped" else None)
        return parts

    def _codes(self, frame: pd.DataFrame, context: Context) -> Codes:
        """The number of each row's value in the column. Raises DataError where there is none."""
        assert self.column is not None
        codes: Codes = pd.factorize(frame[self.column])[0]
        if (codes < 0).any():
            raise context.bad_row(frame.index[(codes < 0).argmax()], self.column, "must be there to split by it")
        return codes

    def _random(self, units: Codes, count: int, stream: int = 0) -> Codes:
        """The part of each row; units (numbered from 0) stay whole. A cut is where its share of rows is reached."""
        sizes = np.bincount(units)
        order = np.random.default_rng([self.seed, stream]).permutation(len(sizes))
        middles = np.cumsum(sizes[order]) - sizes[order] / 2
        edges = [count - round(count * self.test) - round(count * self.validation), count - round(count * self.test)]
        part_of_unit = np.empty(len(sizes), dtype="int64")
        part_of_unit[order] = np.searchsorted(edges, middles, side="right")
        parts: Codes = part_of_unit[units]
        return parts

    def _by_time(self, frame: pd.DataFrame, context: Context) -> Codes:
        assert self.column is not None
        values = frame[self.column]
        if not pd.api.types.is_numeric_dtype(values):
            values = pd.to_datetime(values, errors="coerce", format="ISO8601", utc=True)
        if values.isna().any():
            index = frame.index[values.isna().to_numpy().argmax()]
            raise context.bad_row(index, self.column, "must be a number or an ISO 8601 time to split by it")
        codes, _times = pd.factorize(values, sort=True)
        count, before = len(frame), np.concatenate([[0], np.cumsum(np.bincount(codes))])[:-1]
        edges = [count - round(count * self.test) - round(count * self.validation), count - round(count * self.test)]
        parts: Codes = np.searchsorted(edges, before[codes], side="right")
        return parts


def check_no_leak(parts: dict[str, pd.DataFrame], group: str | None = None) -> None:
    """Raises DataError when two parts share a row's values, or a value of the column `group`."""
    whole = pd.concat(parts.values())
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
