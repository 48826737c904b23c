"""The Kubernetes objects of the repository's stacks, as the API server would get them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.components.harness import Resource, Secret
from tests.unit.stacks.test_composition import compose


def plain(value: Any) -> Any:
    """Inputs with secrets in clear, and whole numbers as such: the engine hands over all numbers as floats."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def resources(stack: str, folder: Path) -> list[Resource]:
    """Everything that the stack creates."""
    with pytest.MonkeyPatch.context() as patch:
        program, _ = compose(stack, patch, folder)
    return program.resources


def manifests(stack: str, folder: Path) -> list[dict[str, Any]]:
    """The stack's Kubernetes objects. One whose name the provider makes up has the resource's."""
    return [_named(each.name, plain(each.inputs)) for each in resources(stack, folder) if each.is_kubernetes]


def _named(name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    return {**manifest, "metadata": {"name": name, **manifest.get("metadata", {})}}
