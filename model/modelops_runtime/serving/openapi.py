"""The OpenAPI document, exact for the model that is served."""

from typing import Any

import numpy as np

from modelops_runtime.artifacts.manifest import MIXED, Manifest, Tensor
from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.contract import ServeContract
from modelops_runtime.serving import open_inference

Schema = dict[str, Any]
REFUSALS = {
    "400": "The body is not JSON.",
    "408": "The body came too slowly.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "422": "A field breaks a rule, or the prediction is not a finite number.",
    "503": "Still loading, too many predictions at a time, or one took too long: see Retry-After.",
}
NOT_READY = "Still loading, or shutting down: see Retry-After."
LONGEST_REQUEST_ID = 128


def document(
    manifest: Manifest | None, settings: ServeContract, preprocessing: Preprocessing | None = None
) -> dict[str, Any]:
    """Without a manifest (still loading) the rows' shape is left open."""
    paths = {
        "/": {"get": _get("A page to try a prediction in a browser.", media="text/html")},
        "/page.css": {"get": _get("The page's style.", media="text/css")},
        "/page.js": {"get": _get("The page's program.", media="text/javascript")},
        "/api/predict": {"post": _predict(manifest, settings, preprocessing)},
        "/healthz/live": {"get": _get("The process runs.", _object(live=_const(True)))},
        "/healthz/ready": {
            "get": _get(
                "The model gave its golden prediction and the server is not shutting down.",
                _object(ready=_const(True), model=_text(), version=_text()),
                refused=_ref("Refusal"),
            )
        },
        "/metrics": {"get": _get("Metrics in Prometheus' format.", media="text/plain")},
        "/openapi.json": {"get": _get("This document.", {"type": "object"})},
        **_open_protocol(manifest, settings),
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
            "schemas": _schemas(manifest, settings),
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


def _schemas(manifest: Manifest | None, settings: ServeContract) -> dict[str, Schema]:
    schemas = {
        "Refusal": _object(error=_object(field=_text(), rule=_text(), message=_text())),
        "OpenRefusal": _object(error=_text()),
    }
    if manifest is None or manifest.inputs.dtype == MIXED:
        return schemas
    shape = [_integer(1, settings.max_batch_rows), *map(_const, manifest.inputs.shape[1:])]
    number = _number(manifest.inputs.dtype)
    size = {"minItems": 1, "maxItems": settings.max_batch_rows * manifest.inputs.numbers_per_row}
    flat = {"type": "array", "items": number, **size, "description": "Row after row; as many as `shape` says."}
    tensor = {
        "name": _const(open_inference.INPUT),
        "shape": _tuple(shape),
        "datatype": _const(open_inference.DATATYPES[manifest.inputs.dtype]),
        "data": {"oneOf": [flat, _rows(manifest.inputs, settings)]} if shape[1:] else flat,
    }
    parameters = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    requested_output = _object(optional={"parameters": parameters}, name=_const(open_inference.OUTPUT))
    schemas["InferRequest"] = _object(
        optional={
            "id": _text(),
            "parameters": parameters,
            "outputs": {"type": "array", "items": requested_output, "maxItems": 1},
        },
        inputs={**_list(_object(optional={"parameters": parameters}, **tensor)), "minItems": 1, "maxItems": 1},
    )
    outputs = _object(
        name=_const(open_inference.OUTPUT),
        shape=_tuple([_integer(1, settings.max_batch_rows), *map(_const, manifest.outputs.shape[1:])]),
        datatype=_const(open_inference.DATATYPES[manifest.outputs.dtype]),
        data=_list(_number(manifest.outputs.dtype)),
    )
    schemas["InferResponse"] = _object(
        optional={"id": _text()},
        model_name=_const(manifest.name),
        model_version=_const(settings.model_version),
        outputs={**_list(outputs), "minItems": 1, "maxItems": 1},
    )
    return schemas


def _open_protocol(manifest: Manifest | None, settings: ServeContract) -> dict[str, Any]:
    refused = _ref("OpenRefusal")
    metadata = _object(name=_text(), version=_text(), extensions=_list(_text()))
    alive = _object(ready=_const(True), live=_const(True))
    paths = {
        "/v2": {"get": _get("Open Inference Protocol: server metadata.", metadata)},
        "/v2/health/live": {"get": _get("Open Inference Protocol: liveness.", _object(live=_const(True)))},
        "/v2/health/ready": {"get": _get("Open Inference Protocol: readiness.", alive, refused=refused)},
    }
    if manifest is None:
        return paths
    tensor = _object(name=_text(), datatype=_text(), shape=_list({"type": "integer"}))
    model = _object(
        name=_const(manifest.name),
        versions=_list(_const(settings.model_version)),
        platform=_const(open_inference.platform(manifest)),
        inputs=_list(tensor),
        outputs=_list(tensor),
    )
    ready = _object(name=_const(manifest.name), ready=_const(True))
    row = {"name": open_inference.INPUT, "shape": [1, *manifest.inputs.shape[1:]], "data": manifest.golden.inputs[:1]}
    example = {"inputs": [{**row, "datatype": open_inference.DATATYPES[manifest.inputs.dtype]}]}
    for base in (f"/v2/models/{manifest.name}", f"/v2/models/{manifest.name}/versions/{settings.model_version}"):
        paths[base] = {"get": _get("Open Inference Protocol: model metadata.", model)}
        paths[f"{base}/ready"] = {"get": _get("Open Inference Protocol: model readiness.", ready, refused=refused)}
        if manifest.inputs.dtype == MIXED:
            continue
        paths[f"{base}/infer"] = {
            "post": _post(
                "Open Inference Protocol: predict.", _ref("InferRequest"), example, _ref("InferResponse"), refused
            )
        }
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


def _get(summary: str, schema: Schema | None = None, media: str = "application/json", refused: Any = None) -> Schema:
    responses = {"200": _response(summary, schema or _text(), media)}
    if refused:
        responses["503"] = _refusal("503", NOT_READY, refused)
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
    schema = {} if tensor.dtype == MIXED else _number(tensor.dtype)
    for size in reversed(tensor.shape[1:]):
        schema = {"type": "array", "items": schema, "minItems": size, "maxItems": size}
    return {"type": "array", "items": schema, "minItems": 1, "maxItems": settings.max_batch_rows}
