"""Plain values, some of which are known only after the update."""

from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN = "\0unknown"
"""Stands for a value known only after the update. Rules skip it in a preview and check it during the update."""


def at(value: Any, *path: str) -> Any:
    """The value at `path` in nested objects: None if absent, UNKNOWN if anything on the path is not yet known."""
    for key in path:
        if value == UNKNOWN:
            return UNKNOWN
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def plain(value: Any, unknown: type[Exception]) -> Any:
    """A copy made of plain lists and dictionaries, with UNKNOWN wherever reading raises `unknown`."""
    if isinstance(value, Mapping):
        return {str(key): _read(value, key, unknown) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_read(value, index, unknown) for index in range(len(value))]
    # Numbers arrive as floats; show a port as a manifest would.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read(container: Any, key: Any, unknown: type[Exception]) -> Any:
    try:
        return plain(container[key], unknown)
    except unknown:
        return UNKNOWN
