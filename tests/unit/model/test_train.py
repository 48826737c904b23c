"""Training, for real: it converges, repeats itself, can be stopped and goes on, and LiteRT agrees with Keras."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.agreement import disagreement
from model.contract import ConfigurationError, ContractError, Exit, TrainingContract
from model.manifest import Manifest
from model.parameters import Parameters
from model.runtime import LiteRuntime, load
from model.stop import Stop
from tests.unit.model.support import ROOT, dense_model, environment

pytestmark = pytest.mark.tensorflow


def contract(folder: Path, **changes: Any) -> TrainingContract:
    defaults: dict[str, Any] = {
        "run_id": "abc123def456",
        "model_name": "line",
        "framework": "tensorflow",
        "parameters": {},
        "data_uri": "",
        "data_version": "",
        "output_dir": folder / "output",
        "checkpoint_dir": folder / "checkpoints",
    }
    return TrainingContract(**{**defaults, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """The output folder and the metrics of a training with the defaults."""
    from model.fit import train

    folder = tmp_path_factory.mktemp("trained")
    return folder / "output", train(contract(folder), Parameters(), Stop())


def test_the_defaults_find_the_line(trained: tuple[Path, dict[str, float]]) -> None:
    output, metrics = trained
    runtime = load(output / "model", Manifest.read(output / "model"), 1)
    assert runtime.predict(np.array([[0.5]], "float32"))[0, 0] == pytest.approx(2.0, abs=0.15)
    assert 0.01 < metrics["mse"] < 0.1
    assert metrics["r2"] > 0.9


def test_the_metrics_are_those_of_the_test_split(trained: tuple[Path, dict[str, float]]) -> None:
    from model import data, preprocess

    output, metrics = trained
    test = preprocess.split(data.sample(Parameters()), Parameters()).test
    predicted = LiteRuntime(output / "model" / "model.tflite").predict(test[["x"]].to_numpy("float32"))[:, 0]
    errors = test["y"].to_numpy() - predicted
    assert metrics["mse"] == pytest.approx(np.mean(errors**2), rel=1e-4)
    assert metrics["mae"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-4)
    total = np.sum((test["y"] - test["y"].mean()) ** 2)
    assert metrics["r2"] == pytest.approx(1 - np.sum(errors**2) / total, rel=1e-4)


def test_what_is_left_in_the_output_folder(trained: tuple[Path, dict[str, float]]) -> None:
    output, metrics = trained
    files = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    model = ["model/model.json", "model/model.keras", "model/model.tflite"]
    assert files == ["history.json", "metrics.json", *model, "parameters.json"]
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert json.loads((output / "parameters.json").read_text()) == Parameters().model_dump()
    history = json.loads((output / "history.json").read_text())
    assert [row["epoch"] for row in history] == list(range(1, 101))
    assert history[-1]["loss"] < 0.06 < 1 < history[0]["loss"]
    assert not (output.parent / "checkpoints" / "last").exists()


def test_litert_agrees_with_keras(trained: tuple[Path, dict[str, float]]) -> None:
    import keras

    model = keras.models.load_model(trained[0] / "model" / "model.keras")
    runtime = LiteRuntime(trained[0] / "model" / "model.tflite")
    inputs = np.random.default_rng(1).normal(0, 5, (1000, 1)).astype("float32")
    assert disagreement(runtime.predict(inputs), np.asarray(model(inputs))) < 1e-6


@pytest.mark.parametrize("other", [dense_model(np.array([[2.0]]), np.array([1.001])), b"no model"])
def test_a_conversion_that_fails_or_changes_the_model_leaves_it_to_the_framework(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], other: bytes
) -> None:
    from model import convert, fit

    monkeypatch.setattr(convert, "_converted", lambda _model: other)
    model = fit.build(Parameters())
    model.set_weights([np.array([[2.0]]), np.array([1.0])])
    convert.write_model(model, tmp_path, name="line", run_id="x")
    manifest = Manifest.read(tmp_path)
    assert (manifest.runtime, manifest.file, list(manifest.sha256)) == ("framework", "model.keras", ["model.keras"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.keras"]
    said = capsys.readouterr().out
    assert "to be served by TensorFlow itself (image target serve-framework)" in said
    assert ("away from the original, at most 1e-06" if len(other) > 8 else "can't be converted") in said
    np.testing.assert_allclose(load(tmp_path, manifest, 1).predict(np.array([[0.5]], "float32")), [[2.0]])


class StopAfter(Stop):
    """As if SIGTERM had come in the given epoch."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.left = epochs

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_a_stopped_training_goes_on_to_the_same_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from model.fit import train

    parameters = Parameters(epochs=12)
    whole = train(contract(tmp_path / "whole"), parameters, Stop())
    with pytest.raises(ContractError, match="stopped after epoch 3, checkpoint saved") as caught:
        train(contract(tmp_path / "cut"), parameters, StopAfter(5))
    assert caught.value.code == Exit.TERMINATED
    assert not (tmp_path / "cut" / "output").exists()
    capsys.readouterr()
    assert train(contract(tmp_path / "cut"), parameters, Stop()) == whole
    assert "resuming after epoch 3/12" in capsys.readouterr().out
    histories = [json.loads((tmp_path / name / "output" / "history.json").read_text()) for name in ("whole", "cut")]
    assert histories[0] == histories[1]


def test_another_run_s_checkpoint_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from model.fit import train

    with pytest.raises(ContractError):
        train(contract(tmp_path), Parameters(epochs=12), StopAfter(1))
    for changes, parameters in (({"run_id": "other"}, Parameters(epochs=12)), ({}, Parameters(epochs=2))):
        with pytest.raises(ContractError, match="stopped after epoch 1"):
            train(contract(tmp_path, **changes), parameters, StopAfter(1))
        assert "the checkpoint is another run's: starting from the beginning" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_no_reason_to_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from model.fit import train

    with pytest.raises(ContractError):
        train(contract(tmp_path), Parameters(epochs=2), StopAfter(1))
    (tmp_path / "checkpoints" / "last" / "model.keras").write_bytes(b"x")
    train(contract(tmp_path), Parameters(epochs=2), Stop())
    assert "the checkpoint can't be read" in capsys.readouterr().out


def test_a_loss_that_is_no_number_is_named(tmp_path: Path) -> None:
    from model.fit import train

    path = tmp_path / "rows.csv"
    path.write_text("x,y\n" + "".join(f"{n},{n}e37\n" for n in range(1, 11)))
    with pytest.raises(
        ConfigurationError, match="the loss is not finite in epoch 1: lower learning_rate or scale the data"
    ):
        train(contract(tmp_path, data_uri=str(path)), Parameters(), Stop())


def test_sigterm_ends_the_program_with_a_checkpoint(tmp_path: Path) -> None:
    variables = {
        "MODELOPS_RUN_ID": "abc",
        "MODELOPS_MODEL_NAME": "line",
        "MODELOPS_PARAMETERS": '{"epochs": 100000}',
        "MODELOPS_OUTPUT_DIR": tmp_path / "output",
        "MODELOPS_CHECKPOINT_DIR": tmp_path / "checkpoints",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "model.train"],
        env=environment(**variables),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "run abc of line: 60 training, 20 validation, 20 test rows\n"
    process.send_signal(signal.SIGTERM)
    _output, message = process.communicate(timeout=60)
    assert process.returncode == 143
    assert message.splitlines()[-1].startswith("error: stopped after epoch ")
    assert (tmp_path / "checkpoints" / "last" / "state.json").exists()
    assert not (tmp_path / "output").exists()
