"""Waits that a program spells out in the `pulumi.com/waitFor` annotation.

`condition=TYPE[=STATUS]` looks at a status condition; `jsonpath={.a.b[0]}[=VALUE]` at a field: its value, or that it
exists. Paths are those of `kubectl wait`: keys, indexes, `[*]` and filters `[?(@.key=="value")]`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .base import Awaiter, Object, Verdict, condition

_TOKEN = re.compile(
    r"""\.(?P<key>(?:\\.|[^.\[\]\\])+) | \[(?P<index>-?\d+)\] | \[(?P<all>\*)\]
      | \['(?P<quoted>[^']*)'\] | \["(?P<double>[^"]*)"\]
      | \[\?\(@\.(?P<field>[^=!\s]+)\s*==\s*(?P<value>"[^"]*"|'[^']*'|[^)]*)\)\]""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Step:
    """One step of a path."""

    kind: str
    name: str
    value: str = ""


@dataclass(frozen=True)
class Expression:
    """One thing to wait for."""

    text: str
    steps: tuple[Step, ...] = ()
    condition: str = ""
    expected: str | None = None


def parse_steps(path: str) -> tuple[Step, ...]:
    """The steps of a path like `{.status.phase}`. Raises ValueError when it is not one."""
    inner = path.strip()
    if not (inner.startswith("{") and inner.endswith("}")):
        raise ValueError(f"expected a path in braces, got {path!r}")
    inner = inner[1:-1]
    steps, position = [], 0
    while position < len(inner):
        match = _TOKEN.match(inner, position)
        if match is None:
            raise ValueError(f"can't read {inner[position:]!r} in path {path!r}")
        steps.append(_step(match))
        position = match.end()
    if not steps:
        raise ValueError(f"path {path!r} is empty")
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return Step("index", match["index"])
    if match["all"]:
        return Step("all", "*")
    if match["field"]:
        return Step("filter", match["field"], match["value"].strip().strip("\"'"))
    name = match["key"] or match["quoted"] or match["double"] or ""
    return Step("key", name.replace("\\.", "."))


def parse(text: str) -> Expression:
    """The expression that `text` writes. Raises ValueError when it writes none."""
    if text.startswith("condition="):
        kind, _, status = text.removeprefix("condition=").partition("=")
        return Expression(text, condition=kind, expected=status or "True")
    if text.startswith("jsonpath="):
        path, closing, rest = text.removeprefix("jsonpath=").rpartition("}")
        if not closing:
            raise ValueError(f"expected a path in braces, got {text!r}")
        if rest and not rest.startswith("="):
            raise ValueError(f"expected = after the path in {text!r}")
        return Expression(text, steps=parse_steps(path + closing), expected=rest[1:] if rest else None)
    raise ValueError(f'expected a "jsonpath=" or "condition=" prefix, got "{text}"')


def find(obj: Any, steps: tuple[Step, ...]) -> list[Any]:
    """The values at a path."""
    values = [obj]
    for step in steps:
        values = [value for item in values for value in _take(item, step)]
    return values


def _take(item: Any, step: Step) -> list[Any]:
    if step.kind == "key":
        return [item[step.name]] if isinstance(item, Mapping) and step.name in item else []
    if step.kind == "all":
        return list(item.values()) if isinstance(item, Mapping) else list(item) if isinstance(item, list) else []
    if not isinstance(item, list):
        return []
    if step.kind == "index":
        index = int(step.name)
        return [item[index]] if -len(item) <= index < len(item) else []
    inner = tuple(Step("key", name) for name in step.name.split("."))
    return [entry for entry in item if step.value in [written(value) for value in find(entry, inner)]]


def written(value: Any) -> str:
    """A value as kubectl prints it."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def holds(expression: Expression, obj: Object) -> bool:
    """Whether the object satisfies the expression."""
    if expression.condition:
        states = [entry for entry in (condition(obj, expression.condition),) if entry]
        if not states:
            kind = expression.condition.lower()
            entries = (obj.get("status") or {}).get("conditions") or []
            states = [entry for entry in entries if str(entry.get("type")).lower() == kind]
        return any(str(state.get("status")).lower() == str(expression.expected).lower() for state in states)
    values = find(obj, expression.steps)
    if expression.expected is None:
        return bool(values)
    return any(written(value) == expression.expected for value in values)


class ConditionsAwaiter(Awaiter):
    """An object satisfies its annotation."""

    waits_on_read = False

    def __init__(self, obj: Object, expressions: list[Expression]) -> None:
        super().__init__(obj)
        self._expressions = expressions

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        missing = [expression.text for expression in self._expressions if not holds(expression, obj)]
        if not missing:
            return Verdict(ready=True)
        return Verdict(status=f"Waiting for {missing[0]}", reasons=[f"Waiting for {text}" for text in missing])
