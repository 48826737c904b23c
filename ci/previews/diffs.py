"""The changes of a resource, as lines of a diff."""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from previews.reading import Step
from previews.scrub import HIDDEN, Scrubber, Veiled, shown

MAX_LINES = 60
"""Most lines shown of one resource."""
MAX_WIDTH = 240
"""Most characters shown of one line."""
_NOISE = ("__fieldManager", "__initialApiVersion")


def lines(step: Step, scrubber: Scrubber) -> list[str]:
    """Lines that begin with `-` (before), `+` (after) or a space. Empty where nothing is known."""
    side = "outputs" if step.refreshed else "inputs"
    old, new = (_mapping(state.get(side)) for state in (step.old, step.new))
    before, after = (scrubber.masked(value, step.kind) for value in (old, new))
    entries = list(_compare(before, after, scrubber)) if step.old and step.new else []
    # Values that are hidden on both sides look the same; the provider knows which changed.
    if not entries:
        entries = [f"  {path}: {HIDDEN} changed" for path in step.changed]
    if len(entries) > MAX_LINES:
        entries = [*entries[:MAX_LINES], f"  … {len(entries) - MAX_LINES} more lines"]
    return [line if len(line) <= MAX_WIDTH else f"{line[:MAX_WIDTH]}…" for line in entries]


def leaves(step: Step) -> dict[str, tuple[Any, Any]]:
    """Changed leaves by path, before and after, unscrubbed: for analysis, not for display."""
    side = "outputs" if step.refreshed else "inputs"
    changes = _leaves((), _mapping(step.old.get(side)), _mapping(step.new.get(side)))
    return {_shown(path): (old, new) for path, old, new in changes}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _compare(old: Any, new: Any, scrubber: Scrubber) -> Iterator[str]:
    for where, before, after in _leaves((), old, new):
        if _multiline(before, after):
            yield f"  {_shown(where)}:"
            yield from _hunk(before, after, scrubber)
            continue
        for sign, value in (("-", before), ("+", after)):
            if value is not _ABSENT:
                yield f"{sign} {_shown(where)}: {_value(value, scrubber)}"


class _Absent:
    """Marks a side that has no such property."""


_ABSENT = _Absent()


def _leaves(path: tuple[str, ...], old: Any, new: Any) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Paths at which the two differ, as deep as their shapes agree."""
    if type(old) is type(new) and old == new:
        return
    left, right = _children(old), _children(new)
    if left is None or right is None or (_named(old) != _named(new) and old and new):
        yield path, old, new
        return
    for key in sorted({*left, *right}):
        if key not in _NOISE:
            yield from _leaves((*path, key), left.get(key, _ABSENT), right.get(key, _ABSENT))


def _named(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in value)
        and len({item["name"] for item in value}) == len(value)
    )


def _children(value: Any) -> dict[str, Any] | None:
    """The children of an object, or of a list by name or position; None for everything else."""
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if _named(value):
        return {item["name"]: item for item in value}
    if isinstance(value, list):
        return {f"{index:04}": item for index, item in enumerate(value)}
    return None


def _shown(path: tuple[str, ...]) -> str:
    parts = [str(int(part)) if len(part) == 4 and part.isdigit() else part for part in path]
    return ".".join(f'"{part}"' if "." in part or "/" in part else part for part in parts)


def _value(value: Any, scrubber: Scrubber) -> str:
    if isinstance(value, Veiled) and value.shown == HIDDEN:
        return HIDDEN
    found = _scrubbed(shown(value), scrubber)
    if isinstance(found, str):
        return found.replace("\n", "\\n")
    return json.dumps(found, sort_keys=True, ensure_ascii=False)


def _scrubbed(value: Any, scrubber: Scrubber) -> Any:
    if isinstance(value, Mapping):
        return {key: _scrubbed(item, scrubber) for key, item in value.items()}
    if isinstance(value, list):
        return [_scrubbed(item, scrubber) for item in value]
    return scrubber.text(value) if isinstance(value, str) else value


def _multiline(old: Any, new: Any) -> bool:
    return isinstance(old, str) and isinstance(new, str) and ("\n" in old or "\n" in new)


def _hunk(old: str, new: str, scrubber: Scrubber) -> Iterator[str]:
    """The changed lines of a text. Scrubbed before it is split, because a secret may span several lines."""
    before, after = (scrubber.text(text).splitlines() for text in (old, new))
    changed = list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]
    yield from (f"{line[:1]}   {line[1:]}" for line in changed if not line.startswith("@@"))
    if not changed:
        yield f"  {HIDDEN} changed"
