"""The OpenAPI document, exact for the model that is served."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelops_runtime.artifacts.manifest import MIXED, Manifest, Tensor
from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.contract import ServeContract
from modelops_runtime.serving.open_inference import OUTPUT, platform
from modelops_runtime.serving.tensors import DATATYPES, NUMBERS, TensorReader

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


def document(
    manifest: Manifest | None,
    settings: ServeContract,
    preprocessing: Preprocessing | None = None,
    tensors: Sequence[TensorReader] = (),
) -> dict[str, Any]:
    """Without a manifest (still loading) the rows' shape is left open. `tensors` are the Open Inference Protocol's."""
    paths = {
        "/": {"get": _get("A page to try a prediction in a browser.", media="text/html")},
        "/page.css": {"get": _get("The page's style.", media="text/css")},
        "/page.js": {"get": _get("The page's program.", media="text/javascript")},
        "/api/predict": {"post": _predict(manifest, settings, preprocessing)},
        "/healthz/live": {
            "get": _get(
                "The process runs, and no prediction is stuck.",
                _object(live=_const(True)),
                refused=_ref("Refusal"),
                why=STUCK,
            )
        },
        "/healthz/ready": {
            "get": _get(
                "The model gave its golden prediction and the server is not shutting down.",
                _object(ready=_const(True), model=_text(), version=_text()),
                refused=_ref("Refusal"),
            )
        },
        "/metrics": {"get": _get("Metrics in Prometheus' format.", media="text/plain")},
        "/openapi.json": {"get": _get("This document.", {"type": "object"})},
        **_open_protocol(manifest, settings, tensors),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": manifest.name if manifest else "modelops",
            "version": settings.model_version,
            "description": "A model, served. Every answer carries X-Request-Id; HEAD is taken wherever GET is.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(manifest, settings, tensors),
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


def _schemas(manifest: Manifest | None, settings: ServeContract, tensors: Sequence[TensorReader]) -> dict[str, Schema]:
    schemas = {
        "Refusal": _object(error=_object(field=_text(), rule=_text(), message=_text())),
        "OpenRefusal": _object(error=_text()),
    }
    if manifest is None:
        return schemas
    kinds = [kind for tensor in tensors for kind in _tensor_kinds(tensor, settings)]
    count = len(tensors)
    schemas["InferRequest"] = _object(
        optional={
            "id": {"type": ["string", "null"]},
            "model_name": {"enum": [manifest.name, None]},
            "parameters": PARAMETERS,
            "outputs": {
                "type": ["array", "null"],
                "items": _object(optional={"parameters": PARAMETERS}, name=_const(OUTPUT)),
                "maxItems": 1,
            },
        },
        inputs={"type": "array", "items": {"oneOf": kinds}, "minItems": count, "maxItems": count},
    )
    if count > 1:
        schemas["InferRequest"]["properties"]["inputs"]["description"] = "One tensor a column, as many rows in each."
    outputs = _object(
        name=_const(OUTPUT),
        shape=_tuple([_integer(1, settings.max_batch_rows), *map(_const, manifest.outputs.shape[1:])]),
        datatype=_const(DATATYPES[manifest.outputs.dtype]),
        data=_list(_number(manifest.outputs.dtype)),
    )
    schemas["InferResponse"] = _object(
        optional={"id": _text()},
        model_name=_const(manifest.name),
        model_version=_const(settings.model_version),
        outputs={**_list(outputs), "minItems": 1, "maxItems": 1},
    )
    return schemas


def _tensor_kinds(tensor: TensorReader, settings: ServeContract) -> list[Schema]:
    """What an input tensor can be in JSON: of the model's datatype, and of others of numbers."""
    if tensor.datatype == "BYTES":
        return [_tensor(tensor, settings, _const("BYTES"), _text())]
    number = _number(NUMBERS[tensor.datatype])
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
    size = {"minItems": 1, "maxItems": rows * math.prod(sizes)}
    flat = {"type": "array", "items": item, **size, "description": "Row after row; as many as `shape` says."}
    shape = _tuple([_integer(1, rows), *map(_const, sizes)])
    if tensor.column:
        shape["minItems"] = 1
    return _object(
        optional={"parameters": PARAMETERS},
        name=_const(tensor.name),
        shape=shape,
        datatype=datatype,
        data={"oneOf": [flat, _rows_of(item, tensor.shape, rows)]} if sizes else flat,
    )


def _open_protocol(
    manifest: Manifest | None, settings: ServeContract, tensors: Sequence[TensorReader]
) -> dict[str, Any]:
    refused = _ref("OpenRefusal")
    metadata = _object(name=_text(), version=_text(), extensions=_list(_text()))
    alive = _object(ready=_const(True), live=_const(True))
    paths = {
        "/v2": {"get": _get("Open Inference Protocol: server metadata.", metadata)},
        "/v2/health/live": {
            "get": _get("Open Inference Protocol: liveness.", _object(live=_const(True)), refused=refused, why=STUCK)
        },
        "/v2/health/ready": {"get": _get("Open Inference Protocol: readiness.", alive, refused=refused)},
    }
    if manifest is None:
        return paths
    tensor = _object(name=_text(), datatype=_text(), shape=_list({"type": "integer"}))
    model = _object(
        name=_const(manifest.name),
        versions=_list(_const(settings.model_version)),
        platform=_const(platform(manifest)),
        inputs=_list(tensor),
        outputs=_list(tensor),
    )
    ready = _object(name=_const(manifest.name), ready=_const(True))
    row = manifest.golden.inputs[0]
    data = [[row]] if len(tensors) == 1 else [[value] for value in row]
    example = {
        "inputs": [
            {"name": tensor.name, "shape": [1, *tensor.shape[1:]], "datatype": tensor.datatype, "data": values}
            for tensor, values in zip(tensors, data, strict=True)
        ]
    }
    for base in (f"/v2/models/{manifest.name}", f"/v2/models/{manifest.name}/versions/{settings.model_version}"):
        paths[base] = {"get": _get("Open Inference Protocol: model metadata.", model)}
        paths[f"{base}/ready"] = {"get": _get("Open Inference Protocol: model readiness.", ready, refused=refused)}
        post = _post("Open Inference Protocol: predict.", _ref("InferRequest"), example, _ref("InferResponse"), refused)
        post["requestBody"]["content"]["application/octet-stream"] = {"schema": {"description": BINARY}}
        post["responses"]["200"]["content"]["application/octet-stream"] = {"schema": {"description": BINARY}}
        paths[f"{base}/infer"] = {"post": post}
    return paths


def _predict(manifest: Manifest | None, settings: ServeContract, preprocessing: Preprocessing | None) -> dict[str, Any]:
    if manifest is None:
        return _post("Predict.", _object(inputs=_list({})), None, _object(outputs=_list({})), _ref("Refusal"))
    single = manifest.outputs.shape[1:] == (1,)
    outputs = _rows(Tensor((-1,), manifest.outputs.dtype) if single else manifest.outputs, settings)
    if manifest.labels:
        labels = ", ".join(map(str, manifest.labels))
        outputs["description"] = f"A row's probability of each class, in this order: {labels}."
    example = {"inputs": manifest.golden.inputs[:1]}
    rows = _rows(manifest.inputs, settings)
    if preprocessing is not None:
        rows["items"] = _row_of_columns(preprocessing)
    inputs = _object(inputs=rows)
    return _post("Predict.", inputs, example, _object(outputs=outputs), _ref("Refusal"))


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


def _integer(minimum: int, maximum: int) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _tuple(items: list[Schema]) -> Schema:
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def _object(*, optional: dict[str, Schema] | None = None, **required: Schema) -> Schema:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def _number(dtype: str) -> Schema:
    if dtype.startswith("float"):
        largest = float(np.finfo(dtype).max)
        return {"type": "number", "minimum": -largest, "maximum": largest}
    return _integer(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def _row_of_columns(preprocessing: Preprocessing) -> Schema:
    """A row whose columns have names, and a type each."""
    texts, number = preprocessing.text_inputs(), _number("float64")
    columns = [
        {**(_text() if place in texts else number), "title": name} for place, name in enumerate(preprocessing.inputs)
    ]
    return _tuple(columns)


def _rows(tensor: Tensor, settings: ServeContract) -> Schema:
    item = {} if tensor.dtype == MIXED else _number(tensor.dtype)
    return _rows_of(item, tensor.shape, settings.max_batch_rows)


def _rows_of(item: Schema, shape: tuple[int, ...], most: int) -> Schema:
    for size in reversed(shape[1:]):
        item = {"type": "array", "items": item, "minItems": size, "maxItems": size}
    return {"type": "array", "items": item, "minItems": 1, "maxItems": most}
