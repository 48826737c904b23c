"""k-anonymity and l-diversity: columns are made coarser, and what is published is judged, not what the step saw."""

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from modelops_runtime.artifacts.operations import Operation
from modelops_runtime.data import errors
from modelops_runtime.data.context import Context
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.table import InMemory, Rows, added, counted, hashes
from modelops_runtime.data.transform import transform

Counts = dict[int, int]
"""By the hash of a combination of values."""


class Coarser(BaseModel):
    """How one column is made coarser: numbers to the lower end of intervals, or texts to their beginning."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    width: float | None = Field(default=None, gt=0)
    """Width of the intervals; they begin at multiples of it."""
    first: int | None = Field(default=None, ge=1)
    """Characters that stay; of a column of which none may stay, the step is drop."""

    @model_validator(mode="after")
    def _one_of_them(self) -> "Coarser":
        if (self.width is None) == (self.first is None):
            raise ValueError("must have one of width and first")
        return self


@step
class Generalise(Step):
    """Makes columns coarser, so that each combination of their values is shared by at least `k` rows (k-anonymity:
    Sweeney 2002), or by `k` persons where `by` names the column that says whose a row is. With `l` each combination
    also has at least `l` distinct values of the column `sensitive` (distinct l-diversity: Machanavajjhala et al. 2007).
    Rows of other combinations fail the run, or are left out (`rare: remove`).

    Both hold for what is published, all parts together: it is counted again after the last step, by what later steps
    made of these columns. A later step that breaks it, because it removes rows or fills in values, fails the run. All
    columns that tell of persons are in one step: two, each with its own columns, would promise nothing of both
    together. So are a column and what a step derives from it beside it (a date and its parts, an image and its
    features), unless they are dropped.
    A missing value is a value of its own; rows without a person count as one person's; a missing sensitive value does
    not count."""

    protects: ClassVar[bool] = True
    columns: dict[str, Coarser] = Field(min_length=1)
    k: int = Field(ge=2)
    by: str | None = None
    """Column of an identifier of persons. It may be left out or replaced by later steps."""
    sensitive: str | None = None
    l: int | None = Field(default=None, ge=2)  # noqa: E741 (its name in the literature)
    rare: Literal["fail", "remove"] = "fail"

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> "Generalise":
        if (self.sensitive is None) != (self.l is None):
            raise ValueError("sensitive and l must be given together")
        others = [name for name in (self.by, self.sensitive) if name is not None]
        if len({*self.columns, *others}) < len(self.columns) + len(others):
            raise ValueError("a column must be one of columns, by and sensitive")
        return self

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        [left] = self.on(InMemory(frame), context).frames()
        return left

    def on(self, rows: Rows, context: Context) -> Rows:
        names = list(self.columns)
        context.require(rows, [*names, *filter(None, (self.by, self.sensitive))])
        coarse = rows.map(self._coarser, context)
        of_rows = coarse.select(names).fold(_combinations, added)
        sizes = of_rows if self.by is None else _distinct(coarse, names, self.by)
        values = {} if self.sensitive is None else _distinct(coarse, names, self.sensitive, missing=False)
        rare = {key for key in of_rows if sizes[key] < self.k or values.get(key, 0) < (self.l or 0)}
        removed = sum(of_rows[key] for key in rare)
        if rare and self.rare == "fail":
            raise errors.privacy(
                f"{removed} of {rows.count()} rows have a combination of {', '.join(names)} that {self.broken}:"
                " make them coarser, or say rare: remove"
            )
        context.report.append({**self.said, "removed_rows": removed})
        return coarse.map(partial(_without, columns=names, combinations=rare), context) if rare else coarse

    @property
    def said(self) -> dict[str, object]:
        """The report's words for what was asked for."""
        said = {"protected": ", ".join(self.columns), "by": self.name, "k": self.k}
        asked = {"persons": self.by, "l": self.l, "sensitive": self.sensitive}
        return said | {key: value for key, value in asked.items() if value is not None}

    @property
    def broken(self) -> str:
        """What a rare combination is."""
        few = f"fewer than {self.k} {f'persons ({self.by}) ' if self.by else ''}share"
        return few + (f", or that has fewer than {self.l} values of {self.sensitive}" if self.l else "")

    def operations(self) -> list[Operation]:
        return [
            {"column": column, "kind": "first", "characters": rule.first}
            if rule.width is None
            else {"column": column, "kind": "interval", "width": rule.width}
            for column, rule in self.columns.items()
        ]

    def _coarser(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        coarse = frame
        for operation in self.operations():
            coarse = transform(operation, coarse, context)
        return coarse


class Promise:
    """What a `generalise` promised, followed through the later steps to the columns that are published."""

    def __init__(self, step: Generalise, rows: Rows) -> None:
        self._step = step
        self._columns = list(step.columns)
        self._sensitive = [] if step.sensitive is None else [step.sensitive]
        self._by = [] if step.by is None else [step.by]
        self._filled = False
        self._changed_by: dict[str, None] = {}
        # Whose each row is: the column itself may be left out or masked later. 16 bytes a row.
        self._persons = None if step.by is None else rows.select([step.by]).fold(_by_place, _stacked)

    def follow(
        self, name: str, named: Collection[str], before: Sequence[str], after: Sequence[str], *, removed: bool
    ) -> None:
        """A step that ran on rows with the columns `before`, or on one part of them."""
        columns = _followed(self._columns, named, before, after)
        if removed or columns != self._columns or not {*named}.isdisjoint(self._columns):
            self._changed_by[name] = None
        if name == "fill" and not {*named}.isdisjoint(self._by):
            self._filled, self._changed_by[name] = True, None
        self._columns, self._sensitive = columns, _followed(self._sensitive, named, before, after)
        self._by = _followed(self._by, named, before, after)

    def judge(self, parts: Mapping[str, Rows], context: Context) -> None:
        """Raises DataError when what is published breaks it; else writes what holds into the report."""
        sizes, values = self._sizes(parts.values()), Counts()
        if self._sensitive:
            pairs = [
                part.select([*self._columns, *self._sensitive]).fold(
                    partial(_pairs, columns=self._columns, others=self._sensitive, missing=False), _union
                )
                for part in parts.values()
            ]
            values = _counted_pairs(pd.concat(pairs))
        smallest = min(sizes.values(), default=0)
        fewest = min((values.get(key, 0) for key in sizes), default=0)
        if smallest < self._step.k or (self._sensitive and fewest < (self._step.l or 0)):
            steps = ", ".join(self._changed_by) or "a later step"
            raise errors.privacy(
                f"what would be published has combinations of {', '.join(self._step.columns)} that"
                f" {self._step.broken}, after {steps}: put before generalise what removes rows or changes these columns"
            )
        held = {**self._step.said, "smallest_group": smallest}
        context.report.append(held | ({"fewest_values": fewest} if self._sensitive else {}))

    def _sizes(self, parts: Collection[Rows]) -> Counts:
        if self._persons is None:
            sizes: Counts = {}
            for part in parts:
                of_part: Counts = part.select(self._columns).fold(_combinations, added)
                sizes = added(sizes, of_part)
            return sizes
        published = np.concatenate([part.select(self._columns).fold(_by_place, _stacked) for part in parts])
        persons = self._persons[np.argsort(self._persons[:, 0])]
        whose = persons[np.searchsorted(persons[:, 0], published[:, 0]), 1]
        sizes = _counted_pairs(pd.DataFrame({"key": published[:, 1], "other": whose}).drop_duplicates())
        if not self._filled or not self._by:
            return sizes
        # Rows without a person have got one, who may be counted already.
        count = partial(_pairs, columns=self._columns, others=self._by, missing=True)
        told = _counted_pairs(
            pd.concat([part.select([*self._columns, *self._by]).fold(count, _union) for part in parts])
        )
        return {key: min(size, told.get(key, 0)) for key, size in sizes.items()}


def derived_beside(generalise: Generalise, before: Sequence[Step], dropped: Collection[str]) -> list[str]:
    """Columns that say more exactly what the step makes coarser, and would be published beside it: what was derived
    from one of its columns, or what one of them was derived from."""
    coarse, exact = generalise.columns, dict[str, None]()
    for one in (each for each in before if each.keeps):
        for origin, derived in one.derived.items():
            known = [name for name in derived if any(fnmatchcase(column, name) for column in coarse)]
            if origin in coarse:
                exact |= dict.fromkeys(name for name in derived if name not in known)
            elif known:
                exact[origin] = None
    return [name for name in exact if name not in dropped]


def _followed(tracked: list[str], named: Collection[str], before: Sequence[str], after: Sequence[str]) -> list[str]:
    """What a step made of columns: the same, or the new columns that it has in their place."""
    gone = [column for column in tracked if column in before and column not in after]
    touched = {*gone, *(column for column in tracked if column in named)}
    new = [column for column in after if column not in before]
    own = [column for column in new if column.startswith(tuple(touched))] if touched else []
    return [column for column in tracked if column not in gone] + (own or (new if gone else []))


def _keys(frame: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """A hash of each row's values; without columns all rows are alike."""
    return hashes(frame) if len(frame.columns) else np.zeros(len(frame), dtype="uint64")


def _combinations(frame: pd.DataFrame) -> Counts:
    """How many rows have each combination of values."""
    return counted(_keys(frame))


def _distinct(rows: Rows, columns: list[str], other: str, *, missing: bool = True) -> Counts:
    """How many distinct values of another column each combination has."""
    count = partial(_pairs, columns=columns, others=[other], missing=missing)
    return _counted_pairs(rows.select([*columns, other]).fold(count, _union))


def _pairs(frame: pd.DataFrame, *, columns: list[str], others: list[str], missing: bool) -> pd.DataFrame:
    kept = frame if missing else frame[frame[others].notna().any(axis=1)]
    return pd.DataFrame({"key": _keys(kept[columns]), "other": _keys(kept[others])}).drop_duplicates()


def _union(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([one, other]).drop_duplicates()


def _counted_pairs(pairs: pd.DataFrame) -> Counts:
    return counted(pairs.drop_duplicates()["key"].to_numpy())


def _by_place(frame: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """Each row's place of origin, and the hash of its values."""
    return np.stack([frame.index.to_numpy("int64").astype("uint64"), _keys(frame)], axis=1)


def _stacked(one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return np.concatenate([one, other])


def _without(frame: pd.DataFrame, _context: Context, *, columns: list[str], combinations: set[int]) -> pd.DataFrame:
    return frame[~np.isin(hashes(frame[columns]), np.array(list(combinations), dtype="uint64"))]
