"""From a JSON body to rows, or a refusal that names the field and the rule.

What every client sends that is right is read by one pass of a compiled decoder. Anything else is read again, value by
value: a wrong one to be named, and what is rare, such as a missing value.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.serving.http import Refusal
from modelops_runtime.serving.mlflow.rows import Rows
from modelops_runtime.serving.mlflow.signature import NUMBERS, Column, Param, Signature
from modelops_runtime.serving.mlflow.values import ESCAPED, PYTHON, anything, plain, text_value, time, value_reader
from modelops_runtime.serving.validation import (
    BYTE_ORDER_MARK,
    InputReader,
    check_finite,
    check_unique,
    colons,
    decode,
)

FORMS = ("inputs", "dataframe_split", "dataframe_records", "instances")
"""Ways to send rows: MLflow's own."""


class Body(msgspec.Struct, forbid_unknown_fields=True):
    inputs: msgspec.Raw = msgspec.Raw()
    dataframe_split: msgspec.Raw = msgspec.Raw()
    dataframe_records: msgspec.Raw = msgspec.Raw()
    instances: msgspec.Raw = msgspec.Raw()
    params: msgspec.Raw = msgspec.Raw()


class Split(msgspec.Struct, forbid_unknown_fields=True):
    data: msgspec.Raw
    columns: list[str | int] | msgspec.UnsetType = msgspec.UNSET
    """Without, in the signature's order: so pandas writes a table whose columns have no names."""
    index: msgspec.Raw = msgspec.Raw()


_body = msgspec.json.Decoder(Body).decode
_split = msgspec.json.Decoder(Split).decode
_by_name = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _beginning(content: msgspec.Raw) -> tuple[bytes, bytes]:
    """The first two characters of JSON, spaces left out."""
    start = bytes(memoryview(content)[:256]).lstrip()
    return start[:1], start[1:].lstrip()[:1]


class BodyReader:
    """Reads the bodies of requests for one model."""

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._params = ParamReader(signature.params)
        self._rows: TableReader | TensorsReader = (
            TableReader(signature, max_rows) if signature.columns else TensorsReader(signature, max_rows)
        )

    def read(self, body: bytes) -> Rows:
        """Raises Refusal: 400 when it is not JSON, 422 when a rule is broken."""
        body = body.removeprefix(BYTE_ORDER_MARK)
        request = decode(_body, body)
        given = [form for form in FORMS if getattr(request, form)]
        if len(given) != 1:
            if given:
                message = f"{given[1]} can't be there beside {given[0]}"
                raise Refusal(422, given[1], "known_field", message)
            raise Refusal(422, "inputs", "required", f"inputs is missing; send {self._rows.example()}")
        form = given[0]
        rows, keys = self._rows.read(form, getattr(request, form))
        if colons(body) != keys + 1:
            check_unique(body)
        if request.params or self._params.any:
            rows.params = self._params.read(decode(anything, request.params) if request.params else {})
        return rows


class ParamReader:
    def __init__(self, params: tuple[Param, ...]) -> None:
        self._params = {param.name: param for param in params}
        self._readers = {param.name: _param_reader(param) for param in params}
        self.any = bool(params)

    def read(self, given: object, *, known_only: bool = True) -> dict[str, Any]:
        """With the defaults of those that aren't given. Raises Refusal (422)."""
        if given is None:
            given = {}
        if not isinstance(given, dict):
            raise Refusal(422, "params", "type", "params must be an object")
        unknown = [name for name in given if name not in self._params]
        if unknown and known_only:
            name = unknown[0][:100]
            there = f"it takes {', '.join(self._params)}" if self._params else "it takes none"
            raise Refusal(422, f"params.{name}", "known_field", f"params.{name} is no parameter of the model; {there}")
        return {name: self._value(param, given.get(name)) for name, param in self._params.items()}

    def _value(self, param: Param, value: Any) -> Any:
        if value is None:
            if param.default is None or param.type["type"] != "datetime":
                return param.default
            value = param.default  # MLmodel has it as text
        field, read = f"params.{param.name}", self._readers[param.name]
        if not param.several:
            return read(value, field)
        if not isinstance(value, list):
            raise Refusal(422, field, "type", f"{field} must be a list")
        if None in value:
            at = f"{field}[{value.index(None)}]"
            raise Refusal(422, at, "type", f"{at} must not be null")
        return [read(item, f"{field}[{number}]") for number, item in enumerate(value)]


def _param_reader(param: Param) -> Callable[[Any, str], Any]:
    read = value_reader(_param_column(param))
    if param.type["type"] != "datetime":
        return read
    # A parameter is Python's own value, unlike a column's.
    return lambda value, field: read(value, field).astype("datetime64[us]").item()


def _param_column(param: Param) -> Column:
    kind = str(param.type["type"])
    return Column(param.name, kind) if kind in (*PYTHON, *NUMBERS) else Column(param.name, "nested", True, param.type)


class Cells(NamedTuple):
    """Values by column, and where each is in the body."""

    columns: dict[str, list[Any]]
    place: Callable[[int, str], str]
    keys: int


class TableReader:
    """Rows of named columns."""

    def __init__(self, signature: Signature, max_rows: int) -> None:
        columns = signature.columns
        self._columns = {column.name: column for column in columns}
        self._names = tuple(self._columns)
        self._named = signature.named
        self._max_rows = max_rows
        self._values_are_lists = columns[0].listed and not signature.named
        """A list in a list is then a value, as MLflow has it, and no row of one."""
        self._values = {name: value_reader(column) for name, column in self._columns.items()}
        types = {column.type for column in columns}
        self._dtype = np.dtype(NUMBERS[types.pop()]) if len(types) == 1 and types <= NUMBERS.keys() else None
        # Names that JSON writes in another way, or columns that a record may lack, are for the slow way.
        fields = [(f"c{number}", plain(column)) for number, column in enumerate(columns)]
        names = {f"c{number}": name for number, name in enumerate(self._names)}
        quick = all(column.required and column.type != "nested" for column in columns)
        self._quick: dict[bytes, Callable[[msgspec.Raw], list[Any]]] = {}
        if quick:
            row = msgspec.defstruct("Row", fields, array_like=True, forbid_unknown_fields=True)
            self._quick[b"["] = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
            if not any(map(ESCAPED.search, self._names)):
                record = msgspec.defstruct("Record", fields, rename=names, forbid_unknown_fields=True)
                self._quick[b"{"] = msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]

    def example(self) -> str:
        name = self._names[0]
        return f'{{"inputs": [{{"{name}": …}}, …]}}' if self._named else '{"inputs": […]}'

    def read(self, form: str, content: msgspec.Raw) -> tuple[Rows, int]:
        """The rows, and how many keys of JSON they had. Raises Refusal."""
        keys = 0
        data = content
        if form == "dataframe_split":
            split = decode(_split, content, form)
            names = self._names if split.columns is msgspec.UNSET else tuple(map(str, split.columns))
            keys = 1 + (split.columns is not msgspec.UNSET) + bool(split.index)
            if names != self._names:
                return self._slowly(self._split(names, split.data), keys)
            data = split.data
        outer, inner = _beginning(data)
        if outer == b"[":
            quick = self._quick.get(inner)
            if quick is not None:
                try:
                    rows = self._quickly(quick(data))
                except (msgspec.ValidationError, OverflowError, ValueError, Refusal):
                    rows = None  # the slow way says what is wrong, if anything is
                if rows is not None:
                    return rows, keys + (len(rows) * len(self._names) if inner == b"{" else 0)
        field = "dataframe_split.data" if form == "dataframe_split" else form
        return self._slowly(self._cells(decode(anything, data, field), field), keys)

    def _quickly(self, records: list[Any]) -> Rows | None:
        if not 0 < len(records) <= self._max_rows:
            return None
        values = list(map(msgspec.structs.astuple, records))
        if self._dtype is not None:
            matrix = np.array(values, dtype=self._dtype)
            check_finite(matrix, "")
            return Rows(self._names, None, matrix)
        columns = {}
        for name, column in zip(self._names, zip(*values, strict=True), strict=True):
            columns[name] = self._array(self._columns[name], column)
        return Rows(self._names, columns)

    def from_tensors(self, arrays: Mapping[str, Array]) -> Rows:
        """Of tensors that have a value a row, text as `str`. Raises Refusal (422)."""
        columns: dict[str, Array] = {}
        numbers = {name: number for number, name in enumerate(arrays)}
        for name in self._names:
            if name not in arrays:
                continue
            flat, column = arrays[name].reshape(-1), self._columns[name]
            if column.type in ("binary", "datetime", "nested"):
                read, at = self._values[name], f"inputs[{numbers[name]}].data"
                values = [text_value(column, value, f"{at}[{row}]") for row, value in enumerate(flat)]
                flat = self._array(column, [read(value, f"{at}[{row}]") for row, value in enumerate(values)])
            columns[name] = flat
        if not columns:
            raise Refusal(422, "inputs", "required", "inputs must have at least one column")
        if self._dtype is not None and len(columns) == len(self._names):
            return Rows(self._names, None, np.stack(list(columns.values()), axis=1))
        return Rows(tuple(columns), columns)

    def _slowly(self, cells: Cells, keys: int) -> tuple[Rows, int]:
        count = len(next(iter(cells.columns.values())))
        if not count:
            raise Refusal(422, "inputs", "min_rows", "inputs must have at least one row")
        if count > self._max_rows:
            message = f"inputs must have at most {self._max_rows} rows, this one has {count}"
            raise Refusal(422, "inputs", "max_rows", message)
        columns, missing = {}, ""
        for name, values in cells.columns.items():
            column, read = self._columns[name], self._values[name]
            checked = []
            for row, value in enumerate(values):
                place = cells.place(row, name)
                if value is None:
                    missing = missing or place
                checked.append(read(value, place))
            columns[name] = self._array(column, checked)
        names = tuple(name for name in self._names if name in columns)
        matrix = None
        if self._dtype is not None and names == self._names:
            matrix = np.stack([columns[name] for name in names], axis=1)
        return Rows(names, {name: columns[name] for name in names}, matrix, None, missing), keys + cells.keys

    def _cells(self, value: Any, field: str) -> Cells:
        if isinstance(value, dict):
            return self._by_column(value, field)
        if not isinstance(value, list):
            raise Refusal(422, field, "type", f"{field} must be a list of rows, or an object of columns")
        if not value:
            raise Refusal(422, field, "min_rows", f"{field} must have at least one row")
        if isinstance(value[0], dict) and (self._named or len(self._names) > 1):
            return self._records(value, field)
        if len(self._names) == 1 and (not isinstance(value[0], list) or self._values_are_lists):
            name = self._names[0]
            return Cells({name: value}, lambda row, _name: f"{field}[{row}]", 0)
        return self._lists(value, self._names, field)

    def _records(self, records: list[Any], field: str) -> Cells:
        columns: dict[str, list[Any]] = {name: [] for name in self._names}
        keys = 0
        for number, record in enumerate(records):
            at = f"{field}[{number}]"
            if not isinstance(record, dict):
                raise Refusal(422, at, "type", f"{at} must be an object, as the first row is")
            self._check_names(record, at)
            keys += len(record)
            for name, values in columns.items():
                values.append(record.get(name))
        given = {name for record in records for name in record}
        columns = {name: values for name, values in columns.items() if name in given}
        return Cells(columns, lambda row, name: f"{field}[{row}].{name}", keys)

    def _lists(self, rows: list[Any], names: tuple[str, ...], field: str) -> Cells:
        for number, row in enumerate(rows):
            at = f"{field}[{number}]"
            if not isinstance(row, list):
                raise Refusal(422, at, "type", f"{at} must be a list of the columns {', '.join(names)}")
            if len(row) != len(names):
                message = f"{at} must have {len(names)} values, one a column, this one has {len(row)}"
                raise Refusal(422, at, "length", message)
        places = {name: number for number, name in enumerate(names)}
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        return Cells(columns, lambda row, name: f"{field}[{row}][{places[name]}]", 0)

    def _by_column(self, columns: dict[str, Any], field: str) -> Cells:
        self._check_names(columns, field)
        lengths = {}
        for name, values in columns.items():
            if not isinstance(values, list):
                at = f"{field}.{name}"
                raise Refusal(422, at, "type", f"{at} must be a list, with a value for each row")
            lengths[name] = len(values)
        longest = max(lengths.values(), default=0)
        for name, length in lengths.items():
            if length != longest:
                at = f"{field}.{name}"
                message = f"{at} must have {longest} values, as the longest column, this one has {length}"
                raise Refusal(422, at, "length", message)
        return Cells(columns, lambda row, name: f"{field}.{name}[{row}]", len(columns))

    def _split(self, names: tuple[str, ...], data: msgspec.Raw) -> Cells:
        """In another order than the signature's, or with other columns."""
        field = "dataframe_split"
        if len(set(names)) != len(names):
            raise Refusal(422, f"{field}.columns", "unique", f"{field}.columns has a name twice")
        self._check_names(dict.fromkeys(names), field)
        rows = decode(anything, data, f"{field}.data")
        if not isinstance(rows, list) or not rows:
            raise Refusal(422, f"{field}.data", "min_rows", f"{field}.data must be a list of at least one row")
        return self._lists(rows, names, f"{field}.data")

    def _check_names(self, given: Mapping[str, Any], field: str) -> None:
        """Raises Refusal (422) where a column is unknown or one that is required isn't there."""
        for name in given:
            if name not in self._columns:
                at = f"{field}.{name[:100]}"
                columns = ", ".join(self._names[:20])
                raise Refusal(422, at, "known_field", f"{at} is no column of the model, its columns are {columns}")
        for name, column in self._columns.items():
            if column.required and name not in given:
                at = f"{field}.{name}"
                raise Refusal(422, at, "required", f"{at} is missing")
        if not given:
            raise Refusal(422, field, "required", f"{field} must have at least one column")

    @staticmethod
    def _array(column: Column, values: Any) -> Array:
        dtype = NUMBERS.get(column.type) or {"boolean": "bool", "datetime": "datetime64[ns]"}.get(column.type, "object")
        if column.type == "datetime":
            # Nanoseconds are what MLflow's type has; a time that they don't reach is refused where it is read.
            values = [value if isinstance(value, np.datetime64) else time(value, column.name) for value in values]
        array = np.empty(len(values), dtype=dtype)
        if column.type == "nested":
            for row, value in enumerate(values):  # all at once, NumPy would take lists apart
                array[row] = value
        else:
            array[:] = values
        if dtype == "float32" and np.isinf(array).any():
            raise OverflowError
        return array


class TensorsReader:
    """One tensor without a name, or several that have one."""

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._readers = {name: InputReader(tensor, max_rows) for name, tensor in signature.tensors.items()}
        self._names = tuple(self._readers)
        self._named = signature.named
        self._only = self._readers[self._names[0]] if len(self._names) == 1 else None

    def example(self) -> str:
        if not self._named:
            return '{"inputs": [row, …]}'
        return f'{{"inputs": {{{", ".join(f"{chr(34)}{name}{chr(34)}: [row, …]" for name in self._names)}}}}}'

    def read(self, form: str, content: msgspec.Raw) -> tuple[Rows, int]:
        """The rows, and how many keys of JSON they had. Raises Refusal."""
        if form.startswith("dataframe"):
            raise Refusal(422, form, "known_field", f"the model takes tensors, not {form}; send {self.example()}")
        first, inner = _beginning(content)
        if first == b"[" and self._only is not None and inner != b"{":
            return Rows(self._names, {self._names[0]: self._array(self._names[0], content, form)}), 0
        if first == b"[":
            return self._records(decode(anything, content, form), form)
        tensors = decode(_by_name, content, form)
        self._check_names(tensors, form)
        arrays = {name: self._array(name, tensors[name], f"{form}.{name}") for name in self._names}
        return self._together(arrays, form), len(arrays)

    def _records(self, records: Any, form: str) -> tuple[Rows, int]:
        """TensorFlow's row format: an object a row."""
        for number, record in enumerate(records):
            at = f"{form}[{number}]"
            if not isinstance(record, dict):
                raise Refusal(422, at, "type", f"{at} must be an object of the tensors {', '.join(self._names)}")
            self._check_names(record, at)
        tensors = {name: [record[name] for record in records] for name in self._names}
        arrays = {
            name: self._array(name, msgspec.Raw(msgspec.json.encode(rows)), form) for name, rows in tensors.items()
        }
        return self._together(arrays, form), len(records) * len(self._names)

    def _array(self, name: str, content: msgspec.Raw, field: str) -> Array:
        reader = self._readers[name]
        return reader.array(reader.nested(content, field), field)

    def from_tensors(self, arrays: Mapping[str, Array]) -> Rows:
        return Rows(self._names, {name: arrays[name] for name in self._names})

    def _together(self, arrays: dict[str, Array], form: str) -> Rows:
        if len({len(array) for array in arrays.values()}) > 1:
            raise Refusal(422, form, "length", f"{form} must all have the same number of rows")
        return Rows(self._names, arrays)

    def _check_names(self, given: Mapping[str, Any], field: str) -> None:
        for name in given:
            if name not in self._readers:
                at = f"{field}.{name[:100]}"
                raise Refusal(422, at, "known_field", f"{at} is no input of the model, send {self.example()}")
        for name in self._names:
            if name not in given:
                raise Refusal(422, f"{field}.{name}", "required", f"{field}.{name} is missing")
