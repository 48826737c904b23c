"""Generated from the steps' declarations: `python -m docs.data_steps` writes the page docs/data-steps.md, and the file
that tells DataPipeline names, fields and choices without importing pandas."""

import inspect
import json
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from modelops_runtime.data.sources.source import Source
from modelops_runtime.data.steps import STEPS, Step
from modelops_runtime.data.steps.split import Split

PAGE = Path(__file__).with_name("data-steps.md")
CATALOG = PAGE.parents[1] / "components" / "modelops" / "data" / "assets" / "steps.json"
HEAD = """# Steps of a data pipeline

Generated from the code by `make generate`.

A step is declared by its name and its fields: `{"scale": {"columns": ["age"], "by": "standard"}}`. Its place in the
list depends on what it looks at: *each row*, anywhere before the fitted steps; *all rows*, before the split; *rows of a
part*, after the split and before the fitted steps; *fitted* on the training split, last.
With several shards, all workers do the *each row* steps at the beginning.

| step | looks at | fields |
|---|---|---|
"""


def page() -> str:
    """The page's text."""
    rows = [
        f"| [`{name}`](#{name}) | {_scope(kind)} | {', '.join(f'`{field}`' for field in kind.model_fields)} |"
        for name, kind in sorted(STEPS.items())
    ]
    return HEAD + "\n".join(rows) + "\n" + "".join(_section(name, kind) for name, kind in sorted(STEPS.items()))


def _section(name: str, kind: type[Step]) -> str:
    text = f"\n## {name}\n\n{inspect.cleandoc(kind.__doc__ or '')}\n\n| field | values | default |\n|---|---|---|\n"
    for field, info in kind.model_fields.items():
        text += f"| `{field}` | {_type(info.annotation)}{_bounds(info)} | {_default(info)} |\n"
    return text


def _scope(kind: type[Step]) -> str:
    if kind is Split:
        return "all rows"
    by = kind.model_fields.get("by", kind.model_fields.get("rule"))
    scopes = set()
    for value in typing.get_args(by.annotation) if by is not None else [None]:
        step = kind.model_construct(**({} if value is None else {"by": value, "rule": value}))
        scope = "rows of a part" if step.in_part else "all rows"
        scopes.add("each row" if step.rowwise else "fitted" if step.fitted else scope)
    return ", ".join(sorted(scopes)) + (" (by its rule)" if len(scopes) > 1 else "")


def _type(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(argument) for argument in arguments if argument is not types.NoneType)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"column → {_type(arguments[1])}"
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return "{" + ", ".join(f"`{key}`: {_type(info.annotation)}" for key, info in hint.model_fields.items()) + "}"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[hint]


def _bounds(info: FieldInfo) -> str:
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    found = [
        f"{said} {getattr(rule, key):g}"
        for rule in info.metadata
        for key, said in words.items()
        if hasattr(rule, key) and getattr(rule, key) is not None
    ]
    return f" ({', '.join(found)})" if found else ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    if info.default in (None, [], {}):
        return "–"
    if isinstance(info.default, list):
        return ", ".join(f"`{value}`" for value in info.default)
    return f"`{str(info.default).lower() if isinstance(info.default, bool) else info.default}`"


def catalog() -> str:
    """Names, required fields, choices and place of every step, and the fields of a source, as JSON."""
    known = {"source": _known(Source), "steps": {name: _known(kind) for name, kind in sorted(STEPS.items())}}
    for name, kind in STEPS.items():
        known["steps"][name]["fitted"] = _scope(kind) == "fitted"
    return json.dumps(known, indent=1, sort_keys=True) + "\n"


def _known(kind: type[BaseModel]) -> dict[str, Any]:
    fields = kind.model_fields
    return {
        "fields": sorted(fields),
        "required": sorted(name for name, info in fields.items() if info.is_required()),
        "choices": {name: choices for name, info in sorted(fields.items()) if (choices := _choices(info.annotation))},
    }


def _choices(hint: Any) -> list[Any]:
    """What a field may be, where that is one of a few."""
    optional = typing.get_origin(hint) in (typing.Union, types.UnionType)
    hints = [one for one in typing.get_args(hint) if one is not types.NoneType] if optional else [hint]
    return [value for one in hints if typing.get_origin(one) is typing.Literal for value in typing.get_args(one)]


def main() -> None:
    PAGE.write_text(page())
    CATALOG.parent.mkdir(exist_ok=True)
    CATALOG.write_text(catalog())


if __name__ == "__main__":
    main()
