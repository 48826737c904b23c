"""Keeps secret what came in secret, and everything in a Secret."""

from collections.abc import Mapping
from typing import Any

from .properties import Secret, has_secret


def _secret(value: Any) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def annotate_secrets(outs: dict[str, Any], ins: Mapping[str, Any] | None) -> None:
    """Mark in `outs`, in place, the values that are secret in `ins`, and the data of a Secret.

    A list with a secret in it becomes secret as a whole: the server may reorder it.
    """
    if outs.get("kind") == "Secret":
        for field in ("data", "stringData"):
            if field in outs:
                outs[field] = _secret(outs[field])
        return
    for key, value in (ins or {}).items():
        if key not in outs:
            continue
        out = outs[key]
        if isinstance(out, dict) and isinstance(value, Mapping):
            annotate_secrets(out, value)
        elif not isinstance(out, Secret) and has_secret(value):
            outs[key] = Secret(out)
