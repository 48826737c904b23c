"""The rules of labels and annotations."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelops.core.validation import Problems

_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")


def check_metadata(problems: Problems, field: str, entries: Any, reserved: Sequence[str]) -> None:
    """Valid names, none of which is the library's own, and valid values of labels."""
    for name, value in (entries if isinstance(entries, Mapping) else {}).items():
        domain = name.rpartition("/")[0]
        if not _NAME.fullmatch(name):
            check_label(problems, field, name)
        elif any(domain == own or domain.endswith(f".{own}") for own in reserved):
            problems.add(field, name, f"must not be one of {', '.join(reserved)}, which the library sets itself")
        elif field.endswith("labels"):
            check_label_value(problems, f"{field}.{name}", value)


def check_label(problems: Problems, field: str, name: Any) -> None:
    """A name of a label, an annotation or a taint."""
    if isinstance(name, str) and not _NAME.fullmatch(name):
        problems.add(field, name, "must be a name such as example.com/team, its last part at most 63 characters")


def check_label_value(problems: Problems, field: str, value: Any) -> None:
    """What a label may have."""
    if isinstance(value, str) and not _LABEL_VALUE.fullmatch(value):
        rule = "must be letters, digits, '-', '_' and '.', starting and ending with a letter or digit"
        problems.add(field, value, f"{rule}, at most 63 characters")
