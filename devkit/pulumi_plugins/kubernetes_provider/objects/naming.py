"""Names for objects that the program leaves unnamed."""

import random
from typing import Any

from . import annotations
from .properties import Unknown

_HEX = "0123456789abcdef"
_SUFFIX_LENGTH = 8


def random_suffix(seed: bytes = b"") -> str:
    """Eight hexadecimal digits, the same for the same seed."""
    source = random.Random(seed) if seed else random.SystemRandom()
    return "".join(source.choice(_HEX) for _ in range(_SUFFIX_LENGTH))


def is_autonamed(obj: dict[str, Any]) -> bool:
    """Whether the provider chose the object's name."""
    return annotations.is_true(obj, annotations.AUTONAMED)


def has_name(obj: dict[str, Any]) -> bool:
    """Whether the object has a name, known or not."""
    name = annotations.metadata(obj).get("name")
    return isinstance(name, Unknown) or bool(name)


def generates_name(obj: dict[str, Any]) -> bool:
    """Whether the API server is to choose the name."""
    prefix = annotations.metadata(obj).get("generateName")
    return not has_name(obj) and (isinstance(prefix, Unknown) or bool(prefix))


def assign_name(obj: dict[str, Any], resource_name: str, seed: bytes, proposed: str = "") -> None:
    """Name `obj`, in place, `<resource name>-<8 hex digits>` (or as proposed), unless it has a name."""
    if not isinstance(obj.setdefault("metadata", {}), dict) or has_name(obj) or generates_name(obj):
        return
    obj["metadata"]["name"] = proposed or f"{resource_name}-{random_suffix(seed)}"
    annotations.set_annotation(obj, annotations.AUTONAMED, "true")


def adopt_name(obj: dict[str, Any], old: dict[str, Any]) -> None:
    """Give `obj`, in place, the name that was chosen for `old`, unless it has one."""
    if not isinstance(obj.setdefault("metadata", {}), dict) or has_name(obj) or not is_autonamed(old):
        return
    obj["metadata"]["name"] = annotations.name(old)
    annotations.set_annotation(obj, annotations.AUTONAMED, "true")
