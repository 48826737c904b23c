"""The OpenAPI document, exact for the model that is served."""

from typing import Any

from model.contract import ServeContract
from model.manifest import Manifest, Tensor

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["field", "rule", "message"],
            "properties": {name: {"type": "string"} for name in ("field", "rule", "message")},
        }
    },
}
REFUSALS = {
    "400": "The body is not JSON.",
    "408": "The body came too slowly.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "422": "A field breaks a rule.",
    "503": "Still loading, or too many requests at a time: see Retry-After.",
}


def document(manifest: Manifest | None, settings: ServeContract) -> dict[str, Any]:
    """Without a manifest (still loading) the rows' shape is left open."""
    paths = {
        "/api/predict": {"post": _predict(manifest, settings)},
        "/healthz/live": {"get": _get("The process runs.")},
        "/healthz/ready": {"get": _get("The model gave its golden prediction and the server is not draining.", "503")},
        "/metrics": {"get": _get("Metrics in Prometheus' format.", content="text/plain")},
        "/openapi.json": {"get": _get("This document.")},
        "/v2": {"get": _get("Open Inference Protocol: server metadata.")},
        "/v2/health/live": {"get": _get("Open Inference Protocol: liveness.")},
        "/v2/health/ready": {"get": _get("Open Inference Protocol: readiness.", "503")},
    }
    if manifest is not None:
        base = f"/v2/models/{manifest.name}"
        paths[base] = {"get": _get("Open Inference Protocol: model metadata.")}
        paths[f"{base}/ready"] = {"get": _get("Open Inference Protocol: model readiness.", "503")}
        paths[f"{base}/infer"] = {"post": _infer()}
    return {
        "openapi": "3.1.0",
        "info": {"title": manifest.name if manifest else "modelops", "version": settings.model_version},
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}},
    }


def _get(description: str, *also: str, content: str = "application/json") -> dict[str, Any]:
    responses = {"200": {"description": description, "content": {content: {}}}}
    responses.update({status: _refusal("Not now.") for status in also})
    return {"summary": description, "responses": responses}


def _refusal(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _predict(manifest: Manifest | None, settings: ServeContract) -> dict[str, Any]:
    inputs: dict[str, Any] = {"type": "array"}
    outputs: dict[str, Any] = {"type": "array"}
    example = None
    if manifest is not None:
        inputs = _array(manifest.inputs)
        single = manifest.outputs.shape[1:] == (1,)
        outputs = _array(Tensor((-1,), manifest.outputs.dtype) if single else manifest.outputs)
        example = {"inputs": manifest.golden.inputs[:1]}
    inputs = {**inputs, "minItems": 1, "maxItems": settings.max_batch_rows}
    request: dict[str, Any] = {"schema": _object(inputs=inputs) | {"additionalProperties": False}}
    if example:
        request["example"] = example
    answer = {
        "description": "One prediction a row.",
        "content": {"application/json": {"schema": _object(outputs=outputs)}},
    }
    return {
        "summary": "Predict",
        "requestBody": {"required": True, "content": {"application/json": request}},
        "responses": {"200": answer, **{status: _refusal(text) for status, text in REFUSALS.items()}},
    }


def _infer() -> dict[str, Any]:
    schema = _object(inputs={"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "object"}})
    refusal = {"content": {"application/json": {"schema": _object(error={"type": "string"})}}}
    return {
        "summary": "Open Inference Protocol: predict.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "200": {"description": "The output tensor.", "content": {"application/json": {}}},
            **{status: {"description": text, **refusal} for status, text in REFUSALS.items()},
        },
    }


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _array(tensor: Tensor) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "number" if tensor.dtype.startswith("float") else "integer"}
    for size in reversed(tensor.shape[1:]):
        schema = {"type": "array", "items": schema, "minItems": size, "maxItems": size}
    return {"type": "array", "items": schema}
