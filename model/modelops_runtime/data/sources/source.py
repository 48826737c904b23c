"""A source of rows, as it is declared."""

import hashlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, PrivateAttr, model_validator

from modelops_runtime.data import errors
from modelops_runtime.data.sources import dialect, hive, images, parquet, sql, tables
from modelops_runtime.data.sources.column_types import ARROW, Type
from modelops_runtime.data.sources.dialect import Dialect, Writing
from modelops_runtime.data.sources.files import filesystem, matching, open_file, reason, unreadable

CHUNK_ROWS = 50_000
"""Rows that a shard has in memory at a time; also its piece of work."""
_OF_CSV = ("delimiter", "quote", "header", "names", "decimal", "thousands")
_OF_TEXT = ("encoding", "compression")


class Source(Writing):
    """One source, or several files of one kind: `uri` may have * and ? in its path, which as in a shell match no slash,
    and no dot that a name begins with."""

    uri: str = Field(min_length=1)
    """A path, file://, s3://, gs://, az://, abfss://, http:// or https://; of sql, a SQLAlchemy URL
    (`MODELOPS_SQL_PASSWORD` is its password); of images, a folder with one folder a label. An image's label is the path
    of its folder in it: `cat`, or `indoors/cat`. Hidden files and folders, and those that operating systems leave
    behind, are left out and counted in the report; folders without an image are named there. Of delta and iceberg, the
    table's folder; of iceberg, better the metadata file that its catalog names."""
    format: Literal["csv", "parquet", "jsonl", "sql", "images", "delta", "iceberg"] = "csv"
    query: str | None = None
    """What sql reads, once a run: all rows are of one snapshot, and with several shards the first worker reads them.
    Say ORDER BY: the order of rows is that of the result and part of the version; the report says whether it is
    declared."""
    table_version: int | None = Field(default=None, ge=0)
    """Of delta the version, of iceberg the id of the snapshot. Not given: the newest, found once for all workers of a
    run. It is in the report, and part of the version."""
    types: dict[str, Type] = Field(default={})
    """Types of columns. Those of CSV and JSON lines that are not named have the type that all of their values suggest:
    each of several workers reads all rows for it, of CSV only where a column is not named. `unsigned` is a whole number
    of 64 bits without a sign. `json` is a list or an object; what no step reads of it stays as JSON text."""

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
                names, _left_out = images.files(system, path.rstrip("/"))
            else:
                names = matching(system, path) if any(sign in path for sign in "*?") else [path]
        except unreadable() as error:
            raise errors.unreadable(self.uri, reason(error)) from error
        if not names:
            raise errors.unreadable(self.uri, "there is no such file")
        return sorted(system.unstrip_protocol(name) for name in names)

    def digest(self) -> str:
        """SHA-256 over the content: of the files with their names' last parts, or of the query's result."""
        if self.format == "sql":
            try:
                return self.result.digest
            except unreadable() as error:
                raise errors.unreadable(self.files()[0], reason(error)) from error
        if self.is_table:
            return hashlib.sha256(self.snapshot.content.encode()).hexdigest()
        digest = hashlib.sha256()
        for file in self.files():
            name = images.name_in(self.folder, file) if self.format == "images" else posixpath.basename(file)
            content = hashlib.sha256()
            try:
                with open_file(file) as stream:
                    while block := stream.read(2**20):
                        content.update(block)
            except unreadable() as error:
                raise errors.unreadable(file, reason(error)) from error
            digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + content.digest())
        return digest.hexdigest()

    @property
    def result(self) -> sql.Result:
        """Of sql: the query's, which is read once."""
        if self._result is None:
            self._result = sql.Result(self.uri, self.query or "", CHUNK_ROWS, self.numerals(self.format))
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
            except unreadable() as error:
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
            system, path = filesystem(self.uri)
            return images.files(system, path.rstrip("/"))[1]
        if self.is_table:
            return {"table_version": self.snapshot.version}
        return {}

    @property
    def folder(self) -> str:
        system, path = filesystem(self.uri)
        return str(system.unstrip_protocol(path)).rstrip("/")  # which an address of HTTP keeps

    def folders(self, file: str) -> Mapping[str, str | None]:
        """Columns whose value is in the names of a file's folders."""
        return hive.values(self.uri, file) if self.format in ("csv", "jsonl", "parquet") else {}

    def dialect(self, file: str) -> Dialect:
        """How a text file is written. Raises DataError."""
        try:
            return dialect.find(file, self, self.format)
        except errors.DataError:
            raise
        except unreadable() as error:
            raise errors.unreadable(file, reason(error)) from error

    def report(
        self, number: int, files: Sequence[str], names: list[str], schema: pa.Schema
    ) -> Iterator[dict[str, Any]]:
        """How the `files` with the columns `names` are read: an entry for those that are written alike."""
        types = {name: self.types.get(name) or _name(schema.field(name).type) for name in names}
        entry: dict[str, Any] = {"source": number, "format": self.format}
        if of_folders := list(dict.fromkeys(name for file in files for name in self.folders(file))):
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
        there = {file: set(self.names_of(file)) for file in files}
        lacking = {name: [file for file in files if name not in there[file]] for name in names}
        return {name: of_files for name, of_files in lacking.items() if of_files}

    def names_of(self, file: str) -> list[str]:
        """The columns of a file of CSV or Parquet. Raises DataError."""
        own = self.dialect(file).names if self.format == "csv" else parquet.schema(file).names
        return list(dict.fromkeys([*own, *self.folders(file)]))


def _name(kind: pa.DataType) -> str:
    """A type as the declaration calls it, or as Arrow does."""
    return next((name for name, arrow in ARROW.items() if arrow == kind), str(kind))
