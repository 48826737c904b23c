"""What stops a training half-way, and how it goes on: from its last checkpoint, or as if nothing had been."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.provider.harness import Running, Stack
from tests.cluster.support import eventually, kubectl, objects
from tests.cluster.training.plain_trainings import PlainTrainings

pytestmark = pytest.mark.training

STEPS = 30


@pytest.fixture
def stack(trainings: PlainTrainings) -> Iterator[Stack]:
    made = trainings.new_stack()
    yield made
    made.destroy(succeed=None)


def counting(trainings: PlainTrainings, name: str, holds: str, **changes: Any) -> Any:
    """A training of STEPS steps whose processes wait at the given steps to be disturbed."""
    parameters = {"steps": STEPS, "pause": 0.01, "name": name, "holds": holds}
    return trainings.program(
        name, "count", **{"parameters": parameters, "checkpoints": {"storage_size": "100Mi"}, **changes}
    )


def pod_at_step(trainings: PlainTrainings, name: str, step: int) -> str:
    """The pod whose training is at that step."""

    def look() -> str | None:
        for pod in trainings.pods(name, active=True):
            if f"epoch {step}/{STEPS}" in trainings.logs(pod):
                return str(pod["metadata"]["name"])
        return None

    found: str = eventually(look, 300)
    return found


def delete(trainings: PlainTrainings, pod: str) -> None:
    """`kubectl delete pod`."""
    kubectl("delete", "pod", pod, "--namespace", trainings.namespace, "--wait=false")


def drain(trainings: PlainTrainings, pod: str) -> None:
    """`kubectl drain`, of this pod's node and for this pod alone; then the node is back."""
    (found,) = [each for each in objects("pods", trainings.namespace) if each["metadata"]["name"] == pod]
    node, labels = found["spec"]["nodeName"], found["metadata"]["labels"]
    selector = f"app.kubernetes.io/instance={labels['app.kubernetes.io/instance']},app.kubernetes.io/name=training-job"
    try:
        kubectl("drain", node, f"--pod-selector={selector}", "--delete-emptydir-data", "--timeout=120s")
    finally:
        kubectl("uncordon", node)


def kill(trainings: PlainTrainings, pod: str) -> None:
    """SIGKILL for the training process, as the kernel does when memory runs out."""
    script = (
        "import os, pathlib\n"
        "for entry in pathlib.Path('/proc').glob('[0-9]*'):\n"
        "    if entry.name not in ('1', str(os.getpid())) and b'python3' in (entry / 'cmdline').read_bytes():\n"
        "        os.kill(int(entry.name), 9)\n"
    )
    # With the training its container ends, and with that this command, before it can say that it did well.
    arguments = ("exec", "--namespace", trainings.namespace, pod, "--container", "train", "--", "python3", "-c", script)
    kubectl(*arguments, check=False)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)])
def test_a_pod_that_is_deleted_drained_or_killed_is_followed_by_one_that_goes_on(
    trainings: PlainTrainings, stack: Stack, seed: int
) -> None:
    """At seeded steps. Only what was killed counts as a failure."""
    chance = random.Random(seed)
    disturbances: list[Callable[[PlainTrainings, str], None]] = [delete, drain, kill]
    chance.shuffle(disturbances)
    name = f"interrupted-{seed}"
    holds = sorted(chance.sample(range(2, STEPS), len(disturbances)))
    running = stack.start(counting(trainings, name, str(holds), retries=1))
    for step, disturb in zip(holds, disturbances, strict=True):
        disturb(trainings, pod_at_step(trainings, name, step))
    assert running.end(400) == 0, running.text()
    # A checkpoint is written after every step here: none is done twice.
    assert trainings.results(stack) == [f"begun at {[0, *holds]}"]
    (job,) = trainings.jobs(name)
    assert job["status"]["failed"] == 1


def interrupt(running: Running) -> None:
    """Ctrl-C."""
    running.interrupt()


def kill_pulumi(running: Running) -> None:
    """`kill -9` of Pulumi and all that it started."""
    os.killpg(running.process_id, signal.SIGKILL)


@pytest.mark.parametrize("how", [interrupt, kill_pulumi])
def test_an_up_stopped_half_way_is_continued_by_the_next_one(
    trainings: PlainTrainings, stack: Stack, how: Callable[[Running], None]
) -> None:
    """Without any checkpoint: the training itself was never stopped, and the next `up` finds it and waits for it."""
    name = f"up-{how.__name__.replace('_', '-')}"
    program = counting(trainings, name, "[3]", checkpoints=None)
    running = stack.start(program)
    pod = pod_at_step(trainings, name, 3)
    how(running)
    assert running.end(120) != 0
    if how is kill_pulumi:
        # What died could not give its lock back.
        stack.cancel()
    again = stack.start(program)
    eventually(lambda: len(trainings.jobs(name)) == 2, 120)
    kubectl("exec", "--namespace", trainings.namespace, pod, "--container", "train", "--", "touch", "/tmp/go")
    assert again.end(400) == 0, again.text()
    assert trainings.results(stack) == ["begun at [0]"]
    stack.unchanged(program)
