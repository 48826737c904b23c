"""Several workers: they find each other, only the first one publishes, and none survives a failure."""

from collections.abc import Iterator

import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, kubectl
from tests.cluster.training.plain_trainings import PlainTrainings

pytestmark = [pytest.mark.training, pytest.mark.long]


@pytest.fixture
def stack(trainings: PlainTrainings) -> Iterator[Stack]:
    made = trainings.new_stack()
    yield made
    made.destroy(succeed=None)


def test_workers_meet_by_name_and_only_the_first_one_publishes(trainings: PlainTrainings, stack: Stack) -> None:
    program = trainings.program("meet", "meet", workers=3)
    stack.up(program)
    assert trainings.results(stack) == ["met [1, 2]"]
    pods = trainings.pods("meet")
    assert len(pods) == 3
    assert {trainings.logs(pod, "publish") for pod in pods} == {""}
    stack.unchanged(program)


def test_a_failed_worker_ends_the_run_and_leaves_no_survivor(trainings: PlainTrainings, stack: Stack) -> None:
    parameters = {"steps": 600, "pause": 0.5}
    script = "import os, sys\nif os.environ['MODELOPS_WORKER_INDEX'] == '1': print('worker 1 is out'); sys.exit(1)\n"
    failing = ["python3", "-c", script + trainings.args("count")["command"][2]]
    outcome = stack.up(
        trainings.program("survivors", "count", workers=3, parameters=parameters, command=failing), succeed=False
    )
    assert "BackoffLimitExceeded" in outcome.text
    assert "worker 1 is out" in outcome.text
    eventually(lambda: not trainings.pods("survivors", active=True), 120)
    (job,) = trainings.jobs("survivors")
    assert job["metadata"]["labels"]["app.kubernetes.io/version"] not in trainings.published()


def test_a_worker_killed_mid_run_restarts_it_from_the_checkpoint_and_peers_do_not_count(
    trainings: PlainTrainings, stack: Stack
) -> None:
    """Worker 1's process dies; worker 0 notices and ends with 75. One retry is used up, by worker 1 alone."""
    program = trainings.program(
        "restart",
        "peers",
        workers=2,
        retries=1,
        parameters={"steps": 12, "pause": 1, "die_at": 4},
        checkpoints={"storage_size": "100Mi", "access_modes": ["ReadWriteOnce"]},
    )
    stack.up(program)
    (job,) = trainings.jobs("restart")
    assert job["status"]["failed"] == 1
    (result,) = trainings.results(stack)
    assert result.startswith("begun at [0, ")
    begun = int(result.removeprefix("begun at [0, ").removesuffix("]"))
    assert 3 <= begun <= 12
    assert kubectl("get", "service", "restart", "--namespace", trainings.namespace, "--output=name")


def test_a_first_worker_that_is_lost_when_the_others_are_done_fails_at_once_and_says_why(
    trainings: PlainTrainings, stack: Stack
) -> None:
    """Without a volume its model is lost, and alone it can't train again: waiting for its peers would be for ever."""
    script = "import os, sys\nif os.environ['MODELOPS_WORKER_INDEX'] != '0': sys.exit(0)\n"
    command = ["python3", "-c", script + trainings.args("count")["command"][2]]
    parameters = {"steps": 600, "pause": 0.5, "test": "lost"}
    running = stack.start(trainings.program("lost", "count", workers=2, parameters=parameters, command=command))
    (job,) = eventually(lambda: [job for job in trainings.jobs("lost") if "completedIndexes" in job["status"]], 180)
    assert job["status"]["completedIndexes"] == "1"
    (pod,) = trainings.pods("lost", active=True)
    kubectl("delete", "pod", pod["metadata"]["name"], "--namespace", trainings.namespace, "--wait=false")
    assert running.end(180) != 0
    assert "this worker was lost after others (index 1) completed" in running.text()
    eventually(lambda: not trainings.pods("lost", active=True), 120)
