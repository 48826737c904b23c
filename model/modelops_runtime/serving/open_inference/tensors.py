"""One tensor of the Open Inference Protocol: its datatypes, as JSON and as binary data, to and from arrays.

Binary data is an extension of the protocol: Triton's extension_binary_data.md, which KServe and MLServer have too.
"""

import math
import re
from collections.abc import Collection, Iterator
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from modelops_runtime.artifacts.manifest import MIXED, Tensor
from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.serving.http import Refusal
from modelops_runtime.serving.validation import LARGEST_WHOLE, InputReader, check_finite, out_of_range, row_mask

NUMBERS = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
"""Element type of each datatype of numbers, but for BF16, which NumPy has not: it is the upper half of a float32."""
DATATYPES = {**{dtype: datatype for datatype, dtype in NUMBERS.items()}, MIXED: "BYTES"}
BINARY_SIZE = "binary_data_size"
_BINARY = {"BOOL": "uint8", "BF16": "uint16"}
_NESTED = re.compile(rb"\s*\[\s*\[")
_ELSEWHERE = ("classification", "shared_memory_region")
"""Parameters of Triton that change what the data is or where it is."""

# Not dict[str, Any]: a parameter is a plain value, so nothing in a request is nested deeper than its data.
Parameter = str | int | float | bool | None
Parameters = dict[str, Parameter]
# Optional fields may be left out, or null: MLServer's requests, dumped by Pydantic, are full of nulls.


def datatype_of(array: Array) -> str:
    return DATATYPES.get(str(array.dtype), "BYTES")


def keys_of(field: Collection[object] | UnsetType | None) -> int:
    """How many keys of JSON made an optional field: its own, and those of an object."""
    if field is UNSET:
        return 0
    return 1 + len(field) if isinstance(field, dict) else 1


class InferInput(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int | float]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: Parameters | UnsetType | None = UNSET

    def keys(self) -> int:
        """How many there were in its JSON."""
        keys = 4 if self.data else 3
        return keys + keys_of(self.parameters)


class BinaryData:
    """What follows the JSON of a request, taken piece by piece."""

    def __init__(self, content: memoryview) -> None:
        self._content = content

    def take(self, size: object, field: str) -> memoryview:
        """Raises Refusal (422) when there is not as much left."""
        field = f"{field}.parameters.{BINARY_SIZE}"
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(self._content):
            message = f"{field} must be a number of bytes, at most the {len(self._content)} that are left of the body"
            raise Refusal(422, field, "length", message)
        taken, self._content = self._content[:size], self._content[size:]
        return taken

    def end(self) -> None:
        """Raises Refusal (422) when something is left."""
        if self._content:
            message = f"{len(self._content)} bytes after the JSON belong to no tensor's {BINARY_SIZE}"
            raise Refusal(422, "body", "length", message)


NO_BINARY = BinaryData(memoryview(b""))


class TensorReader:
    """Reads a tensor of the model's shape as the element type that the model takes.

    The datatype may be another one of numbers: they are taken as JSON's numbers are, which have none. So they are
    rounded to the precision of a model of floating point numbers, and for one of integers they must be whole.
    """

    def __init__(
        self,
        name: str,
        tensor: Tensor,
        max_rows: int,
        *,
        column: bool = False,
        required: bool = True,
        content_type: str = "",
        missing: Collection[int] = (),
        empty_is_missing: bool = False,
    ) -> None:
        """`column`: one value a row, whose second dimension may be left out. Not `required`: a request may lack it.

        `missing`: the places in a row where a value may be: null in JSON, NaN in binary data and over gRPC; of texts,
        which have neither there, an empty one, if `empty_is_missing`.

        `content_type`: what its text is, as MLServer calls it.
        """
        self.name = name
        self.required = required
        self.content_type = content_type
        self.shape = tensor.shape
        self._row = list(tensor.shape[1:])
        self.datatype = DATATYPES[tensor.dtype]
        self._dtype = np.dtype(tensor.dtype)
        self._max_rows = max_rows
        self.column = column
        self.missing = missing
        self._empty_is_missing = empty_is_missing
        self._may_miss = row_mask(missing, tensor.numbers_per_row)
        self._dtypes = {"BYTES": MIXED} if tensor.dtype == MIXED else NUMBERS
        self._readers: dict[str, InputReader] = {}

    def metadata(self) -> dict[str, object]:
        described: dict[str, object] = {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}
        return {**described, "parameters": {"content_type": self.content_type}} if self.content_type else described

    def read(self, tensor: InferInput, binary: BinaryData, field: str) -> Array:
        """From an HTTP request. Raises Refusal (422)."""
        dtype = self._dtypes.get(tensor.datatype) or self._dtype_of(tensor.datatype, field)
        shape = self._checked(tensor.shape, field)
        parameters = tensor.parameters or {}
        if parameters:
            check_parameters(parameters, field)
        if BINARY_SIZE in parameters:
            if tensor.data:
                raise Refusal(422, f"{field}.data", "binary", f"{field} must have data or {BINARY_SIZE}, not both")
            content = binary.take(parameters[BINARY_SIZE], field)
            size = f"{field}.parameters.{BINARY_SIZE}"
            array = self._from_bytes(tensor.datatype, content, shape, f"{field}.data", size)
        elif not tensor.data:
            raise Refusal(422, f"{field}.data", "required", f"{field}.data is missing")
        elif dtype is None:
            raise Refusal(422, f"{field}.data", "binary", f"{field}.data: BF16 has no JSON, send it as binary data")
        else:
            array = _from_json(tensor.data, shape, self._reader(dtype), f"{field}.data")
        return self._converted(array, f"{field}.data")

    def read_bytes(self, datatype: str, shape: list[int | float], content: memoryview, field: str, data: str) -> Array:
        """From binary data, which is in the request's field `data`. Raises Refusal (422)."""
        self._dtype_of(datatype, field)
        checked = self._checked(shape, field)
        return self._converted(self._from_bytes(datatype, content, checked, data, data), data)

    def read_values(self, datatype: str, shape: list[int | float], values: list[Any], field: str, data: str) -> Array:
        """From values in the request's field `data`, row after row: `str` for BYTES, else numbers, whose datatype is
        not BF16. Raises Refusal (422)."""
        dtype = self._dtype_of(datatype, field)
        assert dtype is not None
        checked = self._checked(shape, field)
        _check_count(len(values), math.prod(checked), data)
        return self._converted(self._emptied(self._reader(dtype).numbers(values, data)).reshape(checked), data)

    def _from_bytes(self, datatype: str, content: memoryview, shape: list[int], data: str, size: str) -> Array:
        array = self._emptied(_from_bytes(datatype, content, math.prod(shape), data, size))
        check_finite(array, data, self._may_miss)
        return array.reshape(shape)

    def _emptied(self, array: Array) -> Array:
        """With None in place of each empty text that stands for a missing one."""
        if self._empty_is_missing and array.dtype.kind == "O":
            array[array == ""] = None
        return array

    def _dtype_of(self, datatype: str, field: str) -> str | None:
        """The element type as which a datatype is read; None for BF16. Raises Refusal (422)."""
        dtype = self._dtypes.get(datatype)
        if dtype is None and (datatype != "BF16" or self.datatype == "BYTES"):
            others = "" if self.datatype == "BYTES" else ", or another datatype of numbers"
            message = f"{field}.datatype must be {self.datatype}{others}"
            raise Refusal(422, f"{field}.datatype", "datatype", message)
        return dtype

    def _converted(self, array: Array, data: str) -> Array:
        return array if array.dtype is self._dtype else _converted(array, self._dtype, data, self._may_miss)

    def _reader(self, dtype: str) -> InputReader:
        reader = self._readers.get(dtype)
        if reader is None:
            tensor = Tensor(self.shape, dtype)
            reader = self._readers[dtype] = InputReader(tensor, self._max_rows, missing=self.missing)
        return reader

    def _checked(self, shape: list[int | float], field: str) -> list[int]:
        """Whole numbers. Raises Refusal (422)."""
        row = self._row
        if self.column and len(shape) == 1:
            shape = [*shape, 1]
        sizes = shape[1:]
        if not shape or not 1 <= shape[0] <= self._max_rows or shape[0] % 1 or (sizes != row and not _fit(sizes, row)):
            expected = [f"1..{self._max_rows}", *("any size" if size < 0 else size for size in row)]
            field = f"{field}.shape"
            raise Refusal(422, field, "shape", f"{field} must be [{', '.join(map(str, expected))}]")
        return [int(size) for size in shape]


def _fit(sizes: list[int | float], row: list[int]) -> bool:
    """Whether sizes are those of a row, -1 of which may be any."""
    return len(sizes) == len(row) and all(
        size == wanted or (wanted < 0 and 0 <= size < 2**31 and size % 1 == 0)
        for size, wanted in zip(sizes, row, strict=True)
    )


def check_parameters(parameters: Parameters, field: str) -> None:
    """Raises Refusal (422) for those of Triton that would change what the data is, or where."""
    for name in _ELSEWHERE:
        if name in parameters:
            message = f"{field}.parameters.{name} is not supported"
            raise Refusal(422, f"{field}.parameters.{name}", "known_field", message)


def to_bytes(array: Array) -> bytes:
    """A tensor's binary data: row after row, the lowest byte of each number first; each text behind its length."""
    if array.dtype.kind == "O":
        texts = [str(text).encode() for text in array.ravel()]
        return b"".join(part for text in texts for part in (len(text).to_bytes(4, "little"), text))
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def as_json(array: Array) -> list[Any]:
    """A tensor's data: row after row."""
    return np.ravel(array).tolist()


def _from_json(data: msgspec.Raw, shape: list[int], reader: InputReader, field: str) -> Array:
    """Numbers in a row or nested as the shape says. Raises Refusal (422)."""
    if _NESTED.match(data):
        array = reader.array(reader.nested(data, field), field)
        if len(array) != shape[0]:
            message = f"{field} must have {shape[0]} rows as its shape says, this one has {len(array)}"
            raise Refusal(422, field, "length", message)
        return array
    flat = reader.flat(data, field)
    _check_count(len(flat), math.prod(shape), field)
    return reader.numbers(flat, field).reshape(shape)


def _check_count(count: int, expected: int, field: str) -> None:
    if count != expected:
        message = f"{field} must have {expected} numbers as its shape says, this one has {count}"
        raise Refusal(422, field, "length", message)


def _from_bytes(datatype: str, content: memoryview, count: int, data: str, size: str) -> Array:
    """A flat array of its own. `size`: the field that says how long it is. Raises Refusal (422)."""
    if datatype == "BYTES":
        texts = list(_texts(content, data))
        _check_count(len(texts), count, data)
        return np.array(texts, dtype=MIXED)
    dtype = np.dtype(_BINARY.get(datatype) or NUMBERS[datatype]).newbyteorder("<")
    if len(content) != count * dtype.itemsize:
        message = f"{size} must be {count * dtype.itemsize} bytes, as shape and datatype say, not {len(content)}"
        raise Refusal(422, size, "length", message)
    array = np.frombuffer(content, dtype)
    array = (array.astype("uint32") << 16).view("float32") if datatype == "BF16" else array.astype(NUMBERS[datatype])
    return array


def _texts(content: memoryview, field: str) -> Iterator[str]:
    """Each has its length in front of it. Raises Refusal (422)."""
    place = 0
    while place < len(content):
        start = place + 4
        place = start + int.from_bytes(content[place:start], "little")
        if place > len(content) or start > len(content):
            raise Refusal(422, field, "length", f"{field}: the last text is longer than what is left of its bytes")
        try:
            yield str(content[start:place], "utf-8")
        except UnicodeDecodeError:
            raise Refusal(422, field, "utf8", f"{field}: texts must be UTF-8") from None


def _converted(array: Array, dtype: np.dtype[Any], field: str, may_miss: Array | None) -> Array:
    """Raises Refusal (422) for numbers that the element type has not."""
    if array.dtype == dtype:
        return array
    if dtype.kind == "f":
        check_finite(array, field, may_miss)
        converted = array.astype(dtype)
        if np.isinf(converted).any():
            raise out_of_range(dtype, field)
        return converted
    if array.dtype.kind == "f" and not ((array % 1 == 0) & (abs(array) <= LARGEST_WHOLE)).all():
        raise Refusal(422, field, "type", f"{field} must have whole numbers")
    limits = np.iinfo(dtype)
    if int(array.min()) < limits.min or int(array.max()) > limits.max:
        raise out_of_range(dtype, field)
    return array.astype(dtype)
