"""Distributions of features and predictions, and how far they are from those of training and test."""

from bisect import bisect_left
from collections.abc import Mapping

import numpy as np

from modelops_runtime.artifacts.manifest import BASELINE_COLUMNS, ROWS_PER_BIN, Manifest
from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.artifacts.stability import population_stability_index

EDGES = (-1000.0, -100.0, -10.0, -1.0, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 10.0, 100.0, 1000.0)
"""Of the histogram of a model without a baseline."""
WINDOW_ROWS = 1000
"""Drift is measured over the last 1,000 to 2,000 rows."""
FEW_ROWS = 16
"""Up to so many are counted faster one by one than by NumPy, whose calls cost some microseconds for each column."""


class Column:
    """Counts of one output column, by bin."""

    __slots__ = ("_before", "_expected", "_last", "counts", "edges", "total")

    def __init__(self, edges: tuple[float, ...], expected: tuple[float, ...] = ()) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0
        self._expected = expected
        self._before = self._last = list(self.counts)

    def one(self, value: float) -> None:
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value

    def many(self, values: Array) -> None:
        bins = np.searchsorted(self.edges, values, side="left")
        for number, count in enumerate(np.bincount(bins, minlength=len(self.counts)).tolist()):
            self.counts[number] += count
        self.total += float(values.sum(dtype="float64"))

    def turn(self) -> None:
        """Begin a new window; the previous one still counts until the next turn."""
        self._before, self._last = self._last, list(self.counts)

    def drift(self) -> float | None:
        """None without a baseline, or with too few rows to judge."""
        recent = [now - before for now, before in zip(self.counts, self._before, strict=True)]
        if not self._expected or sum(recent) < ROWS_PER_BIN * len(recent):
            return None
        return population_stability_index(self._expected, recent)


class Watch:
    """The predictions of one model, column by column; only the first columns of a wide output. And its features, where
    the manifest says how they were spread."""

    def __init__(self, columns: Mapping[str, Column], features: Mapping[str, Column]) -> None:
        """By the names that the metrics' labels have."""
        self.columns = columns
        self.features = features
        self._all = [*columns.values(), *features.values()]
        self._only = next(iter(columns.values())) if len(columns) == 1 else None
        self._rows = 0

    def asked(self, rows: Array) -> None:
        """`rows` are as the model takes them. Before `predicted` of the same rows."""
        _count(self.features, rows)

    def predicted(self, outputs: Array) -> None:
        """`outputs` are finite."""
        rows = len(outputs)
        if rows == outputs.size == 1 and self._only is not None:
            self._only.one(outputs.item())
        elif rows:
            _count(self.columns, outputs.reshape(rows, -1))
        self._rows += rows
        if self._rows >= WINDOW_ROWS:
            self._rows = 0
            for column in self._all:
                column.turn()


def _count(columns: Mapping[str, Column], rows: Array) -> None:
    """The first of each row's values, a column each."""
    values = rows[:, : len(columns)].T
    if len(rows) > FEW_ROWS:
        for column, each in zip(columns.values(), values, strict=True):
            column.many(each)
        return
    for column, each in zip(columns.values(), values.tolist(), strict=True):
        for value in each:
            column.one(value)


def watch_of(manifest: Manifest) -> Watch:
    width = min(manifest.outputs.numbers_per_row, BASELINE_COLUMNS)
    columns = [Column(bins.edges, bins.fractions) for bins in manifest.baseline[:width]]
    columns += [Column(EDGES) for _column in range(width - len(columns))]
    features = {name: Column(bins.edges, bins.fractions) for name, bins in manifest.features.items()}
    return Watch({str(number): column for number, column in enumerate(columns)}, features)
