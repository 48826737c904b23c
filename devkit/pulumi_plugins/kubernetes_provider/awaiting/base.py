"""What a wait for readiness looks at, and its verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What is known about an object's readiness now."""

    ready: bool = False
    failed: bool = False
    """It can no longer become ready: waiting is pointless."""
    status: str = ""
    """One line on what is missing, for the progress display."""
    reasons: list[str] = field(default_factory=list)
    """Why it is not ready, for the error when the wait ends without success."""


@dataclass(frozen=True)
class Feed:
    """A set of objects that a wait also looks at."""

    name: str
    api_version: str
    kind: str
    label_selector: str = ""
    field_selector: str = ""


class Awaiter:
    """Judges the readiness of one object. One instance for each wait: it may remember what it saw."""

    default_timeout_seconds = 600.0
    waits_on_read = True
    """Whether a refresh reports an object that is not ready."""

    def __init__(self, obj: Object, last: Object | None = None) -> None:
        self.first = obj
        """The object as it was written."""
        self.last = last
        """The live object before it was written; None for a new one."""
        self.patient = True
        """Whether to let things settle; False for a refresh, which judges the current state."""

    def feeds(self) -> list[Feed]:
        """The other objects to look at."""
        return []

    def observe(self, feed: str, obj: Object) -> None:
        """Record one state of a feed's object, which may be gone when `judge` is called."""

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        """The verdict on `obj` as it is now, with the current objects of each feed by the feed's name."""
        raise NotImplementedError


def at(obj: Any, *path: str | int) -> Any:
    """The value at a path of keys and indexes, None where there is nothing."""
    for step in path:
        if isinstance(step, int):
            obj = obj[step] if isinstance(obj, list) and step < len(obj) else None
        else:
            obj = obj.get(step) if isinstance(obj, Mapping) else None
    return obj


def number(obj: Any, *path: str | int, default: int = 0) -> int:
    """The whole number at a path, `default` where there is none."""
    value = at(obj, *path)
    return default if isinstance(value, bool) or not isinstance(value, int | float) else int(value)


def condition(obj: Any, kind: str) -> Mapping[str, Any]:
    """The status condition of that type, empty when there is none."""
    for entry in at(obj, "status", "conditions") or []:
        if entry.get("type") == kind:
            return dict(entry)
    return {}


def selector_text(selector: Any) -> str:
    """A label selector as a query writes it; empty when it has parts that are not plain equalities."""
    labels = at(selector, "matchLabels")
    if not isinstance(labels, Mapping) or at(selector, "matchExpressions"):
        return ""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def owned_by(obj: Object, owner: Object) -> bool:
    """Whether `owner` is among the object's owners."""
    uid = at(owner, "metadata", "uid")
    return any(reference.get("uid") == uid for reference in at(obj, "metadata", "ownerReferences") or [])
