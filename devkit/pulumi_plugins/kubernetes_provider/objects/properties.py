"""Values as the engine sends them: plain data, unknowns and secrets; and back."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import struct_pb2
from pulumi.runtime import rpc

_UNKNOWN_STRINGS = frozenset(
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)

Map = dict[str, Any]

# Program names of fields whose Kubernetes name has dashes.
_DASHED = {
    f"x_kubernetes_{name}": f"x-kubernetes-{name.replace('_', '-')}"
    for name in (
        "embedded_resource",
        "int_or_string",
        "list_map_keys",
        "list_type",
        "map_type",
        "preserve_unknown_fields",
        "validations",
    )
}
_UNDERSCORED = {dashed: name for name, dashed in _DASHED.items()}


class Unknown:
    """A value that is known only after an update."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that must not be shown or stored in plain text."""

    value: Any


def decode(struct: struct_pb2.Struct) -> Map:
    """The engine's properties as Python data; whole numbers are ints. Properties that are null are left out: the
    program did not set them. A null inside of one is the program's own value."""
    return {key: value for key, value in _fields(struct).items() if value is not None}


def _fields(struct: struct_pb2.Struct) -> Map:
    return {key: _decode(value) for key, value in struct.fields.items()}


def _decode(value: struct_pb2.Value) -> Any:
    which = value.WhichOneof("kind")
    if which == "struct_value":
        return _decode_struct(value.struct_value)
    if which == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if which == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWN_STRINGS else value.string_value
    if which == "number_value":
        number = value.number_value
        return int(number) if math.isfinite(number) and number == int(number) else number
    if which == "bool_value":
        return value.bool_value
    return None


def _decode_struct(struct: struct_pb2.Struct) -> Any:
    signature = struct.fields.get(rpc._special_sig_key)
    if signature is None:
        return _fields(struct)
    kind = signature.string_value
    if kind == rpc._special_secret_sig:
        return Secret(_decode(struct.fields["value"]))
    if kind == rpc._special_output_value_sig:
        if "value" not in struct.fields:
            return UNKNOWN
        inner = _decode(struct.fields["value"])
        secret = "secret" in struct.fields and struct.fields["secret"].bool_value
        return Secret(inner) if secret else inner
    if kind == rpc._special_resource_sig:
        return _decode(struct.fields["id"]) if "id" in struct.fields else struct.fields["urn"].string_value
    raise ValueError("assets and archives can't be part of a Kubernetes object")


def encode(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Python data as the engine's properties."""
    result = struct_pb2.Struct()
    for key, value in properties.items():
        _encode(value, result.fields[key])
    return result


def _encode(value: Any, into: struct_pb2.Value) -> None:
    if isinstance(value, Secret):
        into.struct_value.fields[rpc._special_sig_key].string_value = rpc._special_secret_sig
        _encode(value.value, into.struct_value.fields["value"])
    elif isinstance(value, Unknown):
        into.string_value = rpc.UNKNOWN
    elif value is None:
        into.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int | float):
        into.number_value = value
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, Mapping):
        into.struct_value.SetInParent()
        for key, item in value.items():
            _encode(item, into.struct_value.fields[key])
    else:
        into.list_value.SetInParent()
        for item in value:
            _encode(item, into.list_value.values.add())


def plain(value: Any) -> Any:
    """`value` without the secret marks, as a copy."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def to_object(properties: Mapping[str, Any]) -> Map:
    """A Kubernetes object from properties: no secret marks, dashed field names."""
    result: Map = _rename(plain(properties), _DASHED)
    return result


def from_object(obj: Mapping[str, Any]) -> Map:
    """Properties from a Kubernetes object: field names as programs write them."""
    result: Map = _rename(obj, _UNDERSCORED)
    return result


def _rename(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {names.get(key, key): _rename(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_rename(item, names) for item in value]
    return value


def _contains(value: Any, test: Callable[[Any], bool]) -> bool:
    if test(value):
        return True
    if isinstance(value, Secret):
        return _contains(value.value, test)
    if isinstance(value, Mapping):
        return any(_contains(item, test) for item in value.values())
    if isinstance(value, list):
        return any(_contains(item, test) for item in value)
    return False


def has_unknown(value: Any) -> bool:
    """Whether some part of `value` is unknown."""
    return _contains(value, lambda item: isinstance(item, Unknown))


def has_secret(value: Any) -> bool:
    """Whether some part of `value` is secret."""
    return _contains(value, lambda item: isinstance(item, Secret))
