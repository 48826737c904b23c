"""What tells one pod template from another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pulumi

from modelops.core.outputs import is_output, short_hash
from modelops.core.run_id import canonical_json
from modelops.kubernetes.pods import as_document, core


def template_hash(*templates: core.PodTemplateSpecArgs) -> pulumi.Output[str]:
    """The same for the same pods, whatever of them is an output."""
    document = as_document(templates)
    later: list[pulumi.Output[Any]] = []
    _walk(document, later.append)

    def known_hash(known: list[Any]) -> str:
        values = iter(known)
        return short_hash(canonical_json(_walk(document, lambda _: next(values))))

    # Pulumi would make an output of each part of the document, which takes ten times as long.
    return pulumi.Output.all(*later).apply(known_hash)


def _walk(value: Any, replaced: Callable[[pulumi.Output[Any]], Any]) -> Any:
    """The document with each of its outputs `replaced`, always in the same order."""
    if is_output(value):
        return replaced(value)
    if isinstance(value, Mapping):
        return {key: _walk(entry, replaced) for key, entry in value.items()}
    return [_walk(entry, replaced) for entry in value] if isinstance(value, list) else value
