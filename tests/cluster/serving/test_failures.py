"""Releases that can't succeed: `pulumi up` says why, soon, and the version before keeps serving."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.provider.harness import Outcome, Stack
from tests.cluster.serving.support import Serving
from tests.cluster.support import kubectl, post

pytestmark = [pytest.mark.serving, pytest.mark.models]

NAME = "failing"
FETCH_FAILED = re.compile(r"container fetch failed( for the \w+ time)? \(exit code 2\)")
"""It may have failed again by the time that the watch looks."""
SHAPE: dict[str, Any] = {"replicas": 1, "exposed": True, "drain_seconds": 1, "startup_timeout_seconds": 300}


@pytest.fixture(scope="module")
def stack(serving: Serving) -> Iterator[Stack]:
    """A service that answers."""
    yield from serving.deployed(serving.program(NAME, **SHAPE))


def failed(serving: Serving, stack: Stack, within: float, **changes: Any) -> Outcome:
    """Tries a release that must fail within so many seconds, and checks that the version before answers."""
    began = time.monotonic()
    outcome = stack.up(serving.program(NAME, **{**SHAPE, **changes}), succeed=False)
    took = time.monotonic() - began
    assert took < within, f"{took:.0f} s\n{outcome.text}"
    assert post(stack.outputs()["predict_url"], {"inputs": [[0.5]]}) == (200, {"outputs": [2.0]})
    return outcome


def test_a_model_that_is_not_in_the_registry(serving: Serving, stack: Stack) -> None:
    outcome = failed(serving, stack, 30, model_uri="models:/line@run-nobody")
    assert FETCH_FAILED.search(outcome.text) and "nobody" in outcome.text, outcome.text


@pytest.mark.long
def test_with_a_smoke_test_the_reason_is_said_too(serving: Serving, stack: Stack) -> None:
    smoke_test = {"inputs": [[0.5]], "outputs": [2.0]}
    outcome = failed(serving, stack, 30, model_uri="models:/line@run-nobody", smoke_test=smoke_test)
    assert FETCH_FAILED.search(outcome.text) and "nobody" in outcome.text, outcome.text
    command = ["python3", "-c", "import sys; sys.exit('no module named torch')"]
    outcome = failed(serving, stack, 90, serve_command=command, smoke_test=smoke_test)
    assert "container serve failed for the third time (exit code 1): no module named torch" in outcome.text
    stack.up(serving.program(NAME, **SHAPE, smoke_test=smoke_test))


@pytest.mark.long
def test_a_registry_that_cannot_be_reached(serving: Serving, stack: Stack) -> None:
    outcome = failed(serving, stack, 100, tracking_uri="http://nowhere.invalid:5000")
    assert "container fetch failed" in outcome.text and "nowhere.invalid" in outcome.text, outcome.text


@pytest.mark.long
def test_a_secret_that_is_missing_and_then_brought(serving: Serving, stack: Stack) -> None:
    outcome = failed(serving, stack, 60, tracking_secret="brought-late")
    assert 'secret "brought-late" not found' in outcome.text, outcome.text
    kubectl("create", "secret", "generic", "brought-late", "--from-literal=username=a", "--from-literal=password=b",
            "--namespace", serving.namespace)  # fmt: skip
    stack.up(serving.program(NAME, **SHAPE, tracking_secret="brought-late"))


@pytest.mark.long
def test_a_pod_that_fits_on_no_node(serving: Serving, stack: Stack) -> None:
    outcome = failed(serving, stack, 100, resources={"cpu": "500", "memory": "64Mi"})
    assert "Insufficient cpu" in outcome.text, outcome.text


@pytest.mark.long
def test_an_image_that_is_not_there(serving: Serving, stack: Stack) -> None:
    missing = f"{serving.image.partition('@')[0]}@sha256:{'0' * 64}"
    outcome = failed(serving, stack, 60, image=missing)
    assert "container serve: " in outcome.text and "not found" in outcome.text, outcome.text


@pytest.mark.long
def test_a_server_that_ends_at_once(serving: Serving, stack: Stack) -> None:
    command = ["python3", "-c", "import sys; sys.exit('no module named torch')"]
    outcome = failed(serving, stack, 90, serve_command=command)
    assert "container serve failed for the third time (exit code 1): no module named torch" in outcome.text


@pytest.mark.long
def test_a_server_that_never_gets_ready(serving: Serving, stack: Stack) -> None:
    command = ["python3", "-m", "http.server", "8080", "--directory", "/tmp"]
    outcome = failed(serving, stack, 90, serve_command=command, startup_timeout_seconds=10)
    assert "container serve" in outcome.text and "statuscode: 404" in outcome.text, outcome.text


@pytest.mark.long
def test_while_it_waits_it_says_what_for(serving: Serving, stack: Stack) -> None:
    fetch = ["python3", "-c", "import time; time.sleep(25); raise SystemExit('slow, and then nothing')"]
    outcome = failed(serving, stack, 120, fetch_command=fetch)
    assert "container fetch is running" in outcome.text, outcome.text
    assert "slow, and then nothing" in outcome.text


@pytest.mark.long
def test_without_the_watch_only_the_deadline_ends_it(serving: Serving, stack: Stack) -> None:
    """The control: what the provider alone sees of a model that isn't there."""
    changes = {"rollout": {"watch": False, "progress_seconds": 20}}
    outcome = failed(serving, stack, 150, model_uri="models:/line@run-nobody", **changes)
    assert "exit code 2" not in outcome.text
