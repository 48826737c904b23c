"""Each runtime predicts what its framework does, and a model that needs another image says which."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from modelops_runtime.artifacts.runtimes import IMAGES, KerasRuntime, OnnxRuntime, load
from modelops_runtime.contract import ContractError
from tests.conftest import REPOSITORY
from tests.models import BIAS, WEIGHTS, write_keras_model, write_model, write_onnx_model
from tests.runtime import PYTHONPATH, run_module
from tests.unit.model.support import start_server


def test_an_onnx_model_predicts(tmp_path: Path) -> None:
    manifest = write_onnx_model(tmp_path)
    runtime = load(tmp_path, manifest, threads=1)
    for rows in (1, 7, 1):
        inputs = np.random.default_rng(rows).normal(size=(rows, 3)).astype("float32")
        np.testing.assert_allclose(runtime.predict(inputs), inputs @ WEIGHTS + BIAS, rtol=1e-5)


def test_an_onnx_model_is_served(tmp_path: Path) -> None:
    write_onnx_model(tmp_path / "model")
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        assert server.post({"inputs": [[1, 1, 1], [0, 0, 0]]}).json() == {"outputs": [[7.0, 14.0], [1.0, -1.0]]}
        assert server.ask("GET", "/v2/models/dense").json()["platform"] == "onnx"


def test_a_file_that_is_no_onnx_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x" * 100)
    with pytest.raises(ContractError, match="is not an ONNX model"):
        OnnxRuntime(tmp_path / "model.onnx")


@pytest.mark.tensorflow
def test_a_keras_model_is_served_by_tensorflow_itself(tmp_path: Path) -> None:
    write_keras_model(tmp_path)
    with start_server(tmp_path, tmp_path / "log", start_seconds=120) as server:
        assert server.post({"inputs": [[0.5], [2]]}).json() == {"outputs": [2.0, 5.0]}
        assert server.ask("GET", "/v2/models/keras").json()["platform"] == "tensorflow"


@pytest.mark.tensorflow
def test_a_file_that_is_no_keras_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"x" * 100)
    with pytest.raises(ContractError, match="is not a Keras model"):
        KerasRuntime(tmp_path / "model.keras")


def test_what_is_not_in_the_image_is_named_with_the_image_that_has_it(tmp_path: Path) -> None:
    write_onnx_model(tmp_path)
    slim = tmp_path / "slim"
    (slim / "onnxruntime").mkdir(parents=True)
    (slim / "onnxruntime" / "__init__.py").write_text("raise ImportError('not in this image')")
    finished = run_module(
        "modelops_runtime serve", MODELOPS_MODEL_DIR=tmp_path, MODELOPS_PORT=0, PYTHONPATH=f"{slim}:{PYTHONPATH}"
    )
    assert finished.returncode == 1
    assert "error: dense needs the runtime 'onnx' (pytorch), which is not in this image" in finished.stderr
    assert "built from the target serve-onnx" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runtime": "abacus"}, "runtime 'abacus' is unknown; there is framework, litert, onnx"),
        ({"runtime": "framework", "framework": "abacus"}, "framework 'abacus' is unknown; there is mxnet, pytorch"),
    ],
)
def test_an_unknown_runtime_is_named(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    manifest = dataclasses.replace(write_model(tmp_path), **changes)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match=message):
        load(tmp_path, manifest, threads=1)


def test_each_runtime_has_an_image() -> None:
    dockerfile = (REPOSITORY / "model" / "Dockerfile").read_text()
    for target in IMAGES.values():
        assert f" AS {target}\n" in dockerfile
