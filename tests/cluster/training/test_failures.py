"""Trainings that can't start: `pulumi up` says why, soon, and a corrected program goes through."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.provider.harness import Outcome, Program, Stack
from tests.cluster.support import eventually, kubectl, objects
from tests.cluster.training.plain_trainings import PlainTrainings

pytestmark = pytest.mark.training

SCHEDULING_SECONDS = 5
UNSCHEDULABLE = {"resources": {"cpu": "500", "memory": "64Mi"}}


@pytest.fixture(scope="module")
def stack(trainings: PlainTrainings) -> Iterator[Stack]:
    """The tests correct what the one before has left."""
    made = trainings.new_stack()
    yield made
    made.destroy(succeed=None)


def program(trainings: PlainTrainings, **changes: Any) -> Program:
    counting = {"parameters": {"steps": 2, "pause": 0.01}, "scheduling_timeout_seconds": SCHEDULING_SECONDS}
    return trainings.program("failing", "count", **{**counting, "runtime_image": trainings.image, **changes})


def failed(trainings: PlainTrainings, stack: Stack, within: float, **changes: Any) -> Outcome:
    """Tries a training that must fail within so many seconds: its own deadline is ten minutes."""
    began = time.monotonic()
    outcome = stack.up(program(trainings, **changes), succeed=False)
    took = time.monotonic() - began
    assert took < within, f"{took:.0f} s\n{outcome.text}"
    return outcome


def test_a_pod_that_fits_on_no_node(trainings: PlainTrainings, stack: Stack) -> None:
    outcome = failed(trainings, stack, 45, **UNSCHEDULABLE)
    assert "Waiting: 0 of 1 pods have started" in outcome.text, outcome.text
    assert "CannotStart: 0 of 1 pods have started" in outcome.text and "Insufficient cpu" in outcome.text
    assert trainings.pods("failing", active=True) == []


def test_the_corrected_program_trains_and_is_then_done(trainings: PlainTrainings, stack: Stack) -> None:
    stack.up(program(trainings))
    assert [job["status"].get("succeeded") for job in trainings.jobs("failing")] == [1]
    stack.unchanged(program(trainings))


def test_an_image_that_is_not_there(trainings: PlainTrainings, stack: Stack) -> None:
    outcome = failed(trainings, stack, 75, image=f"{trainings.image.partition('@')[0]}@sha256:{'0' * 64}")
    assert "container train: " in outcome.text and "not found" in outcome.text, outcome.text


@pytest.mark.long
def test_a_secret_that_is_missing_and_then_brought(trainings: PlainTrainings, stack: Stack) -> None:
    changes = {"tracking_secret": "brought-late", "parameters": {"steps": 3, "pause": 0.01}}
    for _ in range(2):  # The second one is watched too, without a change of the program.
        outcome = failed(trainings, stack, 75, **changes)
        assert 'container check: CreateContainerConfigError: secret "brought-late" not found' in outcome.text
    kubectl("create", "secret", "generic", "brought-late", "--from-literal=username=a", "--from-literal=password=b",
            "--namespace", trainings.namespace)  # fmt: skip
    stack.up(program(trainings, **changes))
    stack.unchanged(program(trainings, **changes))


@pytest.mark.long
def test_one_of_several_workers_that_fits_on_no_node(trainings: PlainTrainings, stack: Stack) -> None:
    """No two of them may be on the same node. Those that have started wait at a step."""
    peers = {"matchLabels": {"app.kubernetes.io/name": "training-job"}}
    terms = [{"labelSelector": peers, "topologyKey": "kubernetes.io/hostname"}]
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    nodes = len(kubectl("get", "nodes", "--output", "name").split())
    holding = {"steps": 2, "pause": 0.01, "holds": "[1]"}
    outcome = failed(trainings, stack, 60, workers=nodes + 1, affinity=apart, parameters=holding)
    assert f"{nodes} of {nodes + 1} pods have started" in outcome.text and "anti-affinity" in outcome.text, outcome.text


@pytest.mark.long
def test_a_suspended_run_waits_until_somebody_starts_it(trainings: PlainTrainings, stack: Stack) -> None:
    changes = {"parameters": {"steps": 4, "pause": 0.01}, "suspend": True}
    running = stack.start(program(trainings, **changes))

    def suspended() -> list[str]:
        jobs = objects("jobs", trainings.namespace, "--selector", "app.kubernetes.io/name=training-job")
        return [job["metadata"]["name"] for job in jobs if job["spec"].get("suspend")]

    (name,) = eventually(suspended, 60)
    time.sleep(3 * SCHEDULING_SECONDS)
    kubectl("patch", "job", name, "--namespace", trainings.namespace, "--patch", '{"spec": {"suspend": false}}')
    assert running.end(120) == 0, running.text()
    assert "the Job is suspended until its queue, or somebody, starts it" in running.text()


@pytest.mark.long
def test_without_the_watch_only_the_deadline_ends_it(trainings: PlainTrainings, stack: Stack) -> None:
    """The control: what the provider alone makes of a pod that fits on no node."""
    began = time.monotonic()
    stack.up(program(trainings, watch=False, timeout_seconds=40, **UNSCHEDULABLE), succeed=False)
    assert time.monotonic() - began > 40
