"""What a field's name says of its value: one concept has one spelling in all components."""

import re
import zoneinfo

from modelops.core.quantities import number_of

_OBJECT = re.compile(
    r"(\w+_)?(secret|claim|config_map|service_account)|(storage|priority|runtime|ingress|gateway)_class"
)
_SECRET = re.compile(r"(\w+_)?password|(ca|access|secret|routing)_key|token|config")
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253
OBJECT_NAME_RULE = "must be an object's name: lower-case letters, digits, '-' and '.', at most 253 characters"
_MACRO = re.compile(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly)")
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_CRON_FIELDS: tuple[tuple[int, int, list[str]], ...] = (
    (0, 59, []),
    (0, 23, []),
    (1, 31, []),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
"""The smallest and largest number of each, and names for the numbers."""


def broken_rule(field: str, value: str) -> str | None:
    """The rule that a text breaks in a field of this name, or None."""
    name = field.rpartition(".")[2]
    if _OBJECT.fullmatch(name) and not is_object_name(value):
        return OBJECT_NAME_RULE
    if name == "storage_size" and _is_zero(value):
        return "must be above 0"
    if name.endswith("image") and not re.fullmatch(r"\S+", value):
        return "must not be empty or contain whitespace"
    if name == "time_zone" and value not in zoneinfo.available_timezones():
        return "must be a time zone such as Europe/Rome"
    return None


def holds_secret(field: str) -> bool:
    """Whether the value of a field of this name must be in no error."""
    return bool(_SECRET.fullmatch(field.rpartition(".")[2]))


def is_object_name(text: str) -> bool:
    """Whether most kinds of objects can have this name, a DNS subdomain."""
    return len(text) <= _LONGEST_NAME and bool(_OBJECT_NAME.fullmatch(text))


def _is_zero(quantity: str) -> bool:
    try:
        return number_of(quantity) == 0
    except ValueError:
        return False


def is_cron(text: str) -> bool:
    """Whether Kubernetes reads it as a schedule; Airflow reads more."""
    fields = text.split()
    if len(fields) != len(_CRON_FIELDS):
        return bool(_MACRO.fullmatch(text))
    return all(
        _is_part(part, *bounds) for field, bounds in zip(fields, _CRON_FIELDS, strict=True) for part in field.split(",")
    )


def _is_part(part: str, low: int, high: int, names: list[str]) -> bool:
    """A number, a range or `*`, of each of which a step may follow."""
    match = re.fullmatch(r"(?:\*|\?|([0-9]+|[A-Za-z]+)(?:-([0-9]+|[A-Za-z]+))?)(?:/([0-9]+))?", part, re.ASCII)
    if match is None:
        return False
    try:
        ends = [int(end) if end.isdigit() else names.index(end.lower()) + low for end in match.groups()[:2] if end]
    except ValueError:
        return False
    return match[3] != "0" and all(low <= end <= high for end in ends) and ends == sorted(ends)
