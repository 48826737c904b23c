"""The result of a database's query.

A query is run once. Its rows lie in files on this machine's disk from then on: so the version is made of the rows that
are prepared, whatever is written to the database meanwhile, and a column's type is the one of all its values.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet

from modelops_runtime.contract import Exit
from modelops_runtime.contract.data import SQL_PASSWORD
from modelops_runtime.data import errors
from modelops_runtime.data.sources import parquet
from modelops_runtime.data.sources.column_types import Numerals

_ISOLATION = dict.fromkeys(("postgresql", "mysql", "mariadb"), "REPEATABLE READ")
"""Where a statement's rows could otherwise be of several moments. Elsewhere its default holds for a statement."""
_BESIDE_CODE = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w)")
"""What SQLAlchemy takes for a parameter; a query has none."""
_INNERMOST = re.compile(r"\([^()]*\)")


class Result:
    """A query's result. Whatever is asked for first runs the query."""

    def __init__(self, uri: str, query: str, rows: int, numerals: Numerals = Numerals()) -> None:  # noqa: B008
        self._uri, self._query, self._rows = uri, query, rows
        self._words, self._numbers = set(numerals.missing), set(numerals.missing_numbers)
        self._name = without_password(uri)
        self._folder = tempfile.TemporaryDirectory(prefix="modelops-query-")
        self._digest = hashlib.sha256()
        self._types: dict[str, pa.DataType] = {}
        self._kinds: dict[str, set[type]] = {}

    @property
    def digest(self) -> str:
        """SHA-256 over all names and values, with their types and in their order. Raises DataError."""
        assert self.files
        return self._digest.hexdigest()

    def read(self, rows: int) -> Iterator[Any]:
        """Its rows, some at a time. Raises DataError."""
        for file in self.files:
            yield from parquet.read(file, rows)

    @cached_property
    def files(self) -> list[str]:
        """Parquet files of the same types."""
        written: dict[str, pa.Schema] = {}
        for number, (names, rows) in enumerate(_read(self._uri, self._query, self._rows)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise errors.DataError(f"{self._name} has column {twice[0]} twice", code=Exit.CONFIGURATION)
            cells = list(zip(*rows, strict=True)) or [()] * len(names)
            columns = [self._plain(name, some, number * self._rows) for name, some in zip(names, cells, strict=True)]
            self._digest.update(repr((names, columns)).encode("utf-8", "surrogatepass"))
            arrays = [self._array(name, some) for name, some in zip(names, columns, strict=True)]
            table = pa.Table.from_arrays(arrays, names=names)
            written[f"{self._folder.name}/{number:08}.parquet"] = table.schema
            pyarrow.parquet.write_table(table, next(reversed(written)))
        for file, schema in written.items():
            if any(entry.type != self._types[entry.name] for entry in schema):
                table = pyarrow.parquet.read_table(file)
                arrays = [self._settled(name, table.column(name)) for name in table.column_names]
                pyarrow.parquet.write_table(pa.Table.from_arrays(arrays, names=table.column_names), file)
        return list(written)

    def _plain(self, name: str, cells: Sequence[Any], first: int) -> Sequence[Any]:
        """Some values of a column, each kind in one form whatever the driver and the session's time zone. Raises
        DataError where they, with those before, are of several kinds."""
        if self._words:
            cells = [None if self._is_missing(cell) else cell for cell in cells]
        known = self._kinds.setdefault(name, set())
        kinds = dict.fromkeys(map(type, cells))  # in their order
        kinds.pop(type(None), None)
        if list in kinds or dict in kinds:
            cells, kinds = [self._json(name, cell) for cell in cells], {dict: None}
        for kind in kinds:
            if kind not in known and known and known | {kind} != {int, float}:
                row = next((row for row, cell in enumerate(cells) if type(cell) is kind), 0)
                rule = f"is of the type {kind.__name__}, others of {_words(known)}: cast the column in the query"
                raise errors.bad_row(self._name, first + row, name, rule)
            known.add(kind)
        if memoryview in kinds or bytearray in kinds:
            return [None if cell is None else bytes(cell) for cell in cells]
        if UUID in kinds:
            return [None if cell is None else str(cell) for cell in cells]
        if datetime in kinds:
            return [self._in_utc(name, cell) for cell in cells]
        return cells

    def _is_missing(self, cell: Any) -> bool:
        """Whether a word for a missing value says it: before its column has a type."""
        if isinstance(cell, int | float | Decimal) and not isinstance(cell, bool):
            return cell in self._numbers
        return isinstance(cell, str) and cell in self._words

    def _in_utc(self, name: str, cell: Any) -> Any:
        try:
            return cell.astimezone(UTC) if cell is not None and cell.tzinfo else cell
        except OverflowError:
            raise self._without_type(name) from None

    def _json(self, name: str, cell: Any) -> str | None:
        try:
            return None if cell is None else json.dumps(cell, ensure_ascii=False)
        except TypeError:
            raise self._without_type(name) from None

    def _array(self, name: str, cells: Sequence[Any]) -> pa.Array:
        try:
            array = pa.array(cells, pa.string() if self._kinds[name] == {dict} else None)
            if self._kinds[name] == {dict}:
                array = pa.ExtensionArray.from_storage(pa.json_(), array)
            known = self._types.setdefault(name, array.type)
            if known != array.type and pa.null() not in (known, array.type):
                schemas = [pa.schema([("", kind)]) for kind in (known, array.type)]
                self._types[name] = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
            elif known == pa.null():
                self._types[name] = array.type
        except (pa.ArrowException, OverflowError):
            raise self._without_type(name) from None
        return array

    def _settled(self, name: str, column: Any) -> Any:
        """Values of a column as the type of all of them."""
        if column.type == pa.null():
            return pa.chunked_array([pa.nulls(len(column), self._types[name])])
        try:
            return column.cast(self._types[name])
        except pa.ArrowException:
            raise self._without_type(name) from None

    def _without_type(self, name: str) -> errors.DataError:
        of = _words(self._kinds[name])
        rule = f"no type has all of its values exactly, which are of {of}: cast it in the query"
        return errors.DataError(f"{self._name}, column {name}: {rule}", code=Exit.BAD_ROW)


def _words(kinds: set[type]) -> str:
    return " and ".join(sorted(kind.__name__ for kind in kinds))


def _read(uri: str, query: str, rows: int) -> Iterator[tuple[list[str], Sequence[Any]]]:
    """Names and rows, some at a time, in one transaction; the database keeps what was not yet asked for."""
    import sqlalchemy

    name = without_password(uri)
    url = _url(uri)
    if password := os.environ.get(SQL_PASSWORD):
        url = url.set(password=password)
    kind = url.get_backend_name()
    if kind == "sqlite" and url.database and "mode=memory" not in uri and not Path(url.database).exists():
        raise errors.unreadable(name, "there is no such file")  # SQLite would make an empty one
    options = {"isolation_level": _ISOLATION[kind]} if kind in _ISOLATION else {}
    try:
        engine = sqlalchemy.create_engine(url, execution_options=options)
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        why = f"{name}: there is no driver for it ({type(error).__name__})"
        raise errors.DataError(why, code=Exit.CONFIGURATION) from None
    try:
        with engine.connect().execution_options(stream_results=True, yield_per=rows) as connection:
            result = connection.execute(sqlalchemy.text(_PARAMETER.sub(r"\\:", query)))
            if not result.returns_rows:
                raise errors.DataError(f"{name}: query returns no rows, must be a SELECT", code=Exit.CONFIGURATION)
            names = [str(column) for column in result.keys()]  # noqa: SIM118  (iterating gives rows)
            some = False
            for part in result.partitions(rows):
                some = True
                yield names, part
            if not some:
                yield names, []
    except sqlalchemy.exc.SQLAlchemyError as error:
        # Its own text has the statement and values.
        state = getattr(getattr(error, "orig", None), "pgcode", None)
        kind = f"{type(error).__name__}{f', SQLSTATE {state}' if state else ''}"
        if isinstance(error, sqlalchemy.exc.ProgrammingError):
            raise errors.DataError(f"{name} refuses the query: {kind}", code=Exit.CONFIGURATION) from None
        if isinstance(error, sqlalchemy.exc.OperationalError):
            kind += ", so it can't be reached, refuses this user, or lacks a table or column that the query names"
        raise errors.unreadable(name, kind) from None
    except (ValueError, ArithmeticError) as error:
        rule = f"it has a value that Python has not ({type(error).__name__}): cast it in the query"
        raise errors.DataError(f"{name}: {rule}", code=Exit.BAD_ROW) from None
    finally:
        engine.dispose()


def has_order(query: str) -> bool:
    """Whether a query says the order of its rows; that of a subquery doesn't count."""
    code = _BESIDE_CODE.sub(" ", query)
    while (outer := _INNERMOST.sub(" ", code)) != code:
        code = outer
    return re.search(r"\border\s+by\b", code, re.IGNORECASE) is not None


def without_password(uri: str) -> str:
    """An address for messages. Options are left out as well: they may have secrets too. Raises DataError."""
    return str(_url(uri).set(query={}).render_as_string(hide_password=True))


def _url(uri: str) -> Any:
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(uri)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise errors.DataError(
            "the uri of a source of the format sql is no SQLAlchemy URL, such as postgresql://user@host/database",
            code=Exit.CONFIGURATION,
        ) from None
    # The driver of the image; SQLAlchemy's own choice is another.
    return url.set(drivername="postgresql+psycopg2") if url.drivername == "postgresql" else url
