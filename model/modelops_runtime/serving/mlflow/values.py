"""One value of a request, by its type in the signature, or a refusal that names its field."""

import base64
import binascii
import datetime
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import numpy as np

from modelops_runtime.serving.http import Refusal
from modelops_runtime.serving.mlflow.signature import NUMBERS, Column
from modelops_runtime.serving.validation import (
    LARGEST_WHOLE,
    decode,
    out_of_range,
    validation_refusal,
)

ESCAPED = re.compile(r'["\\\x00-\x1f]')
"""What JSON's text has only escaped, and `msgspec` therefore not as a field's name."""
_NANOSECONDS = re.compile(r"[.,]\d{6}(\d{1,3})")
"""Those that Python's times leave out."""
anything = msgspec.json.Decoder().decode
"""Of whatever JSON there is."""
PYTHON = {"boolean": bool, "string": str, "binary": bytes, "datetime": str, "double": float, "float": float}
_MAY_BE = {"boolean": "true or false", "string": "text", "binary": "text in base64", "datetime": "a time in ISO 8601"}


def plain(column: Column) -> Any:
    """What a decoder makes of a value."""
    return int if column.type in ("integer", "long") else PYTHON.get(column.type, Any)


def value_reader(column: Column) -> Callable[[Any, str], Any]:
    """Checks one decoded value. Its second argument is the value's place; raises Refusal (422)."""
    readers: dict[str, Callable[[Any, str], Any]] = {"boolean": _boolean, "string": _text, "binary": _bytes}
    if column.type in ("integer", "long"):
        return partial(_whole, np.iinfo(NUMBERS[column.type]))
    if column.type in ("float", "double"):
        return partial(_number, np.finfo(NUMBERS[column.type]))
    if column.type == "datetime":
        return time
    if column.type == "nested":
        return partial(_nested, _python_type(column.nested))
    return readers[column.type]


def _wrong(field: str, expected: str, value: object) -> Refusal:
    given = "null" if value is None else f"{str(value)[:50]!r}" if isinstance(value, str) else str(value)[:50]
    return Refusal(422, field, "type", f"{field} must be {expected}, not {given}")


def _boolean(value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(field, "true or false", value)
    return value


def _text(value: Any, field: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _wrong(field, "text", value)
    return value


def _bytes(value: Any, field: str) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong(field, "text in base64", value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(field, "text in base64", value) from None


def time(value: Any, field: str) -> np.datetime64:
    """Without a time zone, in UTC."""
    if value is None or value == "NaT":  # as MLflow writes one that is missing
        return np.datetime64("NaT", "ns")
    try:
        moment = datetime.datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    except OverflowError:  # in UTC, not in the years 1 to 9999
        moment = datetime.datetime.max
    except (TypeError, ValueError):
        raise _wrong(field, "a time in ISO 8601", value) from None
    if not 1678 <= moment.year <= 2261:
        raise Refusal(422, field, "finite", f"{field} must be in the years 1678 to 2261")
    finer = _NANOSECONDS.search(value)
    return np.datetime64(moment, "ns") + np.timedelta64(int(finer[1].ljust(3, "0")) if finer else 0, "ns")


def _whole(limits: "np.iinfo[Any]", value: Any, field: str) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_WHOLE:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(field, "a whole number", value)
    if not limits.min <= value <= limits.max:
        raise out_of_range(np.dtype(limits.dtype), field)
    return value


def _number(limits: "np.finfo[Any]", value: Any, field: str) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(field, "a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= float(limits.max):
        raise out_of_range(np.dtype(limits.dtype), field)
    return number


def _nested(kind: Any, value: Any, field: str) -> Any:
    if value is None:
        return None
    try:
        return msgspec.to_builtins(msgspec.convert(value, kind))
    except msgspec.ValidationError as error:
        raise validation_refusal(error, field) from None


def _python_type(spec: Mapping[str, Any]) -> Any:
    """What `msgspec` checks a value of one of MLflow's nested types against."""
    kind = spec["type"]
    if kind == "array":
        return list[_python_type(spec["items"])]  # type: ignore[misc]
    if kind == "map":
        return dict[str, _python_type(spec["values"])]  # type: ignore[misc]
    if kind == "object":
        return _python_struct(spec["properties"])
    return int if kind in ("integer", "long") else {**PYTHON, "binary": str}.get(kind, Any)


def _python_struct(properties: Mapping[str, Mapping[str, Any]]) -> Any:
    if any(map(ESCAPED.search, properties)):
        return dict[str, Any]
    fields: list[Any] = []
    for number, spec in enumerate(properties.values()):
        kind = _python_type(spec)
        if spec.get("required", True):
            fields.append((f"c{number}", kind))
        else:
            fields.append((f"c{number}", kind | None | msgspec.UnsetType, msgspec.UNSET))
    names = {f"c{number}": name for number, name in enumerate(properties)}
    return msgspec.defstruct("Object", fields, rename=names, forbid_unknown_fields=True, kw_only=True)


def text_value(column: Column, value: Any, field: str) -> Any:
    """A value that came as text in a tensor."""
    if column.type != "nested":
        return value
    return decode(anything, str(value).encode(), field)
