"""What arrives as it is written: on Pulumi's wire, in an object of Kubernetes, and as JSON in a pod's program."""

import math
from collections.abc import Iterator, Mapping

from modelops.core.outputs import is_output

LARGEST = 2**53 - 1
"""Whole numbers beyond this one change on Pulumi's wire, which has floats."""


def why_not_sent(value: str | float | bool) -> str | None:
    """The rule that the value breaks, or None."""
    if isinstance(value, str):
        return None if is_text(value) else "must be Unicode text without lone surrogates and zero bytes"
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number: JSON has no other"
    return f"must be within ±{LARGEST}" if isinstance(value, int) and abs(value) > LARGEST else None


def is_text(value: object) -> bool:
    """Whether it is text that can be written as UTF-8, and as an environment variable."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def not_json(field: str, value: object) -> Iterator[tuple[str, object, str]]:
    """(field, value, rule) of all that JSON doesn't have, in what may be of any kind. Outputs aren't known yet."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if not is_text(key):
                yield f"{field}.{key!r}", key, "must have text as its name"
            yield from not_json(f"{field}.{key}", entry)
    elif isinstance(value, list | tuple):
        for place, entry in enumerate(value):
            yield from not_json(f"{field}[{place}]", entry)
    elif isinstance(value, str | int | float):
        if rule := why_not_sent(value):
            yield field, value, rule
    elif value is not None and not is_output(value):
        yield field, value, "must be JSON: text, a number, true, false, null, a list or an object"
