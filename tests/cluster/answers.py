"""Controllers that don't run here, as far as others see them: the statuses that they would write."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.cluster.support import kubectl, meanwhile

POLL_SECONDS = 0.5


def condition(kind: str, **more: Any) -> dict[str, Any]:
    """A condition that is true."""
    return {
        "type": kind,
        "status": "True",
        "reason": kind,
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        **more,
    }


ROUTE = {
    "parents": [
        {
            "parentRef": {"name": "any"},
            "controllerName": "test.example/tests",
            "conditions": [condition("Accepted", observedGeneration=1)],
        }
    ]
}
"""Of a route that a gateway serves."""
GATEWAY = {"conditions": [condition("Accepted", observedGeneration=1)]}


@contextmanager
def answering(namespace: str, statuses: Mapping[str, Any]) -> Iterator[None]:
    """Writes the status of each object `kind/name`, or of all of a `kind`, again and again."""

    def answer(objects: str, status: Any) -> None:
        named = "/" in objects
        found = kubectl("get", objects, "--namespace", namespace, "--output", "name", check=False)
        for name in [objects] if named else found.split():
            patch = ("--subresource=status", "--type=merge", "--patch", json.dumps({"status": status}))
            kubectl("patch", name, "--namespace", namespace, *patch, check=False)

    def answer_all() -> None:
        for objects, status in statuses.items():
            answer(objects, status)

    with meanwhile(answer_all, POLL_SECONDS):
        yield
