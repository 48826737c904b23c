"""The loop that every framework shares, with a small model in NumPy: stopping, going on, checkpoints, progress."""

import io
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelops_runtime.contract import ConfigurationError, ContractError, Exit, TrainingContract
from modelops_runtime.training.checkpoint import Checkpoints, Progress
from modelops_runtime.training.rendezvous import Peers
from modelops_runtime.training.stop import Stop
from sample import export, fit
from sample.batches import Batch
from sample.parameters import Parameters


class Line:
    """y = ax + b by plain gradient descent; a framework and its model in one."""

    served_by, served_file = "none", "none"

    def __init__(self) -> None:
        self.weights = np.zeros(2)
        self.steps = 0

    def problems(self, workers: int) -> list[str]:
        return []

    def start(self, parameters: Parameters) -> None: ...

    def build(self, parameters: Parameters, peers: Peers) -> "Line":
        self.rate = parameters.learning_rate
        return self

    def step(self, batch: Batch) -> float:
        self.steps += 1
        errors = self.predict(batch.inputs) - batch.targets
        gradient = (np.hstack([batch.inputs, np.ones_like(batch.inputs)]) * errors).T @ batch.weights
        self.weights = self.weights - 2 * self.rate * gradient
        return float((errors[:, 0] ** 2) @ batch.weights)

    def predict(self, inputs: Any) -> Any:
        return inputs * self.weights[0] + self.weights[1]

    def exact(self, inputs: Any) -> Any:
        return self.predict(inputs)

    def state(self) -> bytes:
        content = io.BytesIO()
        np.save(content, self.weights)
        return content.getvalue()

    def restore(self, state: bytes) -> None:
        self.weights = np.load(io.BytesIO(state))

    def save(self, folder: Path) -> tuple[str, ...]:
        raise NotImplementedError

    def convert(self, file: Path) -> None:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "write_model", lambda *_args: None)
    assert export.write_model


def contract(folder: Path, **changes: Any) -> TrainingContract:
    defaults: dict[str, Any] = {
        "run_id": "abc123def456",
        "model_name": "line",
        "framework": "line",
        "parameters": {},
        "data_uri": "",
        "data_version": "",
        "output_dir": folder / "output",
        "checkpoint_dir": folder / "checkpoints",
    }
    return TrainingContract(**{**defaults, **changes})


PARAMETERS = Parameters(epochs=8, learning_rate=0.2)
STEPS = 6  # an epoch


def run(
    folder: Path,
    parameters: Parameters = PARAMETERS,
    stop: Stop | None = None,
    line: Line | None = None,
    **changes: Any,
) -> tuple[Line, dict[str, float]]:
    settings, stop, line = contract(folder, **changes), stop or Stop(), line or Line()
    peers = Peers(settings.run_id, 1, 0, "localhost", settings.peer_port, stop)
    return line, fit.train(settings, parameters, stop, line, peers)


class StopAfter(Stop):
    """As if SIGTERM had come in the given step."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = itertools.count(1)
        self._last = steps

    @property
    def requested(self) -> bool:
        return next(self._steps) >= self._last


@pytest.mark.parametrize(("step", "where"), [(1, "epoch 0, step 1"), (6, "epoch 1"), (20, "epoch 3, step 2")])
def test_a_stopped_training_goes_on_from_that_very_step_to_the_same_result(
    tmp_path: Path, step: int, where: str
) -> None:
    whole, metrics = run(tmp_path / "whole")
    with pytest.raises(ContractError, match=f"stopped after {where}, checkpoint saved$") as caught:
        run(tmp_path / "cut", stop=StopAfter(step))
    assert caught.value.code == Exit.TERMINATED
    assert not (tmp_path / "cut" / "output" / "metrics.json").exists()
    resumed, again = run(tmp_path / "cut")
    assert again == metrics
    assert resumed.steps == PARAMETERS.epochs * STEPS - step
    np.testing.assert_array_equal(resumed.weights, whole.weights)
    histories = [json.loads((tmp_path / name / "output" / "history.json").read_text()) for name in ("whole", "cut")]
    assert histories[0] == histories[1]


class Crash(Exception):
    """What ends a process without a word."""


class CrashingLine(Line):
    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def step(self, batch: Batch) -> float:
        if self.steps == self.after:
            raise Crash
        return super().step(batch)


@pytest.mark.parametrize("crash", [4, 17, 41])
def test_a_killed_training_loses_at_most_one_interval_of_steps(tmp_path: Path, crash: int) -> None:
    every = 5
    whole, metrics = run(tmp_path / "whole")
    settings = contract(tmp_path / "cut", checkpoint_steps=every, checkpoint_seconds=0)
    peers = Peers(settings.run_id, 1, 0, "localhost", 1, Stop())
    with pytest.raises(Crash):
        fit.train(settings, PARAMETERS, Stop(), CrashingLine(crash), peers)
    resumed, again = run(tmp_path / "cut", checkpoint_steps=every, checkpoint_seconds=0)
    assert again == metrics
    assert resumed.steps - (PARAMETERS.epochs * STEPS - crash) == crash % every < every
    np.testing.assert_array_equal(resumed.weights, whole.weights)


def test_a_checkpoint_is_written_when_its_seconds_are_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Progress] = []
    monkeypatch.setattr(Checkpoints, "save", lambda _self, progress: saved.append(progress))
    run(tmp_path / "often", checkpoint_seconds=1e-9)
    assert len(saved) == PARAMETERS.epochs * STEPS
    saved.clear()
    run(tmp_path / "seldom", checkpoint_seconds=3600)
    assert len(saved) == 1  # the last one, of a training that is whole


def test_a_whole_training_is_not_done_again_when_only_its_results_are_lost(tmp_path: Path) -> None:
    _line, metrics = run(tmp_path)
    again, same = run(tmp_path, workers=2, worker_hosts=("a", "b"), output_dir=tmp_path / "other")
    assert (again.steps, same) == (0, metrics)


def test_a_full_disk_ends_a_training_with_one_reason_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="checkpoint saved"):
        run(tmp_path, stop=StopAfter(20))
    kept = tmp_path / "checkpoints" / "last.ckpt"
    before = kept.read_bytes()
    kept.with_suffix(".next").symlink_to("/dev/full")
    with pytest.raises(ContractError, match=r"can't be written to \S+last.ckpt: No space left on device$") as caught:
        run(tmp_path, stop=StopAfter(10))
    assert caught.value.code == Exit.FAILURE  # there may be room for the next try
    assert [path.name for path in kept.parent.iterdir()] == ["last.ckpt"] and kept.read_bytes() == before
    line, _metrics = run(tmp_path)
    assert line.steps == PARAMETERS.epochs * STEPS - 20


def test_another_run_s_checkpoint_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    for parameters, changes in ((PARAMETERS, {"run_id": "other"}), (Parameters(epochs=2), {})):
        line, _metrics = run(tmp_path, parameters, **changes)
        assert line.steps == parameters.epochs * STEPS
        assert "the checkpoint is another run's: starting from the beginning" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_checkpoint_is_no_reason_to_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    run(tmp_path)
    file = tmp_path / "checkpoints" / "last.ckpt"
    content = bytearray(file.read_bytes())
    if damage == "changed":
        content[content.index(b"NUMPY") + 30] ^= 1
    file.write_bytes(content[:100] if damage == "cut" else content)
    line, _metrics = run(tmp_path)
    assert line.steps == PARAMETERS.epochs * STEPS
    assert "the checkpoint can't be read" in capsys.readouterr().out


def test_a_loss_that_is_no_number_is_named(tmp_path: Path) -> None:
    class Diverging(Line):
        def predict(self, inputs: Any) -> Any:
            return super().predict(inputs) * (np.inf if self.steps > 2 * STEPS else 1)

    with (
        np.errstate(all="ignore"),
        pytest.raises(ConfigurationError, match="not finite in epoch 3: lower learning_rate"),
    ):
        run(tmp_path, line=Diverging())


def read_while(file: Path, running: threading.Thread) -> Iterator[dict[str, Any]]:
    while running.is_alive():
        if file.exists():
            yield json.loads(file.read_text())
        time.sleep(0.001)


def test_progress_can_be_read_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelops_runtime.training.progress.FILE_EVERY_SECONDS", 0)
    running = threading.Thread(target=run, args=(tmp_path, Parameters(epochs=300)))
    running.start()
    read = list(read_while(tmp_path / "output" / "progress.json", running))
    running.join()
    assert {row["epochs"] for row in read} == {300}
    epochs = [row["epoch"] for row in read]
    assert epochs == sorted(epochs) and len(set(epochs)) > 1
    assert read[-1]["metrics"].keys() == {"loss", "val_loss"}


def test_a_checkpoint_in_an_object_store_is_found_again_by_its_run_alone(tmp_path: Path) -> None:
    uri = f"file://{tmp_path / 'store'}"
    (tmp_path / "store").mkdir()
    with pytest.raises(ContractError, match="checkpoint saved"):
        run(tmp_path / "first", stop=StopAfter(20), checkpoint_uri=uri)
    assert not (tmp_path / "first" / "checkpoints").exists()
    line, _metrics = run(tmp_path / "second", checkpoint_uri=uri)
    assert line.steps == PARAMETERS.epochs * STEPS - 20
    other, _metrics = run(tmp_path / "third", checkpoint_uri=uri, run_id="other")
    assert other.steps == PARAMETERS.epochs * STEPS


def test_an_object_store_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MODELOPS_CHECKPOINT_URI is 'ftp2://x/abc123def456'"):
        run(tmp_path, checkpoint_uri="ftp2://x")


def test_an_object_store_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "x", "AWS_ACCESS_KEY_ID": "a"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(ContractError, match="the checkpoint can't be read from s3://bucket/p/abc123def456"):
        run(tmp_path, checkpoint_uri="s3://bucket/p")
