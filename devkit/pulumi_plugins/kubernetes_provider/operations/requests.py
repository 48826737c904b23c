"""The engine's requests and their results, as plain data."""

from dataclasses import dataclass, field

from ..objects import kinds
from ..objects.properties import Map


@dataclass(frozen=True)
class Resource:
    """The resource that a request is about."""

    urn: str
    id: str = ""

    @property
    def type(self) -> str:
        """Its type token."""
        return kinds.type_of_urn(self.urn)

    @property
    def name(self) -> str:
        """Its name in the program."""
        return kinds.name_of_urn(self.urn)

    @property
    def gvk(self) -> kinds.GVK:
        """The Kubernetes kind that its type names."""
        return kinds.of_type(self.type)

    @property
    def is_patch(self) -> bool:
        """Whether it sets some fields of an object that isn't its own."""
        return kinds.is_patch(self.type)


@dataclass(frozen=True)
class Naming:
    """How the engine wants an unnamed resource named."""

    seed: bytes = b""
    proposed: str = ""
    disabled: bool = False


@dataclass(frozen=True)
class Written:
    """A resource that was created, updated or read."""

    id: str
    state: Map
    inputs: Map = field(default_factory=dict)
    problem: str = ""
    """Why the resource exists but is not ready; empty when it is ready."""
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Difference:
    """What a change of inputs means."""

    changes: dict[str, str]
    """The kind of change by path; `…_REPLACE` when it needs a new object."""
    replaces: list[str]
    delete_before_replace: bool

    @property
    def any(self) -> bool:
        """Whether there is something to do."""
        return bool(self.changes) or bool(self.replaces)
