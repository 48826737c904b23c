"""Training, for real, by TensorFlow: it converges, repeats itself, can be stopped and goes on, and LiteRT agrees."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from modelops_runtime.artifacts.agreement import disagreement
from modelops_runtime.artifacts.manifest import Manifest
from modelops_runtime.artifacts.runtimes import LiteRuntime, load
from modelops_runtime.contract import TrainingContract
from modelops_runtime.training.rendezvous import Peers
from modelops_runtime.training.stop import Stop
from sample import dataset, frameworks
from sample.batches import Batch
from sample.fit import train
from sample.parameters import Parameters
from tests.conftest import REPOSITORY
from tests.models import dense_model
from tests.runtime import environment

pytestmark = pytest.mark.tensorflow

TENSORFLOW = frameworks.load("tensorflow")


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


def run(
    folder: Path, parameters: Parameters | None = None, stop: Stop | None = None, **changes: Any
) -> dict[str, float]:
    """A training in this process, alone."""
    stop, settings = stop or Stop(), contract(folder, **changes)
    peers = Peers(settings.run_id, 1, 0, "localhost", settings.peer_port, stop)
    return train(settings, parameters or Parameters(), stop, TENSORFLOW, peers)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """The output folder and the metrics of a training with the defaults."""
    folder = tmp_path_factory.mktemp("trained")
    return folder / "output", run(folder)


def test_the_defaults_find_the_line(trained: tuple[Path, dict[str, float]]) -> None:
    output, metrics = trained
    runtime = load(output / "model", Manifest.read(output / "model"), 1)
    assert runtime.predict(np.array([[0.5]], "float32"))[0, 0] == pytest.approx(2.0, abs=0.15)
    assert 0.01 < metrics["mse"] < 0.1
    assert metrics["r2"] > 0.9


def test_the_metrics_are_those_of_the_test_split(trained: tuple[Path, dict[str, float]]) -> None:
    from sample import data, preprocess

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
    assert files == ["history.json", "metrics.json", *model, "parameters.json", "progress.json"]
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert json.loads((output / "parameters.json").read_text()) == Parameters().model_dump()
    history = json.loads((output / "history.json").read_text())
    assert [row["epoch"] for row in history] == list(range(1, 101))
    assert history[-1]["loss"] < 0.06 < 1 < history[0]["loss"]
    progress = json.loads((output / "progress.json").read_text())
    values = {name: history[-1][name] for name in ("loss", "val_loss")}
    assert progress == {"epoch": 100, "epochs": 100, "seconds_left": 0.0, "metrics": values}


def test_litert_agrees_with_keras(trained: tuple[Path, dict[str, float]]) -> None:
    import keras

    model = keras.models.load_model(trained[0] / "model" / "model.keras")
    runtime = LiteRuntime(trained[0] / "model" / "model.tflite")
    inputs = np.random.default_rng(1).normal(0, 5, (1000, 1)).astype("float32")
    assert disagreement(runtime.predict(inputs), np.asarray(model(inputs))) < 1e-6


def test_a_classification_is_trained_measured_and_served(tmp_path: Path) -> None:
    parameters = Parameters(
        task="classification", classes=4, samples=200, hidden_layers=2, activation="tanh", epochs=15, learning_rate=0.03
    )
    metrics = run(tmp_path, parameters)
    assert metrics.keys() == {"accuracy", "precision", "recall", "f1", "cross_entropy"}
    assert metrics["accuracy"] > 0.95 and metrics["f1"] > 0.95 and metrics["cross_entropy"] < 0.3
    manifest = Manifest.read(tmp_path / "output" / "model")
    assert (manifest.runtime, manifest.inputs.shape, manifest.outputs.shape) == ("litert", (-1, 2), (-1, 4))
    assert len(manifest.baseline) == 4
    [probabilities] = load(tmp_path / "output" / "model", manifest, 1).predict(np.array([[0.0, 1.0]], "float32"))
    assert probabilities.argmax() == 1
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_a_model_of_large_numbers_is_served_by_litert_all_the_same(tmp_path: Path) -> None:
    """Single precision takes Keras itself more than 1e-6 away from what it would predict without rounding."""
    import keras

    parameters = Parameters(task="classification", samples=150, hidden_layers=1, epochs=6, learning_rate=0.05)
    run(tmp_path, parameters)
    model = tmp_path / "output" / "model"
    assert Manifest.read(model).runtime == "litert"
    inputs = np.random.default_rng(0).uniform(-10, 10, (1000, 2)).astype("float32")
    weights = [value.astype("float64") for value in keras.models.load_model(model / "model.keras").get_weights()]
    hidden = np.maximum(inputs.astype("float64") @ weights[0] + weights[1], 0)
    exact = softmax(hidden @ weights[2] + weights[3], axis=1)
    assert disagreement(LiteRuntime(model / "model.tflite").predict(inputs), exact) < 2e-6


@pytest.mark.parametrize("other", [dense_model(np.array([[2.0]]), np.array([1.001])), b"no model"])
def test_a_conversion_that_fails_or_changes_the_model_leaves_it_to_the_framework(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], other: bytes
) -> None:
    from sample import export

    parameters = Parameters()
    model: Any = TENSORFLOW.build(parameters, Peers("x", 1, 0, "localhost", 1, Stop()))
    model._network.set_weights([np.array([[2.0]]), np.array([1.0])])
    monkeypatch.setattr(model, "convert", lambda file: file.write_bytes(other))
    export.write_model(model, tmp_path, contract(tmp_path), dataset.read("", parameters))
    manifest = Manifest.read(tmp_path)
    assert (manifest.runtime, manifest.file, list(manifest.sha256)) == ("framework", "model.keras", ["model.keras"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.keras"]
    said = capsys.readouterr().out
    assert "to be served by tensorflow itself (image target serve-framework)" in said
    assert ("away from the original, at most 1e-06" if len(other) > 8 else "can't be converted") in said
    np.testing.assert_allclose(load(tmp_path, manifest, 1).predict(np.array([[0.5]], "float32")), [[2.0]])


def test_the_state_is_all_that_a_model_needs_to_go_on(tmp_path: Path) -> None:
    parameters = Parameters(hidden_layers=1)
    peers = Peers("x", 1, 0, "localhost", 1, Stop())
    rng = np.random.default_rng(3)
    batches = [
        Batch(*(rng.normal(size=(5, 1)).astype("float32") for _part in range(2)), np.full(5, 0.2, "float32"), rows, 5)
        for rows in [np.arange(5)] * 6
    ]
    first = TENSORFLOW.build(parameters, peers)
    for batch in batches[:3]:
        first.step(batch)
    second = TENSORFLOW.build(parameters, peers)
    second.restore(first.state())
    losses = [[model.step(batch) for batch in batches[3:]] for model in (first, second)]
    assert losses[0] == losses[1]


def test_sigterm_ends_the_program_with_a_checkpoint(tmp_path: Path) -> None:
    variables = {
        "MODELOPS_RUN_ID": "abc",
        "MODELOPS_MODEL_NAME": "line",
        "MODELOPS_PARAMETERS": '{"epochs": 100000}',
        "MODELOPS_OUTPUT_DIR": tmp_path / "output",
        "MODELOPS_CHECKPOINT_DIR": tmp_path / "checkpoints",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "sample.train"],
        env=environment(**variables),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "run abc of line: 60 training, 20 validation, 20 test rows\n"
    process.send_signal(signal.SIGTERM)
    _output, message = process.communicate(timeout=120)
    assert process.returncode == 143
    assert message.splitlines()[-1].startswith("error: stopped after epoch ")
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()
    assert not (tmp_path / "output" / "model").exists()
