"""Cells that are lists or objects, such as the messages of a conversation.

In a table they are pandas' Arrow columns, so that Parquet has them as it had them or as a step declares them: structs
and lists, of the same type in every file. What JSON lines have is Python's lists and dicts until a step reads it.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa


def is_nested(column: pd.Series) -> bool:
    """Whether a column has a type of lists or objects, or a cell that is one."""
    if isinstance(column.dtype, pd.ArrowDtype):
        return bool(pa.types.is_nested(column.dtype.pyarrow_dtype))
    return column.dtype == object and any(isinstance(cell, list | dict) for cell in column)


def absent(cell: Any) -> bool:
    """Whether there is no value; pandas' own `isna` would look into a list."""
    return cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell)


def column_of(cells: Sequence[Any], kind: pa.DataType, index: Any) -> pd.Series:
    """Lists and objects as a column of an Arrow type."""
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.array(cells, kind)), index=index)


def to_pandas(table: Any) -> pd.DataFrame:
    """An Arrow table or batch with its nested columns as they are, not as arrays of arrays."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_mapped)
    return frame


def to_arrow(frame: pd.DataFrame, *, index: bool) -> Any:
    """The other way around. pandas' own `read_parquet` can't read the names of its nested types: it gets lists."""
    table = pa.Table.from_pandas(frame, preserve_index=index)
    described = json.loads(table.schema.metadata[b"pandas"])
    for column in described["columns"]:
        if column["field_name"] in table.column_names and pa.types.is_nested(table.field(column["field_name"]).type):
            column["numpy_type"] = "object"
    return table.replace_schema_metadata({**table.schema.metadata, b"pandas": json.dumps(described)})


def _mapped(kind: pa.DataType) -> Any:
    return pd.ArrowDtype(kind) if pa.types.is_nested(kind) else None


def text(cell: Any) -> str:
    """A list or an object as JSON with one spelling a value."""
    return json.dumps(cell, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


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
    """Cells as a column of the same type."""
    if isinstance(column.dtype, pd.ArrowDtype):
        return column_of(cells, column.dtype.pyarrow_dtype, column.index)
    return pd.Series(cells, index=column.index, dtype=column.dtype)


def each_text(value: Any, scan: Callable[[Any], Any], key: str = "", *, of_json: bool = False) -> Any:
    """A list or an object with `scan`'s results in place of its texts but roles, also of those in a text that is JSON,
    where numbers are scanned as well: there they may become text."""
    if isinstance(value, dict):
        return {name: each_text(entry, scan, name, of_json=of_json) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [each_text(entry, scan, key, of_json=of_json) for entry in value]
    if key == "role" or not isinstance(value, str | int | float) or isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return scan(value) if of_json else value
    if key != "content" and (inner := _json(value)) is not None:
        changed = each_text(inner, scan, of_json=True)
        return value if changed == inner else json.dumps(changed, ensure_ascii=False)
    return scan(value)


def _json(text: str) -> Any:
    """The list or object that a text is the JSON of, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
