"""What a model takes, as tensors of the Open Inference Protocol and as JSON schemas."""

from typing import Any

from modelops_runtime.artifacts.manifest import MIXED, Tensor
from modelops_runtime.serving.mlflow.signature import NUMBERS, Signature
from modelops_runtime.serving.open_inference.tensors import TensorReader
from modelops_runtime.serving.openapi import array_of, listed, numbers, object_of, record, row_of

_DTYPES = {**NUMBERS, "boolean": "bool"}
_CONTENT_TYPES = {"string": "str", "binary": "base64", "datetime": "datetime"}


def readers(signature: Signature, rows: int) -> list[TensorReader]:
    if signature.tensors:
        return [TensorReader(name, tensor, rows) for name, tensor in signature.tensors.items()]
    return [
        TensorReader(
            column.name,
            Tensor((-1, 1), _DTYPES.get(column.type, MIXED)),
            rows,
            column=True,
            required=column.required,
            content_type=_CONTENT_TYPES.get(column.type, ""),
        )
        for column in signature.columns
    ]


def request_schema(signature: Signature, most: int) -> dict[str, Any]:
    """Any of MLflow's ways to send rows."""
    ways = _table_ways(signature, most) if signature.columns else _tensor_ways(signature, most)
    known = object_of({}, {param.name: param.schema() for param in signature.params})
    params = {"params": {**known, "type": ["object", "null"]}}
    rows = "rows" if signature.columns else "tensors"
    description = f"The {rows}: {_named(signature)}."
    return {"description": description, "anyOf": [object_of({form: way}, params) for form, way in ways]}


def _named(signature: Signature) -> str:
    if signature.columns:
        return ", ".join(f"{column.name} ({column.type})" for column in signature.columns)
    return ", ".join(f"{name} {list(tensor.shape)} of {tensor.dtype}" for name, tensor in signature.tensors.items())


def _table_ways(signature: Signature, most: int) -> list[tuple[str, dict[str, Any]]]:
    columns = signature.columns
    items = {column.name: column.schema() for column in columns}
    required = {name: item for (name, item), column in zip(items.items(), columns, strict=True) if column.required}
    optional = {name: item for name, item in items.items() if name not in required}
    size = {"minItems": 1, "maxItems": most}
    some = {} if required else {"minProperties": 1}
    records = {**listed({**object_of(required, optional), **some}), **size}
    titled = [{**item, "title": name} for name, item in items.items()]
    rows = {**listed(row_of(titled)), **size}
    by_column = {
        **object_of(
            {name: {**listed(item), **size} for name, item in required.items()},
            {name: {**listed(item), **size} for name, item in optional.items()},
        ),
        **some,
    }
    labels = list(dict.fromkeys([*items, *(column.label for column in columns)]))
    split = record(
        optional={"index": listed({}), "columns": {**listed({"enum": labels}), "minItems": 1}},
        data={**listed(listed({"anyOf": list(items.values())})), **size},
    )
    ways = [records, rows, by_column] if signature.named else [rows]
    if len(columns) == 1:
        values = {**listed(titled[0]), **size}
        if not columns[0].listed:
            ways.append(values)
        elif not signature.named:
            ways = [values]
    either = {"anyOf": ways} if len(ways) > 1 else ways[0]
    forms = [("inputs", either), ("instances", either)]
    return [*forms, ("dataframe_split", split), ("dataframe_records", either)] if signature.named else forms


def _tensor_ways(signature: Signature, most: int) -> list[tuple[str, dict[str, Any]]]:
    arrays = {
        name: array_of({"type": "string"} if tensor.dtype == MIXED else numbers(tensor.dtype), tensor.shape, most)
        for name, tensor in signature.tensors.items()
    }
    ways = [object_of(arrays)]
    if len(arrays) == 1:
        ways.insert(0, next(iter(arrays.values())))
    rows = object_of({name: array["items"] for name, array in arrays.items()})
    either = {"anyOf": [*ways, array_of(rows, (-1,), most)]}
    return [("inputs", either), ("instances", either)]
