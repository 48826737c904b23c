"""Resources as the rules see them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from modelops_policies.pods import Pod, pods_of
from modelops_policies.values import at

_EXPANDED = ("yaml", "helm.sh/v3:Chart", "helm.sh/v4:Chart", "kustomize")
"""Components of the Kubernetes provider. What they deploy are resources of their own."""


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
        module = self.type.removeprefix("kubernetes:")
        return "" if module == self.type or module.startswith(_EXPANDED) else module.rsplit(":", 1)[-1]

    @property
    def pods(self) -> Sequence[Pod]:
        """The pods that it describes: one for a Deployment, several for a JobSet, none for a Service."""
        return tuple(pods_of(self.kind, self.inputs)) if self.kind else ()

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
