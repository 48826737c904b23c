"""Checks a component's arguments and collects every problem before any child is created.

`read_args` checks the shape (unknown, missing and mistyped fields) against the component's TypedDict; `Problems` has
the rules for values. Where the TypedDict has a `pulumi.Input`, outputs pass unchecked: their values are not known yet.
"""

import inspect
import re
import types
import typing
from collections.abc import Awaitable, Collection, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import pulumi

from modelops.core import hints
from modelops.core.conventions import OBJECT_NAME_RULE, broken_rule, holds_secret, is_cron, is_object_name
from modelops.core.credentials import without_login
from modelops.core.errors import ArgumentsError
from modelops.core.outputs import is_output
from modelops.core.plain import why_plain
from modelops.core.quantities import number_of
from modelops.core.shown import shortened, shown
from modelops.core.wire import is_text, not_json, why_not_sent

T = TypeVar("T")

_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DEVICE = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?"
)
_REPOSITORY = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_LARGEST_COUNT = 2**31 - 1
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPE_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class Problems:
    """The problems with one component's arguments, in the order of the checks."""

    def __init__(self, component: str, name: str) -> None:
        self._subject = f'{component} "{name}"'
        self._page = f"docs/components/{re.sub(r'(?<!^)(?=[A-Z])', '_', component).lower()}.md"
        self._problems: list[str] = []
        self._misread: set[str] = set()

    def add(self, field: str, value: object, rule: str) -> None:
        """Records that `field` has `value`, which breaks `rule` (“must be …”)."""
        if field not in self._misread:
            text = "not shown" if holds_secret(field) else shown(value)
            self._problems.append(f"{shortened(field)} is {text}, {rule}")

    def misread(self, field: str, value: object, rule: str) -> None:
        """Records that `field` could not be read, so that rules for its value have nothing to add."""
        self.add(field, value, rule)
        self._misread.add(field)

    def missing(self, field: str, why: str = "it is required") -> None:
        """Records that `field` is missing."""
        self._problems.append(f"{field} is missing, {why}")

    def unknown(
        self, path: str, name: str, known: Collection[str], page: str | None = None, kind: str = "an argument"
    ) -> None:
        """Records that nothing under `path` is called `name`. `page` is the docs' page with the known names."""
        known_names = hints.known_names(str(name), known, page or self._page)
        self._misread.add(path)
        self._problems.append(f"{shortened(_within(path, name))} is not {kind}; {known_names}")

    def raise_if_any(self) -> None:
        """Raises ArgumentsError with every recorded problem, if any."""
        if len(self._problems) == 1:
            raise ArgumentsError(f"{self._subject}: {self._problems[0]}")
        if self._problems:
            lines = "".join(f"\n  - {problem}" for problem in self._problems)
            raise ArgumentsError(f"{self._subject}: {len(self._problems)} problems{lines}")

    def number(self, field: str, value: object, minimum: float | None = None, maximum: float | None = None) -> None:
        """A number within bounds, both inclusive. A whole one without a maximum is one that Kubernetes can count to."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return
        if maximum is None and minimum is not None and isinstance(value, int) and value > _LARGEST_COUNT:
            maximum = _LARGEST_COUNT
        if minimum is not None and maximum is not None and not minimum <= value <= maximum:
            self.add(field, value, f"must be {minimum} to {maximum}")
        elif minimum is not None and value < minimum:
            self.add(field, value, f"must be at least {minimum}")

    def text(self, field: str, value: object) -> None:
        """Text that is not empty and has no whitespace: image references, commands, URLs."""
        if isinstance(value, str) and (not value or re.search(r"\s", value)):
            self.add(field, value, "must not be empty or contain whitespace")

    def choice(self, field: str, value: object, choices: Sequence[str]) -> None:
        """One of a few words."""
        if isinstance(value, str) and value not in choices:
            self.add(field, value, hints.one_of(value, choices))

    def image_digest(self, field: str, value: object) -> None:
        """An image reference by digest."""
        if isinstance(value, str) and "@sha256:" not in value:
            self.add(field, value, "must be named by digest (repository@sha256:…): a tag can move")

    def variable_names(self, field: str, variables: object, *reserved: str) -> None:
        """Names of environment variables, none of which begins with a reserved prefix."""
        for name in variables if isinstance(variables, Mapping) else ():
            if name.startswith(reserved) or not _VARIABLE.fullmatch(name):
                self.add(field, name, f"must be a variable name that does not begin with {', '.join(reserved)}")

    def dns_label(self, field: str, value: object, maximum: int = 63) -> None:
        """A valid name of a Service: lower-case letters, digits and dashes, starting with a letter."""
        if isinstance(value, str) and (not _DNS_LABEL.fullmatch(value) or len(value) > maximum):
            rule = "must be lower-case letters, digits and dashes, starting with a letter"
            self.add(field, value, f"{rule}, at most {maximum} characters")

    def object_name(self, field: str, value: object) -> None:
        """A valid name of most objects of a cluster."""
        if isinstance(value, str) and not is_object_name(value):
            self.add(field, value, OBJECT_NAME_RULE)

    def cron(self, field: str, value: object) -> None:
        """The schedule of a CronJob."""
        if isinstance(value, str) and not is_cron(value):
            self.add(field, value, "must be a cron expression such as 0 3 * * *")

    def host_name(self, field: str, value: object) -> None:
        """A host name that a route can have, the first part of which may be `*`."""
        name = value.removeprefix("*.") if isinstance(value, str) else "a"
        if not is_object_name(name) or name.replace(".", "").isdigit():
            self.add(field, value, "must be a host name in lower case, not an address")

    def mlflow_name(self, field: str, value: object) -> None:
        """A name that is valid in MLflow's registry and as a Kubernetes label."""
        if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?", value):
            rule = "must be letters, digits, '.', '_' and '-', starting and ending with a letter or digit"
            self.add(field, value, f"{rule}, at most 63 characters")

    def repository(self, field: str, value: object) -> None:
        """An image repository without tag or digest."""
        if isinstance(value, str) and ":" in value.rpartition("/")[2]:
            self.add(field, value, "must not have a tag")
        elif isinstance(value, str) and not _REPOSITORY.fullmatch(value):
            self.add(field, value, "must be an image repository in lower case, such as registry.example.com/team/model")

    def quantity(self, field: str, value: object) -> None:
        """A Kubernetes quantity of at least 0: `500m`, `2`, `512Mi`."""
        if isinstance(value, str) and _number(value) is None:
            self.add(field, value, "must be a Kubernetes quantity such as 500m, 2 or 512Mi")

    def quantities(self, field: str, value: object, keys: Sequence[str]) -> None:
        """The entries of a mapping under `keys`, each a quantity."""
        if isinstance(value, Mapping):
            for key in keys:
                self.quantity(f"{field}.{key}", value.get(key))

    def at_most(self, field: str, value: object, lower: str, upper: str, default: str) -> None:
        """The quantity `lower` of a mapping, or its default, is at most the quantity `upper`."""
        if not isinstance(value, Mapping):
            return
        least, most = value.get(lower, default), value.get(upper)
        if isinstance(least, str) and isinstance(most, str):
            numbers = _number(least), _number(most)
            if numbers[0] is not None and numbers[1] is not None and numbers[0] > numbers[1]:
                shown = f"{lower} ({least})" if lower in value else f"{lower}, which is {least} by default"
                self.add(f"{field}.{upper}", most, f"must be at least {shown}")

    def device(self, field: str, value: object) -> None:
        """The resource name of a device: a domain, a slash and a name."""
        if isinstance(value, str) and (not _DEVICE.fullmatch(value) or value.startswith("requests.")):
            self.add(field, value, "must be a device name such as nvidia.com/gpu")

    def url(self, field: str, value: object) -> None:
        """An http or https address without a login: pods and outputs would show it."""
        if not isinstance(value, str):
            return
        if not (re.fullmatch(r"https?://[^\s/]+(/\S*)?", value) and _has_host(value)):
            self.add(field, value, "must be an http:// or https:// address")
        elif without_login(value) != value:
            self.add(field, value, "must not have a user name or password in it, which all could read: use a Secret")


def _has_host(url: str) -> bool:
    """Whether the host and the port, if there is one, can be read."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def read_args(args: T, spec: type[Any], problems: Problems, path: str = "") -> T:
    """Returns `args`, which are at `path`, in the shape of `spec` (a TypedDict); records every mismatch in `problems`.

    Drops entries that are None, turns whole numbers that arrive as floats (Pulumi's wire has only floats) into ints,
    and the values of an Enum into its members.
    """
    return cast(T, _read_fields(path, args, spec, problems))


def _read_fields(path: str, value: Any, spec: type[Any], problems: Problems) -> Any:
    if not isinstance(value, Mapping):
        problems.misread(path or "args", value, "must be a mapping")
        return {}
    kinds = _annotations(spec)
    entries = {key: entry for key, entry in value.items() if entry is not None}
    fields: dict[str, Any] = {}
    for key, entry in entries.items():
        if not is_text(key):
            problems.misread(path or "args", key, "must be text: it is a name")
        elif key in kinds:
            fields[key] = _read(_within(path, key), entry, kinds[key], problems)
        else:
            problems.unknown(path, key, [*kinds, *_inside(key, kinds)])
    for key in sorted(spec.__required_keys__ - entries.keys()):
        problems.missing(_within(path, key))
    return fields


def _annotations(spec: type[Any]) -> dict[str, Any]:
    """The fields of a TypedDict and of those that it extends, with their types."""
    return {name: hint for base in reversed(spec.__mro__) for name, hint in inspect.get_annotations(base).items()}


def _inside(name: str, kinds: Mapping[str, Any]) -> list[str]:
    """The fields called `name` that are one level deeper."""
    inner = {field: _unwrap(hint)[1] for field, hint in kinds.items()}
    return [
        f"{field}.{name}" for field, kind in inner.items() if typing.is_typeddict(kind) and name in _annotations(kind)
    ]


def _read(field: str, value: Any, hint: Any, problems: Problems) -> Any:
    plain, hint = _unwrap(hint)
    if is_output(value):
        if not plain:
            return value
        problems.misread(field, value, f"must be a plain value: {why_plain(field, hint)}")
        return _empty(hint)
    if isinstance(value, pulumi.Resource):
        problems.misread(field, value, hints.as_output(field, value))
        return _empty(hint)
    if hint is Any:
        for problem in not_json(field, value):
            problems.misread(*problem)
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
    """(whether the value must be plain, the type inside NotRequired and Input)."""
    while typing.get_origin(hint) in (typing.NotRequired, typing.Required):
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        arguments = typing.get_args(hint)
        if any(typing.get_origin(argument) is Awaitable for argument in arguments):
            return False, arguments[0]
    return True, hint


def _empty(hint: Any) -> Any:
    """What stands for a value of the type that could not be read."""
    origin = typing.get_origin(hint)
    return {} if typing.is_typeddict(hint) or origin is Mapping else [] if origin is Sequence else None


def _read_mapping(field: str, value: Any, hint: Any, problems: Problems) -> Any:
    if not isinstance(value, Mapping):
        problems.misread(field, value, "must be a mapping")
        return {}
    for key in value:
        if not is_text(key):
            problems.misread(field, key, "must be text: it is a name")
    return {key: _read(f"{field}.{key}", entry, hint, problems) for key, entry in value.items() if is_text(key)}


def _read_sequence(field: str, value: Any, hint: Any, problems: Problems) -> Any:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        problems.misread(field, value, f"must be a list{hints.as_list(field, value)}")
        return []
    if not value and field.endswith("command"):
        problems.misread(field, [], "must name a program")
    return [_read(f"{field}[{index}]", entry, hint, problems) for index, entry in enumerate(value)]


def _read_enum(field: str, value: Any, hint: type[Enum], problems: Problems) -> Any:
    try:
        return hint(value)
    except ValueError:
        problems.misread(field, value, hints.one_of(value, [str(member.value) for member in hint]))
        return None


def _read_scalar(field: str, value: Any, hint: type[Any], problems: Problems) -> Any:
    if hint is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, hint) or (hint is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and hint is not bool):
        how = "" if holds_secret(field) else hints.as_scalar(value, hint)
        problems.misread(field, value, f"must be {_TYPE_NAMES[hint]}{how}")
        return None
    if rule := why_not_sent(value) or (isinstance(value, str) and broken_rule(field, value)):
        problems.misread(field, value, rule)
        return None
    return value


def _within(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _number(quantity: str) -> Decimal | None:
    """The quantity as a number, or None if it is malformed or negative."""
    try:
        number = number_of(quantity)
    except ValueError:
        return None
    return None if number < 0 else number
