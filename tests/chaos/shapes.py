"""What arguments and settings look like, as JSON schemas made from their own types, and values that suit them."""

import functools
import inspect
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import modelops
from docs.components.generate import _docstrings
from modelops.core.types import SHARED
from modelops.core.validation import _unwrap
from stacks.models import Settings
from tests.package.test_consumer import MINIMAL
from tests.unit.components.test_arguments import RICH
from tests.unit.stacks.support import STACKS, config_of, program_config

Schema = Mapping[str, Any]
_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


@functools.cache
def arguments(component: str) -> Schema:
    """The schema of a component's arguments, from its TypedDict. `late` marks what may be an output."""
    return _of_type(getattr(modelops, f"{component}Args"))


@functools.cache
def settings() -> Schema:
    """The schema of a stack's settings, from stacks/models.py."""
    schema = Settings.model_json_schema()
    return dict(_resolved(schema, schema["$defs"]))


def bases(component: str) -> list[Mapping[str, Any]]:
    """Right arguments of a component, each with other features on."""
    return [MINIMAL[component], *(args for kind, args in RICH.values() if kind == component)]


def stack_settings() -> list[Mapping[str, Any]]:
    """The settings of the repository's stacks."""
    return [{key: _parsed(value) for key, value in program_config(config_of(stack)).items()} for stack in STACKS]


@functools.cache
def corpus() -> Mapping[str, Sequence[Any]]:
    """Field → what fields of that name have in arguments and settings that are right."""
    found: dict[str, list[Any]] = {}
    for base in [*MINIMAL.values(), *(args for _, args in RICH.values()), *stack_settings()]:
        for field, value in _leaves("", base):
            if value not in found.setdefault(field, []):
                found[field].append(value)
    return found


def _of_type(hint: Any) -> dict[str, Any]:
    plain, kind = _unwrap(hint)
    return {**_of_plain_type(kind), "late": not plain}


def _of_plain_type(kind: Any) -> dict[str, Any]:
    origin = typing.get_origin(kind)
    if typing.is_typeddict(kind):
        texts = {name: text for each in (*SHARED, kind) for name, text in _docstrings(each).items()}
        fields = inspect.get_annotations(kind)
        described = {name: {**_of_type(each), "description": texts[name]} for name, each in fields.items()}
        return {"type": "object", "properties": described, "required": sorted(kind.__required_keys__)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of_type(typing.get_args(kind)[1])}
    if origin is not None and issubclass(origin, Sequence):
        return {"type": "array", "items": _of_type(typing.get_args(kind)[0])}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    return {} if kind is Any else {"type": _SCALARS[kind]}


def _resolved(schema: Any, definitions: Schema) -> Any:
    """The schema with what it refers to in place, without the nulls that stand for values left out."""
    if isinstance(schema, list):
        return [_resolved(entry, definitions) for entry in schema]
    if not isinstance(schema, Mapping):
        return schema
    if "$ref" in schema:
        return _resolved(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        [given] = [each for each in schema["anyOf"] if each != {"type": "null"}]
        return _resolved(given, definitions)
    return {key: _resolved(value, definitions) for key, value in schema.items() if key not in ("$defs", "default")}


def _leaves(field: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield f"{field} key", key
            yield from _leaves(key, entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _leaves(field, entry)
    else:
        yield field, value


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
