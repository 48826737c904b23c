"""Cells that are lists or objects, such as the messages of a conversation.

In a table they are pandas' Arrow columns, so that Parquet has them as it had them or as a step declares them: structs
and lists, of the same type in every file. What JSON lines have is Python's lists and dicts until a step reads it.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from modelops_runtime.contract import Exit
from modelops_runtime.data.errors import DataError

JSON = pa.json_()
"""The type of a source's columns of lists and objects, which come as JSON text; pandas has them as Python's."""


def is_nested(column: pd.Series) -> bool:
    """Whether a column has a type of lists or objects, or a cell that is one."""
    if isinstance(column.dtype, pd.ArrowDtype):
        return bool(pa.types.is_nested(column.dtype.pyarrow_dtype))
    return column.dtype == object and any(isinstance(cell, list | dict) for cell in column)


def absent(cell: Any) -> bool:
    """Whether there is no value; pandas' own `isna` would look into a list."""
    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and cell != cell)


def to_numbers(column: pd.Series) -> pd.Series:
    """As float64, NaN where there is no number. pandas' own `to_numeric` loses rows of Arrow's decimals."""
    if isinstance(column.dtype, pd.ArrowDtype) and pa.types.is_decimal(column.dtype.pyarrow_dtype):
        # By way of their text: Arrow's own cast makes 0.30000000000000004 of 0.3.
        numbers = pa.chunked_array(pa.array(column)).cast(pa.string()).cast(pa.float64())
        return pd.Series(numbers.to_numpy(), index=column.index)
    return pd.to_numeric(column, errors="coerce").astype("float64")


def column_of(cells: Sequence[Any], kind: pa.DataType, index: Any) -> pd.Series:
    """Lists and objects as a column of an Arrow type."""
    present = [None if absent(cell) else cell for cell in cells]
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.array(present, kind)), index=index)


def to_pandas(table: Any) -> pd.DataFrame:
    """An Arrow table or batch with its nested columns as they are, not as arrays of arrays."""
    for number, field in enumerate(table.schema):
        if (kind := _without_encoding(field.type)) != field.type:
            table = table.set_column(number, field.name, table.column(number).cast(kind))
    # What pandas wrote says which of its types it was.
    mapped = _of_arrow if b"pandas" in (table.schema.metadata or {}) else _mapped
    of_json = [field.name for field in table.schema if field.type == JSON]
    frame: pd.DataFrame = (table.drop_columns(of_json) if of_json else table).to_pandas(types_mapper=mapped)
    for name in of_json:
        cells = [None if text is None else parsed(text) for text in table.column(name).cast(pa.string()).to_pylist()]
        frame.insert(table.schema.get_field_index(name), name, pd.Series(cells, index=frame.index, dtype=object))
    return frame


def to_arrow(frame: pd.DataFrame, *, index: bool) -> Any:
    """The other way around. pandas' own `read_parquet` can't read the names of its nested types: it gets lists."""
    try:
        table = pa.Table.from_pandas(frame, preserve_index=index)
    except (pa.ArrowException, OverflowError) as error:
        name = next(name for name in frame.columns if not _fits(frame[name]))
        raise DataError(
            f"column {name} has values of several types, or of one that Parquet lacks: give it a type in its source, or"
            " leave it out by the step drop",
            code=Exit.BAD_ROW,
        ) from error
    described = json.loads(table.schema.metadata[b"pandas"])
    for column in described["columns"]:
        name = column["field_name"]
        if name in table.column_names and _of_arrow(table.field(name).type) is not None:
            column["numpy_type"] = "object"
    return table.replace_schema_metadata({**table.schema.metadata, b"pandas": json.dumps(described)})


def _fits(column: pd.Series) -> bool:
    """Whether Arrow has a type for all of a column."""
    try:
        pa.Array.from_pandas(column)
    except (pa.ArrowException, OverflowError):
        return False
    return True


def _without_encoding(kind: pa.DataType) -> pa.DataType:
    """The type that a column's values have. As pandas' categories they would take no other value; and pandas sorts no
    numbers of 16 bits."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    return pa.float32() if pa.types.is_float16(kind) else kind


def _of_arrow(kind: pa.DataType) -> Any:
    """Arrow's own type where pandas has none."""
    tests = ("nested", "decimal", "date", "time", "binary", "fixed_size_binary")
    own = any(getattr(pa.types, f"is_{test}")(kind) for test in tests)
    return pd.ArrowDtype(kind) if own else None


def _mapped(kind: pa.DataType) -> Any:
    """The same, and types that don't depend on whether a value is missing."""
    if pa.types.is_boolean(kind):
        return pd.BooleanDtype()
    if pa.types.is_integer(kind):
        return pd.UInt64Dtype() if kind == pa.uint64() else pd.Int64Dtype()
    return _of_arrow(kind)


def text(cell: Any) -> str:
    """A list or an object as JSON with one spelling a value."""
    return _written(cell, sort_keys=True, separators=(",", ":"), default=_as_json)


def _as_json(cell: Any) -> str:
    """What JSON has no type for: bytes as the text that they are, where they are none as escapes."""
    return cell.decode(errors="surrogateescape") if isinstance(cell, bytes) else str(cell)


def is_unicode(text: str) -> bool:
    """Whether a text can be written: half a surrogate pair is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _written(cell: Any, **options: Any) -> str:
    """JSON that can be written: half a surrogate pair stays the escape that it was."""
    text = json.dumps(cell, ensure_ascii=False, **options)
    return text if is_unicode(text) else json.dumps(cell, **options)


def comparable(column: pd.Series) -> pd.Series:
    """A column whose cells can be hashed: lists and objects as their text."""
    return as_text(column) if is_nested(column) else column


def as_text(column: pd.Series) -> pd.Series:
    """Lists and objects as their text, and texts as they are."""
    cells = [None if absent(cell) else cell if isinstance(cell, str) else text(cell) for cell in column]
    return pd.Series(cells, index=column.index, dtype="str")


def settled(frame: pd.DataFrame, declared: Iterable[str]) -> pd.DataFrame:
    """What no step has read of JSON's lists and objects, as JSON text; `declared` columns even where they have none,
    so that every shard has them of one type."""
    loose = [
        name for name in frame.columns if frame[name].dtype == object and (name in declared or is_nested(frame[name]))
    ]
    return frame.assign(**{name: as_text(frame[name]) for name in loose}) if loose else frame


def like(column: pd.Series, cells: list[Any]) -> pd.Series:
    """Texts as a column, and lists and objects as one of the same type."""
    if isinstance(column.dtype, pd.ArrowDtype) and is_nested(column):
        return column_of(cells, column.dtype.pyarrow_dtype, column.index)
    return pd.Series(cells, index=column.index, dtype=object if column.dtype == object else "str")


def each_text(value: Any, scan: Callable[[Any], Any], key: str = "", *, of_json: bool = False) -> Any:
    """A list or an object with `scan`'s results in place of its texts but a message's role, also of those in a text
    that is JSON. There, names and numbers are scanned as well: they may become another text."""
    if isinstance(value, dict):
        return {
            scan(name) if of_json and not name.isalpha() else name: each_text(entry, scan, name, of_json=of_json)
            for name, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(each_text(entry, scan, key, of_json=of_json) for entry in value)
    if (key == "role" and not of_json) or not isinstance(value, str | int | float) or isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return scan(value) if of_json else value
    if (inner := _json(value)) is not None:
        changed = each_text(inner, scan, of_json=True)
        return value if changed == inner else _written(changed)
    return scan(value)


def _json(text: str) -> Any:
    """The list or object that a text is the JSON of, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return parsed(text)
    except ValueError:
        return None


def parsed(text: str | bytes, **options: Any) -> Any:
    """What JSON has. Raises ValueError, also where it is nested more deeply than Python's stack."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
