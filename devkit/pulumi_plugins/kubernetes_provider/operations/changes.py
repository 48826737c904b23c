"""The changes between the live object, pruned to the inputs that made it, and the new inputs.

Of its own kinds, Kubernetes' types say which empty values and unknown fields the server drops: that these are missing
is no change. Of a custom resource nothing is known: whatever the server, a webhook or a controller wrote otherwise than
the program did is a change, and so is every null.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..objects.properties import Unknown
from .replacement import Path

ADD, DELETE, UPDATE = "ADD", "DELETE", "UPDATE"


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()

# Maps whose keys are the program's own.
_FREE_FORM = frozenset(
    "annotations binaryData data hard labels matchLabels nodeSelector parameters selector stringData".split()
)
# Fields where "absent" and "empty" differ, so that the server keeps an empty value.
_KEPT_EMPTY = frozenset(
    """
    activeDeadlineSeconds allocateLoadBalancerNodePorts allowPrivilegeEscalation automountServiceAccountToken
    backoffLimit completions emptyDir enableServiceLinks expirationSeconds fsGroup hostUsers immutable ingressClassName
    maxSurge maxUnavailable minAvailable minReplicas namespaceSelector optional parallelism partition podSelector
    priority privileged readOnlyRootFilesystem replicas runAsGroup runAsNonRoot runAsUser setHostnameAsFQDN
    shareProcessNamespace storageClassName suspend terminationGracePeriodSeconds tolerationSeconds
    ttlSecondsAfterFinished
    """.split()
)

# Lists that the server always writes: as null when they are empty, which to the provider is another value.
_NULL_WHEN_EMPTY = {("rules",), ("endpoints",), ("ports",), ("spec", "limits")}


@dataclass(frozen=True)
class Change:
    """One changed property."""

    path: Path
    kind: str
    """ADD, DELETE or UPDATE."""
    value: Any = None


def changes(
    old: Mapping[str, Any], new: Mapping[str, Any], last: Mapping[str, Any], *, built_in: bool = True
) -> list[Change]:
    """The changes from `old` to `new`. `old` is the live object pruned to the shape of `last`, the inputs that made it.

    Of a `built_in` kind, a value that the old and the new inputs have and the live object lacks was dropped by the
    server (an empty value, an unknown field): no change.
    """
    return list(_compare((), old, new, last, built_in))


def _compare(path: Path, old: Any, new: Any, last: Any, built_in: bool) -> Iterable[Change]:
    if isinstance(new, Unknown):
        yield Change(path, ADD if old is MISSING else UPDATE, new)
    elif new is MISSING or new is None:
        # A null that the live object lacks is deleted again and again, unless the kind's type says what it means.
        explicit = new is None and old is MISSING and not built_in
        if explicit or (old is not MISSING and old is not None):
            yield Change(path, DELETE)
    elif old is MISSING:
        if not (built_in and _dropped(path, new, last)):
            yield Change(path, ADD, new)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from _compare((*path, key), old.get(key, MISSING), new.get(key, MISSING), _at(last, key), built_in)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            yield from _compare((*path, index), _item(old, index), _item(new, index), _item(last, index), built_in)
    elif not _equal(old, new):
        yield Change(path, UPDATE, new)


def _dropped(path: Path, new: Any, last: Any) -> bool:
    """Whether a value that the live object lacks is one that the server does not store."""
    if new == [] and path in _NULL_WHEN_EMPTY:
        return False
    if last is not MISSING and _equal(last, new):
        return True
    if new or _FREE_FORM.intersection(step for step in path if isinstance(step, str)):
        return False
    return path[-1] not in _KEPT_EMPTY


def _at(value: Any, key: str) -> Any:
    return value.get(key, MISSING) if isinstance(value, Mapping) else MISSING


def _item(value: Any, index: int) -> Any:
    return value[index] if isinstance(value, list) and index < len(value) else MISSING


def _equal(old: Any, new: Any) -> bool:
    # In Python True equals 1.
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)


def path_text(path: Path) -> str:
    """The path as the engine writes it: `spec.ports[0]["a.b"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.search(r'[."\[\]]', step):
            escaped = step.replace('"', '\\"')
            text += f'["{escaped}"]'
        else:
            text += f".{step}" if text else step
    return text


_STEP = re.compile(r'\.?(?:\["((?:[^"\\]|\\.)*)"\]|\[(\d+|\*)\]|([^.\["\]]+))')


def parse_path(text: str) -> tuple[str, ...]:
    """The steps of a path as programs write them in `ignore_changes`; `*` stands for any step."""
    return tuple(quoted.replace('\\"', '"') if quoted else index or name for quoted, index, name in _STEP.findall(text))


def ignored(path: Path, patterns: Iterable[tuple[str, ...]]) -> bool:
    """Whether `path` is, or is inside, one of `patterns`."""
    return any(
        len(pattern) <= len(path) and all(part in ("*", str(step)) for part, step in zip(pattern, path, strict=False))
        for pattern in patterns
    )


def without_ignored(changed: Iterable[Change], ignore_changes: Iterable[str]) -> list[Change]:
    """The changes that no pattern of `ignore_changes` covers."""
    patterns = [parse_path(text) for text in ignore_changes]
    return [change for change in changed if not ignored(change.path, patterns)]
