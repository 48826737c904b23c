"""The types of columns that a text format has no types for: as declared, or as the values suggest."""

from typing import Any, Literal

import pandas as pd

from modelops_runtime.data.nested import absent, parsed

Type = Literal["number", "integer", "text", "boolean", "json"]
_DTYPES = {"number": "float64", "integer": "Int64", "text": "str", "boolean": "boolean"}


def as_type(column: pd.Series, kind: Type) -> pd.Series:
    if kind == "text":
        return column.astype("str").where(column.notna())
    if kind == "boolean":
        booleans = {"true": True, "false": False, "1": True, "0": False}
        return column.map(lambda value: booleans.get(str(value).lower())).astype("boolean")
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    if kind == "integer":
        numbers = numbers.where(numbers == numbers.round())
    return numbers.astype(_DTYPES[kind])


def from_json(column: pd.Series, format_: str) -> pd.Series:
    """Lists and objects. JSON lines have them as such, and texts as texts; CSV has all of it as JSON text."""
    cells = [cell if format_ == "jsonl" or absent(cell) else _parsed(cell) for cell in column]
    return pd.Series([None if absent(cell) else cell for cell in cells], index=column.index, dtype=object)


def _parsed(cell: Any) -> Any:
    try:
        value = parsed(cell)
    except (TypeError, ValueError):
        return None
    return value if isinstance(value, list | dict) else None
