"""The messages of the Open Inference Protocol over gRPC, described here in as many words as they need.

Described at run time, they work with any protobuf; generated code does with two major versions. They are in a pool of
their own: a model's framework may bring other descriptions of the same names.
"""

from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
"""Each takes a message `<method>Request` and answers with a `<method>Response`."""
_TENSOR = ("string name", "string datatype", "repeated int64 shape")
_WITH_CONTENTS = (*_TENSOR, "map parameters", "InferTensorContents contents")
_MODEL = ("string name", "string version")
_INFER = ("string model_name", "string model_version", "string id", "map parameters")
_MESSAGES = {
    "InferParameter": (
        "choice bool bool_param",
        "choice int64 int64_param",
        "choice string string_param",
        "choice double double_param",
        "choice uint64 uint64_param",
    ),
    "InferTensorContents": (
        "repeated bool bool_contents",
        "repeated int32 int_contents",
        "repeated int64 int64_contents",
        "repeated uint32 uint_contents",
        "repeated uint64 uint64_contents",
        "repeated float fp32_contents",
        "repeated double fp64_contents",
        "repeated bytes bytes_contents",
    ),
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready",),
    "ModelReadyRequest": _MODEL,
    "ModelReadyResponse": ("bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": (*_MODEL, "repeated string extensions"),
    "ModelMetadataRequest": _MODEL,
    "ModelMetadataResponse": (
        "string name",
        "repeated string versions",
        "string platform",
        "repeated ModelMetadataResponse.TensorMetadata inputs",
        "repeated ModelMetadataResponse.TensorMetadata outputs",
    ),
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "ModelInferRequest": (
        *_INFER,
        "repeated ModelInferRequest.InferInputTensor inputs",
        "repeated ModelInferRequest.InferRequestedOutputTensor outputs",
        "repeated bytes raw_input_contents",
    ),
    "ModelInferRequest.InferInputTensor": _WITH_CONTENTS,
    "ModelInferRequest.InferRequestedOutputTensor": ("string name", "map parameters"),
    "ModelInferResponse": (
        *_INFER,
        "repeated ModelInferResponse.InferOutputTensor outputs",
        "repeated bytes raw_output_contents",
    ),
    "ModelInferResponse.InferOutputTensor": _WITH_CONTENTS,
}
"""Fields of each message, numbered by their places. A `choice` is one of several, a `map` is of InferParameters."""
_Field = descriptor_pb2.FieldDescriptorProto
_CHOICE = "parameter_choice"


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference_grpc.proto", package=PACKAGE, syntax="proto3")
    messages: dict[str, Any] = {}
    for path, fields in _MESSAGES.items():
        outer, _, name = path.rpartition(".")
        message = messages[path] = messages[outer].nested_type.add() if outer else file.message_type.add()
        message.name = name
        for number, field in enumerate(fields, 1):
            _add(message, path, number, field.split())
    service = file.service.add(name=SERVICE.removeprefix(f"{PACKAGE}."))
    for method in METHODS:
        types = {"input_type": f".{PACKAGE}.{method}Request", "output_type": f".{PACKAGE}.{method}Response"}
        service.method.add(name=method, **types)
    return file


def _add(message: Any, path: str, number: int, words: list[str]) -> None:
    *kind, name = words
    repeated = kind[0] in ("repeated", "map")
    field = message.field.add(name=name, number=number)
    field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    if kind[0] == "choice":
        if not message.oneof_decl:
            message.oneof_decl.add(name=_CHOICE)
        field.oneof_index = 0
    if kind[0] == "map":  # a map is a list of pairs, each a message of its own
        pair = message.nested_type.add(name="ParametersEntry")
        pair.options.map_entry = True
        _add(pair, "", 1, ["string", "key"])
        _add(pair, "", 2, ["InferParameter", "value"])
        kind = [f"{path}.ParametersEntry"]
    if kind[-1][0].isupper():
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind[-1]}"
    else:
        field.type = _Field.Type.Value(f"TYPE_{kind[-1].upper()}")


POOL = DescriptorPool()
POOL.AddSerializedFile(_described().SerializeToString())


def message(name: str) -> Any:
    """The class of a message."""
    return GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))
