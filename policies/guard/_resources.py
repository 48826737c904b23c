"""What a rule sees of a resource."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

UNKNOWN = "\0unknown"
"""Stands for a value that is only known after the update. Rules don't judge it in a preview; the update does."""


class Level(Enum):
    """What becomes of an update that doesn't keep a rule, where the pack's configuration says nothing else."""

    ADVISORY = "advisory"
    """It is told."""
    MANDATORY = "mandatory"
    """It is refused."""


@dataclass(frozen=True)
class Resource:
    """One resource of a stack."""

    type: str
    """Pulumi's type: `kubernetes:apps/v1:Deployment`."""
    name: str
    """Its name in the program."""
    inputs: Mapping[str, Any]
    urn: str = ""

    @property
    def kind(self) -> str:
        """Kubernetes' kind; empty for everything else."""
        return self.type.rsplit(":", 1)[-1] if self.type.startswith("kubernetes:") else ""

    @property
    def template(self) -> Mapping[str, Any] | None:
        """The pod that it makes, with `metadata` and `spec`; None where it makes none, or that is not yet known."""
        spec: Any = self.at("spec")
        if self.kind == "Pod":
            return self.inputs
        if self.kind == "CronJob":
            found = at(spec, "jobTemplate", "spec", "template")
        elif self.kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"):
            found = at(spec, "template")
        else:
            return None
        return found if isinstance(found, Mapping) else None

    @property
    def pod(self) -> Mapping[str, Any] | None:
        """Specification of the pod that it makes."""
        found = at(self.template, "spec")
        return found if isinstance(found, Mapping) else None

    def containers(self, *, init: bool = True) -> Iterator[Mapping[str, Any]]:
        """Containers of the pod that it makes."""
        for group in ("initContainers", "containers") if init else ("containers",):
            several = at(self.pod, group)
            if isinstance(several, Sequence) and not isinstance(several, str):
                yield from (container for container in several if isinstance(container, Mapping))

    def at(self, *path: str) -> Any:
        """The input at a path, None where there is none."""
        return at(self.inputs, *path)


@dataclass(frozen=True)
class Rule:
    """A rule and how to keep it."""

    name: str
    description: str
    """The rule and its reason, in a sentence or two."""
    level: Level
    check: Callable[[Resource, Sequence[Resource]], Iterator[str]]
    """Problems of a resource, each with its fix, given it and all resources of the stack."""


def at(value: Any, *path: str) -> Any:
    """What is at a path inside of objects: None where there is nothing, UNKNOWN where the way there is unknown."""
    for key in path:
        if value == UNKNOWN:
            return UNKNOWN
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def plain(value: Any, unknown: type[Exception]) -> Any:
    """A copy in plain lists and dictionaries, with UNKNOWN wherever reading raises `unknown`."""
    if isinstance(value, Mapping):
        return {str(key): _read(value, key, unknown) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_read(value, index, unknown) for index in range(len(value))]
    # Numbers come as floats; a port is shown as one that is read from a manifest.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read(holder: Any, key: Any, unknown: type[Exception]) -> Any:
    try:
        return plain(holder[key], unknown)
    except unknown:
        return UNKNOWN
