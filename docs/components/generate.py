"""Writes the tables of arguments and outputs in the pages beside this file, from the docstrings of the library.

`python -m docs.components.generate` rewrites what is between the markers; `--check` only names the pages that are out
of date. A test compares too, so pages and library can't diverge.
"""

import ast
import inspect
import itertools
import re
import sys
import textwrap
import typing
from collections.abc import Awaitable
from enum import Enum
from pathlib import Path
from typing import Any

import modelops
from modelops.core.types import SHARED

FOLDER = Path(__file__).resolve().parent
PAGES = {
    "airflow_pipeline": modelops.AirflowPipeline,
    "data_pipeline": modelops.DataPipeline,
    "model_image": modelops.ModelImage,
    "training_job": modelops.TrainingJob,
    "model_promotion": modelops.ModelPromotion,
    "model_registry": modelops.ModelRegistry,
    "model_service": modelops.ModelService,
    "monitoring_stack": modelops.MonitoringStack,
}
_BEGIN, _END = "<!-- generated: begin -->", "<!-- generated: end -->"
_DEFAULT = re.compile(r"\s*Default:? (?P<default>.*?)(?:; (?P<range>(?:\d|at |above).*?))?\.(?=\s|$)")
"""How docstrings state a default and, behind a semicolon, what values are allowed."""
_UNITS = {
    "_seconds": "seconds",
    "_days": "days",
    "_ms": "milliseconds",
    "_percent": "percent",
    "_points": "percentage points",
    "_per_second": "per second",
    "_per_minute": "per minute",
    "_size": "[bytes](#units)",
    "memory": "[bytes](#units)",
    "memory_limit": "[bytes](#units)",
    "cpu": "[cores](#units)",
    "cpu_limit": "[cores](#units)",
}
"""Units by the end of an argument's name."""
_UNITS_NOTE = """### Units

Bytes and cores are Kubernetes quantities: `512Mi` or `10Gi`, `500m` or `2`."""
_SIMPLE = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything"}


def tables(component: type[Any]) -> str:
    """Everything that a page says of a component's arguments, their parts and its outputs."""
    args = inspect.get_annotations(component.__init__)["args"]
    parts: list[type[Any]] = []
    blocks = [f"## Arguments\n\n{_fields_table(args, parts)}"]
    for part in parts:
        title = f"### {part.__name__}\n\n{_sentence(part)}"
        blocks.append(f"{title}\n\n{_members_table(part) if issubclass(part, Enum) else _fields_table(part, parts)}")
    if any("(#units)" in block for block in blocks):
        blocks.append(_UNITS_NOTE)
    blocks.append(f"## Outputs\n\n{_outputs_table(component)}")
    return "\n\n".join(blocks)


def _fields_table(spec: type[Any], parts: list[type[Any]]) -> str:
    shared = {name: text for each in SHARED for name, text in _docstrings(each).items()}
    described = {**shared, **_docstrings(spec)}
    rows = ["| argument | type | unit | default | meaning |", "|---|---|---|---|---|"]
    hints = inspect.get_annotations(spec)
    for name in sorted(hints, key=lambda key: (key not in spec.__required_keys__, key in shared)):
        default, meaning = _default_and_meaning(described[name])
        if name in spec.__required_keys__:
            default = "**required**"
        rows.append(f"| `{name}` | {_kind(hints[name], parts)} | {_unit(name)} | {default} | {meaning} |")
    return "\n".join(rows)


def _default_and_meaning(text: str) -> tuple[str, str]:
    """A docstring's default, and everything else that it says; the allowed values stay with the meaning."""
    if not (stated := _DEFAULT.search(text)):
        return "", text
    allowed = f" Allowed: {stated['range']}." if stated["range"] else ""
    return stated["default"], (text[: stated.start()] + allowed + text[stated.end() :]).strip()


def _unit(name: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def _members_table(spec: type[Enum]) -> str:
    described = _docstrings(spec)
    rows = [f"| `{member.value}` | {described[member.name]} |" for member in spec]
    return "\n".join(["| value | meaning |", "|---|---|", *rows])


def _outputs_table(component: type[Any]) -> str:
    described = _docstrings(component)
    return "\n".join(
        ["| output | meaning |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in described.items())]
    )


def _kind(hint: Any, parts: list[type[Any]]) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.NotRequired, typing.Required):
        return _kind(arguments[0], parts)
    if origin is typing.Union and any(typing.get_origin(argument) is Awaitable for argument in arguments):
        return _kind(arguments[0], parts)
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if origin is not None:
        inner = _kind(arguments[-1], parts)
        return f"list of {inner}" if len(arguments) == 1 else f"{inner} by name"
    if hint not in parts:
        parts.append(hint)
    return f"[{hint.__name__}](#{hint.__name__.lower()})"


def _sentence(spec: type[Any]) -> str:
    return " ".join((inspect.getdoc(spec) or "").split())


def _docstrings(spec: type[Any]) -> dict[str, str]:
    """The text under each annotated or assigned name in a class."""
    body = typing.cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(spec))).body[0]).body
    found = {}
    for statement, following in itertools.pairwise(body):
        target = getattr(statement, "target", None) or next(iter(getattr(statement, "targets", [])), None)
        text = getattr(getattr(following, "value", None), "value", None)
        if isinstance(target, ast.Name) and isinstance(text, str):
            found[target.id] = " ".join(text.split()).replace("|", "\\|")
    return found


def render(page: str, component: type[Any]) -> str:
    """The page with its tables as the library has them now."""
    pattern = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{_BEGIN}\n{tables(component)}\n{_END}", page)


def main() -> int:
    """Rewrites the pages, or with `--check` names those that are out of date."""
    stale = []
    for name, component in PAGES.items():
        path = FOLDER / f"{name}.md"
        page = path.read_text()
        if (current := render(page, component)) != page:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(current)
    if "--check" in sys.argv and stale:
        print(f"out of date: {', '.join(stale)}; run `make generate`")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
