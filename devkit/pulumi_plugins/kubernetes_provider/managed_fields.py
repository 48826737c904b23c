"""Who owns a field of a live object."""

from collections.abc import Mapping, Sequence
from typing import Any


def owners(live: Mapping[str, Any], path: Sequence[str], manager: str) -> tuple[bool, bool]:
    """Whether `manager`, and whether somebody else, owns the field at `path` or something inside it."""
    mine = theirs = False
    for entry in (live.get("metadata") or {}).get("managedFields") or []:
        if not _owns(entry.get("fieldsV1"), path):
            continue
        if entry.get("manager") == manager:
            mine = True
        else:
            theirs = True
    return mine, theirs


def _owns(fields: Any, path: Sequence[str]) -> bool:
    for step in path:
        if not isinstance(fields, Mapping) or f"f:{step}" not in fields:
            return False
        fields = fields[f"f:{step}"]
    return True
