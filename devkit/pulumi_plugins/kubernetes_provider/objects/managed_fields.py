"""Who owns a field of a live object."""

from collections.abc import Mapping, Sequence
from typing import Any

# Writers whose fields become the provider's on update: those of kubectl, and of the provider without server-side apply.
_TAKEN_OVER = (
    ("kubectl", "Apply"),
    ("kubectl", "Update"),
    ("before-first-apply", "Update"),
    ("pulumi-kubernetes", "Update"),
    ("pulumi-resource-kubernetes", "Update"),
)


def entries(live: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The object's records of ownership."""
    return list((live.get("metadata") or {}).get("managedFields") or [])


def owners(live: Mapping[str, Any], path: Sequence[str], manager: str) -> tuple[bool, bool]:
    """Whether `manager`, and whether somebody else, owns the field at `path` or something inside it."""
    mine = theirs = False
    for entry in entries(live):
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


def take_over(live: Mapping[str, Any], manager: str) -> list[dict[str, Any]]:
    """The JSON patch that gives `manager` the fields of kubectl and of client-side writers; empty when there are none.

    The official provider does this before each update, so that what it applies doesn't conflict with them. Fields
    that they own and the program lacks are removed by the update.
    """
    taken = [entry for entry in entries(live) if _is_taken_over(entry)]
    if not taken:
        return []
    kept = [entry for entry in entries(live) if entry not in taken]
    mine = [entry for entry in kept if entry.get("manager") == manager and entry.get("operation") == "Apply"]
    record = dict(mine[0] if mine else taken[0])
    fields: dict[str, Any] = {}
    for entry in [*mine, *taken]:
        _merge(fields, entry.get("fieldsV1") or {})
    record |= {"manager": manager, "operation": "Apply", "fieldsV1": fields}
    value = [entry for entry in kept if entry not in mine] + [record]
    return [
        {"op": "replace", "path": "/metadata/managedFields", "value": value},
        # The server refuses the patch if the object was written in the meantime.
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]


def _is_taken_over(entry: Mapping[str, Any]) -> bool:
    if entry.get("subresource"):
        return False
    return any(
        str(entry.get("manager")).startswith(name) and entry.get("operation") == operation
        for name, operation in _TAKEN_OVER
    )


def _merge(into: dict[str, Any], fields: Mapping[str, Any]) -> None:
    for key, value in fields.items():
        _merge(into.setdefault(key, {}), value)
