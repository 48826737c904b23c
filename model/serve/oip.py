"""Open Inference Protocol v2, the part for one input and one output tensor. Its errors are `{"error": "…"}`."""

from typing import Any

import msgspec
import numpy as np

from model.manifest import Manifest
from model.runtime import Array
from model.serve.http import Refusal, Response, json_response
from model.serve.validation import InputReader, decode

INPUT, OUTPUT = "input", "output"
DATATYPES = {"float32": "FP32", "float64": "FP64", "int32": "INT32", "int64": "INT64"}
PLATFORM = "litert"


class InferInput(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[InferInput]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[dict[str, Any]] | None = None


_decoder = msgspec.json.Decoder(InferRequest)


def read(body: bytes, reader: InputReader) -> tuple[Array, str | None]:
    """The input array and the request's id. Raises Refusal."""
    request: InferRequest = decode(_decoder, body)
    if len(request.inputs) != 1:
        raise Refusal(422, "inputs", "length", f"inputs must have one tensor, this one has {len(request.inputs)}")
    tensor = request.inputs[0]
    if tensor.name != INPUT:
        raise Refusal(422, "inputs[0].name", "name", f"inputs[0].name must be {INPUT!r}")
    wanted = DATATYPES[reader.tensor.dtype]
    if tensor.datatype != wanted:
        raise Refusal(422, "inputs[0].datatype", "datatype", f"inputs[0].datatype must be {wanted}")
    row = list(reader.tensor.shape[1:])
    if tensor.shape[1:] != row or not tensor.shape or not 1 <= tensor.shape[0] <= reader.max_rows:
        expected = [f"1..{reader.max_rows}", *row]
        raise Refusal(422, "inputs[0].shape", "shape", f"inputs[0].shape must be [{', '.join(map(str, expected))}]")
    data = reader.convert(tensor.data, "inputs[0].data")
    if not data or not isinstance(data[0], list):
        numbers = tensor.shape[0] * reader.tensor.numbers_per_row
        if len(data) != numbers:
            message = f"inputs[0].data must have {numbers} numbers as its shape says, this one has {len(data)}"
            raise Refusal(422, "inputs[0].data", "length", message)
        data = np.array(data, dtype=object).reshape(tensor.shape).tolist()
    if len(data) != tensor.shape[0]:
        message = f"inputs[0].data must have {tensor.shape[0]} rows as its shape says, this one has {len(data)}"
        raise Refusal(422, "inputs[0].data", "length", message)
    return reader.array(data, "inputs[0].data"), request.id


def inferred(manifest: Manifest, version: str, outputs: Array, request_id: str | None) -> Response:
    tensor = {
        "name": OUTPUT,
        "shape": list(outputs.shape),
        "datatype": DATATYPES[manifest.outputs.dtype],
        "data": outputs.ravel().tolist(),
    }
    answer: dict[str, object] = {"model_name": manifest.name, "model_version": version, "outputs": [tensor]}
    if request_id is not None:
        answer["id"] = request_id
    return json_response(200, answer)


def server_metadata() -> dict[str, object]:
    return {"name": "modelops", "version": "2", "extensions": []}


def model_metadata(manifest: Manifest, version: str) -> dict[str, object]:
    inputs, outputs = manifest.inputs, manifest.outputs
    return {
        "name": manifest.name,
        "versions": [version],
        "platform": manifest.runtime,
        "inputs": [{"name": INPUT, "datatype": DATATYPES[inputs.dtype], "shape": list(inputs.shape)}],
        "outputs": [{"name": OUTPUT, "datatype": DATATYPES[outputs.dtype], "shape": list(outputs.shape)}],
    }


def refused(refusal: Refusal) -> Response:
    response = json_response(refusal.status, {"error": refusal.message})
    response.headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in refusal.headers.items()]
    return response
