"""What a model takes, as its MLmodel file says it: named columns, or tensors; and parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelops_runtime.artifacts.manifest import MIXED, Tensor
from modelops_runtime.contract import ContractError
from modelops_runtime.serving.openapi import numbers, object_of

NUMBERS = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64"}
"""Element type of MLflow's types of numbers."""
PLAIN = ("boolean", "string", "binary", "datetime", *NUMBERS)
TEXT = {"type": "string"}
ANY: dict[str, Any] = {}


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    """One of `PLAIN`, or `nested`."""
    required: bool = True
    nested: Mapping[str, Any] = field(default_factory=dict)
    """An array's, object's or map's type, as MLflow writes it."""
    label: str | int = ""
    """What the model's table calls it: a number, where the table of the training had no names."""

    @property
    def listed(self) -> bool:
        """Whether a value is a list."""
        return self.nested.get("type") == "array"

    @property
    def nullable(self) -> bool:
        """Whether a value may be missing."""
        return self.type not in ("boolean", "integer", "long")

    def schema(self) -> dict[str, Any]:
        """Of one value in JSON."""
        schema = schema_of(self.nested or {"type": self.type})
        if not self.nullable or "type" not in schema:
            return schema
        return {**schema, "type": [schema["type"], "null"]}


@dataclass(frozen=True)
class Param:
    name: str
    type: Mapping[str, Any]
    default: Any
    several: bool

    def schema(self) -> dict[str, Any]:
        schema = schema_of(self.type)
        schema = {"type": "array", "items": schema} if self.several else schema
        return {"anyOf": [schema, {"type": "null"}], "default": self.default}


@dataclass(frozen=True)
class Signature:
    """Either columns or tensors."""

    columns: tuple[Column, ...] = ()
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    texts: frozenset[str] = frozenset()
    """Tensors of NumPy's own type of text, which to some models isn't what objects are."""
    named: bool = True
    """Whether requests say the names of columns or tensors; without, there is one."""
    params: tuple[Param, ...] = ()
    outputs: tuple[str, ...] = ()
    """Names of the outputs, where it says them."""


def read_signature(
    inputs: Sequence[Mapping[str, Any]],
    params: Sequence[Mapping[str, Any]] = (),
    outputs: Sequence[Mapping[str, Any]] = (),
) -> Signature:
    """From MLmodel's own lists. Raises ContractError when a tensor is of a kind that isn't served, or a name is there
    twice.
    """
    named = bool(inputs) and all("name" in one for one in inputs)
    tensors = {one.get("name", "input"): _tensor(one) for one in inputs if one["type"] == "tensor"}
    columns = [_column(number, one) for number, one in enumerate(inputs) if one["type"] != "tensor"]
    names = [column.name for column in columns]
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise ContractError(f"the signature has the column {twice!r} twice: log the model with a name for each")
    return Signature(
        tuple(columns),
        tensors,
        frozenset(one.get("name", "input") for one in inputs if one.get("tensor-spec", {}).get("dtype") == "str"),
        named or len(inputs) > 1,
        tuple(_param(one) for one in params),
        tuple(one["name"] for one in outputs if "name" in one),
    )


def _column(number: int, spec: Mapping[str, Any]) -> Column:
    label = spec.get("name", number)
    required = bool(spec.get("required", True))
    kind = spec["type"]
    if kind in PLAIN:
        return Column(str(label), kind, required, label=label)
    nested = {key: spec[key] for key in spec if key not in ("name", "required")}
    return Column(str(label), "nested", required, nested, label)


def _tensor(spec: Mapping[str, Any]) -> Tensor:
    """Raises ContractError."""
    shape, dtype = tuple(spec["tensor-spec"]["shape"]), str(spec["tensor-spec"]["dtype"])
    name = f"the tensor {spec['name']!r}" if "name" in spec else "the model's tensor"
    if dtype in ("str", "object", "string", "bytes"):
        dtype = MIXED
    elif np.dtype(dtype).kind not in "fiub":
        raise ContractError(f"{name} has the element type {dtype}, which is not served")
    if not shape or shape[0] != -1:
        raise ContractError(
            f"{name} has the shape {list(shape)}: the first dimension must be -1, any number of rows;"
            " log the model with such a signature"
        )
    return Tensor(shape, dtype)


def _param(spec: Mapping[str, Any]) -> Param:
    kind = {key: spec[key] for key in spec if key not in ("name", "default", "shape")}
    return Param(spec["name"], kind, spec.get("default"), spec.get("shape") is not None)


def made_up(spec: Mapping[str, Any]) -> Any:
    """A value of one of MLflow's types, in JSON."""
    match spec["type"]:
        case "boolean":
            return False
        case "string" | "binary":
            return ""
        case "datetime":
            return "1970-01-01"
        case "array":
            return [made_up(spec["items"])]
        case "map":
            return {}
        case "object":
            return {name: made_up(one) for name, one in spec["properties"].items() if one.get("required", True)}
        case kind if kind in NUMBERS:
            return 0
    return None


def schema_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Schema of a value of one of MLflow's types."""
    match spec["type"]:
        case "boolean":
            return {"type": "boolean"}
        case "string":
            return TEXT
        case "binary":
            return {"type": "string", "contentEncoding": "base64"}
        case "datetime":
            return {"type": "string", "description": "ISO 8601; without an offset it is UTC."}
        case "array":
            return {"type": "array", "items": schema_of(spec["items"])}
        case "map":
            return {"type": "object", "additionalProperties": schema_of(spec["values"])}
        case "object":
            properties = {name: schema_of(one) for name, one in spec["properties"].items()}
            optional = {name for name, one in spec["properties"].items() if not one.get("required", True)}
            return object_of(
                {name: one for name, one in properties.items() if name not in optional},
                {name: {"anyOf": [properties[name], {"type": "null"}]} for name in sorted(optional)},
            )
        case kind if kind in NUMBERS:
            return numbers(NUMBERS[kind])
    return ANY
