"""A wrong value as an error shows it: short, without a login, and in words where it has none of its own."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pulumi

from modelops.core.credentials import without_login
from modelops.core.outputs import is_output
from modelops.core.wire import LARGEST

_LONGEST = 200


def shown(value: object) -> str:
    """The value in one line."""
    text = _readable(value)
    return shortened(str(text) if isinstance(text, _Words) else without_login(repr(text)))


class _Words(str):
    """Words that stand in an error for a value which nobody could read."""

    def __repr__(self) -> str:
        return str(self)


def _readable(value: Any) -> Any:
    if is_output(value):
        return _Words("not known yet")
    if isinstance(value, pulumi.Resource):
        return _Words(f"the {type(value).__name__} itself")
    if isinstance(value, Enum):
        return _Words(value.value)
    if isinstance(value, Mapping):
        return {key: _readable(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_readable(entry) for entry in value]
    if isinstance(value, int) and abs(value) > LARGEST:
        return _Words("a very large number")  # Python refuses to write out thousands of digits
    return _Words(f"a {type(value).__name__}") if repr(value).startswith("<") else value


def shortened(text: str) -> str:
    """The text as it is, or its beginning and its length. Its control characters are escaped."""
    text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
