"""The columns of sources with types that hold for all of their rows, and rows with these types."""

import bisect
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from modelops_runtime.contract import Exit
from modelops_runtime.data import errors, nested
from modelops_runtime.data.context import place
from modelops_runtime.data.sources.column_types import (
    ARROW,
    COMMA,
    MIXED,
    OF_TEXT,
    TEXT,
    WORDS,
    Kinds,
    Numerals,
    WrongValue,
    chosen,
    first_comma,
    first_doubtful,
    possible,
    typed,
)

_DIGITS = {pa.int64(): 19, pa.uint64(): 20}
_NOT_UNICODE = "is not UTF-8: write it as such, or as bytes"
_NUMBERS = frozenset({"number", "integer", "unsigned"})
_DOUBTS: dict[str, tuple[Callable[[pa.Array, Numerals], int | None], str]] = {
    COMMA: (
        first_comma,
        "is a number with a comma, as it seems: give the source's decimal or thousands, or the column the type text",
    ),
    MIXED: (
        first_doubtful,
        "is not a finite number, as others of its column are: if it stands for a missing value, name it in the source's"
        " missing; else give the column the type text",
    ),
}
"""What makes a column text that seems to be one of numbers."""


@dataclass(frozen=True)
class Batch:
    """Some rows of a file."""

    file: str
    number: int
    """The file's, among all sources'."""
    first: int
    """The first row's number in its file."""
    table: pa.Table
    kinds: Mapping[str, Kinds | None]
    """Columns that are text as long as their type isn't known, with what JSON says of them; None: CSV says nothing."""
    line: Callable[[int], int | None]
    """The line of a row of the file."""
    each_a_file: bool = False
    """Whether each row is a file of its own, numbered from the first one's."""

    @property
    def index(self) -> Any:
        """The places of its rows."""
        if self.each_a_file:
            return pd.Index([place(self.number + row, 0) for row in range(len(self.table))])
        return pd.RangeIndex(place(self.number, self.first), place(self.number, self.first + len(self.table)))

    def wrong(self, column: str, error: WrongValue) -> errors.DataError:
        row = self.first + error.row
        return errors.bad_row(self.file, row, column, error.rule, self.line(row))


@dataclass
class Columns:
    """What the rows of one source are found to be, batch by batch."""

    numerals: Numerals
    texts: Collection[str] = ()
    """Columns that stay text whatever is in them."""
    kinds: dict[str, Kinds] = field(default_factory=dict)
    types: dict[str, Any] = field(default_factory=dict)
    doubtful: dict[tuple[str, str], errors.DataError] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        """Raises DataError."""
        for name in batch.table.column_names:
            column = batch.table.column(name)
            if name not in batch.kinds:
                self.types[name] = together(batch.file, name, self.types.get(name, pa.null()), column.type)
                continue
            self.types.setdefault(name, None)
            still = self.kinds.get(name, (TEXT if name in self.texts else OF_TEXT) | {"json"})
            own = batch.kinds[name]
            if own is None:
                self.kinds[name] = self._of_texts(batch, name, still)
                continue
            self.kinds[name] = still & own
            if not self.kinds[name]:
                row = batch.first + pc.index(pc.is_valid(column), True).as_py()
                raise errors.no_type(batch.file, row, name, batch.line(row))

    def _of_texts(self, batch: Batch, name: str, still: Kinds) -> Kinds:
        values = _whole(batch.table.column(name))
        kinds = possible(values, self.numerals, still)
        for kind, (first, rule) in _DOUBTS.items():
            if kind in kinds and (name, kind) not in self.doubtful and not kinds & _NUMBERS:
                row = first(pc.utf8_trim_whitespace(values), self.numerals)
                if row is not None:
                    self.doubtful[name, kind] = batch.wrong(name, WrongValue(row, rule))
        return kinds

    def schema(self) -> pa.Schema:
        """Raises DataError where a type is in doubt."""
        return pa.schema([(name, kind or self._inferred(name)) for name, kind in self.types.items()])

    def _inferred(self, name: str) -> Any:
        kinds = self.kinds[name]
        kind = chosen(kinds)
        if kind == "text" and WORDS not in kinds:
            for doubt in _DOUBTS:
                if doubt in kinds and (name, doubt) in self.doubtful:
                    raise self.doubtful[name, doubt]
        return ARROW[kind or "text"]


def together(file: str, name: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that has the values of both. Raises DataError when there is none."""
    one, other = normal(one), normal(other)
    if one == other:
        return one
    if {one, other} == {pa.int64(), pa.uint64()}:
        return pa.uint64()
    if decimal := next((kind for kind in (one, other) if pa.types.is_decimal(kind)), None):
        whole = next((_DIGITS[kind] for kind in (one, other) if kind in _DIGITS), 0)
        if whole:  # Arrow's own union is too narrow for its own cast
            digits = max(decimal.precision - decimal.scale, whole) + decimal.scale
            return pa.decimal128(digits, decimal.scale) if digits <= 38 else pa.decimal256(digits, decimal.scale)
    if not (pa.types.is_decimal(one) and pa.types.is_floating(other)) and not (
        pa.types.is_floating(one) and pa.types.is_decimal(other)
    ):
        try:
            fields = [pa.schema([(name, kind)]) for kind in (one, other)]
            return pa.unify_schemas(fields, promote_options="permissive").field(0).type
        except pa.ArrowException:
            pass
    raise errors.DataError(
        f"{file}, column {name}: has values of several types ({one} and {other}): give it a type in its source",
        code=Exit.BAD_ROW,
    )


def united(schemas: Iterable[tuple[str, pa.Schema]]) -> pa.Schema:
    """All columns in the order in which they come first, with types for all. Raises DataError."""
    types: dict[str, Any] = {}
    for file, schema in schemas:
        for entry in schema:
            types[entry.name] = together(file, entry.name, types.get(entry.name, pa.null()), entry.type)
    return pa.schema([(name, pa.string() if kind == pa.null() else kind) for name, kind in types.items()])


def normal(kind: pa.DataType) -> pa.DataType:
    """One type for each kind of value: whole numbers have 64 bits, texts no dictionary."""
    if pa.types.is_dictionary(kind):
        return normal(kind.value_type)
    if pa.types.is_integer(kind):
        return pa.uint64() if kind == pa.uint64() else pa.int64()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        # The name that Parquet has, and so what a shard wrote.
        return pa.list_(pa.field("element", _normal_inside(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([(entry.name, _normal_inside(entry.type)) for entry in kind.fields])
    return pa.date32() if pa.types.is_date64(kind) else kind


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Of an extension, what it is stored as; of a UUID text, which is what other formats have."""
    if not isinstance(kind, pa.BaseExtensionType) or kind == nested.JSON:
        return kind
    return pa.string() if kind == pa.uuid() else kind.storage_type


def plain(values: pa.Array) -> pa.Array:
    """Values as their plain type."""
    if values.type == plain_type(values.type):
        return values
    if values.type != pa.uuid():
        return values.storage
    return pa.array([None if cell is None else str(cell) for cell in values.to_pylist()], pa.string())


def _normal_inside(kind: pa.DataType) -> pa.DataType:
    """Inside of lists and objects, numbers keep their size: nothing there is brought together with others."""
    return kind if pa.types.is_integer(kind) or pa.types.is_floating(kind) else normal(kind)


def settled(batch: Batch, schema: pa.Schema, numerals: Numerals) -> pa.Table:
    """A batch's rows with all columns of a schema. Raises DataError."""
    columns = []
    for entry in schema:
        if entry.name not in batch.table.column_names:
            columns.append(pa.nulls(len(batch.table), entry.type))
            continue
        values = _whole(batch.table.column(entry.name))
        try:
            if entry.name in batch.kinds:
                kind = next(kind for kind, arrow in ARROW.items() if arrow == entry.type)
                of_json = kind == "json" and batch.kinds[entry.name] is not None
                columns.append(
                    as_json(values, batch.kinds[entry.name] or TEXT) if of_json else typed(values, kind, numerals)
                )
            else:
                columns.append(converted(values, entry.type))
        except WrongValue as error:
            raise batch.wrong(entry.name, error) from None
    return pa.Table.from_arrays(columns, schema=schema)


def as_json(values: pa.Array, kinds: Kinds = frozenset()) -> pa.Array:
    """JSON's text as such; of `kinds` with texts, these are not JSON yet."""
    if kinds >= TEXT:
        values = pa.array([None if cell is None else json.dumps(cell) for cell in values.to_pylist()], pa.string())
    return pa.ExtensionArray.from_storage(nested.JSON, values)


def converted(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values of a typed format as another type of the same kind. Raises WrongValue: one would become another."""
    if values.type == kind and not pa.types.is_nested(kind):  # of these, Arrow calls types with other names equal
        return values
    return _cast(values, kind, f"does not fit the type {kind}, which others of its column have")


def _cast(values: pa.Array, kind: pa.DataType, rule: str) -> pa.Array:
    """Raises WrongValue with the rule."""
    failures = (pa.ArrowException, OverflowError)

    def casts(some: pa.Array) -> bool:
        try:
            some.cast(kind)
        except failures:
            return False
        return True

    try:
        return values.cast(kind)
    except failures:
        raise WrongValue(_first_without(values, casts), rule) from None


def _first_without(values: pa.Array, holds: Callable[[pa.Array], bool]) -> int:
    """The first row with which something doesn't hold that holds for no rows."""
    return bisect.bisect_left(range(len(values)), True, key=lambda end: not holds(values.slice(0, end + 1)))


def unicode(values: pa.Array) -> pa.Array:
    """Of a typed format, which doesn't prove it: the same. Raises WrongValue for a text with other bytes."""
    if not _is_unicode(values):
        # Of a slice, Arrow would look at all of what is inside.
        row = _first_without(values, lambda some: _is_unicode(some.take(pa.array(range(len(some))))))
        raise WrongValue(row, _NOT_UNICODE)
    return values


def _is_unicode(values: pa.Array) -> bool:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def finite(values: pa.Array, missing: Collection[str]) -> pa.Array:
    """Of a typed format: NaN is missing there. Raises WrongValue for an infinite number that `missing` doesn't name,
    and for NaN as well in a list or an object, where no value can be missing."""
    if pa.types.is_nested(values.type) and not _is_finite(values):
        raise WrongValue(_first_without(values, _is_finite), "must have finite numbers alone")
    if not pa.types.is_floating(values.type):
        return values
    values = values.cast(normal(values.type))
    infinite = pc.is_inf(values)
    if {"Infinity", "inf"}.isdisjoint(missing):
        if (row := pc.index(infinite, True).as_py()) >= 0:
            raise WrongValue(row, "must be a finite number")
        infinite = pc.is_nan(values)
    else:
        infinite = pc.or_(infinite, pc.is_nan(values))
    if not pc.any(infinite, min_count=0).as_py():
        return values
    return pc.if_else(infinite, pa.scalar(None, values.type), values)


def _is_finite(values: pa.Array) -> bool:
    """Whether no number in them is NaN or infinite, however deep it is."""
    if pa.types.is_floating(values.type):
        return bool(pc.all(pc.is_finite(values), min_count=0).as_py())
    if pa.types.is_struct(values.type):
        return all(map(_is_finite, values.flatten()))
    if pa.types.is_map(values.type):
        parts = values.drop_null()
        return _is_finite(parts.keys) and _is_finite(parts.items)
    return _is_finite(values.flatten()) if pa.types.is_nested(values.type) else True


def as_texts(values: pa.Array, kind: str) -> pa.Array:
    """Values of a typed format as text, from which a declared type is read."""
    if pa.types.is_string(normal(values.type)):
        return values.cast(pa.string())
    if pa.types.is_nested(values.type):
        cells = [None if cell is None else nested.text(cell) for cell in values.to_pylist()]
        return pa.array(cells, pa.string())
    if pa.types.is_floating(values.type):
        return pa.array([None if cell is None else repr(cell) for cell in values.to_pylist()], pa.string())
    return _cast(values, pa.string(), _NOT_UNICODE)


def to_frame(table: pa.Table, index: Any) -> pd.DataFrame:
    """As pandas has it; lists and objects from their JSON text."""
    frame = nested.to_pandas(table)
    frame.index = index
    return frame


def index_of(batches: Iterable[Batch]) -> Any:
    """The places of rows."""
    places = [batch.index for batch in batches]
    return places[0].append(places[1:]) if places else pd.RangeIndex(0)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
