"""The OpenAPI document, exact for the model that is served."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from modelops_runtime.contract import ServeContract
from modelops_runtime.serving.open_inference.tensors import NUMBERS, TensorReader
from modelops_runtime.serving.served import PREDICT, CallSchemas, OutputTensor, Served

Schema = dict[str, Any]
REFUSALS = {
    "400": "The body is not JSON.",
    "408": "The body came too slowly.",
    "413": "The body is too large.",
    "415": "Content-Type is something else than JSON, bytes or curl's form, or the body is compressed.",
    "422": "A field breaks a rule, or the prediction is not a finite number.",
    "503": "Still loading, too many predictions at a time, or one took too long: see Retry-After.",
}
NOT_READY = "Still loading, or shutting down: see Retry-After."
STUCK = "A prediction doesn't end: see `error`."
LONGEST_REQUEST_ID = 128
PARAMETERS: Schema = {
    "type": ["object", "null"],
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
BINARY = (
    "The same JSON, as long as the header Inference-Header-Content-Length says, then the tensors' binary data: instead"
    " of `data` they have `binary_data_size` among their `parameters`. An answer is binary where the request has"
    " `binary_data_output` or its output `binary_data` among the parameters."
)


def document(model: Served | None, settings: ServeContract) -> dict[str, Any]:
    """Without a model (still loading) the rows' shape is left open."""
    calls = model.describe() if model else {PREDICT: CallSchemas("Predict.", ANY_INPUTS, None, ANY_OUTPUTS)}
    paths = {
        "/": {"get": _get("A page to try a prediction in a browser.", media="text/html")},
        "/page.css": {"get": _get("The page's style.", media="text/css")},
        "/page.js": {"get": _get("The page's program.", media="text/javascript")},
        **{path: {"post": _call(schemas)} for path, schemas in calls.items()},
        "/healthz/live": {
            "get": _get(
                "The process runs, and no prediction is stuck.",
                record(live=_const(True)),
                refused=_ref("Refusal"),
                why=STUCK,
            )
        },
        "/healthz/ready": {
            "get": _get(
                "The model gave its golden prediction and the server is not shutting down.",
                record(ready=_const(True), model=_text(), version=_text()),
                refused=_ref("Refusal"),
            )
        },
        "/metrics": {"get": _get("Metrics in Prometheus' format.", media="text/plain")},
        "/openapi.json": {"get": _get("This document.", {"type": "object"})},
        **_open_protocol(model, settings),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": model.name if model else "modelops",
            "version": settings.model_version,
            "description": "A model, served. Every answer carries X-Request-Id; HEAD is taken wherever GET is.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(model, settings),
            "parameters": {
                "RequestId": {
                    "name": "X-Request-Id",
                    "in": "header",
                    "description": "Sent back and logged; a new one is made where this is missing or not of this form.",
                    "schema": {"type": "string", "pattern": "^[!-~]+$", "maxLength": LONGEST_REQUEST_ID},
                }
            },
            "headers": {
                "RequestId": {"schema": _text(), "required": True},
                "RetryAfter": {"schema": {"type": "integer"}, "description": "Seconds.", "required": True},
            },
        },
    }


def _schemas(model: Served | None, settings: ServeContract) -> dict[str, Schema]:
    schemas = {
        "Refusal": record(error=record(field=_text(), rule=_text(), message=_text())),
        "OpenRefusal": record(error=_text()),
    }
    if model is None:
        return schemas
    required = sum(tensor.required for tensor in model.inputs)
    kinds = [kind for tensor in model.inputs for kind in _tensor_kinds(tensor, settings)]
    count = len(model.inputs)
    names = [output.name for output in model.outputs]
    schemas["InferRequest"] = record(
        optional={
            "id": {"type": ["string", "null"]},
            "model_name": {"enum": [model.name, None]},
            "parameters": PARAMETERS,
            "outputs": {
                "type": ["array", "null"],
                "items": record(optional={"parameters": PARAMETERS}, name=_one_of(names)),
                "maxItems": len(names),
            },
        },
        inputs={
            "type": "array",
            "items": {"oneOf": kinds},
            "minItems": required,
            "maxItems": count,
        },
    )
    if count > 1:
        schemas["InferRequest"]["properties"]["inputs"]["description"] = "One tensor a column, as many rows in each."
    outputs = [_output(output, settings) for output in model.outputs]
    schemas["InferResponse"] = record(
        optional={"id": _text()},
        model_name=_const(model.name),
        model_version=_const(settings.model_version),
        outputs={
            **listed(outputs[0] if len(outputs) == 1 else {"oneOf": outputs}),
            "minItems": 1,
            "maxItems": len(outputs),
        },
    )
    return schemas


def _output(output: OutputTensor, settings: ServeContract) -> Schema:
    first, *sizes = output.shape
    most = settings.max_batch_rows if first < 0 else first
    item = _text() if output.datatype == "BYTES" else numbers(NUMBERS[output.datatype])
    return record(
        name=_const(output.name),
        shape=row_of([_integer(1, most), *map(_size, sizes)]),
        datatype=_const(output.datatype),
        data=listed(item),
    )


def _tensor_kinds(tensor: TensorReader, settings: ServeContract) -> list[Schema]:
    """What an input tensor can be in JSON: of the model's datatype, and of others of numbers."""
    if tensor.datatype == "BYTES":
        return [_tensor(tensor, settings, _const("BYTES"), nullable(_text()) if tensor.missing else _text())]
    number = numbers(NUMBERS[tensor.datatype])
    if tensor.missing:
        # Of several columns in one tensor not all may be missing; the server says which.
        floats = [datatype for datatype in NUMBERS if datatype.startswith("FP") and datatype != tensor.datatype]
        others = [datatype for datatype in NUMBERS if not datatype.startswith("FP") and datatype != "BOOL"]
        return [
            _tensor(tensor, settings, _const(tensor.datatype), nullable(number)),
            _tensor(tensor, settings, {"enum": floats}, nullable(number)),
            _tensor(tensor, settings, {"enum": others}, number),
            _tensor(tensor, settings, _const("BOOL"), {"type": "boolean"}),
        ]
    others = [datatype for datatype in NUMBERS if datatype not in ("BOOL", tensor.datatype)]
    other = {"enum": others, "description": "The model takes another one: numbers must fit into both."}
    return [
        _tensor(tensor, settings, _const(tensor.datatype), number),
        _tensor(tensor, settings, other, number),
        _tensor(tensor, settings, _const("BOOL"), {"type": "boolean"}),
    ]


def _tensor(tensor: TensorReader, settings: ServeContract, datatype: Schema, item: Schema) -> Schema:
    rows = settings.max_batch_rows
    sizes = tensor.shape[1:]
    size: Schema = {"minItems": 1}
    if all(length >= 0 for length in sizes):
        size["maxItems"] = rows * math.prod(sizes)
    flat = {"type": "array", "items": item, **size, "description": "Row after row; as many as `shape` says."}
    shape = row_of([_integer(1, rows), *map(_size, sizes)])
    if tensor.column:
        shape["minItems"] = 1
    return record(
        optional={"parameters": PARAMETERS},
        name=_const(tensor.name),
        shape=shape,
        datatype=datatype,
        data={"oneOf": [flat, array_of(item, tensor.shape, rows)]} if sizes else flat,
    )


def _open_protocol(model: Served | None, settings: ServeContract) -> dict[str, Any]:
    refused = _ref("OpenRefusal")
    metadata = record(name=_text(), version=_text(), extensions=listed(_text()))
    alive = record(ready=_const(True), live=_const(True))
    paths = {
        "/v2": {"get": _get("Open Inference Protocol: server metadata.", metadata)},
        "/v2/health/live": {
            "get": _get("Open Inference Protocol: liveness.", record(live=_const(True)), refused=refused, why=STUCK)
        },
        "/v2/health/ready": {"get": _get("Open Inference Protocol: readiness.", alive, refused=refused)},
    }
    if model is None:
        return paths
    tensor = record(
        optional={"parameters": PARAMETERS}, name=_text(), datatype=_text(), shape=listed({"type": "integer"})
    )
    metadata = record(
        name=_const(model.name),
        versions=listed(_const(settings.model_version)),
        platform=_const(model.platform),
        inputs=listed(tensor),
        outputs=listed(tensor),
    )
    ready = record(name=_const(model.name), ready=_const(True))
    for base in (f"/v2/models/{model.name}", f"/v2/models/{model.name}/versions/{settings.model_version}"):
        paths[base] = {"get": _get("Open Inference Protocol: model metadata.", metadata)}
        paths[f"{base}/ready"] = {"get": _get("Open Inference Protocol: model readiness.", ready, refused=refused)}
        post = _post(
            "Open Inference Protocol: predict.",
            _ref("InferRequest"),
            model.infer_example,
            _ref("InferResponse"),
            refused,
        )
        post["requestBody"]["content"]["application/octet-stream"] = {"schema": {"description": BINARY}}
        post["responses"]["200"]["content"]["application/octet-stream"] = {"schema": {"description": BINARY}}
        paths[f"{base}/infer"] = {"post": post}
    return paths


def _call(schemas: CallSchemas) -> Schema:
    return _post(schemas.summary, schemas.request, schemas.example, schemas.answer, _ref("Refusal"))


def _get(
    summary: str,
    schema: Schema | None = None,
    media: str = "application/json",
    refused: Any = None,
    why: str = NOT_READY,
) -> Schema:
    responses = {"200": _response(summary, schema or _text(), media)}
    if refused:
        responses["503"] = _refusal("503", why, refused)
    return {"summary": summary, "parameters": [_ref("RequestId", "parameters")], "responses": responses}


def _post(summary: str, request: Schema, example: object, answer: Schema, refused: Schema) -> Schema:
    content: dict[str, Any] = {"schema": request}
    if example is not None:
        content["example"] = example
    return {
        "summary": summary,
        "parameters": [_ref("RequestId", "parameters")],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": _response("One prediction a row.", answer),
            **{status: _refusal(status, text, refused) for status, text in REFUSALS.items()},
        },
    }


def _response(description: str, schema: Schema, media: str = "application/json") -> Schema:
    headers = {"X-Request-Id": _ref("RequestId", "headers")}
    return {"description": description, "headers": headers, "content": {media: {"schema": schema}}}


def _refusal(status: str, description: str, schema: Schema) -> Schema:
    response = _response(description, schema)
    if status == "503":
        response["headers"]["Retry-After"] = _ref("RetryAfter", "headers")
    return response


def _ref(name: str, kind: str = "schemas") -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _text() -> Schema:
    return {"type": "string"}


def _const(value: object) -> Schema:
    return {"const": value}


def _one_of(values: list[str]) -> Schema:
    return _const(values[0]) if len(values) == 1 else {"enum": values}


def _size(size: int) -> Schema:
    return _const(size) if size >= 0 else {"type": "integer", "minimum": 1}


def _integer(minimum: int, maximum: int) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def listed(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def row_of(items: Iterable[Schema]) -> Schema:
    """A list that has these, one after another."""
    prefix = list(items)
    return {"type": "array", "prefixItems": prefix, "minItems": len(prefix), "maxItems": len(prefix)}


def record(*, optional: dict[str, Schema] | None = None, **required: Schema) -> Schema:
    return object_of(required, optional)


def object_of(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def numbers(dtype: str) -> Schema:
    """One of an element type."""
    if dtype == "bool":
        return {"type": "boolean"}
    if dtype.startswith("float"):
        largest = float(np.finfo(dtype).max)
        return {"type": "number", "minimum": -largest, "maximum": largest}
    return _integer(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def nullable(schema: Schema) -> Schema:
    """The same, or null: a missing value."""
    return {**schema, "type": [schema["type"], "null"]}


def array_of(item: Schema, shape: Sequence[int], most: int) -> Schema:
    """Up to `most` rows, nested as the shape says."""
    for size in reversed(shape[1:]):
        item = {"type": "array", "items": item, "minItems": max(size, 0), **({"maxItems": size} if size >= 0 else {})}
    return {"type": "array", "items": item, "minItems": 1, "maxItems": most}


ANY_INPUTS, ANY_OUTPUTS = record(inputs=listed({})), record(outputs=listed({}))
