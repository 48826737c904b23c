"""Which resources a rule leaves alone, and why: `{"resource": "node-exporter", "reason": "reads the node's files"}`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

SCHEMA: Mapping[str, Any] = {
    "type": "array",
    "default": [],
    "items": {
        "type": "object",
        "properties": {
            "resource": {"type": "string", "minLength": 1},
            "reason": {"type": "string", "pattern": "\\S"},
        },
        "required": ["resource", "reason"],
        "additionalProperties": False,
    },
}
"""What a rule's `exempt` may be. The engine refuses anything else before it runs the pack."""


def is_exempt(name: str, exemptions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of them names the resource, where `*` stands for any text."""
    return any(re.fullmatch(re.escape(each["resource"]).replace(r"\*", ".*"), name, re.DOTALL) for each in exemptions)
