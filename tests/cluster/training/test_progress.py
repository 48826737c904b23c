"""The command that shows how far a training is, beside a `pulumi up` that waits for it."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.training.plain_trainings import PlainTrainings

pytestmark = pytest.mark.training


@pytest.fixture
def stack(trainings: PlainTrainings) -> Iterator[Stack]:
    made = trainings.new_stack()
    yield made
    made.destroy(succeed=None)


def follow(trainings: PlainTrainings, name: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "modelops.training.progress", "--namespace", trainings.namespace, "--name", name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_epochs_losses_and_the_time_left_are_shown_until_the_end(trainings: PlainTrainings, stack: Stack) -> None:
    watcher = follow(trainings, "watched")
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "waiting for a run to start\n"
    parameters = {"steps": 5, "pause": 0.2, "name": "watched"}
    running = stack.start(trainings.program("watched", "count", parameters=parameters))
    said, _ = watcher.communicate(timeout=300)
    assert running.end(120) == 0, running.text()
    lines = said.splitlines()
    assert "epoch 1/5  loss 1.0000  1 s left" in lines
    assert "epoch 5/5  loss 0.2000  0 s left" in lines
    assert lines[-1].endswith(": done")
    assert watcher.returncode == 0


def test_a_failure_is_told_as_one(trainings: PlainTrainings, stack: Stack) -> None:
    watcher = follow(trainings, "unlucky")
    command = ["sh", "-c", "echo out of luck >&2; exit 1"]
    stack.up(trainings.program("unlucky", "count", command=command), succeed=False)
    said, _ = watcher.communicate(timeout=300)
    assert "out of luck" in said
    assert "failed (Job has reached the specified backoff limit)" in said
    assert watcher.returncode == 1
