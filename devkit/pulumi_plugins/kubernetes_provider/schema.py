"""The package's schema, for hosts that check a program's types (Pulumi YAML): kinds, their properties and constants.

It is read from the text of the Python SDK for Kubernetes, where that is installed beside the plugin.
"""

import ast
import functools
import json
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .objects import kinds

_ANY = {"$ref": "pulumi.json#/Any"}
_PRIMITIVES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_TOKEN = re.compile(r'^@pulumi\.type_token\("(kubernetes:[^"]+/v[^":]+:\w+)"\)$', re.MULTILINE)
_TYPE = re.compile(r"^@pulumi\.output_type\nclass (\w+)\(dict\):$", re.MULTILINE)
_GETTER = re.compile(
    r'^    @pulumi\.getter(?:\(name="(\w+)"\))?\n(?:    @.*\n)*    def (\w+)\(\w+\) -> (.+):$', re.MULTILINE
)
_REFERENCE = re.compile(r"(?:_(\w+)\.(\w+)\.)?outputs\.(\w+)")
Described = dict[str, Any]


@functools.cache
def schema(version: str) -> str:
    """The schema as JSON."""
    described: Described = {"name": "kubernetes", "version": version}
    spec = find_spec("pulumi_kubernetes")
    if spec is not None and spec.origin:
        described |= _described(Path(spec.origin).parent)
    return json.dumps(described)


def _described(sdk: Path) -> Described:
    types: Described = {}
    for file in sorted(sdk.glob("*/v*/outputs.py")):
        types |= _types(file)
    # The class of a provider's arguments comes before that of the provider.
    settings = _properties((sdk / "provider.py").read_text(encoding="utf-8").partition("\nclass Provider(")[0], "")
    resources = dict(_resources(sdk))
    known = _without_unknown_references({"types": types, "resources": resources, "settings": settings}, types)
    return {
        "types": known["types"],
        "resources": known["resources"],
        "provider": {"inputProperties": known["settings"]},
    }


def _types(file: Path) -> Described:
    _, *parts = _TYPE.split(file.read_text(encoding="utf-8"))
    module = _module(file)
    return {
        f"kubernetes:{module}:{name}": {"type": "object", "properties": _properties(text, module)}
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def _resources(sdk: Path) -> Iterator[tuple[str, Described]]:
    for file in sorted(sdk.glob("*/v*/*.py")):
        # The class of the arguments comes first, then that of the resource.
        arguments, *rest = _TOKEN.split(file.read_text(encoding="utf-8"))
        if not rest:
            continue
        token, text = rest[0], rest[1]
        gvk, outputs = kinds.of_type(token), _properties(text, _module(file))
        for name, value in (("apiVersion", gvk.api_version), ("kind", gvk.kind)):
            outputs[name] = {"type": "string", "const": value}
        inputs = {name: outputs[name] for name in _properties(arguments, "") if name in outputs}
        yield token, {"inputProperties": inputs, "properties": outputs, "required": [*outputs]}


def _module(file: Path) -> str:
    return f"{file.parent.parent.name}/{file.parent.name}"


def _properties(text: str, module: str) -> Described:
    return {
        wire or name: _type(ast.parse(annotation, mode="eval").body, module)
        for wire, name, annotation in _GETTER.findall(text)
    }


def _type(annotation: ast.expr, module: str) -> Described:
    """The schema's type of an annotation of the SDK. `module` is where what it refers to by name alone is."""
    match annotation:
        case ast.Attribute(attr=name) if name in _PRIMITIVES:
            return {"type": _PRIMITIVES[name]}
        case ast.Subscript(value=ast.Name(id="Sequence"), slice=item):
            return {"type": "array", "items": _type(item, module)}
        case ast.Subscript(value=ast.Name(id="Mapping"), slice=ast.Tuple(elts=[_, item])):
            return {"type": "object", "additionalProperties": _type(item, module)}
        case ast.Subscript(value=ast.Name(id="Optional") | ast.Attribute(attr="Input" | "Output"), slice=inner):
            return _type(inner, module)
        case ast.Constant(value=str(name)) if reference := _REFERENCE.fullmatch(name):
            group, version, kind = reference.groups()
            return {"$ref": f"#/types/kubernetes:{f'{group}/{version}' if group else module}:{kind}"}
    return _ANY


def _without_unknown_references(value: Any, types: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/types/"):
            return value if reference.removeprefix("#/types/") in types else _ANY
        return {key: _without_unknown_references(entry, types) for key, entry in value.items()}
    return value
