"""A service that is up: what answers, and what stands around its pods."""

from collections.abc import Iterator

import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.serving.support import Serving, versions
from tests.cluster.support import post

pytestmark = pytest.mark.serving


@pytest.fixture(scope="module")
def stack(serving: Serving) -> Iterator[Stack]:
    yield from serving.deployed(serving.program("plain", replicas=1, exposed=True))


def test_a_service_answers_at_its_load_balancer(stack: Stack) -> None:
    assert post(stack.outputs()["predict_url"], {"inputs": [[0.5]]}) == (200, {"outputs": [2.0]})


def test_an_unchanged_program_changes_nothing(serving: Serving, stack: Stack) -> None:
    stack.unchanged(serving.program("plain", replicas=1, exposed=True))


def test_pods_say_which_track_and_version_they_are_of(serving: Serving, stack: Stack) -> None:
    pods = serving.pods("plain", track="stable")
    assert versions(pods) == {"double"}
    assert {pod["metadata"]["labels"]["modelops.dev/live"] for pod in pods} == {"true"}
