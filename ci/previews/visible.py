"""Makes hidden characters visible: those of control, of direction, of no width, and the unassigned ones."""

import re
from typing import Any

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
# Blank, though Unicode counts them as letters or marks.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def visible(text: str, *, lines: bool = True) -> str:
    """The text with escapes in place of its hidden characters. Without `lines`, these include line breaks and tabs."""
    kept = "\n\t" if lines else ""
    return "".join(
        sign if sign in kept or (sign.isprintable() and not _BLANK.match(sign)) else _escape(sign)
        for sign in _COLOUR.sub("", text)
    )


def visible_in(value: Any) -> Any:
    """A JSON document with all its texts visible."""
    if isinstance(value, dict):
        return {visible(key): visible_in(item) for key, item in value.items()}
    if isinstance(value, list):
        return [visible_in(item) for item in value]
    return visible(value) if isinstance(value, str) else value


def _escape(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
