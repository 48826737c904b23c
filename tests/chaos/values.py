"""Draws arguments and settings by their schemas: right ones with a few changes, most of them beside what is right."""

import copy
import math
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.chaos.shapes import Schema, corpus

_BOUNDS = re.compile(r"(-?[\d.]+) to (-?[\d,.]*\d)|at (?:least|most) (-?\d[\d.]*)")
"""How a docstring states what numbers are allowed."""
_LARGE = (2**31 - 1, 2**31, 2**63 - 1, 2**63, 10**30, 10**400)
_FLOATS = (0.5, -0.5, 1e-9, 1e308, math.nan, math.inf, -math.inf)
_LENGTHS = (48, 50, 63, 64, 253, 254, 5000)
_PARTS = (
    "",
    " ",
    "a",
    "A",
    "é",
    "日",
    "\0",
    "\n",
    "\ud800",
    "${x}",
    "%s",
    "{}",
    "'\"",
    "..",
    "-",
    ".",
    ":",
    "/",
    "@",
    "=",
)
_PYTHON = (b"bytes", (1, 2), frozenset({1}), object, len, {1: 2}, {None: "x"}, complex(1, 1), ...)


@dataclass(frozen=True)
class Late:
    """Stands for an output of this value, which is right: no plan can judge what it doesn't know."""

    value: Any


class Itself:
    """Stands for a resource, given where one of its outputs belongs."""

    def __repr__(self) -> str:
        return "a resource itself"


@dataclass(frozen=True)
class Example:
    """Drawn arguments or settings, and how they differ from the right ones that they began as."""

    base: int
    changes: tuple[tuple[str, Any], ...]
    values: Any


Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def examples(draw: st.DrawFn, schema: Schema, bases: Sequence[Mapping[str, Any]], *, python: bool) -> Example:
    """One of the bases, changed up to four times. `python` adds values that only a program can give."""
    base = draw(st.integers(0, len(bases) - 1))
    values = copy.deepcopy(dict(bases[base]))
    drawing = _Drawing(draw, python)
    changes = tuple(drawing.change(schema, values) for _ in range(draw(st.integers(0, 4))))
    return Example(base, changes, values)


@dataclass
class _Drawing:
    draw: Draw
    python: bool

    def change(self, schema: Schema, values: MutableMapping[str, Any], path: str = "") -> tuple[str, Any]:
        """Changes one field somewhere in `values`; returns where, and its new value."""
        field = self.pick(list(schema["properties"]))
        inner, where = schema["properties"][field], f"{path}.{field}".lstrip(".")
        present = values.get(field)
        if "properties" in inner and isinstance(present, MutableMapping) and self.chance(5, 6):
            return self.change(inner, present, where)
        if present is not None and self.chance(1, 12):
            del values[field]
            return where, "left out"
        if self.chance(1, 40):
            unknown = self.text(field)
            values[unknown] = self.nonsense()
            return f"{path}.{unknown}", values[unknown]
        values[field] = self.value(inner, field)
        return where, values[field]

    def value(self, schema: Schema, field: str) -> Any:
        """A value for a field of that name."""
        if self.chance(1, 12):
            return self.nonsense()
        known = corpus().get(field)
        if schema.get("late") and self.python and known and self.chance(1, 12):
            return Late(self.pick(known))
        return self._of_kind(schema, field)

    def _of_kind(self, schema: Schema, field: str) -> Any:
        kind = schema.get("type")
        if "enum" in schema or "const" in schema:
            choices = schema.get("enum") or [schema["const"]]
            return self.beside(str(self.pick(choices))) if self.chance(1, 8) else self.pick(choices)
        if "properties" in schema:
            required, optional = set(schema.get("required", ())), list(schema["properties"])
            wanted = required | {self.pick(optional) for _ in range(self.draw(st.integers(0, 3)))}
            return {name: self.value(schema["properties"][name], name) for name in sorted(wanted)}
        if kind == "object":
            entries = schema.get("additionalProperties")
            entries = entries if isinstance(entries, Mapping) else {}
            count = self.draw(st.integers(0, 2))
            return {self.text(f"{field} key"): self.value(entries, field) for _ in range(count)}
        if kind == "array":
            return [self.value(schema["items"], field) for _ in range(self.draw(st.integers(0, 3)))]
        if kind == "string":
            return self.text(field)
        if kind == "boolean":
            return self.draw(st.booleans())
        if kind in ("integer", "number"):
            return self._number(schema, field, int if kind == "integer" else float)
        known = corpus().get(field)
        return self.pick(known) if known and self.chance(1, 2) else self.json()

    def _number(self, schema: Schema, field: str, kind: type[int] | type[float]) -> Any:
        known = [value for value in corpus().get(field, ()) if type(value) in (int, float)]
        said = _BOUNDS.finditer(schema.get("description", ""))
        limits = [float(found.rstrip(".").replace(",", "")) for match in said for found in match.groups() if found]
        limits += [schema[key] for key in ("minimum", "maximum", "exclusiveMinimum") if key in schema]
        edges = [kind(limit + step) for limit in limits for step in (-1, 0, 1)]
        if self.chance(1, 8):
            return self.pick([*_LARGE, *_FLOATS])
        return self.pick(known) if known and self.chance(1, 2) else self.pick(edges or [-1, 0, 1, 2])

    def text(self, field: str) -> str:
        """A text that other fields of this name have, or one beside it."""
        known = [value for value in corpus().get(field, ()) if isinstance(value, str)]
        text: str = self.pick(known or ["linear", "demo-1", "registry.example.com/a"])
        return self.beside(text) if self.chance(1, 3) else text

    def beside(self, text: str) -> str:
        """A text that is one change away from this one."""
        place = self.draw(st.integers(0, len(text)))
        part: str = self.pick(_PARTS)
        long = [(text or "x") * 3, *(text + "x" * (length - len(text)) for length in _LENGTHS)]
        changed = [text[:place] + part + text[place:], text[:place] + part, part + text[place:], part, text.swapcase()]
        return str(self.pick([*changed, *changed, text[:place] + text[place + 1 :], self.pick(long)]))

    def nonsense(self) -> Any:
        """Anything at all."""
        if self.python and self.chance(1, 4):
            return self.pick([*_PYTHON, Itself()])
        return self.json()

    def json(self, depth: int = 0) -> Any:
        """Anything that JSON can say, and the numbers that only Python's can."""
        kind = self.draw(st.integers(0, 6 if depth < 2 else 4))
        if kind >= 5:
            count = self.draw(st.integers(0, 2))
            entries = [self.json(depth + 1) for _ in range(count)]
            return entries if kind == 5 else {self.pick(_PARTS): entry for entry in entries}
        return [None, self.draw(st.booleans()), self.pick([-1, 0, 1, *_LARGE, *_FLOATS]), self.pick(_PARTS), "text"][
            kind
        ]

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[self.draw(st.integers(0, len(choices) - 1))]

    def chance(self, count: int, of: int) -> bool:
        return bool(self.draw(st.integers(0, of - 1)) >= of - count)
