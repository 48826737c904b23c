"""The changes of a resource, as lines of a diff."""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from previews.reading import Step
from previews.scrub import HIDDEN, Scrubber

MAX_LINES = 60
"""Most lines shown of one resource."""
MAX_WIDTH = 240
"""Most characters shown of one line."""
_NOISE = ("__fieldManager", "__initialApiVersion")


def lines(step: Step, scrubber: Scrubber) -> list[str]:
    """Lines that begin with `-` (before), `+` (after) or a space. Empty where nothing is known."""
    side = "outputs" if step.refreshed else "inputs"
    old, new = (_mapping(state.get(side)) for state in (step.old, step.new))
    entries = list(_compare((), old, new, step.kind, scrubber)) if step.old and step.new else []
    # Values that are hidden on both sides look the same; the provider knows which changed.
    shown = "\n".join(entries)
    entries += [f"  {path}: {HIDDEN} changed" for path in step.changed if not entries and path not in shown]
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


def _compare(path: tuple[str, ...], old: Any, new: Any, kind: str, scrubber: Scrubber) -> Iterator[str]:
    for where, before, after in _leaves(path, old, new):
        hidden = scrubber.hides(where, kind)
        if _multiline(before, after) and not hidden:
            yield f"  {_shown(where)}:"
            yield from _hunk(before, after, scrubber)
            continue
        for sign, value in (("-", before), ("+", after)):
            if value is not _ABSENT:
                shown = HIDDEN if hidden else scrubber.text(_value(value, where, kind, scrubber))
                yield f"{sign} {_shown(where)}: {shown}"


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


def _value(value: Any, path: tuple[str, ...], kind: str, scrubber: Scrubber) -> str:
    if isinstance(value, str):
        return value.replace("\n", "\\n")
    return json.dumps(_without_secrets(value, path, kind, scrubber), sort_keys=True, ensure_ascii=False)


def _without_secrets(value: Any, path: tuple[str, ...], kind: str, scrubber: Scrubber) -> Any:
    """A value that is shown whole, with its secret parts hidden."""
    if scrubber.hides(path, kind) and not isinstance(value, bool):
        return HIDDEN
    if isinstance(value, Mapping):
        # An environment variable's name decides whether its value is secret.
        name = (str(value["name"]),) if "name" in value and "value" in value else ()
        return {key: _without_secrets(item, (*path, *name, str(key)), kind, scrubber) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item, path, kind, scrubber) for item in value]
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
