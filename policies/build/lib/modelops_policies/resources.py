"""Resources as the rules see them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

UNKNOWN = "\0unknown"
"""Stands for a value known only after the update. Rules skip it in a preview and check it during the update."""


class Level(Enum):
    """What a violation does, unless the pack's configuration overrides it."""

    ADVISORY = "advisory"
    """It is reported."""
    MANDATORY = "mandatory"
    """It blocks the update."""


@dataclass(frozen=True)
class Resource:
    """One resource of a stack."""

    type: str
    """Pulumi type, such as `kubernetes:apps/v1:Deployment`."""
    name: str
    """Name in the Pulumi program."""
    inputs: Mapping[str, Any]
    urn: str = ""

    @property
    def kind(self) -> str:
        """Kubernetes kind; empty for other resources."""
        return self.type.rsplit(":", 1)[-1] if self.type.startswith("kubernetes:") else ""

    @property
    def template(self) -> Mapping[str, Any] | None:
        """The pod template, with `metadata` and `spec`; None if there is none or it is not yet known."""
        if self.kind == "Pod":
            return self.inputs
        if self.kind == "CronJob":
            template = self.at("spec", "jobTemplate", "spec", "template")
        elif self.kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"):
            template = self.at("spec", "template")
        else:
            return None
        return template if isinstance(template, Mapping) else None

    @property
    def pod(self) -> Mapping[str, Any] | None:
        """The pod's spec."""
        spec = at(self.template, "spec")
        return spec if isinstance(spec, Mapping) else None

    def containers(self, *, init: bool = True) -> Iterator[Mapping[str, Any]]:
        """The pod's containers."""
        for field in ("initContainers", "containers") if init else ("containers",):
            containers = at(self.pod, field)
            if isinstance(containers, Sequence) and not isinstance(containers, str):
                yield from (container for container in containers if isinstance(container, Mapping))

    def at(self, *path: str) -> Any:
        """The input at `path`: None if absent, UNKNOWN if not yet known."""
        return at(self.inputs, *path)


@dataclass(frozen=True)
class Rule:
    """A rule and its check."""

    name: str
    description: str
    """The rule, and the reason for it, in a sentence or two."""
    level: Level
    check: Callable[[Resource, Sequence[Resource]], Iterator[str]]
    """Yields the problems of a resource, each with its fix, given the resource and the whole stack."""


def at(value: Any, *path: str) -> Any:
    """The value at `path` in nested objects: None if absent, UNKNOWN if anything on the path is not yet known."""
    for key in path:
        if value == UNKNOWN:
            return UNKNOWN
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def plain(value: Any, unknown: type[Exception]) -> Any:
    """A copy made of plain lists and dictionaries, with UNKNOWN wherever reading raises `unknown`."""
    if isinstance(value, Mapping):
        return {str(key): _read(value, key, unknown) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_read(value, index, unknown) for index in range(len(value))]
    # Numbers arrive as floats; show a port as a manifest would.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read(container: Any, key: Any, unknown: type[Exception]) -> Any:
    try:
        return plain(container[key], unknown)
    except unknown:
        return UNKNOWN
