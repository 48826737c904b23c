"""One identity, one training: whatever happens to the Job, the state or the machine."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, kubectl
from tests.cluster.training.light import Light

pytestmark = [pytest.mark.training, pytest.mark.long]

PARAMETERS = {"steps": 2, "pause": 0.1}


@pytest.fixture(scope="module")
def stack(light: Light) -> Iterator[Stack]:
    made = light.new_stack()
    yield made
    made.destroy(succeed=None)


@pytest.fixture
def trained(light: Light, stack: Stack) -> None:
    """The stack is up and its run is published, be its Job there or not."""
    stack.up(identical(light))


def identical(light: Light, name: str = "identity", **changes: Any) -> Any:
    return light.program(name, "count", **{"parameters": {**PARAMETERS, "test": "identity"}, **changes})


def remove_job(light: Light, name: str) -> None:
    """What Kubernetes does when a Job's time to live is over."""
    for job in light.jobs(name):
        kubectl("delete", "job", job["metadata"]["name"], "--namespace", light.namespace)


def said_by_training(light: Light, name: str) -> list[str]:
    return [light.logs(pod).strip() for pod in light.pods(name)]


def test_a_job_that_is_gone_changes_nothing_for_an_unchanged_stack(light: Light, stack: Stack) -> None:
    stack.up(identical(light))
    assert light.results(stack) == ["begun at [0]"]
    remove_job(light, "identity")
    stack.unchanged(identical(light))
    stack.up(identical(light))
    assert light.jobs("identity") == []


@pytest.mark.usefixtures("trained")
def test_after_a_refresh_the_job_is_there_again_and_trains_nothing(
    light: Light, stack: Stack, figure: Callable[[str], None]
) -> None:
    remove_job(light, "identity")
    stack.refresh()
    started = time.monotonic()
    assert stack.up(identical(light)).changed() == {"identity": ["create"]}
    figure(f"`pulumi up` for a published run whose Job is gone: {time.monotonic() - started:.1f} s")
    (said,) = said_by_training(light, "identity")
    assert said.endswith("nothing is trained")
    assert light.results(stack) == ["begun at [0]"]
    stack.unchanged(identical(light))


@pytest.mark.usefixtures("trained")
def test_another_gate_or_deadline_makes_another_job_but_trains_nothing(light: Light, stack: Stack) -> None:
    stack.up(identical(light, gate={"mse": {"max": 1}}, timeout_seconds=300))
    assert len(light.jobs("identity")) == 1
    assert light.results(stack) == ["begun at [0]"]


@pytest.mark.usefixtures("trained")
def test_another_stack_with_the_same_inputs_finds_the_version(light: Light, stack: Stack) -> None:
    """As another machine without this one's state would."""
    other = light.new_stack()
    other.up(identical(light, "elsewhere"))
    assert other.outputs()["model_uri"] == stack.outputs()["model_uri"]
    assert all(said.endswith("nothing is trained") for said in said_by_training(light, "elsewhere"))
    assert light.results(stack) == ["begun at [0]"]
    other.destroy()


@pytest.mark.usefixtures("trained")
def test_a_changed_parameter_trains_once_and_taking_it_back_trains_nothing(light: Light, stack: Stack) -> None:
    first = stack.outputs()["run_id"]
    stack.up(identical(light, parameters={**PARAMETERS, "test": "changed"}))
    assert stack.outputs()["run_id"] != first
    assert light.results(stack) == ["begun at [0]"]
    stack.up(identical(light))
    assert stack.outputs()["run_id"] == first
    assert light.results(stack) == ["begun at [0]"]
    assert len(light.jobs("identity")) == 1


def test_nothing_is_trained_for_a_registry_that_does_not_answer(light: Light) -> None:
    failing = light.new_stack()
    uri = f"http://nowhere.{light.namespace}.svc:5000"
    publisher = {**light.args("count")["publisher"], "registry_wait_seconds": 3}
    program = identical(light, "nowhere", tracking_uri=uri, publisher=publisher)
    outcome = failing.up(program, succeed=False)
    assert f"the registry {uri} could not be asked" in outcome.text
    assert "nothing is trained" in outcome.text
    failing.destroy()


def test_time_to_live_removes_the_job_and_never_trains_again(light: Light) -> None:
    stack = light.new_stack()
    program = identical(
        light, "short-lived", ttl_seconds_after_finished=60, parameters={**PARAMETERS, "test": "time to live"}
    )
    stack.up(program)
    eventually(lambda: not light.jobs("short-lived"), 180)
    stack.unchanged(program)
    stack.refresh()
    stack.up(program)
    assert light.results(stack) == ["begun at [0]"]
    stack.destroy()
