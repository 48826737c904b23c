"""Several workers of one training on this machine, by TensorFlow: the same model as one, and nobody left behind."""

from pathlib import Path

import pytest

from modelops_runtime.contract import Exit
from tests.unit.model.workers import Workers

pytestmark = pytest.mark.tensorflow

PARAMETERS = {"epochs": 12, "batch_size": 16, "learning_rate": 0.1}


def test_two_workers_train_the_model_that_one_trains(tmp_path: Path) -> None:
    with Workers(tmp_path / "one", 1, parameters=PARAMETERS) as one:
        assert one.wait() == [0], one.text()
    with Workers(tmp_path / "two", 2, parameters=PARAMETERS) as two:
        assert two.wait() == [0, 0], two.text()
    assert two.json("metrics.json") == pytest.approx(one.json("metrics.json"), rel=1e-3)
    assert [row["loss"] for row in two.json("history.json")] == pytest.approx(
        [row["loss"] for row in one.json("history.json")], rel=1e-3
    )
    assert not two.output(1).exists()  # only the chief leaves results


def test_a_killed_worker_ends_all_and_all_go_on_from_the_chief_s_checkpoint(tmp_path: Path) -> None:
    parameters = {**PARAMETERS, "epochs": 60}
    variables: dict[str, object] = {"MODELOPS_CHECKPOINT_STEPS": 8, "MODELOPS_CHECKPOINT_SECONDS": 0}
    with Workers(tmp_path, 2, parameters=parameters, variables=variables) as killed:
        killed.wait_for_line("epoch 18/60")
        killed.processes[1].kill()
        assert killed.wait(60) == [Exit.PEER_LOST, -9], killed.text()
        assert "worker 1 is gone" in killed.log(0).read_text()
    with Workers(tmp_path, 2, parameters=parameters, variables=variables) as again:
        assert again.wait() == [0, 0], again.text()
        for worker in range(2):  # the second has no checkpoint of its own
            assert "resuming after epoch" in again.log(worker).read_text()
    history = again.json("history.json")
    assert [row["epoch"] for row in history] == list(range(1, 61))
    assert again.json("metrics.json")["r2"] > 0.9


def test_several_workers_without_a_rendezvous_are_refused(tmp_path: Path) -> None:
    variables: dict[str, object] = {"MODELOPS_WORKERS": 3}
    with Workers(tmp_path, 2, parameters=PARAMETERS, variables=variables) as workers:
        assert workers.wait(60) == [Exit.CONFIGURATION] * 2
    said = workers.log().read_text()
    assert "error: MODELOPS_WORKER_HOSTS has 2 names, must have 3, one a worker" in said
    assert "error: TF_CONFIG has 2 workers, MODELOPS_WORKERS says 3" in said
