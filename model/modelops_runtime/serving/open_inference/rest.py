"""Open Inference Protocol v2 over HTTP: JSON, and binary data behind it.

Specification: kserve/open-inference-protocol, inference_rest.md. Its errors are `{"error": "…"}`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.serving.http import Refusal, Response, json_response
from modelops_runtime.serving.open_inference.tensors import (
    BINARY_SIZE,
    NO_BINARY,
    BinaryData,
    InferInput,
    Parameters,
    TensorReader,
    as_json,
    check_parameters,
    datatype_of,
    keys_of,
    to_bytes,
)
from modelops_runtime.serving.served import Infer, Named, Served
from modelops_runtime.serving.validation import BYTE_ORDER_MARK, check_unique, colons, decode

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
    binary: Mapping[str, bool]
    """Whether an output that it names is to be binary."""
    others_binary: bool


_ALL = Wanted(None, {}, False)
"""What most requests say."""
_decode = msgspec.json.Decoder(InferRequest).decode


class Inputs:
    """The input tensors that a request has, by whatever transport."""

    def __init__(self, readers: Sequence[TensorReader]) -> None:
        self.readers = readers
        self._by_name = {reader.name: reader for reader in readers}
        self._required = {reader.name for reader in readers if reader.required}

    def named(self, names: Sequence[str]) -> Sequence[TensorReader]:
        """The reader of each tensor. Raises Refusal (422) when one is missing, unknown or there twice."""
        count = len(self.readers)
        if not len(self._required) <= len(names) <= count:
            tensors = "one tensor" if count == 1 else f"{count} tensors, one a column"
            raise Refusal(422, "inputs", "length", f"inputs must have {tensors}, this one has {len(names)}")
        left = dict(self._by_name)
        found = []
        for number, name in enumerate(names):
            reader = left.pop(name, None)
            if reader is None:
                field = f"inputs[{number}].name"
                raise Refusal(422, field, "name", f"{field} must be {' or '.join(map(repr, left))}")
            found.append(reader)
        missing = self._required.intersection(left)
        if missing:
            name = next(name for name in left if name in missing)
            raise Refusal(422, "inputs", "required", f"inputs must have a tensor {name!r}")
        return found

    @staticmethod
    def check_rows(arrays: Mapping[str, Array]) -> None:
        """Raises Refusal (422) where one has more rows than another."""
        if len(arrays) > 1 and len({len(array) for array in arrays.values()}) > 1:
            raise Refusal(422, "inputs", "length", "inputs must all have the same number of rows")


class Outputs:
    """The output tensors that a request may name, by whatever transport."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def check(self, name: str, number: int, before: Collection[str]) -> None:
        """Raises Refusal (422) for one that is unknown or there twice."""
        if name not in self._names or name in before:
            field = f"outputs[{number}].name"
            possible = f"[{', '.join(str({'name': name}) for name in self._names)}]"
            raise Refusal(422, field, "name", f"outputs can be {possible} or left out, look at {field}")


class InferReader:
    """Reads requests over HTTP for one model."""

    def __init__(self, model: Served) -> None:
        self._model = model.name
        self._inputs = Inputs(model.inputs)
        self._only = model.inputs[0] if len(model.inputs) == 1 else None
        self._outputs = Outputs([output.name for output in model.outputs])

    def read(self, body: bytes, json_length: bytes | None) -> tuple[Infer, Wanted]:
        """The request, and what is wanted of the answer. Raises Refusal."""
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
        wanted = self._wanted(request)
        arrays = self._arrays(request.inputs, binary)
        binary.end()
        return Infer(arrays, request.parameters or {}, tuple(wanted.binary) if wanted.binary else ()), wanted

    def _arrays(self, tensors: list[InferInput], binary: BinaryData) -> dict[str, Array]:
        only = self._only
        if only is not None and len(tensors) == 1 and tensors[0].name == only.name:
            return {only.name: only.read(tensors[0], binary, "inputs[0]")}
        readers = self._inputs.named([tensor.name for tensor in tensors])
        arrays = {
            reader.name: reader.read(tensor, binary, f"inputs[{number}]")
            for number, (reader, tensor) in enumerate(zip(readers, tensors, strict=True))
        }
        self._inputs.check_rows(arrays)
        return arrays

    def _wanted(self, request: InferRequest) -> Wanted:
        """Raises Refusal (422) when the request names an unknown output, or the same one twice."""
        binary = request.parameters.get("binary_data_output") is True if request.parameters else False
        request_id = request.id if isinstance(request.id, str) else None
        if not request.outputs:
            return Wanted(request_id, {}, binary) if binary or request_id is not None else _ALL
        outputs: dict[str, bool] = {}
        for number, output in enumerate(request.outputs):
            self._outputs.check(output.name, number, outputs)
            outputs[output.name] = binary
            if output.parameters:
                check_parameters(output.parameters, f"outputs[{number}]")
                outputs[output.name] = output.parameters.get("binary_data", binary) is True
        return Wanted(request_id, outputs, binary)

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

    def _example(self) -> str:
        readers = self._inputs.readers
        tensors = [
            f'{{"name": "{reader.name}", "shape": [{", ".join(["rows", *map(str, reader.shape[1:])])}],'
            f' "datatype": "{reader.datatype}", "data": […]}}'
            for reader in readers[:3]
        ]
        return f'{{"inputs": [{", ".join(tensors)}{", …" if len(readers) > 3 else ""}]}}'


def _parted(body: bytes, json_length: bytes) -> tuple[bytes, BinaryData]:
    """The JSON, and what follows it. Raises Refusal (400)."""
    length = int(json_length) if json_length.isdigit() and len(json_length) < 19 else -1
    if not 0 <= length <= len(body):
        name = JSON_LENGTH.decode().title()
        message = f"{name} must be the length of the JSON, at most the body's {len(body)}"
        raise Refusal(400, name, "length", message)
    return body[:length], BinaryData(memoryview(body)[length:])


def inferred(model: Served, outputs: Named, wanted: Wanted) -> Response:
    tensors: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for name, array in outputs.items():
        tensor: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype_of(array)}
        if wanted.binary[name] if wanted.binary else wanted.others_binary:
            binary.append(to_bytes(array))
            tensor["parameters"] = {BINARY_SIZE: len(binary[-1])}
        else:
            tensor["data"] = as_json(array)
        tensors.append(tensor)
    answer: dict[str, object] = {"model_name": model.name, "model_version": model.version, "outputs": tensors}
    if wanted.id is not None:
        answer["id"] = wanted.id
    if not binary:
        return json_response(200, answer)
    text = msgspec.json.encode(answer)
    return Response(200, b"".join([text, *binary]), OCTETS, [(JSON_LENGTH, str(len(text)).encode())])


def server_metadata() -> dict[str, object]:
    return {"name": "modelops", "version": "2", "extensions": EXTENSIONS}


def model_metadata(model: Served) -> dict[str, object]:
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": model.platform,
        "inputs": [tensor.metadata() for tensor in model.inputs],
        "outputs": [tensor.metadata() for tensor in model.outputs],
    }


def error(status: int, message: str) -> Response:
    return json_response(status, {"error": message})
