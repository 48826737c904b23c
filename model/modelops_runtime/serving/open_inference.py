"""Open Inference Protocol v2 over HTTP: JSON, and binary data behind it.

Specification: kserve/open-inference-protocol, inference_rest.md. Its errors are `{"error": "…"}`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from modelops_runtime.artifacts.manifest import MIXED, Manifest, Tensor
from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.serving.http import Refusal, Response, json_response
from modelops_runtime.serving.tensors import (
    BINARY_SIZE,
    DATATYPES,
    NO_BINARY,
    BinaryData,
    InferInput,
    Parameters,
    TensorReader,
    check_parameters,
    keys_of,
    to_bytes,
)
from modelops_runtime.serving.validation import BYTE_ORDER_MARK, check_unique, colons, decode

INPUT, OUTPUT = "input", "output"
JSON_LENGTH = b"inference-header-content-length"
"""The header that says how long the JSON is that binary data follows."""
OCTETS = b"application/octet-stream"
EXTENSIONS = ["binary_tensor_data"]
SERVER_READY = {"ready": True, "live": True}
"""The specification's text says `live` here, its OpenAPI document and its other servers say `ready`."""


class InferOutput(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: Parameters | UnsetType | None = UNSET


class InferRequest(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[InferInput]
    id: str | UnsetType | None = UNSET
    parameters: Parameters | UnsetType | None = UNSET
    outputs: list[InferOutput] | UnsetType | None = UNSET
    model_name: str | UnsetType | None = UNSET
    """KServe's client says it here too."""

    def keys(self) -> int:
        """How many there were in its JSON."""
        keys = 1 + keys_of(self.id) + keys_of(self.parameters) + keys_of(self.outputs) + keys_of(self.model_name)
        for tensor in self.inputs:
            keys += tensor.keys()
        for output in self.outputs or ():
            keys += 1 + keys_of(output.parameters)
        return keys


class Wanted(NamedTuple):
    """What a request says about its answer."""

    id: str | None
    binary: bool


_decode = msgspec.json.Decoder(InferRequest).decode


class InferReader:
    """Reads requests for one model.

    A tensor has one datatype, so a model that takes text and numbers side by side has an input for each column.
    """

    def __init__(self, manifest: Manifest, max_rows: int, preprocessing: Preprocessing | None) -> None:
        self._model = manifest.name
        self._join: Callable[[list[Array]], Array] = lambda arrays: arrays[0]
        if preprocessing is None or manifest.inputs.dtype != MIXED:
            self.tensors = [TensorReader(INPUT, manifest.inputs, max_rows)]
        else:
            texts = preprocessing.text_inputs()
            self.tensors = [
                TensorReader(name, Tensor((-1, 1), MIXED if place in texts else "float64"), max_rows, column=True)
                for place, name in enumerate(preprocessing.inputs)
            ]
            self._join = _table
        self._places = {reader.name: place for place, reader in enumerate(self.tensors)}

    def read(self, body: bytes, json_length: bytes | None) -> tuple[Array, Wanted]:
        """The rows, and what is wanted of the answer. Raises Refusal."""
        text, binary = (body, NO_BINARY) if json_length is None else _parted(body, json_length)
        try:
            request = _decode(text)
        except Exception:  # whatever it is, the slow way says it in words
            text = text.removeprefix(BYTE_ORDER_MARK)
            request = self._decode_slowly(text)
        found = colons(text)
        # The former is the least that a request needs that isn't refused.
        if found != 1 + 4 * len(request.inputs) and found != request.keys():
            check_unique(text)
        if request.model_name and request.model_name != self._model:
            raise Refusal(422, "model_name", "name", f"model_name must be {self._model!r}, as in the path, or left out")
        wanted = _wanted(request)
        rows = self._rows(request.inputs, binary)
        binary.end()
        return rows, wanted

    def _decode_slowly(self, text: bytes) -> InferRequest:
        try:
            request: InferRequest = decode(_decode, text)
            return request
        except Refusal as refusal:
            if refusal.status == 422 and (
                refusal.rule == "known_field" or refusal.field in ("body", "inputs", "inputs[0]")
            ):
                refusal.message += f"; send {self._example()}"
            raise

    def _rows(self, inputs: list[InferInput], binary: BinaryData) -> Array:
        count = len(self.tensors)
        if len(inputs) != count:
            tensors = "one tensor" if count == 1 else f"{count} tensors, one a column"
            raise Refusal(422, "inputs", "length", f"inputs must have {tensors}, this one has {len(inputs)}")
        if count == 1 and inputs[0].name == self.tensors[0].name:
            return self._join([self.tensors[0].read(inputs[0], binary, "inputs[0]")])
        arrays: list[Array] = [np.empty(0)] * count
        places = dict(self._places)
        for number, tensor in enumerate(inputs):
            place = places.pop(tensor.name, None)
            if place is None:
                field = f"inputs[{number}].name"
                names = " or ".join(map(repr, places))
                raise Refusal(422, field, "name", f"{field} must be {names}")
            arrays[place] = self.tensors[place].read(tensor, binary, f"inputs[{number}]")
        if len({len(array) for array in arrays}) > 1:
            raise Refusal(422, "inputs", "length", "inputs must all have the same number of rows")
        return self._join(arrays)

    def _example(self) -> str:
        tensors = [
            f'{{"name": "{reader.name}", "shape": [{", ".join(["rows", *map(str, reader.shape[1:])])}],'
            f' "datatype": "{reader.datatype}", "data": […]}}'
            for reader in self.tensors[:3]
        ]
        return f'{{"inputs": [{", ".join(tensors)}{", …" if len(self.tensors) > 3 else ""}]}}'


def _table(columns: list[Array]) -> Array:
    """Rows of text and numbers, as the reader of JSON rows makes them."""
    rows = np.empty((len(columns[0]), len(columns)), dtype=MIXED)
    for place, column in enumerate(columns):
        rows[:, place] = column[:, 0].tolist()
    return rows


def _parted(body: bytes, json_length: bytes) -> tuple[bytes, BinaryData]:
    """The JSON, and what follows it. Raises Refusal (400)."""
    length = int(json_length) if json_length.isdigit() and len(json_length) < 19 else -1
    if not 0 <= length <= len(body):
        name = JSON_LENGTH.decode().title()
        message = f"{name} must be the length of the JSON, at most the body's {len(body)}"
        raise Refusal(400, name, "length", message)
    return body[:length], BinaryData(memoryview(body)[length:])


def _wanted(request: InferRequest) -> Wanted:
    """Raises Refusal (422) when the request names an unknown output, or the same one twice."""
    binary = request.parameters.get("binary_data_output") if request.parameters else None
    for number, output in enumerate(request.outputs or []):
        if output.name != OUTPUT or number:
            field = f"outputs[{number}].name"
            raise Refusal(422, field, "name", f"outputs can be [{{'name': {OUTPUT!r}}}] or left out, look at {field}")
        if output.parameters:
            check_parameters(output.parameters, f"outputs[{number}]")
            binary = output.parameters.get("binary_data", binary)
    return Wanted(request.id if isinstance(request.id, str) else None, binary is True)


def inferred(manifest: Manifest, version: str, outputs: Array, wanted: Wanted) -> Response:
    tensor: dict[str, Any] = {
        "name": OUTPUT,
        "shape": list(outputs.shape),
        "datatype": DATATYPES[manifest.outputs.dtype],
    }
    answer: dict[str, object] = {"model_name": manifest.name, "model_version": version, "outputs": [tensor]}
    if wanted.id is not None:
        answer["id"] = wanted.id
    if not wanted.binary:
        tensor["data"] = np.ravel(outputs).tolist()
        return json_response(200, answer)
    content = to_bytes(outputs)
    tensor["parameters"] = {BINARY_SIZE: len(content)}
    text = msgspec.json.encode(answer)
    return Response(200, text + content, OCTETS, [(JSON_LENGTH, str(len(text)).encode())])


def server_metadata() -> dict[str, object]:
    return {"name": "modelops", "version": "2", "extensions": EXTENSIONS}


def model_metadata(manifest: Manifest, version: str, reader: InferReader) -> dict[str, object]:
    outputs = manifest.outputs
    return {
        "name": manifest.name,
        "versions": [version],
        "platform": platform(manifest),
        "inputs": [tensor.metadata() for tensor in reader.tensors],
        "outputs": [{"name": OUTPUT, "datatype": DATATYPES[outputs.dtype], "shape": list(outputs.shape)}],
    }


def platform(manifest: Manifest) -> str:
    """What the model runs in."""
    return manifest.framework if manifest.runtime == "framework" else manifest.runtime


def error(status: int, message: str) -> Response:
    return json_response(status, {"error": message})
