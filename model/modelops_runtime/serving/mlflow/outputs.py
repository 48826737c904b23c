"""What a model predicted, whatever kind of object it is, as arrays that have a row for each row of the request."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from modelops_runtime.artifacts.manifest import BASELINE_COLUMNS
from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.serving.http import Refusal, Response
from modelops_runtime.serving.open_inference.tensors import datatype_of
from modelops_runtime.serving.openapi import listed, numbers, object_of, record
from modelops_runtime.serving.served import Named, OutputTensor
from modelops_runtime.serving.validation import all_finite

OUTPUT = "output"
_ENCODER = msgspec.json.Encoder(enc_hook=lambda value: _plain(value))


class Outputs(NamedTuple):
    arrays: Named
    table: bool = False
    """They are columns of one table."""
    single: bool = False
    """It is one array, which the model itself has no name for."""

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values()), ()))

    def have(self, rows: int) -> bool:
        """Whether each has a value for each of so many rows."""
        return all(len(array) == rows for array in self.arrays.values())

    def part(self, start: int, end: int) -> "Outputs":
        return self._replace(arrays={name: array[start:end] for name, array in self.arrays.items()})


def outputs_of(raw: Any, names: Sequence[str] = (), rows: int | None = None) -> Outputs:
    """`names` are what the signature calls outputs; `rows`: how many were predicted.

    Raises Refusal (422) where a number isn't finite.
    """
    if isinstance(raw, np.ndarray):
        return _single(raw, names)
    if hasattr(raw, "columns") and hasattr(raw, "to_numpy"):  # a DataFrame
        columns = (raw.iloc[:, number] for number in range(raw.shape[1]))
        found: dict[str, Array] = {}
        for name, column in zip(map(str, raw.columns), columns, strict=True):
            if name in found:
                raise TypeError(f"the predicted table has the column {name!r} twice")
            found[name] = _array(column.to_numpy())
        return Outputs(found, table=True)
    if hasattr(raw, "toarray"):  # a sparse matrix
        raw = raw.toarray()
    if isinstance(raw, Mapping) and raw:
        return Outputs({str(name): _array(_as_array(value)) for name, value in raw.items()})
    if isinstance(raw, Iterator):
        raw = list(raw)
    if isinstance(raw, list) and _is_by_row(raw, names, rows):
        return _single(_as_array([_as_array(one) for one in raw]), names)
    if isinstance(raw, list | tuple) and len(raw) > 1 and all(hasattr(one, "shape") and one.ndim for one in raw):
        called = names if len(names) == len(raw) else [f"{OUTPUT}_{number}" for number in range(len(raw))]
        return Outputs({name: _array(_as_array(one)) for name, one in zip(called, raw, strict=True)})
    if isinstance(raw, list | tuple) and len(raw) == 1 and hasattr(raw[0], "shape") and raw[0].ndim:
        raw = raw[0]
    return _single(_as_array(raw), names)


def _single(array: Array, names: Sequence[str]) -> Outputs:
    return Outputs({names[0] if len(names) == 1 else OUTPUT: _array(array)}, single=True)


def _is_by_row(raw: list[Any], names: Sequence[str], rows: int | None) -> bool:
    """Whether a list has an array for each row, such as an embedding, and not one for each of several outputs."""
    if len(raw) != rows or not all(hasattr(one, "shape") and one.ndim for one in raw):
        return False
    if any(len(one) != rows for one in raw):
        return True
    return len(names) != len(raw) and all(one.ndim == 1 for one in raw)


def _as_array(value: Any) -> Array:
    if hasattr(value, "to_numpy"):
        made: Array = value.to_numpy()
        return made
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if isinstance(value, list | tuple):
        truths = sum(isinstance(item, bool | np.bool_) for item in value)
        plain = truths in (0, len(value)) and all(
            isinstance(item, bool | int | float | np.number | np.bool_) for item in value
        )
        nested = not plain and all(isinstance(item, list | np.ndarray) for item in value)
        if plain or nested:
            try:
                array = np.array(value)
            except ValueError:  # ragged
                array = np.empty(0, dtype="object")
            if array.dtype.kind in "biuf":
                return array
        objects = np.empty(len(value), dtype="object")
        for number, item in enumerate(value):
            objects[number] = item
        return objects
    if isinstance(value, str | bytes) or not hasattr(value, "__array__"):
        single = np.empty(1, dtype="object")
        single[0] = value
        return single
    return np.asarray(value)


def _array(array: Array) -> Array:
    """Of numbers, truth values, or objects that JSON can have. Raises Refusal (422)."""
    if not array.ndim:
        array = array.reshape(1)
    kind = array.dtype.kind
    if kind == "f":
        if not all_finite(array):
            raise Refusal(422, "inputs", "finite", "the prediction for these inputs is not a finite number")
        return array.astype("float64") if array.dtype.itemsize > 8 else array
    if kind in "biu":
        return array
    if kind == "M":
        missing = np.isnat(array)
        array = np.datetime_as_string(array, unit="auto").astype("object")
        array[missing] = None
    elif kind != "O":
        array = array.astype("object")
    flat = array.ravel()
    if any(isinstance(value, float) and not math.isfinite(value) for value in flat):
        if not any(isinstance(value, str) for value in flat):
            raise Refusal(422, "inputs", "finite", "the prediction for these inputs is not a finite number")
        # Text that is missing, as pandas has it.
        flat = np.array([None if isinstance(value, float) else value for value in flat], dtype="object")
        array = flat.reshape(array.shape)
    if not all(map(_is_finite, flat)):
        raise Refusal(422, "inputs", "finite", "the prediction for these inputs has a number that is not finite")
    return array


def _is_finite(value: Any) -> bool:
    """Whether all numbers in an object are."""
    if isinstance(value, str | int | None):
        return True
    if isinstance(value, float | np.floating):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    if isinstance(value, np.ndarray):
        return all_finite(value) if value.dtype.kind == "f" else value.dtype.kind != "O" or _is_finite(value.tolist())
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "isoformat"):
        text: str = value.isoformat()
        return None if text == "NaT" else text  # pandas' time that is missing
    return str(value)


def text_of(value: Any) -> str:
    """As JSON, but for what is text in JSON."""
    text: str = value if isinstance(value, str) else _ENCODER.encode(value).decode()
    return msgspec.json.decode(text) if text.startswith('"') and not isinstance(value, str) else text


def as_tensors(outputs: Outputs, wanted: Sequence[str]) -> Named:
    """Those of the Open Inference Protocol: text where they aren't numbers."""
    arrays = {name: array for name, array in outputs.arrays.items() if not wanted or name in wanted}
    return {name: _texts(array) if array.dtype.kind == "O" else array for name, array in arrays.items()}


def _texts(array: Array) -> Array:
    texts = np.empty(array.size, dtype="object")
    for number, value in enumerate(array.ravel()):
        texts[number] = text_of(value)
    return texts.reshape(array.shape)


def answer(key: str, outputs: Outputs, *, flat: bool) -> Response:
    """`flat`: a column of its own is a list of values, not of rows of one."""
    return Response(200, _ENCODER.encode({key: _content(outputs, flat)}))


def _content(outputs: Outputs, flat: bool) -> Any:
    if outputs.table:
        columns = [array.tolist() for array in outputs.arrays.values()]
        return [dict(zip(outputs.arrays, row, strict=True)) for row in zip(*columns, strict=True)]
    if outputs.single:
        return _values(next(iter(outputs.arrays.values())), flat)
    return {name: _values(array, flat) for name, array in outputs.arrays.items()}


def _values(array: Array, flat: bool) -> Any:
    return (array[:, 0] if flat and array.shape[1:] == (1,) else array).tolist()


def watched(outputs: Outputs) -> Array:
    """The columns of numbers that the metrics have, in the order of `watched_names`."""
    arrays = outputs.arrays
    if len(arrays) == 1:
        only = next(iter(arrays.values()))
        if only.dtype.kind in "iuf":
            return only
    rows = len(outputs)
    columns = [array.reshape(rows) for array in arrays.values() if _is_column(array) and len(array) == rows]
    return np.stack(columns, axis=1) if columns else np.empty((len(outputs), 0))


def watched_names(outputs: Outputs) -> list[str]:
    arrays = outputs.arrays
    if len(arrays) == 1:
        only = next(iter(arrays.values()))
        width = math.prod(only.shape[1:]) if only.dtype.kind in "iuf" else 0
        return [str(number) for number in range(min(width, BASELINE_COLUMNS))]
    rows = len(outputs)
    names = [name for name, array in arrays.items() if _is_column(array) and len(array) == rows]
    return names[:BASELINE_COLUMNS]


def _is_column(array: Array) -> bool:
    return array.dtype.kind in "iuf" and math.prod(array.shape[1:]) == 1


def tensors_of(outputs: Outputs) -> list[OutputTensor]:
    return [OutputTensor(name, (-1, *array.shape[1:]), datatype_of(array)) for name, array in outputs.arrays.items()]


def schema(key: str, outputs: Outputs, *, flat: bool) -> dict[str, Any]:
    """JSON Schema of `answer`, known from one answer: sizes but the number of rows are as there."""
    if outputs.table:
        row = object_of({name: _item(array) for name, array in outputs.arrays.items()})
        return record(**{key: listed(row)})
    if outputs.single:
        return record(**{key: _schema(next(iter(outputs.arrays.values())), flat)})
    return record(**{key: object_of({name: _schema(array, flat) for name, array in outputs.arrays.items()})})


def _schema(array: Array, flat: bool) -> dict[str, Any]:
    item = _item(array)
    sizes = () if flat and array.shape[1:] == (1,) else array.shape[1:]
    for _size in sizes:
        item = listed(item)
    return listed(item)


def _item(array: Array) -> dict[str, Any]:
    if array.dtype.kind != "O":
        return numbers(str(array.dtype))
    if all(isinstance(value, str) for value in array.ravel()):
        return {"type": ["string", "null"]}
    return {}
