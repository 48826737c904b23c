"""A source of rows, as it is declared."""

import hashlib
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from pydantic import Field, PrivateAttr, model_validator

from modelops_runtime.contract import ConfigurationError, Exit
from modelops_runtime.data import errors
from modelops_runtime.data.sources import columns, delimited, dialect, hive, images, json_lines, parquet, sql, tables
from modelops_runtime.data.sources.column_types import ANY, ARROW, Kinds, Numerals, Type, WrongValue, typed
from modelops_runtime.data.sources.columns import Batch, Columns
from modelops_runtime.data.sources.dialect import Dialect, Writing
from modelops_runtime.data.sources.files import UNREADABLE, filesystem, matching, open_file, reason

CHUNK_ROWS = 50_000
"""Rows that a shard has in memory at a time; also its piece of work."""
_OF_CSV = ("delimiter", "quote", "header", "names", "decimal", "thousands")
_OF_TEXT = ("encoding", "compression")


class Source(Writing):
    """One source, or several files of one kind: `uri` may have * and ? in its path."""

    uri: str = Field(min_length=1)
    """A path, file://, s3://, gs://, az://, abfss://, http:// or https://; of sql, a SQLAlchemy URL
    (`MODELOPS_SQL_PASSWORD` is its password); of images, a folder with one folder a label. An image's label is the path
    of its folder in it: `cat`, or `indoors/cat`. Hidden files and folders, and those that operating systems leave
    behind, are left out and counted in the report. Of delta and iceberg, the table's folder; of iceberg, better the
    metadata file that its catalog names."""
    format: Literal["csv", "parquet", "jsonl", "sql", "images", "delta", "iceberg"] = "csv"
    query: str | None = None
    """What sql reads, once a run: all rows are of one snapshot, and with several shards the first worker reads them.
    Say ORDER BY: the order of rows is that of the result and part of the version; the report says whether it is
    declared."""
    table_version: int | None = Field(default=None, ge=0)
    """Of delta the version, of iceberg the id of the snapshot. Not given: the newest, found once for all workers of a
    run. It is in the report, and part of the version."""
    types: dict[str, Type] = Field(default={})
    """Types of columns. Those of CSV and JSON lines that are not named have the type that all of their values suggest;
    with several shards all must be named, or none. `unsigned` is a whole number of 64 bits without a sign. `json` is a
    list or an object; what no step reads of it stays as JSON text."""

    _result: sql.Result | None = PrivateAttr(None)
    _snapshot: tables.Snapshot | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _belongs_to_the_format(self) -> "Source":
        if (self.format == "sql") != (self.query is not None):
            raise ValueError("query must be given with format: sql, and only then")
        if self.table_version is not None and not self.is_table:
            raise ValueError("table_version must be given with format: delta or iceberg alone")
        allowed = {"csv": _OF_CSV + _OF_TEXT, "jsonl": _OF_TEXT}.get(self.format, ())
        for name in (*_OF_CSV, *_OF_TEXT):
            if name in self.model_fields_set and name not in allowed and getattr(self, name) is not None:
                formats = "csv" if name in _OF_CSV else "csv or jsonl"
                raise ValueError(f"{name} must be given with format: {formats} alone")
        return self

    def files(self) -> list[str]:
        """The files behind the address, in a fixed order. Raises DataError when there is none."""
        if self.format == "sql":
            return [sql.without_password(self.uri)]
        if self.is_table:
            return self.snapshot.files
        try:
            system, path = filesystem(self.uri)
            if self.format == "images":
                names, _left_out = images.files(system, path)
            else:
                names = matching(system, path) if any(sign in path for sign in "*?") else [path]
        except UNREADABLE as error:
            raise errors.unreadable(self.uri, reason(error)) from error
        if not names:
            raise errors.unreadable(self.uri, "there is no such file")
        return sorted(system.unstrip_protocol(name) for name in names)

    def digest(self) -> str:
        """SHA-256 over the content: of the files with their names' last parts, or of the query's result."""
        if self.format == "sql":
            try:
                return self.result.digest
            except UNREADABLE as error:
                raise errors.unreadable(self.files()[0], reason(error)) from error
        if self.is_table:
            return hashlib.sha256(self.snapshot.content.encode()).hexdigest()
        digest = hashlib.sha256()
        for file in self.files():
            name = images.name_in(self._folder, file) if self.format == "images" else posixpath.basename(file)
            content = hashlib.sha256()
            try:
                with open_file(file) as stream:
                    while block := stream.read(2**20):
                        content.update(block)
            except UNREADABLE as error:
                raise errors.unreadable(file, reason(error)) from error
            digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + content.digest())
        return digest.hexdigest()

    @property
    def result(self) -> sql.Result:
        """Of sql: the query's, which is read once."""
        if self._result is None:
            self._result = sql.Result(self.uri, self.query or "", CHUNK_ROWS, self._numerals)
        return self._result

    @property
    def is_table(self) -> bool:
        """Whether it is a table with versions of its own."""
        return self.format in ("delta", "iceberg")

    @property
    def snapshot(self) -> tables.Snapshot:
        """Of a table: its version, which is looked for once. Raises DataError and ConfigurationError."""
        if self._snapshot is None:
            try:
                self._snapshot = tables.snapshot_of(self.format, self.uri, self.table_version)
            except UNREADABLE as error:
                raise errors.unreadable(self.uri, reason(error)) from error
        return self._snapshot

    @property
    def libraries(self) -> set[str]:
        """Distributions, beside those of each pipeline, whose versions may shape the rows."""
        return {{"sql": "sqlalchemy", "delta": "deltalake", "iceberg": "pyiceberg"}.get(self.format, "pyarrow")}

    def found(self) -> dict[str, Any]:
        """What is not declared, for the report. Raises DataError."""
        if self.format == "sql":
            return {"ordered": sql.has_order(self.query or "")}
        if self.format == "images":
            return images.files(*filesystem(self.uri))[1]
        if self.is_table:
            return {"table_version": self.snapshot.version}
        return {}

    def portions(self, files: Sequence[str], number: int, shards: int) -> list["Portion"]:
        """What workers take as a whole: a file, or some images. `number` is the first file's."""
        ranges = (
            images.portions(files, shards) if self.format == "images" else [range(n, n + 1) for n in range(len(files))]
        )
        return [Portion(self, number + some[0], [files[n] for n in some]) for some in ranges]

    @property
    def _folder(self) -> str:
        system, path = filesystem(self.uri)
        return str(system.unstrip_protocol(path))

    def chunks(
        self, file: str, number: int, rows: int | None = None, schema: pa.Schema | None = None
    ) -> Iterator[pd.DataFrame]:
        """The rows of one of `files`, some at a time; their index has their place, `number` being the file's.

        Without a schema, types that aren't declared are those of the rows that come together. Raises DataError: the
        file can't be read, or a value is not of its column's type.
        """
        for batch in self.batches(file, number, rows):
            found = schema
            if found is None:
                of_batch = self.finding(texts=[name for name in batch.kinds if self.format == "csv"])
                of_batch.add(batch)
                found = columns.united([(file, of_batch.schema())])
            yield columns.to_frame(columns.settled(batch, found, self._numerals), columns.index_of([batch]))

    def batches(self, file: str, number: int, rows: int | None = None) -> Iterator[Batch]:
        """The same with the types that are declared, and text where no type is known yet. Raises DataError."""
        readers = {"csv": self._of_csv, "jsonl": self._of_json_lines}
        try:
            if self.format == "images":
                yield self.of_images([file], number)
                return
            for batch in readers.get(self.format, self._of_tables)(file, number, rows or CHUNK_ROWS):
                yield self._with_folders(batch)
        except errors.DataError:
            raise
        except UNREADABLE as error:
            raise errors.unreadable(file, reason(error)) from error

    def of_images(self, files: Sequence[str], number: int) -> Batch:
        """A row for each of some images; `number` is the first one's."""
        table = images.rows(self._folder, files)
        return Batch(files[0], number, 0, table, {}, lambda _row: None, each_a_file=True)

    def _folders(self, file: str) -> Mapping[str, str | None]:
        """Columns whose value is in the names of a file's folders."""
        return hive.values(self.uri, file) if self.format in ("csv", "jsonl", "parquet") else {}

    def _with_folders(self, batch: Batch) -> Batch:
        """With the columns that the file doesn't have itself. Raises DataError."""
        table, kinds = batch.table, dict(batch.kinds)
        for name, value in self._folders(batch.file).items():
            if name in table.column_names:
                continue
            values = pa.array([value], pa.string())
            if (kind := self.types.get(name)) is None:
                kinds[name] = None
            else:
                try:
                    values = typed(values, kind, self._numerals)
                except WrongValue as error:
                    raise batch.wrong(name, error) from None
            table = table.append_column(name, pa.repeat(values[0], len(table)))
        return replace(batch, table=table, kinds=kinds)

    def _schema_of_folders(self, files: Sequence[str]) -> pa.Schema:
        """Their columns' types. Raises DataError."""
        found = self.finding()
        for number, file in enumerate(files):
            found.add(self._with_folders(Batch(file, number, 0, pa.table({"": [0]}), {}, lambda _row: None)))
        return pa.schema([entry for entry in found.schema() if entry.name])

    def finding(self, texts: Collection[str] = ()) -> Columns:
        """What finds out the types that aren't declared."""
        return Columns(self._numerals, texts)

    def table_schema(self, files: Sequence[str], texts: Collection[str] = ()) -> tuple[str, pa.Schema]:
        """The first of `files`, and the columns of all; reads all rows if types aren't declared. Raises DataError."""
        if self.format == "parquet":
            own = columns.united((file, self._declared(parquet.schema(file))) for file in files)
            more = [entry for entry in self._schema_of_folders(files) if entry.name not in own.names]
            return files[0], pa.schema([*own, *more])
        if self.is_table:
            schema = self._declared(self.snapshot.schema)
            return self.uri, columns.united([(self.uri, schema)])
        if self.format == "images":
            return files[0], pa.schema([("uri", pa.string()), ("label", pa.string())])
        if self.format == "jsonl" and self.types:
            return files[0], pa.schema([(name, ARROW[kind]) for name, kind in self.types.items()])
        if self.format == "csv" and self.types:
            names = dict.fromkeys(name for file in files for name in self._names(file))
            if unnamed := [name for name in names if name not in self.types]:
                raise ConfigurationError(f"{self.uri}: types lacks column {', '.join(unnamed)}")
            return files[0], pa.schema([(name, ARROW[self.types[name]]) for name in names])
        found = self.finding(texts)
        for number, file in enumerate(files):
            for batch in self.batches(file, number):
                found.add(batch)
        return files[0], found.schema()

    def settled(self, batch: Batch, schema: pa.Schema) -> pa.Table:
        """A batch's rows with the types of all rows. Raises DataError."""
        return columns.settled(batch, schema, self._numerals)

    def dialect(self, file: str) -> Dialect:
        """How a text file is written. Raises DataError."""
        try:
            return dialect.find(file, self, self.format)
        except errors.DataError:
            raise
        except UNREADABLE as error:
            raise errors.unreadable(file, reason(error)) from error

    def report(
        self, number: int, files: Sequence[str], names: list[str], schema: pa.Schema
    ) -> Iterator[dict[str, Any]]:
        """How the `files` with the columns `names` are read: an entry for those that are written alike."""
        types = {name: self.types.get(name) or _name(schema.field(name).type) for name in names}
        entry: dict[str, Any] = {"source": number, "format": self.format}
        if of_folders := list(dict.fromkeys(name for file in files for name in self._folders(file))):
            entry["of_folders"] = of_folders
        if lacking := self.lacking(files, names):
            entry["lacking"] = lacking
        inferred = {"types": types, "inferred": [name for name in types if name not in self.types]}
        if self.format not in ("csv", "jsonl"):
            yield {**entry, "files": files, **self.found(), **inferred}
            return
        alike: dict[str, dict[str, Any]] = {}
        for file in files:
            of_file = self.dialect(file).report(self, self.format)
            alike.setdefault(repr(of_file), {**entry, "files": [], **of_file, **inferred})["files"].append(file)
        yield from alike.values()

    def lacking(self, files: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
        """Of the columns `names` those that some files don't have, with these files: there they are missing."""
        if self.format not in ("csv", "parquet") or len(files) == 1:
            return {}
        there = {file: set(self._names(file)) for file in files}
        lacking = {name: [file for file in files if name not in there[file]] for name in names}
        return {name: of_files for name, of_files in lacking.items() if of_files}

    def _names(self, file: str) -> list[str]:
        """The columns of a file of CSV or Parquet. Raises DataError."""
        own = self.dialect(file).names if self.format == "csv" else parquet.schema(file).names
        return list(dict.fromkeys([*own, *self._folders(file)]))

    @property
    def _numerals(self) -> Numerals:
        return self.numerals(self.format)

    def _declared(self, schema: pa.Schema) -> pa.Schema:
        kinds = [self.types.get(entry.name) for entry in schema]
        return pa.schema(
            [(entry.name, ARROW[kind] if kind else entry.type) for entry, kind in zip(schema, kinds, strict=True)]
        )

    def _of_csv(self, file: str, number: int, rows: int) -> Iterator[Batch]:
        written = self.dialect(file)
        self._require(file, written.names)
        first = 0
        for table in delimited.read(file, written, rows):
            kinds: dict[str, Kinds | None] = dict.fromkeys(table.column_names)

            def line(row: int) -> int | None:
                return delimited.line_of(file, written, row)

            yield self._batch(Batch(file, number, first, table, kinds, line))
            first += len(table)

    def _of_json_lines(self, file: str, number: int, rows: int) -> Iterator[Batch]:
        first = 0
        written = "text" in self.types.values()
        for objects in json_lines.read(file, self.dialect(file), rows, as_written=written):

            def line(row: int, lines: list[int] = objects.lines, first: int = first) -> int | None:
                return lines[row - first]

            names = dict.fromkeys([*self.types, *json_lines.names(objects.rows)])
            for name in {*self._folders(file)} - {*json_lines.names(objects.rows)}:
                names.pop(name, None)
            batch = Batch(file, number, first, pa.table({}), {}, line)
            texts, kinds = {}, dict[str, Kinds | None]()
            for name in names:
                cells = (row.get(name) for row in objects.rows)
                try:
                    texts[name], found = json_lines.texts(cells, self.types.get(name), self._numerals.missing)
                except WrongValue as error:
                    raise batch.wrong(name, error) from None
                except json_lines.NoType as error:
                    row = first + error.row
                    raise errors.no_type(file, row, name, line(row)) from None
                kinds[name] = ANY if found is None else found
            yield self._batch(Batch(file, number, first, pa.table(texts), kinds, line))
            first += len(objects.rows)

    def _of_tables(self, file: str, number: int, rows: int) -> Iterator[Batch]:
        first = 0
        for table in self._tables(file, rows):
            self._require(file, table.column_names)
            batch = Batch(file, number, first, table, {}, lambda _row: None)
            arrays = []
            for name in table.column_names:
                try:
                    arrays.append(self._of_column(name, table.column(name).combine_chunks()))
                except WrongValue as error:
                    raise batch.wrong(name, error) from None
            typed_table = pa.Table.from_arrays(arrays, names=table.column_names)
            yield Batch(file, number, first, typed_table, {}, lambda _row: None)
            first += len(table)

    def _tables(self, file: str, rows: int) -> Iterator[pa.Table]:
        if self.is_table:
            return self.snapshot.read(file, rows)
        return self.result.read(rows) if self.format == "sql" else parquet.read(file, rows)

    def _of_column(self, name: str, values: Any) -> Any:
        values = self._numerals.without_words(columns.finite(values, self._numerals.missing))
        kind = self.types.get(name)
        if kind is None or values.type == ARROW[kind]:
            return values
        return typed(columns.as_texts(values, kind), kind, self._numerals)

    def _batch(self, batch: Batch) -> Batch:
        """With the types that are declared. Raises DataError."""
        table = batch.table
        for name, kind in self.types.items():
            if name not in table.column_names:
                continue  # a folder's
            at = table.column_names.index(name)
            values = table.column(at).combine_chunks()
            try:
                of_json = kind == "json" and self.format == "jsonl"
                column = columns.as_json(values) if of_json else typed(values, kind, self._numerals)
            except WrongValue as error:
                raise batch.wrong(name, error) from None
            table = table.set_column(at, name, column)
        kinds = {name: found for name, found in batch.kinds.items() if name not in self.types}
        return Batch(batch.file, batch.number, batch.first, table, kinds, batch.line)

    def _require(self, file: str, names: list[str]) -> None:
        """Raises DataError when a declared column is not there, or one is there twice."""
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise errors.DataError(f"{file} has column {twice[0]} twice", code=Exit.CONFIGURATION)
        for name in self.types:
            if name not in names and name not in self._folders(file):
                raise errors.missing_column(file, name, names)


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
            yield self.source.of_images(self.files, self.number)
        else:
            yield from self.source.batches(self.files[0], self.number)


def _name(kind: pa.DataType) -> str:
    """A type as the declaration calls it, or as Arrow does."""
    return next((name for name, arrow in ARROW.items() if arrow == kind), str(kind))
