"""Checks a component's arguments and collects every problem before any child is created.

`read_args` checks the shape (unknown, missing and wrongly typed fields) against the component's TypedDict; `Problems`
has the rules that hold between values. Values that are only known later (Outputs) pass: they can't be judged here.
"""

import inspect
import re
import types
import typing
from collections.abc import Awaitable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, cast

import pulumi

from modelops.core.errors import ArgumentsError
from modelops.core.quantities import number_of

T = TypeVar("T")

_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DEVICE = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?"
)
_TYPE_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


class Problems:
    """The problems of one component's arguments, in the order in which they were found."""

    def __init__(self, component: str, name: str) -> None:
        self._subject = f'{component} "{name}"'
        self._found: list[str] = []

    def add(self, field: str, value: object, rule: str) -> None:
        """Notes that `field` has `value` but `rule` (“must be …”) holds."""
        self._found.append(f"{field} is {_shown(value)}, {rule}")

    def missing(self, field: str, why: str = "it is required") -> None:
        """Notes that `field` was not given."""
        self._found.append(f"{field} is missing, {why}")

    def raise_if_any(self) -> None:
        """Raises ArgumentsError with every problem, if there is one."""
        if len(self._found) == 1:
            raise ArgumentsError(f"{self._subject}: {self._found[0]}")
        if self._found:
            lines = "".join(f"\n  - {problem}" for problem in self._found)
            raise ArgumentsError(f"{self._subject}: {len(self._found)} problems{lines}")

    def number(self, field: str, value: object, minimum: float | None = None, maximum: float | None = None) -> None:
        """A number between bounds, both included."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return
        if minimum is not None and maximum is not None and not minimum <= value <= maximum:
            self.add(field, value, f"must be {minimum} to {maximum}")
        elif minimum is not None and value < minimum:
            self.add(field, value, f"must be at least {minimum}")

    def text(self, field: str, value: object) -> None:
        """Not empty, no blanks: image references, commands, URLs."""
        if isinstance(value, str) and (not value or re.search(r"\s", value)):
            self.add(field, value, "must not be empty or have blanks")

    def dns_label(self, field: str, value: object, maximum: int = 63) -> None:
        """A name that Kubernetes takes for a Service: lower-case letters, digits and dashes, a letter first."""
        if isinstance(value, str) and (not _DNS_LABEL.fullmatch(value) or len(value) > maximum):
            rule = f"must be lower-case letters, digits and dashes, a letter first, at most {maximum} characters"
            self.add(field, value, rule)

    def mlflow_name(self, field: str, value: object) -> None:
        """A name that MLflow's registry and a Kubernetes label both take."""
        if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?", value):
            rule = "must be letters, digits, '.', '_' and '-', a letter or digit at both ends, at most 63 characters"
            self.add(field, value, rule)

    def repository(self, field: str, value: object) -> None:
        """An image repository without tag or digest."""
        if isinstance(value, str) and not re.fullmatch(r"[a-z0-9]+([._:/-]+[a-z0-9]+)*", value):
            self.add(field, value, "must be an image repository in lower case, such as registry.example.com/team/model")
        elif isinstance(value, str) and ":" in value.rpartition("/")[2]:
            self.add(field, value, "must not have a tag")

    def model_uri(self, field: str, value: object) -> None:
        """The address of a model version."""
        if isinstance(value, str) and not (value.startswith("models:/") and len(value) > len("models:/")):
            self.add(field, value, "must be models:/<name>@<alias> or models:/<name>/<version>")

    def quantity(self, field: str, value: object) -> None:
        """A Kubernetes quantity that is not negative: `500m`, `2`, `512Mi`."""
        if isinstance(value, str) and _number(value) is None:
            self.add(field, value, "must be a Kubernetes quantity such as 500m, 2 or 512Mi")

    def quantities(self, field: str, value: object, keys: Sequence[str]) -> None:
        """The named entries of a mapping, each a quantity."""
        if isinstance(value, Mapping):
            for key in keys:
                self.quantity(f"{field}.{key}", value.get(key))

    def at_most(self, field: str, value: object, lower: str, upper: str, default: str | None = None) -> None:
        """The entry `lower` of a mapping, or its default, is no more than the entry `upper`; both are quantities."""
        if not isinstance(value, Mapping):
            return
        least, most = value.get(lower, default), value.get(upper)
        if isinstance(least, str) and isinstance(most, str):
            numbers = _number(least), _number(most)
            if numbers[0] is not None and numbers[1] is not None and numbers[0] > numbers[1]:
                self.add(f"{field}.{upper}", most, f"must be at least {lower} ({least})")

    def device(self, field: str, value: object) -> None:
        """The name of a device that nodes count: a domain, a slash and a name."""
        if isinstance(value, str) and (not _DEVICE.fullmatch(value) or value.startswith("requests.")):
            self.add(field, value, "must be a device's name such as nvidia.com/gpu")

    def url(self, field: str, value: object) -> None:
        """An http or https address."""
        if isinstance(value, str) and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
            self.add(field, value, "must be an http:// or https:// address")


def read_args(args: T, spec: type[Any], problems: Problems) -> T:
    """Returns `args` as `spec` (a TypedDict) wants them, and notes every difference in `problems`.

    Entries that are None are left out, whole numbers that arrive as floats (Pulumi's wire has only floats) become
    ints, and the values of an Enum become its members.
    """
    return cast(T, _read_fields("", args, spec, problems))


def _read_fields(path: str, value: Any, spec: type[Any], problems: Problems) -> Any:
    if not isinstance(value, Mapping):
        problems.add(path or "args", value, "must be a mapping")
        return {}
    hints: dict[str, Any] = {}
    for base in reversed(spec.__mro__):
        hints.update(inspect.get_annotations(base))
    given = {key: entry for key, entry in value.items() if entry is not None}
    read: dict[str, Any] = {}
    for key, entry in given.items():
        field = f"{path}.{key}" if path else key
        if key not in hints:
            problems.add(field, entry, f"must not be given; known are {', '.join(sorted(hints))}")
        else:
            read[key] = _read(field, entry, hints[key], problems)
    for key in sorted(spec.__required_keys__ - given.keys()):
        problems.missing(f"{path}.{key}" if path else key)
    return read


def _read(field: str, value: Any, hint: Any, problems: Problems) -> Any:
    plain, hint = _unwrap(hint)
    if isinstance(value, pulumi.Output) or inspect.isawaitable(value):
        if plain:
            problems.add(field, value, "must be a plain value: it decides which resources there are")
        return value
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin is not None and issubclass(origin, Mapping):
        return _read_mapping(field, value, typing.get_args(hint)[1], problems)
    if origin is not None and issubclass(origin, Sequence):
        return _read_sequence(field, value, typing.get_args(hint)[0], problems)
    if typing.is_typeddict(hint):
        return _read_fields(field, value, hint, problems)
    if issubclass(hint, Enum):
        return _read_enum(field, value, hint, problems)
    return _read_scalar(field, value, hint, problems)


def _unwrap(hint: Any) -> tuple[bool, Any]:
    """(whether only a plain value will do, the type inside NotRequired and Input)."""
    while typing.get_origin(hint) in (typing.NotRequired, typing.Required):
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        arguments = typing.get_args(hint)
        if any(typing.get_origin(argument) is Awaitable for argument in arguments):
            return False, arguments[0]
    return True, hint


def _read_mapping(field: str, value: Any, hint: Any, problems: Problems) -> Any:
    if not isinstance(value, Mapping):
        problems.add(field, value, "must be a mapping")
        return {}
    return {key: _read(f"{field}.{key}", entry, hint, problems) for key, entry in value.items()}


def _read_sequence(field: str, value: Any, hint: Any, problems: Problems) -> Any:
    if not isinstance(value, Sequence) or isinstance(value, str):
        problems.add(field, value, "must be a list")
        return []
    return [_read(f"{field}[{index}]", entry, hint, problems) for index, entry in enumerate(value)]


def _read_enum(field: str, value: Any, hint: type[Enum], problems: Problems) -> Any:
    try:
        return hint(value)
    except ValueError:
        problems.add(field, value, f"must be one of {', '.join(str(member.value) for member in hint)}")
        return None


def _read_scalar(field: str, value: Any, hint: type[Any], problems: Problems) -> Any:
    if hint is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, hint) or (hint is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and hint is not bool):
        problems.add(field, value, f"must be {_TYPE_NAMES[hint]}")
        return None
    return value


def _number(quantity: str) -> Decimal | None:
    """What a quantity says, or None when Kubernetes would not take it."""
    try:
        number = number_of(quantity)
    except ValueError:
        return None
    return None if number < 0 else number


def _shown(value: object) -> str:
    if isinstance(value, pulumi.Output) or inspect.isawaitable(value):
        return "only known later"
    if isinstance(value, Enum):
        return str(value.value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)
