"""Inputs in the form in which the server returns them, so that only real differences show."""

import base64
import binascii
import copy
from collections.abc import Mapping
from typing import Any

from . import kinds
from .properties import has_unknown
from .quantities import canonical

_READ_ONLY = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)

# Fields of built-in kinds whose value, or whose values, are quantities.
_QUANTITY_MAPS = {"requests", "limits", "capacity", "hard", "overhead", "default", "defaultRequest", "min", "max"}
_QUANTITIES = {"sizeLimit", "averageValue", "divisor"}


def normalize(obj: dict[str, Any]) -> dict[str, Any]:
    """A copy of `obj` without read-only metadata, and written as the server writes it."""
    result = copy.deepcopy(obj)
    if not has_unknown(result) and kinds.of_object(result).built_in:
        result = _normalize_built_in(result)
    meta = result.get("metadata")
    if isinstance(meta, dict):
        for field in _READ_ONLY:
            meta.pop(field, None)
    return result


def _normalize_built_in(obj: dict[str, Any]) -> dict[str, Any]:
    if kinds.is_kind(obj, "", "Secret"):
        return _normalize_secret(obj)
    if kinds.is_crd(obj):
        return _normalize_definition(obj)
    # A ConfigMap's data is free-form: none of its keys name quantities.
    return {key: value if key in ("data", "metadata") else _walk(value) for key, value in obj.items()}


def _walk(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        value = {name: item for name, item in value.items() if item is not None}
        if key in _QUANTITY_MAPS:
            return {name: _walk(item) if isinstance(item, Mapping) else canonical(item) for name, item in value.items()}
        return {name: _walk(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_walk(item) for item in value]
    return canonical(value) if key in _QUANTITIES else value


def _normalize_secret(obj: dict[str, Any]) -> dict[str, Any]:
    plain = obj.get("stringData")
    data = obj.get("data")
    data = dict(data) if isinstance(data, Mapping) else {}
    if isinstance(plain, Mapping) and plain:
        # The server does the same and never gives stringData back; it wins over data.
        data |= {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
        del obj["stringData"]
        obj["data"] = data
    elif data:
        obj["data"] = {key: _canonical_base64(value) for key, value in data.items()}
    return obj


def _canonical_base64(value: Any) -> Any:
    """Base64 without the whitespace that the server drops."""
    if not isinstance(value, str):
        return value
    try:
        return base64.b64encode(base64.b64decode("".join(value.split()), validate=True)).decode()
    except (binascii.Error, ValueError):
        return value


def _normalize_definition(obj: dict[str, Any]) -> dict[str, Any]:
    obj.pop("status", None)
    spec = obj.get("spec")
    if isinstance(spec, dict) and spec.get("preserveUnknownFields") is False:
        del spec["preserveUnknownFields"]
    return obj


def prune(live: Any, shape: Any) -> Any:
    """The part of `live` that `shape` also has; lists item by item."""
    if isinstance(live, Mapping) and isinstance(shape, Mapping):
        return {key: prune(value, shape[key]) for key, value in live.items() if key in shape}
    if isinstance(live, list) and isinstance(shape, list):
        return [prune(value, item) for value, item in zip(live, shape, strict=False)]
    return copy.deepcopy(live)
