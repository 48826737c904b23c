"""A source of rows, as it is declared."""

import hashlib
import posixpath
from collections.abc import Iterator, Set
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from modelops_runtime.contract import Exit
from modelops_runtime.data import errors
from modelops_runtime.data.context import place
from modelops_runtime.data.sources import delimited, images, json_lines, parquet, sql
from modelops_runtime.data.sources.column_types import Type, as_type, from_json
from modelops_runtime.data.sources.files import UNREADABLE, filesystem, matching, open_file, reason

CHUNK_ROWS = 50_000
"""Rows that a shard has in memory at a time; also its piece of work."""


class Source(BaseModel):
    """One source, or several files of one kind: `uri` may have * and ? in its path."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    uri: str = Field(min_length=1)
    """A path, file://, s3://, gs://, az://, abfss://, http:// or https://; of sql, a SQLAlchemy URL
    (`MODELOPS_SQL_PASSWORD` is its password); of images, a folder with one folder a label."""
    format: Literal["csv", "parquet", "jsonl", "sql", "images"] = "csv"
    query: str | None = None
    """What sql reads. Say ORDER BY: the order of rows is that of the result."""
    types: dict[str, Type] = {}
    """Types of the columns of CSV and JSON lines; columns not named have the type that their values suggest. With
    several shards all must be named: no shard sees all values. `json` is a list or an object; what no step reads of
    it stays as JSON text."""

    @model_validator(mode="after")
    def _query_is_for_sql(self) -> "Source":
        if (self.format == "sql") != (self.query is not None):
            raise ValueError("query must be given with format: sql, and only then")
        return self

    def files(self) -> list[str]:
        """The files behind the address, in a fixed order. Raises DataError when there is none."""
        if self.format == "sql":
            return [sql.without_password(self.uri)]
        try:
            system, path = filesystem(self.uri)
            if self.format == "images":
                names = images.files(system, path)
            else:
                names = matching(system, path) if any(sign in path for sign in "*?") else [path]
        except UNREADABLE as error:
            raise errors.unreadable(self.uri, reason(error)) from error
        if not names:
            raise errors.unreadable(self.uri, "there is no such file")
        return sorted(system.unstrip_protocol(name) for name in names)

    def digest(self) -> str:
        """SHA-256 over the content: of the files with their names' last parts, or of the query's result."""
        digest = hashlib.sha256()
        if self.format == "sql":
            for chunk in self.chunks(self.files()[0], 0):
                digest.update(chunk.to_json(orient="split", index=False, date_format="iso").encode())
            return digest.hexdigest()
        for file in self.files():
            name = "/".join(file.split("/")[-2:]) if self.format == "images" else posixpath.basename(file)
            digest.update(name.encode() + b"\0")
            try:
                with open_file(file) as stream:
                    while block := stream.read(2**20):
                        digest.update(block)
            except UNREADABLE as error:
                raise errors.unreadable(file, reason(error)) from error
        return digest.hexdigest()

    def chunks(self, file: str, number: int, rows: int | None = None) -> Iterator[pd.DataFrame]:
        """The rows of one of `files`, some at a time; their index has their place, `number` being the file's.

        Raises DataError: the file can't be read, or a value is not of its column's type.
        """
        first = 0
        try:
            for chunk in self._read(file, rows or CHUNK_ROWS):
                if twice := sorted({str(name) for name in chunk.columns[chunk.columns.duplicated()]}):
                    raise errors.DataError(f"{file} has column {twice[0]} twice", code=Exit.CONFIGURATION)
                frame = chunk.set_axis(pd.RangeIndex(place(number, first), place(number, first + len(chunk))), axis=0)
                first += len(frame)
                yield self._typed(frame, file, number)
        except errors.DataError:
            raise
        except UNREADABLE as error:
            raise errors.unreadable(file, reason(error)) from error

    def _read(self, file: str, rows: int) -> Iterator[pd.DataFrame]:
        if self.format == "sql":
            yield from sql.read(self.uri, self.query or "", rows)
        elif self.format == "parquet":
            yield from parquet.read(file, rows)
        elif self.format == "images":
            yield from images.read(file)
        elif self.format == "csv":
            yield from delimited.read(file, rows)
        else:
            yield from json_lines.read(file, rows)

    def _typed(self, frame: pd.DataFrame, file: str, number: int) -> pd.DataFrame:
        if self.format == "jsonl":
            # A name that an object lacks is a missing value.
            frame = frame.reindex(columns=[*self.types, *(name for name in frame.columns if name not in self.types)])
        for column, kind in self.types.items():
            if column not in frame.columns:
                raise errors.missing_column(file, column, list(map(str, frame.columns)))
            typed = from_json(frame[column], self.format) if kind == "json" else as_type(frame[column], kind)
            wrong = (typed.isna() & frame[column].notna()).to_numpy(dtype=bool)
            if wrong.any():
                row = int(frame.index[wrong.argmax()]) - place(number, 0)
                raise errors.bad_row(file, row, column, f"must be of the type {kind}")
            frame = frame.assign(**{column: typed})
        return frame


def suggested_types(frame: pd.DataFrame, source: Source, texts: Set[str] = frozenset()) -> pd.DataFrame:
    """Columns of a text format without a declared type: numbers where every present value is one, but for `texts`."""
    if source.format not in ("csv", "jsonl"):
        return frame
    for column in frame.columns:
        if column in source.types or column in texts or not pd.api.types.is_string_dtype(frame[column]):
            continue
        numbers = pd.to_numeric(frame[column], errors="coerce")
        if frame[column].notna().any() and not (numbers.isna() & frame[column].notna()).any():
            frame = frame.assign(**{column: numbers.astype("float64")})
    return frame
