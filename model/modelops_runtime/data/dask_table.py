"""Rows in pieces: files at the destination, worked on by Dask on the workers of one run.

Dask hands out the work, repeats what a lost worker had, and brings equal rows together (its p2p shuffle, which goes by
way of the disk). A worker has one piece in memory at a time; between steps pieces are files again.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from modelops_runtime.artifacts.operations import Operation, columns_of
from modelops_runtime.contract import ContractError
from modelops_runtime.data import dask_cluster, nested
from modelops_runtime.data.context import Context
from modelops_runtime.data.progress import Progress, those_done
from modelops_runtime.data.table import BLOCK_ROWS, SECOND_KEY, NumbersOfParts, OfPiece, Rows, hashes
from modelops_runtime.data.transform import transform

if TYPE_CHECKING:
    from distributed import Client

    from modelops_runtime.data.storage import Place

BATCHES = 4
"""Pieces are folded in so many batches a worker: what comes back doesn't grow with the pieces."""
T = TypeVar("T")


@dataclass(frozen=True)
class Piece:
    """Some rows in their order, in one or several files."""

    files: tuple[str, ...]
    rows: int
    first: int
    """No row's index is smaller."""


@dataclass(frozen=True)
class Reading:
    """What a worker needs to read a piece."""

    place: "Place"
    schema: pd.DataFrame
    """No rows, with the columns and types that all pieces together have."""
    operations: tuple[Operation, ...] = ()
    columns: tuple[str, ...] | None = None
    """The columns that are wanted, after the operations; None: all."""

    def __call__(self, piece: Piece, context: Context) -> pd.DataFrame:
        needed, operations = self._needed()
        columns = [name for name in self.schema.columns if needed is None or name in needed]
        frames = [self.place.read_table(file, columns=columns) for file in piece.files]
        schema = self.schema[columns]
        frame = pd.concat([frame.reindex(columns=schema.columns).astype(schema.dtypes) for frame in frames])
        for operation in operations:
            frame = transform(operation, frame, context)
        return frame if self.columns is None else frame[list(self.columns)]

    def _needed(self) -> tuple[set[str] | None, list[Operation]]:
        """The files' columns that the needed columns are computed from, and the operations that compute them."""
        if self.columns is None:
            return None, list(self.operations)
        needed, operations = set(self.columns), list[Operation]()
        for operation in reversed(self.operations):
            if needed.intersection(results := columns_of(operation)):
                needed = needed.difference(results) | {operation["column"]}
                operations.insert(0, operation)
        return needed, operations


class Pieces(Rows):
    """See the module. Every method that returns rows but `select` and `transformed` writes new pieces."""

    def __init__(self, engine: "Engine", pieces: Sequence[Piece], reading: Reading, context: Context) -> None:
        self._engine, self._pieces, self._reading, self._context = engine, pieces, reading, context

    @property
    def columns(self) -> list[str]:
        if self._reading.columns is not None:
            return list(self._reading.columns)
        columns = list(self._reading.schema.columns)
        for operation in self._reading.operations:
            at = columns.index(operation["column"])
            columns[at : at + 1] = columns_of(operation)
        return columns

    @property
    def nested(self) -> set[str]:
        schema = self._reading.schema
        return {name for name in self.columns if name in schema.columns and nested.is_nested(schema[name])}

    def count(self) -> int:
        return sum(piece.rows for piece in self._pieces)

    def map(self, function: OfPiece, context: Context) -> "Pieces":
        [pieces] = self._divided(partial(_alone, function), 1, context)
        return pieces

    def divide(self, keys: Rows, function: NumbersOfParts, parts: int, context: Context) -> Sequence["Pieces"]:
        assert isinstance(keys, Pieces)
        parted = partial(_parted, keys._reading, function=function, parts=parts)
        return self._divided(parted, parts, context, keys._pieces)

    def fold(self, function: Callable[[pd.DataFrame], T], together: Callable[[T, T], T]) -> T:
        batches = self._engine.batches(self._pieces)
        partial_results = self._engine.run(
            partial(_fold, self._reading, _quiet(self._context), function, together), batches
        )
        folded: T = reduce(together, partial_results)
        return folded

    def frames(self) -> Iterator[pd.DataFrame]:
        for piece in self._pieces:
            yield self._reading(piece, self._context)

    def select(self, columns: Sequence[str]) -> "Pieces":
        self._context.require(self, columns)
        return Pieces(self._engine, self._pieces, replace(self._reading, columns=tuple(columns)), self._context)

    def transformed(self, operation: Operation, context: Context) -> "Pieces":
        context.require(self, [operation["column"]])
        reading = replace(self._reading, operations=(*self._reading.operations, operation))
        return Pieces(self._engine, self._pieces, reading, self._context)

    def distinct(self, columns: Sequence[str] | None, keep: str, context: Context) -> "Pieces":
        """Rows are the same when 128 bits of their hashes are."""
        import dask
        import dask.dataframe as dd

        keys = self.map(partial(_row_keys, columns=None if columns is None else list(columns)), context)
        pieces = [piece for piece in keys._pieces if piece.rows]
        empty = keys._reading.schema.assign(place=pd.Series(dtype="int64"))
        table = dd.from_map(partial(_with_place, keys._reading, _quiet(context)), pieces, meta=empty)
        others = table.shuffle("a").map_partitions(_others, keep, meta=empty[["place"]])
        # Back to the pieces that they are of: divisions are where those begin.
        divisions = [piece.first for piece in pieces] + [2**62]
        to_each = others.set_index("place", divisions=divisions, drop=False).to_delayed()
        folder, owners = self._engine.folder(), [piece for piece in self._pieces if piece.rows]
        left = [
            dask.delayed(_leave_out, pure=False)(self._reading, _quiet(context), piece, rest, f"{folder}/{number:06}")
            for number, (piece, rest) in enumerate(zip(owners, to_each, strict=True))
        ]
        pieces = self._engine.results(self._engine.client.compute(left))
        return Pieces(self._engine, pieces, self._reading_of(pieces), context)

    def write(self, place: "Place", folder: str) -> None:
        numbered = enumerate(piece for piece in self._pieces if piece.rows)
        self._engine.run(partial(_publish, self._reading, _quiet(self._context), place, folder), list(numbered))

    def _divided(
        self, function: Callable[..., Sequence[pd.DataFrame]], parts: int, context: Context, *more: Sequence[Piece]
    ) -> Sequence["Pieces"]:
        """`more`: the pieces of other rows, each going with one of these to `function`."""
        folder = self._engine.folder()
        divided = self._engine.run(
            partial(_rewrite, self._reading, _quiet(context), function, folder),
            list(enumerate(zip(self._pieces, *more, strict=True))),
        )
        context.report += itertools.chain.from_iterable(entries for _pieces, entries in divided)
        of_parts = [[pieces[part] for pieces, _entries in divided] for part in range(parts)]
        return [Pieces(self._engine, pieces, self._reading_of(pieces), context) for pieces in of_parts]

    def _reading_of(self, pieces: Sequence[Piece]) -> Reading:
        schemas = self._engine.run(partial(_schema, self._reading.place), self._engine.batches(pieces))
        return Reading(self._reading.place, pd.concat(schemas))


class Engine:
    """A Dask cluster, and where the pieces are."""

    def __init__(self, client: "Client", place: "Place", folder: str, workers: int, progress: Progress) -> None:
        self.client = client
        self._progress = progress
        self._place, self._folder, self._workers = place, folder, workers
        self._stages = itertools.count()

    def open(self, files: Sequence[tuple[str, int, int]], context: Context) -> Pieces:
        """Rows of files, each with its number of rows and its first index; the files of small ones together."""
        pieces: list[Piece] = []
        for name, rows, first in files:
            if pieces and pieces[-1].rows + rows <= BLOCK_ROWS:
                last = pieces[-1]
                pieces[-1] = Piece((*last.files, name), last.rows + rows, last.first)
            else:
                pieces.append(Piece((name,), rows, first))
        schemas = self.run(partial(_schema, self._place), self.batches(pieces))
        return Pieces(self, pieces, Reading(self._place, pd.concat(schemas)), context)

    def folder(self) -> str:
        """Where the next step's pieces go."""
        return f"{self._folder}/stage-{next(self._stages):03}"

    def batches(self, pieces: Sequence[Piece]) -> list[Sequence[Piece]]:
        """A few for each worker, in their order, none empty."""
        size = -(-len(pieces) // (BATCHES * self._workers))
        return [pieces[start : start + size] for start in range(0, len(pieces), size)]

    def run(self, function: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
        """The result of `function` for each, computed on the workers. Raises the error of the first that failed."""
        return self.results(self.client.map(partial(_guarded, function), items, pure=False, key=_name(function)))

    def results(self, futures: Sequence[Any]) -> list[Any]:
        self._progress.of_these(those_done(futures, lambda future: bool(future.done()), "parts"))
        results: list[Any] = self.client.gather(list(futures))
        self._progress.of_these(None)  # workers keep the results of futures that somebody still has
        for result in results:
            if isinstance(result, ContractError):
                raise result
        return results


@contextmanager
def engine(place: "Place", folder: str, workers: int, progress: Progress | None = None) -> Iterator[Engine]:
    """The workers of a run, led by this process."""
    with dask_cluster.led(place, folder) as client:
        yield Engine(client, place, folder, workers, progress or Progress())


def _guarded(function: Callable[[Any], Any], item: Any) -> Any:
    """Returns a data error as a result: if it were raised, Dask would print more than may be shown."""
    try:
        return function(item)
    except ContractError as error:
        return error


def _name(function: Any) -> str:
    return str(getattr(getattr(function, "func", function), "__name__", "step")).strip("_")


def _quiet(context: Context) -> Context:
    """What travels to a worker: without what was reported so far."""
    return Context(files=context.files, salt=context.salt)


def _alone(function: OfPiece, frame: pd.DataFrame, context: Context) -> Sequence[pd.DataFrame]:
    return [function(frame, context)]


def _parted(
    reading: Reading, frame: pd.DataFrame, context: Context, keys: Piece, *, function: NumbersOfParts, parts: int
) -> Sequence[pd.DataFrame]:
    numbers = function(reading(keys, context))
    return [frame[numbers == number] for number in range(parts)]


def _fold(reading: Reading, context: Context, function: Any, together: Any, pieces: Sequence[Piece]) -> Any:
    return reduce(together, (function(reading(piece, context)) for piece in pieces))


def _rewrite(
    reading: Reading, context: Context, function: Any, folder: str, numbered: tuple[int, tuple[Piece, ...]]
) -> tuple[list[Piece], list[dict[str, Any]]]:
    number, (piece, *more) = numbered
    fresh = replace(context, report=[])
    rewritten = []
    for part, frame in enumerate(function(reading(piece, fresh), fresh, *more)):
        name = f"{folder}/{number:06}-{part}.parquet"
        reading.place.write_table(name, frame, index=True)
        rewritten.append(Piece((name,), len(frame), piece.first))
    return rewritten, list(fresh.report)


def _schema(place: "Place", pieces: Sequence[Piece]) -> pd.DataFrame:
    return pd.concat([place.read_schema(file) for piece in pieces for file in piece.files])


def _publish(reading: Reading, context: Context, place: "Place", folder: str, numbered: tuple[int, Piece]) -> None:
    number, piece = numbered
    frame = reading(piece, context).reset_index(drop=True)
    place.write_table(f"{folder}/part-{number:05}.parquet", frame)


def _row_keys(frame: pd.DataFrame, _context: Context, *, columns: list[str] | None) -> pd.DataFrame:
    compared = frame if columns is None else frame[columns]
    return pd.DataFrame({"a": hashes(compared), "b": hashes(compared, SECOND_KEY)}, index=frame.index)


def _with_place(reading: Reading, context: Context, piece: Piece) -> pd.DataFrame:
    frame = reading(piece, context)
    return frame.assign(place=frame.index.to_numpy("int64"))


def _others(frame: pd.DataFrame, keep: str) -> pd.DataFrame:
    """The places of all but the first or last of equal rows."""
    ordered = frame.sort_values("place")
    return ordered.loc[ordered.duplicated(["a", "b"], keep=keep), ["place"]]


def _leave_out(reading: Reading, context: Context, piece: Piece, others: pd.DataFrame, name: str) -> Piece:
    frame = reading(piece, context)
    left = frame[~frame.index.isin(others["place"])]
    reading.place.write_table(f"{name}.parquet", left, index=True)
    return Piece((f"{name}.parquet",), len(left), piece.first)
