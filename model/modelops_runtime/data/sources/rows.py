"""The rows of sources, batch by batch, and the columns that all rows of a source have."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pyarrow as pa

from modelops_runtime.contract import Exit
from modelops_runtime.data import errors
from modelops_runtime.data.sources import columns, delimited, images, json_lines, parquet
from modelops_runtime.data.sources import source as sources
from modelops_runtime.data.sources.column_types import ANY, ARROW, Kinds, WrongValue, typed
from modelops_runtime.data.sources.columns import Batch, Columns
from modelops_runtime.data.sources.files import reason, unreadable
from modelops_runtime.data.sources.source import Source


@dataclass(frozen=True)
class Portion:
    """Files of a source that a worker takes as a whole."""

    source: Source
    number: int
    """The first file's."""
    files: Sequence[str]

    def batches(self) -> Iterator[Batch]:
        """Its rows, some at a time. Raises DataError."""
        if self.source.format == "images":
            yield _of_images(self.source, self.files, self.number)
        else:
            yield from batches(self.source, self.files[0], self.number)


def portions(source: Source, files: Sequence[str], number: int, shards: int) -> list[Portion]:
    """What workers take as a whole: a file, or some images. `number` is the first file's."""
    ranges = (
        images.portions(files, shards) if source.format == "images" else [range(n, n + 1) for n in range(len(files))]
    )
    return [Portion(source, number + some[0], [files[n] for n in some]) for some in ranges]


def chunks(source: Source, files: Sequence[str], number: int = 0, rows: int | None = None) -> Iterator[pd.DataFrame]:
    """The rows of `files`, some at a time; their index has their place, `number` being the first file's. Raises
    DataError: a file can't be read, or a value is not of its column's type."""
    schema = table_schema(source, files)
    for at, file in enumerate(files, start=number):
        for batch in batches(source, file, at, rows):
            if len(batch.table):
                yield columns.to_frame(settled(source, batch, schema), columns.index_of([batch]))


def table_schema(source: Source, files: Sequence[str], texts: Collection[str] = ()) -> pa.Schema:
    """The columns of all `files`, with types that hold for all of their rows; `texts` are text whatever is in them.
    Reads the rows where the files don't say what they are, nor the declaration. Raises DataError."""
    found = finding(source, texts)
    for number, file in enumerate(files):
        known = _known(source, file, number)
        for batch in batches(source, file, number) if known is None else [known]:
            found.add(batch)
    return found.schema()


def finding(source: Source, texts: Collection[str] = ()) -> Columns:
    """What finds out the types that aren't declared."""
    return Columns(source.numerals(source.format), texts)


def settled(source: Source, batch: Batch, schema: pa.Schema) -> pa.Table:
    """A batch's rows with the types of all rows. Raises DataError."""
    return columns.settled(batch, schema, source.numerals(source.format))


def _known(source: Source, file: str, number: int) -> Batch | None:
    """A row without values, of a file whose columns and types are known before its rows are read. Raises DataError."""
    try:
        if source.format == "images":
            return _of_images(source, [file], number)
        if source.format == "csv":
            names = source.names_of(file)
            known = {name: ARROW[source.types[name]] for name in names if name in source.types}
            if len(known) < len(names):
                return None
            rows = 1
        elif source.format == "parquet" or source.is_table:
            schema = source.snapshot.schema if source.is_table else parquet.schema(file)
            _require(source, file, schema.names)
            kinds = {name: ARROW[kind] for name, kind in source.types.items()}
            known = {entry.name: kinds.get(entry.name, columns.plain_type(entry.type)) for entry in schema}
            rows = 1 if source.is_table else min(parquet.count(file), 1)
        else:
            return None
    except unreadable() as error:
        raise errors.unreadable(file, reason(error)) from error
    table = pa.schema(list(known.items())).empty_table()
    table = pa.table({name: pa.nulls(rows, kind) for name, kind in known.items()}) if rows else table
    return _with_folders(source, Batch(file, number, 0, table, {}, lambda _row: None))


def batches(source: Source, file: str, number: int, rows: int | None = None) -> Iterator[Batch]:
    """The rows with the types that are declared, and text where no type is known yet; of a file without rows, its
    columns. Raises DataError."""
    readers = {"csv": _of_csv, "jsonl": _of_json_lines}
    try:
        if source.format == "images":
            yield _of_images(source, [file], number)
            return
        for batch in readers.get(source.format, _of_tables)(source, file, number, rows or sources.CHUNK_ROWS):
            yield _with_folders(source, batch)
    except unreadable() as error:
        raise errors.unreadable(file, reason(error)) from error


def _of_images(source: Source, files: Sequence[str], number: int) -> Batch:
    """A row for each of some images; `number` is the first one's."""
    table = images.rows(source.folder, files)
    return Batch(files[0], number, 0, table, {}, lambda _row: None, each_a_file=True)


def _with_folders(source: Source, batch: Batch) -> Batch:
    """With the columns whose values are in the names of the file's folders. Raises DataError."""
    table, kinds = batch.table, dict(batch.kinds)
    for name, value in source.folders(batch.file).items():
        if name in table.column_names:
            continue
        values = pa.array([value], pa.string())
        if (kind := source.types.get(name)) is None:
            kinds[name] = None
        else:
            try:
                values = typed(values, kind, source.numerals(source.format))
            except WrongValue as error:
                raise batch.wrong(name, error) from None
        table = table.append_column(name, pa.repeat(values[0], len(table)))
    return replace(batch, table=table, kinds=kinds)


def _of_csv(source: Source, file: str, number: int, rows: int) -> Iterator[Batch]:
    written = source.dialect(file)
    _require(source, file, written.names)
    first = 0
    for table in delimited.read(file, written, rows):
        kinds: dict[str, Kinds | None] = dict.fromkeys(table.column_names)

        def line(row: int) -> int | None:
            return delimited.line_of(file, written, row)

        yield _declared(source, Batch(file, number, first, table, kinds, line))
        first += len(table)


def _of_json_lines(source: Source, file: str, number: int, rows: int) -> Iterator[Batch]:
    first = 0
    written, missing = "text" in source.types.values(), source.numerals(source.format).missing
    for objects in json_lines.read(file, source.dialect(file), rows, as_written=written):

        def line(row: int, lines: list[int] = objects.lines, first: int = first) -> int | None:
            return lines[row - first]

        names = dict.fromkeys([*source.types, *json_lines.names(objects.rows)])
        for name in {*source.folders(file)} - {*json_lines.names(objects.rows)}:
            names.pop(name, None)
        batch = Batch(file, number, first, pa.table({}), {}, line)
        texts, kinds = {}, dict[str, Kinds | None]()
        for name in names:
            cells = (row.get(name) for row in objects.rows)
            try:
                texts[name], found = json_lines.texts(cells, source.types.get(name), missing)
            except WrongValue as error:
                raise batch.wrong(name, error) from None
            except json_lines.NoType as error:
                row = first + error.row
                raise errors.no_type(file, row, name, line(row)) from None
            kinds[name] = ANY if found is None else found
        yield _declared(source, Batch(file, number, first, pa.table(texts), kinds, line))
        first += len(objects.rows)


def _of_tables(source: Source, file: str, number: int, rows: int) -> Iterator[Batch]:
    first = 0
    for table in _tables(source, file, rows):
        _require(source, file, table.column_names)
        batch = Batch(file, number, first, table, {}, lambda _row: None)
        arrays = []
        for name in table.column_names:
            try:
                arrays.append(_of_column(source, name, table.column(name).combine_chunks()))
            except WrongValue as error:
                raise batch.wrong(name, error) from None
        yield replace(batch, table=pa.Table.from_arrays(arrays, names=table.column_names))
        first += len(table)


def _tables(source: Source, file: str, rows: int) -> Iterator[pa.Table]:
    if source.is_table:
        return source.snapshot.read(file, rows)
    return source.result.read(rows) if source.format == "sql" else parquet.read(file, rows)


def _of_column(source: Source, name: str, values: Any) -> Any:
    numerals, kind = source.numerals(source.format), source.types.get(name)
    values = numerals.without_words(columns.finite(columns.unicode(columns.plain(values)), numerals.missing))
    if kind is None or values.type == ARROW[kind]:
        return values
    return typed(columns.as_texts(values, kind), kind, numerals)


def _declared(source: Source, batch: Batch) -> Batch:
    """With the types that are declared. Raises DataError."""
    table = batch.table
    for name, kind in source.types.items():
        if name not in table.column_names:
            continue  # a folder's
        at = table.column_names.index(name)
        values = table.column(at).combine_chunks()
        try:
            of_json = kind == "json" and source.format == "jsonl"
            column = columns.as_json(values) if of_json else typed(values, kind, source.numerals(source.format))
        except WrongValue as error:
            raise batch.wrong(name, error) from None
        table = table.set_column(at, name, column)
    kinds = {name: found for name, found in batch.kinds.items() if name not in source.types}
    return replace(batch, table=table, kinds=kinds)


def _require(source: Source, file: str, names: list[str]) -> None:
    """Raises DataError when a declared column is not there, or one is there twice."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise errors.DataError(f"{file} has column {twice[0]} twice", code=Exit.CONFIGURATION)
    for name in source.types:
        if name not in names and name not in source.folders(file):
            raise errors.missing_column(file, name, names)
