"""JSON lines: an object a line. Values become text, with what they may be, as those of CSV are."""

import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from modelops_runtime.data import errors, nested
from modelops_runtime.data.sources.column_types import TEXT, Kinds, WrongValue
from modelops_runtime.data.sources.dialect import Dialect, not_encoded
from modelops_runtime.data.sources.files import open_content

_OF_JSON = frozenset({"json"})
_NUMBER = frozenset({"number"})
_EXACT = 2**53


@dataclass(frozen=True)
class Objects:
    """Some rows, with the line of each."""

    rows: list[dict[str, Any]]
    lines: list[int]


class _Whole(int):
    """A whole number with its text."""

    text: str


class _Number(float):
    """A number with its text."""

    text: str


def _with_text(kind: Any) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        value = kind(text)
        value.text = text
        return value

    return number


_AS_WRITTEN = {"parse_int": _with_text(_Whole), "parse_float": _with_text(_Number)}


def read(file: str, dialect: Dialect, rows: int, *, as_written: bool = False) -> Iterator[Objects]:
    """With the texts of numbers where a column of them is to be text `as_written`. Raises DataError."""
    options = _AS_WRITTEN if as_written else {}
    lines = ((line, text) for line, text in enumerate(_lines(file, dialect), start=1) if text.strip())
    first = 0
    for some in iter(lambda: list(itertools.islice(lines, rows)), []):
        yield Objects(
            [_object(file, first + row, line, text, options) for row, (line, text) in enumerate(some)],
            [line for line, _text in some],
        )
        first += len(some)


def _lines(file: str, dialect: Dialect) -> Iterator[str]:
    line = 1
    try:
        with open_content(file, dialect.compression) as stream:
            for text in io.TextIOWrapper(stream, encoding=dialect.encoding):
                yield text.removeprefix("\ufeff") if line == 1 else text
                line += 1
    except UnicodeDecodeError:
        raise not_encoded(file, dialect) from None


def _object(file: str, row: int, line: int, text: str, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        value = nested.parsed(text, object_pairs_hook=_once, **options)
    except _Twice as twice:
        raise errors.bad_row(file, row, twice.args[0], "is there twice in an object", line) from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise errors.bad_row(file, row, "(all)", "must be a JSON object a line", line)
    for name, cell in value.items():
        if not nested.is_unicode(name if not isinstance(cell, str) else name + cell):
            column = name if nested.is_unicode(name) else "(all)"
            raise errors.bad_row(file, row, column, "has half a surrogate pair, which is no character", line)
    return value


class NoType(Exception):
    """No type has a value."""

    def __init__(self, row: int) -> None:
        super().__init__()
        self.row = row


class _Twice(Exception):
    """A name is twice in an object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _cell in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return value


def names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """In the order in which they come first."""
    return list(dict.fromkeys(itertools.chain.from_iterable(rows)))


def texts(cells: Iterable[Any], kind: str | None, missing: Iterable[str]) -> tuple[pa.Array, Kinds | None]:
    """Cells as text, and what all of them are; None: nothing is there. Raises WrongValue.

    Where a cell is a list or an object, all are JSON's text.
    """
    cells, absent = list(cells), set(missing)
    if kind is None and any(isinstance(cell, list | dict) for cell in cells):
        texts_of_json, _json = texts(cells, "json", missing)
        single = [cell for cell in cells if not isinstance(cell, list | dict)]
        return texts_of_json, _OF_JSON & (texts(single, None, missing)[1] or _OF_JSON)
    found: list[str | None] = []
    of_type: dict[type, Kinds] = {}
    kinds: Kinds | None = None
    for row, cell in enumerate(cells):
        if cell is None or (absent and isinstance(cell, str | int | float) and _text_or_nothing(cell, kind) in absent):
            found.append(None)
            continue
        try:
            found.append(_text(cell, kind))
        except ValueError:
            if isinstance(cell, float) and absent & ({"NaN", "nan"} if cell != cell else {"Infinity", "inf"}):
                found.append(None)
                continue
            raise WrongValue(row, "must be a finite number") from None
        own = _whole(cell) if isinstance(cell, int) and not isinstance(cell, bool) else of_type.get(type(cell))
        if own is None:
            own = of_type[type(cell)] = _kinds(cell)
        kinds = own if kinds is None else kinds & own
        if not kinds and kind is None:
            raise NoType(row)
    return pa.array(found, pa.string()), kinds


def _text_or_nothing(cell: Any, kind: str | None) -> str | None:
    try:
        return _text(cell, kind)
    except ValueError:
        return None


def _text(cell: Any, kind: str | None) -> str:
    if kind == "json":
        return json.dumps(cell, allow_nan=False)
    if isinstance(cell, str):
        return cell
    if kind == "text" and isinstance(cell, _Whole | _Number):
        return cell.text
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and not math.isfinite(cell):
        raise ValueError
    if isinstance(cell, list | dict):
        return nested.text(cell) if kind == "text" else json.dumps(cell, allow_nan=False)
    return str(cell) if isinstance(cell, int) else repr(cell)


def _kinds(cell: Any) -> Kinds:
    if isinstance(cell, bool):
        return frozenset({"boolean"})
    if isinstance(cell, float):
        return _NUMBER
    return _OF_JSON | TEXT


def _whole(cell: int) -> Kinds:
    kinds = {"integer"} if -(2**63) <= cell < 2**63 else set()
    unsigned = {"unsigned"} if 0 <= cell < 2**64 else set()
    return frozenset(kinds | unsigned | ({"number"} if abs(cell) <= _EXACT else set()))
