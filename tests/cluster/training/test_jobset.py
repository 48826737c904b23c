"""The back end JobSet, with JobSet's own controller."""

from collections.abc import Iterator

import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, objects, platform_facts
from tests.cluster.training import jobset
from tests.cluster.training.plain_trainings import PlainTrainings

pytestmark = [pytest.mark.training, pytest.mark.long]


@pytest.fixture(scope="module")
def controller(platform_env: dict[str, str]) -> Iterator[None]:
    facts = platform_facts()
    with jobset.installed(facts["base_image"]):
        yield


@pytest.fixture
def stack(trainings: PlainTrainings) -> Iterator[Stack]:
    made = trainings.new_stack()
    yield made
    made.destroy(succeed=None)


def test_without_its_crd_a_plan_already_says_what_is_missing(trainings: PlainTrainings, stack: Stack) -> None:
    """First of all here: the controller is there from the first test that asks for it on."""
    if jobset.kubectl("get", "crd", jobset.CRD, "--ignore-not-found", "--output", "name"):
        pytest.fail("JobSet is installed here: what happens without it can't be shown")
    outcome = stack.preview(trainings.program("no-set", "meet", workers=2, backend="jobset"), succeed=False)
    assert "no-set-needs-the-crd-jobsets.jobset.x-k8s.io" in outcome.text
    assert "does not exist" in outcome.text


@pytest.mark.usefixtures("controller")
def test_workers_of_a_jobset_meet_and_publish(trainings: PlainTrainings, stack: Stack) -> None:
    program = trainings.program("set", "meet", workers=2, backend="jobset", parameters={"backend": "jobset"})
    stack.preview(program)
    stack.up(program)
    assert trainings.results(stack) == ["met [1]"]
    (found,) = objects("jobsets.jobset.x-k8s.io", trainings.namespace)
    assert found["status"]["terminalState"] == "Completed"
    assert found["metadata"]["name"] == stack.outputs()["job_name"]
    stack.unchanged(program)


@pytest.mark.usefixtures("controller")
def test_a_jobset_that_fails_fails_the_update_at_once_and_leaves_no_survivor(
    trainings: PlainTrainings, stack: Stack
) -> None:
    script = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(1)\ntime.sleep(600)"
    command = ["python3", "-c", script]
    program = trainings.program("failing-set", "meet", workers=2, backend="jobset", command=command)
    outcome = stack.up(program, succeed=False)
    assert 'TrainingJob "failing-set": its JobSet ended as Failed' in outcome.text
    eventually(lambda: not trainings.pods("failing-set", active=True), 120)
