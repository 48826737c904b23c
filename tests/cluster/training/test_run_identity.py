"""One identity, one training: whatever happens to the Job, the state or the machine."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, kubectl
from tests.cluster.training.plain_trainings import PlainTrainings

pytestmark = [pytest.mark.training, pytest.mark.long]

PARAMETERS = {"steps": 2, "pause": 0.1}


@pytest.fixture(scope="module")
def stack(trainings: PlainTrainings) -> Iterator[Stack]:
    made = trainings.new_stack()
    yield made
    made.destroy(succeed=None)


@pytest.fixture
def trained(trainings: PlainTrainings, stack: Stack) -> None:
    """The stack is up and its run is published, be its Job there or not."""
    stack.up(identical(trainings))


def identical(trainings: PlainTrainings, name: str = "identity", **changes: Any) -> Any:
    return trainings.program(name, "count", **{"parameters": {**PARAMETERS, "test": "identity"}, **changes})


def remove_job(trainings: PlainTrainings, name: str) -> None:
    """What Kubernetes does when a Job's time to live is over."""
    for job in trainings.jobs(name):
        kubectl("delete", "job", job["metadata"]["name"], "--namespace", trainings.namespace)


def said_by_training(trainings: PlainTrainings, name: str) -> list[str]:
    return [trainings.logs(pod).strip() for pod in trainings.pods(name)]


def test_a_job_that_is_gone_changes_nothing_for_an_unchanged_stack(trainings: PlainTrainings, stack: Stack) -> None:
    stack.up(identical(trainings))
    assert trainings.results(stack) == ["begun at [0]"]
    remove_job(trainings, "identity")
    stack.unchanged(identical(trainings))
    stack.up(identical(trainings))
    assert trainings.jobs("identity") == []


@pytest.mark.usefixtures("trained")
def test_after_a_refresh_the_job_is_there_again_and_trains_nothing(
    trainings: PlainTrainings, stack: Stack, figure: Callable[[str], None]
) -> None:
    remove_job(trainings, "identity")
    stack.refresh()
    started = time.monotonic()
    assert stack.up(identical(trainings)).changed() == {"identity": ["create"]}
    figure(f"`pulumi up` for a published run whose Job is gone: {time.monotonic() - started:.1f} s")
    (said,) = said_by_training(trainings, "identity")
    assert said.endswith("training skipped")
    assert trainings.results(stack) == ["begun at [0]"]
    stack.unchanged(identical(trainings))


@pytest.mark.usefixtures("trained")
def test_another_gate_or_deadline_makes_another_job_but_trains_nothing(trainings: PlainTrainings, stack: Stack) -> None:
    stack.up(identical(trainings, gate={"mse": {"max": 1}}, timeout_seconds=300))
    assert len(trainings.jobs("identity")) == 1
    assert trainings.results(stack) == ["begun at [0]"]


@pytest.mark.usefixtures("trained")
def test_another_stack_with_the_same_inputs_finds_the_version(trainings: PlainTrainings, stack: Stack) -> None:
    """As another machine without this one's state would."""
    other = trainings.new_stack()
    other.up(identical(trainings, "elsewhere"))
    assert other.outputs()["model_uri"] == stack.outputs()["model_uri"]
    assert all(said.endswith("training skipped") for said in said_by_training(trainings, "elsewhere"))
    assert trainings.results(stack) == ["begun at [0]"]
    other.destroy()


@pytest.mark.usefixtures("trained")
def test_a_changed_parameter_trains_once_and_taking_it_back_trains_nothing(
    trainings: PlainTrainings, stack: Stack
) -> None:
    first = stack.outputs()["run_id"]
    stack.up(identical(trainings, parameters={**PARAMETERS, "test": "changed"}))
    assert stack.outputs()["run_id"] != first
    assert trainings.results(stack) == ["begun at [0]"]
    stack.up(identical(trainings))
    assert stack.outputs()["run_id"] == first
    assert trainings.results(stack) == ["begun at [0]"]
    assert len(trainings.jobs("identity")) == 1


def test_nothing_is_trained_for_a_registry_that_does_not_answer(trainings: PlainTrainings) -> None:
    failing = trainings.new_stack()
    uri = f"http://nowhere.{trainings.namespace}.svc:5000"
    publisher = {**trainings.args("count")["publisher"], "registry_wait_seconds": 3}
    program = identical(trainings, "nowhere", tracking_uri=uri, publisher=publisher)
    outcome = failing.up(program, succeed=False)
    assert f"the registry {uri} could not be queried" in outcome.text
    assert "training skipped" in outcome.text
    failing.destroy()


def test_time_to_live_removes_the_job_and_never_trains_again(trainings: PlainTrainings) -> None:
    stack = trainings.new_stack()
    program = identical(
        trainings, "short-lived", ttl_seconds_after_finished=60, parameters={**PARAMETERS, "test": "time to live"}
    )
    stack.up(program)
    eventually(lambda: not trainings.jobs("short-lived"), 180)
    stack.unchanged(program)
    stack.refresh()
    stack.up(program)
    assert trainings.results(stack) == ["begun at [0]"]
    stack.destroy()
