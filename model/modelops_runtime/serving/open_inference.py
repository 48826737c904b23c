"""Open Inference Protocol v2 over HTTP and JSON, for models of one input and one output tensor.

Specification: kserve/open-inference-protocol, inference_rest.md. Its errors are `{"error": "…"}`.
"""

import re

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from modelops_runtime.artifacts.manifest import MIXED, Manifest
from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.serving.http import Refusal, Response, json_response
from modelops_runtime.serving.validation import InputReader, decode

INPUT, OUTPUT = "input", "output"
DATATYPES = {"float32": "FP32", "float64": "FP64", "int32": "INT32", "int64": "INT64", MIXED: "BYTES"}
SERVER_READY = {"ready": True, "live": True}
"""The specification's text says `live` here, its OpenAPI document and its other servers say `ready`."""
_NESTED = re.compile(rb"\s*\[\s*\[")

# Not dict[str, Any]: a parameter is a plain value, so nothing in a request is nested deeper than its data.
Parameters = dict[str, str | int | float | bool]
# Optional fields are UNSET, not None: they may be left out, but null is not an object, a text or a list.


class InferInput(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw
    parameters: Parameters | UnsetType = UNSET


class InferOutput(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: Parameters | UnsetType = UNSET


class InferRequest(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[InferInput]
    id: str | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET
    outputs: list[InferOutput] | UnsetType = UNSET


_decoder = msgspec.json.Decoder(InferRequest)


def read(body: bytes, reader: InputReader) -> tuple[Array, str | None]:
    """The input array and the request's id. Raises Refusal.

    A tensor of this protocol has one datatype, so a model that takes text and numbers side by side can't be asked here.
    """
    if reader.tensor.dtype == MIXED:
        raise Refusal(422, "inputs", "datatype", "this model takes text: POST its rows to /api/predict")
    request: InferRequest = decode(_decoder, body)
    if len(request.inputs) != 1:
        raise Refusal(422, "inputs", "length", f"inputs must have one tensor, this one has {len(request.inputs)}")
    _check_outputs(request.outputs or [])
    tensor = request.inputs[0]
    if tensor.name != INPUT:
        raise Refusal(422, "inputs[0].name", "name", f"inputs[0].name must be {INPUT!r}")
    datatype = DATATYPES[reader.tensor.dtype]
    if tensor.datatype != datatype:
        raise Refusal(422, "inputs[0].datatype", "datatype", f"inputs[0].datatype must be {datatype}")
    row = list(reader.tensor.shape[1:])
    if tensor.shape[1:] != row or not tensor.shape or not 1 <= tensor.shape[0] <= reader.max_rows:
        expected = [f"1..{reader.max_rows}", *row]
        raise Refusal(422, "inputs[0].shape", "shape", f"inputs[0].shape must be [{', '.join(map(str, expected))}]")
    return _data(tensor, reader), None if request.id is UNSET else request.id


def _check_outputs(outputs: list[InferOutput]) -> None:
    """Raises Refusal (422) when the request names an unknown output, or the same one twice."""
    for number, output in enumerate(outputs):
        if output.name != OUTPUT or number:
            field = f"outputs[{number}].name"
            raise Refusal(422, field, "name", f"outputs can be [{{'name': {OUTPUT!r}}}] or left out, look at {field}")


def _data(tensor: InferInput, reader: InputReader) -> Array:
    """Numbers in a row or nested as the shape says. Raises Refusal (422)."""
    field = "inputs[0].data"
    rows = tensor.shape[0]
    if _NESTED.match(tensor.data):
        array = reader.array(reader.nested(tensor.data, field), field)
        if len(array) != rows:
            message = f"{field} must have {rows} rows as its shape says, this one has {len(array)}"
            raise Refusal(422, field, "length", message)
        return array
    data = reader.flat(tensor.data, field)
    numbers = rows * reader.tensor.numbers_per_row
    if len(data) != numbers:
        message = f"{field} must have {numbers} numbers as its shape says, this one has {len(data)}"
        raise Refusal(422, field, "length", message)
    return reader.numbers(data, field).reshape(tensor.shape)


def inferred(manifest: Manifest, version: str, outputs: Array, request_id: str | None) -> Response:
    tensor = {
        "name": OUTPUT,
        "shape": list(outputs.shape),
        "datatype": DATATYPES[manifest.outputs.dtype],
        "data": np.ravel(outputs).tolist(),
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
        "platform": platform(manifest),
        "inputs": [{"name": INPUT, "datatype": DATATYPES[inputs.dtype], "shape": list(inputs.shape)}],
        "outputs": [{"name": OUTPUT, "datatype": DATATYPES[outputs.dtype], "shape": list(outputs.shape)}],
    }


def platform(manifest: Manifest) -> str:
    """What the model runs in."""
    return manifest.framework if manifest.runtime == "framework" else manifest.runtime


def refused(refusal: Refusal) -> Response:
    response = json_response(refusal.status, {"error": refusal.message})
    response.headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in refusal.headers.items()]
    return response
