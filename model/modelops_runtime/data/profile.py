"""The distributions of what a version publishes, and how far they are from the version's before: `profile.json` for
programs, `profile.html` for people.

What may be personal is not there. Of text, dates and columns that a step protects there are numbers of rows alone;
texts and numbers of few kinds are named where at least LEAST_ROWS rows have each, and there are several; numbers are
counted between edges that have at least LEAST_ROWS rows between them.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from modelops_runtime.artifacts.operations import Operation, columns_of
from modelops_runtime.artifacts.prepared import PROFILE_DATA, PROFILE_PAGE
from modelops_runtime.artifacts.stability import population_stability_index
from modelops_runtime.data import nested
from modelops_runtime.data.table import Rows

if TYPE_CHECKING:
    from modelops_runtime.data.storage import Place

MOST_COLUMNS = 200
"""More of them are only counted: a page that nobody can read helps nobody."""
MOST_VALUES = 20
LEAST_ROWS = 10
BINS = 18
Array = npt.NDArray[Any]
Kind = Literal["number", "values", "counted", "protected"]


@dataclass
class Column:
    """A column: what its rows are counted by, and how many there are of each in every part, those without a value last.

    `number`: below the first of `edges`, between them, from the last on. `values`: each of `values`, then all others.
    """

    name: str
    kind: Kind
    edges: Sequence[float] = ()
    values: Sequence[str] = ()
    columns: Sequence[str] = ()
    """Those of a one-hot encoding, one a value."""
    counts: Any = None

    def count(self, frame: pd.DataFrame) -> Array:
        if self.columns and self.kind == "values":
            ones = [int(frame[name].sum()) for name in self.columns]
            return np.array([*ones, len(frame) - sum(ones), 0])
        if self.columns:
            return np.array([len(frame), 0])
        missing = frame[self.name].isna().to_numpy()
        there = frame[self.name][~missing]
        if self.kind == "number":
            bins = np.searchsorted(self.edges, there.to_numpy(dtype="float64"), side="right")
            return np.append(np.bincount(bins, minlength=self.size), missing.sum())
        counts, places = [0] * self.size, {value: place for place, value in enumerate(self.values)}
        for value, count in there.value_counts().items() if self.kind == "values" else [("", len(there))]:
            counts[places.get(_named(value), -1)] += count
        return np.array([*counts, missing.sum()])

    @property
    def size(self) -> int:
        """How many counts there are beside that of missing values."""
        return {"number": len(self.edges) + 1, "values": len(self.values) + 1}.get(self.kind, 1)

    def shares(self, part: str) -> list[float]:
        total = sum(self.counts[part]) or 1
        return [count / total for count in self.counts[part]]


@dataclass(frozen=True)
class Profile:
    """All columns of a version, and those of the one before."""

    rows: Mapping[str, int]
    columns: Sequence[Column]
    left_out: int
    """Columns beyond MOST_COLUMNS."""
    before: str = ""
    """The version before, if it has a profile."""
    drift: Mapping[str, float | None] | None = None
    """Of each column the population stability index of the training split against the version before; None: it had no
    such column, or another kind."""

    def files(self, version: str) -> dict[str, str]:
        """Name and text of what is published."""
        from modelops_runtime.data import profile_page

        content = {"rows": dict(self.rows), "columns": [{**asdict(column), "columns": []} for column in self.columns]}
        return {PROFILE_DATA: json.dumps(content) + "\n", PROFILE_PAGE: profile_page.render(version, self)}


def newest(place: "Place") -> tuple[str, str]:
    """Name and PROFILE_DATA of the newest version; both are empty where there is none."""
    try:
        version = str(json.loads(place.read_text("latest.json"))["data_version"])
        return version, place.read_text(f"{version}/{PROFILE_DATA}")
    except (OSError, ValueError, KeyError):
        return "", ""


def of(
    parts: Mapping[str, Rows], operations: Sequence[Operation], protected: Sequence[str], before: tuple[str, str]
) -> Profile:
    """The profile of a version. `before` is the name and PROFILE_DATA of the one before; both are empty without one."""
    train = parts["train"]
    sample = next(train.blocks())
    encoded = {each["column"]: columns_of(each) for each in operations if each["kind"] == "one_hot"}
    encodings = {name for columns in encoded.values() for name in columns}
    names = [*encoded, *(name for name in map(str, sample.columns) if name not in encodings)]
    columns = [
        _one_hot(name, encoded[name], protected) if name in encoded else _column(name, sample[name], protected)
        for name in names[:MOST_COLUMNS]
    ]
    previous = {entry["name"]: Column(**entry) for entry in json.loads(before[1])["columns"]} if before[1] else {}
    # Counted by the edges of the version before too, so that both are of the same bins.
    again = [
        Column(column.name, "number", old.edges)
        for column in columns
        if (old := previous.get(column.name)) and old.kind == column.kind == "number"
    ]
    for part, rows in parts.items():
        counting = [*columns, *again] if part == "train" else columns
        counted: list[Array] = rows.fold(partial(_counted, counting), _added)
        for column, counts in zip(counting, counted, strict=True):
            column.counts = {**(column.counts or {}), part: counts.tolist()}
    columns = [_without_rare(column) for column in columns]
    now = {column.name: column for column in columns} | {column.name: column for column in again}
    drift = {column.name: _drift(previous.get(column.name), now[column.name]) for column in columns}
    rows_of_parts = {part: rows.count() for part, rows in parts.items()}
    return Profile(rows_of_parts, columns, max(len(names) - MOST_COLUMNS, 0), before[0], drift if before[1] else None)


def _one_hot(name: str, columns: Sequence[str], protected: Sequence[str]) -> Column:
    if _is_protected(name, protected):
        return Column(name, "protected", columns=columns)
    return Column(name, "values", values=[column[len(name) + 1 :] for column in columns], columns=columns)


def _is_protected(name: str, protected: Sequence[str]) -> bool:
    return any(name == hidden or name.startswith((f"{hidden}=", f"{hidden}_")) for hidden in protected)


def _column(name: str, sample: "pd.Series[Any]", protected: Sequence[str]) -> Column:
    if _is_protected(name, protected):
        return Column(name, "protected")
    if nested.is_nested(sample) or _is_time(sample):
        return Column(name, "counted")
    there = sample.dropna()
    is_number = pd.api.types.is_numeric_dtype(sample) and not pd.api.types.is_bool_dtype(sample)
    distinct = there.unique()
    # One text alone says what everybody has.
    if (0 if is_number else 1) < len(distinct) <= min(MOST_VALUES, len(there) / LEAST_ROWS):
        return Column(name, "values", values=sorted(map(_named, distinct)))
    if not is_number:
        return Column(name, "counted")
    numbers = there.to_numpy(dtype="float64")
    return Column(name, "number", edges=_edges(numbers[np.isfinite(numbers)]))


def _is_time(sample: "pd.Series[Any]") -> bool:
    """Whether it has dates, times or durations, as pandas or as Arrow has them."""
    if isinstance(sample.dtype, pd.ArrowDtype):
        return bool(pa.types.is_temporal(sample.dtype.pyarrow_dtype))
    return sample.dtype.kind in "mM"


def _named(value: Any) -> str:
    number = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if number else str(value)


def _edges(numbers: Array) -> list[float]:
    """Round numbers between which nearly all are."""
    if not len(numbers):
        return [0.0]
    low, high = np.quantile(numbers, [0.01, 0.99])
    width = float(high) - float(low) or abs(float(low)) or 1.0
    if not math.isfinite(width):
        return [float(low), 0.0, float(high)]
    rough = max(width / BINS, sys.float_info.min)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


def _counted(columns: Sequence[Column], frame: pd.DataFrame) -> list[Array]:
    return [column.count(frame) for column in columns]


def _added(one: list[Array], other: list[Array]) -> list[Array]:
    return [left + right for left, right in zip(one, other, strict=True)]


def _without_rare(column: Column) -> Column:
    """Values that few rows have are among the others, unnamed, in all parts; numbers of few rows between wider
    edges."""
    if column.kind == "number":
        return _wider(column)
    if column.kind != "values":
        return column
    places = sorted(range(len(column.values)), key=lambda place: -_rows(column, place))[:MOST_VALUES]
    kept = [place for place in sorted(places) if _rows(column, place) >= LEAST_ROWS]
    rare = [place for place in range(len(column.values) + 1) if place not in kept]
    counts = {
        part: [*(found[place] for place in kept), sum(found[place] for place in rare), found[-1]]
        for part, found in column.counts.items()
    }
    return Column(column.name, "values", values=[column.values[place] for place in kept], counts=counts)


def _wider(column: Column) -> Column:
    """Without the edges that have few rows before them, all parts together."""
    kept: list[float] = []
    counts: dict[str, list[int]] = {part: [0] for part in column.counts}
    for place in range(column.size):
        if sum(found[-1] for found in counts.values()) >= LEAST_ROWS and _after(column, place) >= LEAST_ROWS:
            kept.append(column.edges[place - 1])
            counts = {part: [*found, 0] for part, found in counts.items()}
        for part, found in counts.items():
            found[-1] += column.counts[part][place]
    if not kept:  # one number of rows is no distribution
        return Column(
            column.name,
            "counted",
            counts={part: [sum(found), column.counts[part][-1]] for part, found in counts.items()},
        )
    whole = {part: [*found, column.counts[part][-1]] for part, found in counts.items()}
    return Column(column.name, "number", edges=kept, counts=whole)


def _after(column: Column, place: int) -> int:
    """The rows from a bin on."""
    return sum(sum(counts[place : column.size]) for counts in column.counts.values())


def _rows(column: Column, place: int) -> int:
    return sum(counts[place] for counts in column.counts.values())


def _drift(old: Column | None, new: Column) -> float | None:
    if old is None or old.kind != new.kind:
        return None
    if old.kind != "values":
        return population_stability_index(old.shares("train"), new.counts["train"])
    values = sorted({*old.values, *new.values})
    expected, counts = _by_value(old, values), _by_value(new, values)
    total = sum(expected) or 1
    return population_stability_index([count / total for count in expected], counts)


def _by_value(column: Column, values: Sequence[str]) -> list[int]:
    *named, others, missing = column.counts["train"]
    found = dict(zip(column.values, named, strict=True))
    return [*(found.get(value, 0) for value in values), others, missing]
