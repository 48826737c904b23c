"""Fixtures of the conformance suite. The cluster and its environment come from the folder above."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.provider.harness import Stack

OFFICIAL = "MODELOPS_PLUGIN_KUBERNETES"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker of the tests below known."""
    config.addinivalue_line("markers", "stand_in: about the stand-in Kubernetes provider alone")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here is a provider test; those of what only the stand-in does are for it alone."""
    skip = pytest.mark.skip(reason=f"{OFFICIAL} names another plugin: this is about the stand-in alone")
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker(pytest.mark.provider)
        if item.get_closest_marker("stand_in") and os.environ.get(OFFICIAL):
            item.add_marker(skip)


@pytest.fixture
def new_stack(platform_env: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Makes stacks; what they leave in the cluster goes with the test's namespace."""
    made: list[Stack] = []

    def make(*, namespace: str = "", **environment: str) -> Stack:
        made.append(Stack(tmp_path / f"stack{len(made)}", namespace=namespace, environment=environment))
        return made[-1]

    yield make


@pytest.fixture
def stack(new_stack: Callable[..., Stack], namespace: str) -> Stack:
    """A stack whose provider puts objects into the test's namespace."""
    return new_stack(namespace=namespace)


@pytest.fixture
def cluster_wide_stack(new_stack: Callable[..., Stack]) -> Iterator[Stack]:
    """A stack for objects outside of any namespace: destroyed after the test."""
    made = new_stack()
    yield made
    made.destroy(succeed=None)
