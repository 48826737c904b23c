"""A run for which `pulumi up` doesn't wait: what serves stays until it is published, and nothing trains twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, kubectl
from tests.cluster.training.plain_trainings import PlainTrainings

pytestmark = pytest.mark.training


@pytest.fixture
def stack(trainings: PlainTrainings) -> Iterator[Stack]:
    made = trainings.new_stack()
    yield made
    made.destroy(succeed=None)


def program(trainings: PlainTrainings, name: str, version: int, **parameters: Any) -> Any:
    """A training that waits at its second step until it is let go."""
    given = {"steps": 3, "pause": 0.01, "name": name, "version": version, "holds": "[2]", **parameters}
    return trainings.program(name, "count", wait=False, runtime_image=trainings.image, parameters=given)


def follow(trainings: PlainTrainings, name: str, *more: str) -> "subprocess.CompletedProcess[str]":
    """The command for CI."""
    command = [sys.executable, "-m", "modelops.training.progress", "--namespace", trainings.namespace, "--name", name]
    return subprocess.run([*command, *more], capture_output=True, text=True, timeout=300, check=False)


def let_go(trainings: PlainTrainings, name: str) -> None:
    """Lets the training that waits at its second step go on."""

    def holding() -> str | None:
        pods = trainings.pods(name, active=True)
        return next((pod["metadata"]["name"] for pod in pods if "epoch 2/3" in trainings.logs(pod)), None)

    pod: str = eventually(holding, 300)
    touch = ("--container", "train", "--", "touch", "/tmp/go")
    kubectl("exec", "--namespace", trainings.namespace, pod, *touch)


def test_the_version_changes_with_an_update_after_the_run_is_published(trainings: PlainTrainings, stack: Stack) -> None:
    """Through a first run, a second one, and the next updates after each of them."""
    name = "background"
    first = program(trainings, name, 1)
    made = stack.up(first)
    identity = stack.outputs()["run_id"]
    assert f"training run {identity}; no run is published yet" in made.text
    assert stack.outputs()["model_uri"] == ""
    assert follow(trainings, name, "--state").returncode == 3
    assert stack.up(first).changed() == {}
    let_go(trainings, name)
    done = follow(trainings, name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert follow(trainings, name, "--state").returncode == 0
    assert stack.up(first).changed() == {}
    uri = f"models:/plain@run-{identity}"
    assert stack.outputs()["model_uri"] == uri

    second = program(trainings, name, 2)
    preview = stack.preview(second)
    assert f"run-{identity} stays the version" in preview.text
    stack.up(second)
    newer = stack.outputs()["run_id"]
    assert newer != identity and stack.outputs()["model_uri"] == uri
    let_go(trainings, name)
    assert follow(trainings, name).returncode == 0
    stack.up(second)
    assert stack.outputs()["model_uri"] == f"models:/plain@run-{newer}"
    stack.unchanged(second)


def test_a_runner_killed_once_the_job_is_there_has_cost_nothing(trainings: PlainTrainings, stack: Stack) -> None:
    name = "runner-killed"
    killed = program(trainings, name, 1)
    running = stack.start(killed)
    eventually(lambda: trainings.jobs(name), 120)
    os.killpg(running.process_id, signal.SIGKILL)
    running.end(60)
    stack.cancel()
    stack.up(killed)
    let_go(trainings, name)
    assert follow(trainings, name).returncode == 0
    stack.up(killed)
    assert stack.outputs()["model_uri"] == f"models:/plain@run-{stack.outputs()['run_id']}"
    # A second training would have been let go by nobody.
    assert trainings.results(stack) == ["begun at [0]"]
    stack.unchanged(killed)


def test_a_failed_run_is_told_by_the_next_update_which_runs_it_again(trainings: PlainTrainings, stack: Stack) -> None:
    name = "fails-later"
    failing = program(trainings, name, 1, pause="no number")
    stack.up(failing)
    assert follow(trainings, name).returncode == 1
    (job,) = trainings.jobs(name)
    told = stack.preview(failing)
    assert f"run {stack.outputs()['run_id']} failed, and a new Job runs it again" in told.text
    assert "container train failed" in told.text
    assert stack.up(failing).operations(name).count("replace") >= 1
    assert job["metadata"]["name"] not in [each["metadata"]["name"] for each in trainings.jobs(name)]
