"""Rows, in one process's memory (`InMemory`) or in pieces on several workers (`Pieces`, in dask_table.py).

Steps that look at more than one row are written against `Rows` alone, so that both ways give the same result: what
they learn must not depend on how the rows are divided. That is why counts, sets and ranks are combined from
pieces, and sums are taken over equal blocks (`blocks`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from modelops_runtime.artifacts.operations import Operation
from modelops_runtime.data import nested
from modelops_runtime.data.context import Context
from modelops_runtime.data.transform import transform

if TYPE_CHECKING:
    from modelops_runtime.data.storage import Place

BLOCK_ROWS = 50_000
"""Rows summed at a time; the last bits of a mean depend on it."""
SECOND_KEY = "modelops-second!"
Hashes = npt.NDArray[np.uint64]
T = TypeVar("T")
OfPiece = Callable[[pd.DataFrame, Context], pd.DataFrame]
NumbersOfParts = Callable[[pd.DataFrame], npt.NDArray[Any]]


class Rows(ABC):
    """A table in its order. Its index is each row's place of origin."""

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """Names, in their order."""

    @property
    @abstractmethod
    def nested(self) -> set[str]:
        """The columns whose cells are lists or objects."""

    @abstractmethod
    def count(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def map(self, function: OfPiece, context: Context) -> "Rows":
        """The result of `function` for each piece; its reports are added to `context`. Raises DataError."""

    @abstractmethod
    def divide(self, keys: "Rows", function: NumbersOfParts, parts: int, context: Context) -> Sequence["Rows"]:
        """`parts` parts: `function` returns the number of each row's part, from 0, by the rows of `keys`, which `map`
        made of these."""

    @abstractmethod
    def fold(self, function: Callable[[pd.DataFrame], T], together: Callable[[T, T], T]) -> T:
        """The results of `function` for each piece, combined in any order."""

    @abstractmethod
    def frames(self) -> Iterator[pd.DataFrame]:
        """The pieces, one after another, here."""

    @abstractmethod
    def select(self, columns: Sequence[str]) -> "Rows":
        """These columns alone."""

    @abstractmethod
    def transformed(self, operation: Operation, context: Context) -> "Rows":
        """With an operation's results in place of its column. Raises DataError, now or when they are read."""

    @abstractmethod
    def distinct(self, columns: Sequence[str] | None, keep: str, context: Context) -> "Rows":
        """The `first` or `last` of the rows that are equal in `columns` (None: all)."""

    @abstractmethod
    def write(self, place: "Place", folder: str) -> None:
        """Files under `folder` of the place, without the index, whose order is the rows'."""

    def blocks(self) -> Iterator[pd.DataFrame]:
        """BLOCK_ROWS at a time, the last one fewer, wherever the pieces begin and end."""
        pending: list[pd.DataFrame] = []
        have = 0
        for frame in self.frames():
            pending.append(frame)
            have += len(frame)
            if have >= BLOCK_ROWS:
                joined = pd.concat(pending) if len(pending) > 1 else frame
                whole = have - have % BLOCK_ROWS
                for start in range(0, whole, BLOCK_ROWS):
                    yield joined.iloc[start : start + BLOCK_ROWS]
                pending, have = [joined.iloc[whole:]], have - whole
        if have:
            yield pd.concat(pending)


class InMemory(Rows):
    """All rows in one process's memory."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    @property
    def columns(self) -> list[str]:
        return list(self.frame.columns)

    @property
    def nested(self) -> set[str]:
        return {name for name in self.frame.columns if nested.is_nested(self.frame[name])}

    def count(self) -> int:
        return len(self.frame)

    def map(self, function: OfPiece, context: Context) -> "InMemory":
        return InMemory(function(self.frame, context))

    def divide(self, keys: Rows, function: NumbersOfParts, parts: int, context: Context) -> Sequence["InMemory"]:
        [of_rows] = keys.frames()
        numbers = function(of_rows)
        return [InMemory(self.frame[numbers == number]) for number in range(parts)]

    def fold(self, function: Callable[[pd.DataFrame], T], together: Callable[[T, T], T]) -> T:
        return function(self.frame)

    def frames(self) -> Iterator[pd.DataFrame]:
        yield self.frame

    def select(self, columns: Sequence[str]) -> "InMemory":
        return InMemory(self.frame[list(columns)])

    def transformed(self, operation: Operation, context: Context) -> "InMemory":
        return InMemory(transform(operation, self.frame, context))

    def distinct(self, columns: Sequence[str] | None, keep: str, context: Context) -> "InMemory":
        compared = comparable(self.frame if columns is None else self.frame[list(columns)])
        likely = _with_equal_numbers(compared)
        others = likely.copy()
        others[likely] = compared[likely].duplicated(keep=keep)
        return InMemory(self.frame[~others])

    def write(self, place: "Place", folder: str) -> None:
        place.write_table(f"{folder}/part-00000.parquet", self.frame.reset_index(drop=True))


def _with_equal_numbers(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """The rows that have all numbers in common with another row: to compare their texts too takes most of the time."""
    numbers = frame.select_dtypes("number")
    if not len(numbers.columns):
        return np.ones(len(frame), dtype=bool)
    likely: npt.NDArray[np.bool_] = pd.Series(hashes(numbers)).duplicated(keep=False).to_numpy()
    return likely


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with cells that can be compared and hashed."""
    return frame.assign(
        **{name: nested.as_text(frame[name]) for name in frame.columns if nested.is_nested(frame[name])}
    )


def hashes(frame: pd.DataFrame, key: str | None = None) -> Hashes:
    """64 bits for each row, the same for equal rows (as groupby sees them: 0 and -0, NaN and NaN), in every process."""
    if key is not None:
        # Numbers are hashed without a key: reversing the columns changes how they are combined.
        frame = frame.iloc[:, ::-1]
    # A block at a time: of texts, pandas makes Python's objects, which need several times the memory.
    starts = range(0, max(len(frame), 1), BLOCK_ROWS)
    return np.concatenate([_hashed(frame.iloc[start : start + BLOCK_ROWS], key) for start in starts])


def _hashed(frame: pd.DataFrame, key: str | None) -> Hashes:
    plain = {name: _plain(nested.comparable(frame[name])) for name in frame.columns}
    table = pd.DataFrame(plain, index=frame.index)
    options: dict[str, Any] = {} if key is None else {"hash_key": key}
    hashed: Hashes = pd.util.hash_pandas_object(table, index=False, **options).to_numpy("uint64")
    return hashed


def _plain(column: pd.Series) -> pd.Series:
    if column.dtype.kind == "f" and isinstance(column.dtype, np.dtype):
        return (column + 0.0).where(column.notna(), np.nan)
    return column


def shuffled(keys: Hashes, seed: int) -> Hashes:
    """The keys in another order for every seed: splitmix64's finalizer, which no two keys share a result of."""
    mixed = keys ^ np.random.default_rng(seed).integers(2**64, size=1, dtype="uint64")
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def counted(values: Any) -> dict[Any, int]:
    """How often each value occurs."""
    distinct, counts = np.unique(values, return_counts=True)
    return dict(zip(distinct.tolist(), counts.tolist(), strict=True))


def added(one: dict[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    for value, count in other.items():
        one[value] = one.get(value, 0) + count
    return one
