"""Sources of rows: CSV, Parquet, JSON lines, a database's query, folders of images; local, in an object store or HTTP.

Files are opened through fsspec; obstore does what is behind s3://, gs:// and az://.
"""

import hashlib
import os
import posixpath
import re
from collections.abc import Iterator, Set
from typing import Any, Literal

import fsspec
import obstore.exceptions
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from modelops_runtime.artifacts.store import client_options
from modelops_runtime.contract import Exit
from modelops_runtime.contract.data import SQL_PASSWORD
from modelops_runtime.data import errors
from modelops_runtime.data.context import place
from modelops_runtime.data.nested import absent, is_unicode, parsed, to_pandas

CHUNK_ROWS = 50_000
"""Rows that a shard has in memory at a time; also its piece of work."""
IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_SCHEMES = ("s3", "gs", "az", "abfss")
UNREADABLE = (OSError, ValueError, ImportError, obstore.exceptions.BaseError)
"""What opening and reading raise."""
Type = Literal["number", "integer", "text", "boolean", "json"]
_DTYPES = {"number": "float64", "integer": "Int64", "text": "str", "boolean": "boolean"}


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
            return [_without_password(self.uri)]
        try:
            system, path = filesystem(self.uri)
            if self.format == "images":
                names = [name for name in system.find(path) if name.lower().endswith(IMAGES)]
            else:
                names = _matching(system, path) if any(sign in path for sign in "*?") else [path]
        except UNREADABLE as error:
            raise errors.unreadable(self.uri, _reason(error)) from error
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
                raise errors.unreadable(file, _reason(error)) from error
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
            raise errors.unreadable(file, _reason(error)) from error

    def _read(self, file: str, rows: int) -> Iterator[pd.DataFrame]:
        if self.format == "sql":
            yield from self._query(rows)
        elif self.format == "parquet":
            import pyarrow.parquet

            with open_file(file) as stream:
                for batch in pyarrow.parquet.ParquetFile(stream).iter_batches(batch_size=rows):
                    yield to_pandas(batch)
        elif self.format == "images":
            yield pd.DataFrame({"uri": [file], "label": [file.split("/")[-2]]})
        else:
            with open_file(file, "rt", encoding="utf-8-sig") as stream:
                if self.format == "csv":
                    # As text: what is a number is decided over all rows, or by the declaration.
                    yield from pd.read_csv(stream, dtype="str", chunksize=rows, keep_default_na=False, na_values=[""])
                else:
                    yield from _json_lines(stream, file, rows)

    def _query(self, rows: int) -> Iterator[pd.DataFrame]:
        import sqlalchemy

        url = sqlalchemy.make_url(self.uri)
        if password := os.environ.get(SQL_PASSWORD):
            url = url.set(password=password)
        engine = sqlalchemy.create_engine(url)
        try:
            with engine.connect() as connection:
                yield from pd.read_sql_query(sqlalchemy.text(self.query or ""), connection, chunksize=rows)
        except sqlalchemy.exc.SQLAlchemyError as error:
            # Its own text has the statement and values.
            raise errors.unreadable(_without_password(self.uri), type(error).__name__) from None
        finally:
            engine.dispose()

    def _typed(self, frame: pd.DataFrame, file: str, number: int) -> pd.DataFrame:
        if self.format == "jsonl":
            # A name that an object lacks is a missing value.
            frame = frame.reindex(columns=[*self.types, *(name for name in frame.columns if name not in self.types)])
        for column, kind in self.types.items():
            if column not in frame.columns:
                raise errors.missing_column(file, column, list(map(str, frame.columns)))
            typed = _from_json(frame[column], self.format) if kind == "json" else _as_type(frame[column], kind)
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


def _as_type(column: pd.Series, kind: Type) -> pd.Series:
    if kind == "text":
        return column.astype("str").where(column.notna())
    if kind == "boolean":
        booleans = {"true": True, "false": False, "1": True, "0": False}
        return column.map(lambda value: booleans.get(str(value).lower())).astype("boolean")
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    if kind == "integer":
        numbers = numbers.where(numbers == numbers.round())
    return numbers.astype(_DTYPES[kind])


def _from_json(column: pd.Series, format_: str) -> pd.Series:
    """Lists and objects. JSON lines have them as such, and texts as texts; CSV has all of it as JSON text."""
    cells = [cell if format_ == "jsonl" or absent(cell) else _parsed(cell) for cell in column]
    return pd.Series([None if absent(cell) else cell for cell in cells], index=column.index, dtype=object)


def _parsed(cell: Any) -> Any:
    try:
        value = parsed(cell)
    except (TypeError, ValueError):
        return None
    return value if isinstance(value, list | dict) else None


def _json_lines(stream: Any, file: str, rows: int) -> Iterator[pd.DataFrame]:
    pending: list[dict[str, Any]] = []
    lines = (line for line in stream if line.strip())
    for number, line in enumerate(lines):
        try:
            value = parsed(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise errors.bad_row(file, number, "(all)", "must be a JSON object a line")
        for name, cell in value.items():
            if not is_unicode(name if not isinstance(cell, str) else name + cell):
                column = name if is_unicode(name) else "(all)"
                raise errors.bad_row(file, number, column, "has half a surrogate pair, which is no character")
        pending.append(value)
        if len(pending) == rows:
            yield pd.DataFrame(pending)
            pending = []
    if pending:
        yield pd.DataFrame(pending)


def _matching(system: Any, path: str) -> list[str]:
    """Files by a pattern whose * and ? match anything but a slash.

    Not fsspec's `glob`: it asks for folders' heads, which some object stores have no answer to.
    """
    folder = re.split(r"[*?]", path)[0].rpartition("/")[0]
    pattern = "".join({"*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part)) for part in re.split(r"([*?])", path))
    return [name for name in system.find(folder) if re.fullmatch(pattern, name)]


def filesystem(uri: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    register_object_stores()
    system_and_path: tuple[Any, str] = fsspec.core.url_to_fs(uri, **_options(uri))
    return system_and_path


def register_object_stores() -> None:
    """Lets fsspec open object stores by obstore, which takes its settings from their usual variables."""
    import obstore.fsspec

    obstore.fsspec.register(list(_SCHEMES))


def _options(uri: str) -> dict[str, Any]:
    return {"client_options": client_options()} if uri.partition("://")[0] in _SCHEMES else {}


def open_file(uri: str, mode: str = "rb", **options: Any) -> Any:
    """A file behind any address, for a `with` statement."""
    register_object_stores()
    return fsspec.open(uri, mode, **options, **_options(uri))


def _reason(error: Exception) -> str:
    """Why a file can't be read, without any of its content."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return getattr(error, "strerror", None) or type(error).__name__


def _without_password(uri: str) -> str:
    import sqlalchemy

    return sqlalchemy.make_url(uri).render_as_string(hide_password=True)
