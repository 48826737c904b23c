"""From a JSON body to the array that the model takes, or a refusal that names the field and the rule."""

import json
import math
import re
from collections.abc import Callable, Collection
from functools import cached_property, partial
from typing import Any

import msgspec
import numpy as np

from modelops_runtime.artifacts.manifest import Tensor
from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.serving.http import Refusal

_AT = re.compile(r"^(?P<message>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_ARRAY = "`array`"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NO_MISSING = ", not null or NaN: the model was not trained with missing values here"
LONG = 64 * 1024
"""Bytes of JSON whose parsing would keep other requests waiting: their numbers are counted before."""
LARGEST_WHOLE = 2.0**53
"""Beyond it, a number with a decimal point is no longer the one that was written."""


class InputReader:
    """Checks the rows of a request against the model's input.

    Its caller switches NumPy's warnings off (`np.seterr`): what overflows is refused here.
    """

    def __init__(
        self, tensor: Tensor, max_rows: int, texts: Collection[int] = (), missing: Collection[int] = ()
    ) -> None:
        """`texts` are the columns that are text, in a tensor of mixed element type; none of them: all of it is text.
        `missing` are those where null may stand.

        -1 in the shape is any size.
        """
        self.tensor = tensor
        self._texts, self._missing = texts, missing
        self._may_miss = row_mask(missing, tensor.numbers_per_row)
        self.max_rows = max_rows
        self._dtype = np.dtype(tensor.dtype)
        mixed = float | str if 0 < len(texts) < tensor.numbers_per_row else str
        item: Any = {"f": float, "b": bool, "O": mixed}.get(self._dtype.kind, int)
        if missing and self._dtype.kind in "fO":
            item = item | None
        self._item = item
        self._nested = _Decoder(partial(_nested, tensor), item)
        self._flat = _Decoder(list.__class_getitem__, item)

    @cached_property
    def _body(self) -> "_Decoder":
        return _Decoder(partial(_body, self.tensor), self._item)

    @cached_property
    def _most_commas(self) -> int | None:
        """More than the JSON of all rows has, with those between fields; None where a text may have some, or a row any
        number of values."""
        if self._dtype.kind == "O" or any(size < 0 for size in self.tensor.shape[1:]):
            return None
        return self.max_rows * self.tensor.numbers_per_row + 1000

    def _check_count(self, content: "bytes | msgspec.Raw", field: str) -> None:
        if len(content) > LONG and self._most_commas is not None and bytes(content).count(b",") > self._most_commas:
            raise Refusal(422, field, "max_rows", f"{field} must have at most {self.max_rows} rows")

    def read(self, body: bytes) -> Array:
        """The inputs of `{"inputs": [[0.5]]}`. Raises Refusal: 400 when it is not JSON, 422 when a rule is broken."""
        self._check_count(body, "inputs")
        try:
            request = self._body.strict(body)
        except Exception:  # whatever it is, the slow way says it in words
            body = body.removeprefix(BYTE_ORDER_MARK)
            request = self._read_slowly(body)
        if body.find(b":", body.find(b":") + 1) >= 0:
            check_unique(body)
        return self.array(request.inputs, "inputs")

    def _read_slowly(self, body: bytes) -> Any:
        try:
            return self._body(body)
        except Refusal as refusal:
            if refusal.status == 422 and (
                refusal.rule in ("known_field", "required", "depth") or refusal.field == "body"
            ):
                refusal.message += f"; send {self._example()}"
            raise

    def nested(self, content: "msgspec.Raw", field: str) -> list[Any]:
        """Rows from JSON that is well formed. Raises Refusal (422)."""
        self._check_count(content, field)
        rows: list[Any] = self._nested(content, field)
        return rows

    def flat(self, content: "msgspec.Raw", field: str) -> list[Any]:
        """Numbers in a row from JSON that is well formed. Raises Refusal (422)."""
        self._check_count(content, field)
        numbers: list[Any] = self._flat(content, field)
        return numbers

    def numbers(self, numbers: list[Any], field: str) -> Array:
        """A flat array. Raises Refusal (422) for numbers that don't fit the element type."""
        try:
            array = np.array(numbers, dtype=self._dtype)
        except OverflowError:
            raise out_of_range(self._dtype, field) from None
        check_finite(array, field, self._may_miss)
        return array

    def array(self, rows: list[Any], field: str) -> Array:
        """Raises Refusal (422) for no rows, too many, ragged ones, numbers that don't fit the element type."""
        if not rows:
            raise Refusal(422, field, "min_rows", f"{field} must have at least one row")
        if len(rows) > self.max_rows:
            raise Refusal(
                422, field, "max_rows", f"{field} must have at most {self.max_rows} rows, this one has {len(rows)}"
            )
        try:
            array = np.array(rows, dtype=self._dtype)
        except OverflowError:
            raise out_of_range(self._dtype, field) from None
        except ValueError:
            array = np.empty(0)
        if array.shape[1:] != self.tensor.shape[1:] and not self._fits(array.shape):
            raise self._wrong_shape(rows, field)
        check_finite(array, field, self._may_miss)
        if self._texts:
            self._check_kinds(rows, field)
        return array

    def _fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a shape is the model's, rows and all sizes that may be any left out."""
        sizes = zip(shape[1:], self.tensor.shape[1:], strict=False)
        return len(shape) == len(self.tensor.shape) and all(size == wanted or wanted < 0 for size, wanted in sizes)

    def _check_kinds(self, rows: list[Any], field: str) -> None:
        for number, row in enumerate(rows):
            for place, value in enumerate(row):
                if value is None and place in self._missing:
                    continue
                if value is None or isinstance(value, str) != (place in self._texts):
                    at, kind = f"{field}[{number}][{place}]", "text" if place in self._texts else "a number"
                    more = NO_MISSING if value is None else ""
                    raise Refusal(422, at, "type", f"{at} must be {kind}{more}")

    def _example(self) -> str:
        sizes = self.tensor.shape[1:]
        kind = "value" if self._texts else "number"
        row = f"a {kind}" if not sizes else f"{' × '.join(map(str, sizes))} {kind}{'s' * (sizes != (1,))} in a list"
        return f'{{"inputs": [row, …]}}, each row {row}'

    def _wrong_shape(self, rows: list[Any], field: str) -> Refusal:
        """Names the first list that is not as long as it should be."""
        pending: list[tuple[Any, int, str]] = [(row, 1, f"{field}[{number}]") for number, row in enumerate(rows)]
        for value, depth, path in pending:  # grows while it is walked: breadth first
            length = self.tensor.shape[depth] if depth < len(self.tensor.shape) else None
            if length is not None and length >= 0 and len(value) != length:
                message = f"{path} must have {length} number{'s' * (length != 1)}, this one has {len(value)}"
                return Refusal(422, path, "length", message)
            if length is not None and depth + 1 < len(self.tensor.shape):
                pending += [(item, depth + 1, f"{path}[{number}]") for number, item in enumerate(value)]
        return Refusal(422, field, "shape", f"{field} must have the shape {list(self.tensor.shape)}")


def _nested(tensor: Tensor, item: Any) -> Any:
    for _dimension in tensor.shape:
        item = list[item]
    return item


def _body(tensor: Tensor, item: Any) -> Any:
    return msgspec.defstruct("PredictRequest", [("inputs", _nested(tensor, item))], forbid_unknown_fields=True)


class _Decoder:
    """Of JSON of one structure. Where whole numbers are wanted, 1.0 is one: many programs write all numbers so."""

    def __init__(self, structure: Callable[[Any], Any], item: Any) -> None:
        self.strict = msgspec.json.Decoder(structure(item)).decode
        self._lenient = msgspec.json.Decoder(structure(int | float)).decode if item is int else None

    def __call__(self, content: "bytes | msgspec.Raw", field: str = "") -> Any:
        try:
            return decode(self.strict, content, field)
        except Refusal as refusal:
            if self._lenient is None or refusal.rule != "type":
                raise
        return _whole(decode(self._lenient, content, field), field)


def _whole(value: Any, field: str) -> Any:
    """The same, its numbers integers. Raises Refusal (422)."""
    if isinstance(value, msgspec.Struct):
        value.inputs = _whole(value.inputs, "inputs")  # type: ignore[attr-defined]
    elif isinstance(value, list):
        return [_whole(item, f"{field}[{number}]") for number, item in enumerate(value)]
    elif isinstance(value, float):
        if not value.is_integer() or abs(value) > LARGEST_WHOLE:
            raise Refusal(422, field, "type", f"{field} must be a whole number, not {value:g}")
        return int(value)
    return value


def colons(text: bytes) -> int:
    """`bytes.count` looks at one byte at a time, `find` at many: which is quicker depends on the length."""
    if len(text) < 4096:
        return text.count(b":")
    found, place = 0, text.find(b":")
    while place >= 0:
        found, place = found + 1, text.find(b":", place + 1)
    return found


def check_unique(body: bytes) -> None:
    """Raises Refusal (422) when JSON that is well formed has a key twice in an object.

    A parser takes the last one, a proxy or a log may take the first: what was asked is not clear. It is slow. Where
    there are as many colons as keys were read, none was given twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _value in pairs:
            if name in seen:
                raise Refusal(422, name[:100], "unique", f"{name[:100]} is given twice")
            seen.add(name)

    json.loads(body, object_pairs_hook=unique)


def all_finite(array: Array) -> bool:
    """Whether no number is infinite or NaN."""
    return math.isfinite(array.item()) if array.size == 1 else bool(np.isfinite(array).all())


def row_mask(places: Collection[int], width: int) -> Array | None:
    """A row that is true in these places; None without any."""
    return np.isin(np.arange(width), list(places)) if places else None


def check_finite(array: Array, field: str, may_miss: Array | None = None) -> None:
    """Raises Refusal (422) naming the first number that is infinite, or NaN where in a row none may be missing."""
    if array.dtype.kind != "f" or all_finite(array):
        return
    wrong = ~np.isfinite(array)
    if may_miss is not None:
        missing = np.isnan(array)
        allowed = (missing.reshape(-1, len(may_miss)) & may_miss).reshape(array.shape)
        wrong &= ~allowed
        if not wrong.any():
            return
    first = tuple(np.argwhere(wrong)[0])
    at = field + "".join(f"[{index}]" for index in first)
    if may_miss is not None and np.isnan(array[first]):
        raise Refusal(422, at, "type", f"{at} must be a number{NO_MISSING}")
    raise out_of_range(array.dtype, at)


def out_of_range(dtype: np.dtype[Any], field: str) -> Refusal:
    return Refusal(422, field, "finite", f"{field} must fit into {dtype}")


def decode(decoder: Callable[[Any], Any], body: "bytes | msgspec.Raw", field: str = "") -> Any:
    """Raises Refusal: 400 when `body` is not JSON, 422 when it has another structure. `field`: its place."""
    try:
        return decoder(body)
    except msgspec.ValidationError as error:
        raise validation_refusal(error, field) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if "out of range" in str(error):
            raise Refusal(422, "body", "finite", "every number must be finite") from None
        reason = f"the body is not JSON: {error}" if body else "the body is empty, must be JSON"
        raise Refusal(400, "body", "json", reason) from None
    except RecursionError:
        raise Refusal(422, "body", "depth", "the body is nested too deeply") from None


def validation_refusal(error: msgspec.ValidationError, prefix: str = "") -> Refusal:
    """msgspec's "Expected `float`, got `str` - at `$.inputs[0][1]`" as field, rule and message."""
    match = _AT.match(str(error))
    reason, path = (match["message"], match["path"]) if match else (str(error), None)
    field = (prefix + (path or "")).lstrip(".") or "body"
    if "missing required field" in reason:
        name = reason.rsplit("`", 2)[-2]
        field = name if field == "body" else f"{field}.{name}"
        return Refusal(422, field, "required", f"{field} is missing")
    if "unknown field" in reason:
        name = reason.rsplit("`", 2)[-2][:100]
        field = name if field == "body" else f"{field}.{name}"
        return Refusal(422, field, "known_field", f"{field} is not a field that is taken here")
    if "out of range" in reason:
        return Refusal(422, field, "finite", f"{field} is out of range")
    rule = "depth" if _ARRAY in reason and field != "body" else "type"
    words = reason[:200].replace("Expected", "must be").replace("`array`", "a list").replace("`float`", "a number")
    words = (
        words.replace("`float | str | null`", "a number, text or null")
        .replace("`float | null`", "a number or null")
        .replace("`str | null`", "text or null")
        .replace("`float | str`", "a number or text")
        .replace("`int | float`", "a whole number")
        .replace("`int`", "a whole number")
        .replace("`str`", "a string")
        .replace("`object`", "an object")
    )
    words = words.replace("`bool`", "a boolean").replace("`null`", "null").replace(", got", ", not")
    return Refusal(422, field, rule, f"{field} {words}")
