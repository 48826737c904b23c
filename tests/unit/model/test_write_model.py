"""`write_model`: a trained model in, a folder out that the real server answers from. As in docs/model.md."""

import json
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelops_runtime
from modelops_runtime import ContractError, Preprocessing, write_metrics, write_model
from modelops_runtime.artifacts import trained
from modelops_runtime.artifacts.manifest import Manifest
from modelops_runtime.contract import TrainingContract
from sample import dataset, export
from sample.parameters import Parameters
from tests.conftest import REPOSITORY
from tests.models import BIAS, WEIGHTS, dense_model, write_onnx_model
from tests.runtime import PYTHONPATH
from tests.unit.model.support import start_server

EXAMPLE = np.array([[1, 1, 1], [0, 0, 0], [0.25, 2, -3], [4, 5, 6], [7, 8, 9]])


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    """Three numbers in, two out."""
    write_onnx_model(tmp_path / "made")
    return tmp_path / "made" / "model.onnx"


class Converted:
    """A model of some framework; `error` is how far its conversion is away from it."""

    framework, served_by, served_file = "pytorch", "onnx", "model.onnx"

    def __init__(self, file: Path, error: float = 0, source: tuple[str, ...] = ()) -> None:
        self._file, self._error, self._source = file, error, source

    def predict(self, inputs: Any) -> Any:
        return (inputs @ WEIGHTS + BIAS + np.float32(self._error)).astype("float32")

    exact = predict

    def save(self, folder: Path) -> tuple[str, ...]:
        for name in self._source:
            (folder / name).write_text("")
        return self._source

    def convert(self, file: Path) -> None:
        shutil.copyfile(self._file, file)


def test_an_onnx_file_is_served_with_its_names_and_classes(tmp_path: Path, onnx_file: Path) -> None:
    names = ["age", "height", "weight"]
    predictions = np.random.default_rng(0).normal(size=(400, 2))
    manifest = write_model(
        tmp_path / "model",
        onnx_file,
        EXAMPLE,
        name="people",
        labels=["ill", "well"],
        feature_names=names,
        test_predictions=predictions,
        training_rows=predictions @ np.ones((2, 3)),
    )
    assert (manifest.name, manifest.labels, list(manifest.features)) == ("people", ("ill", "well"), names)
    assert (len(manifest.baseline), len(manifest.golden.inputs)) == (2, 4)
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        assert server.post({"inputs": [[1, 1, 1], [0, 0, 0]]}).json() == {"outputs": [[7.0, 14.0], [1.0, -1.0]]}
        assert '"age"' in server.ask("GET", "/openapi.json").body.decode()


def test_a_litert_file_is_served(tmp_path: Path) -> None:
    (tmp_path / "line.tflite").write_bytes(dense_model(np.array([[2.0]]), np.array([1.0])))
    manifest = write_model(tmp_path / "model", tmp_path / "line.tflite", [[0.5], [2.0]])
    assert (manifest.runtime, manifest.golden.outputs) == ("litert", [[2.0], [5.0]])
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        assert server.post({"inputs": [[3]]}).json() == {"outputs": [7.0]}


def test_raw_rows_are_preprocessed_by_the_server(tmp_path: Path, onnx_file: Path) -> None:
    operations: tuple[dict[str, Any], ...] = (
        {"column": "age", "kind": "standard", "mean": 40.0, "deviation": 10.0},
        {"column": "city", "kind": "one_hot", "categories": ["Oslo", "Rome"]},
    )
    preprocessing = Preprocessing(("age", "city"), ("age", "city=Oslo", "city=Rome"), operations)
    example = [[40.0, "Rome"], [50.0, "Oslo"]]
    manifest = write_model(tmp_path / "model", onnx_file, example, preprocessing=preprocessing)
    assert (manifest.inputs.dtype, manifest.golden.inputs) == ("object", example)
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        expected = (np.array([[1, 1, 0]]) @ WEIGHTS + BIAS).tolist()
        assert server.post({"inputs": [[50, "Oslo"]]}).json() == {"outputs": expected}


def test_a_conversion_is_served_only_where_it_predicts_the_same(tmp_path: Path, onnx_file: Path) -> None:
    assert write_model(tmp_path / "model", Converted(onnx_file), EXAMPLE).runtime == "onnx"
    with pytest.raises(ContractError, match=r"can't be served: the converted model is 0[.]1 away from the original"):
        write_model(tmp_path / "model", Converted(onnx_file, error=0.1), [[0.0, 0, 0]])
    assert not (tmp_path / "model" / "model.json").exists(), "the manifest of the earlier model"


def test_a_framework_that_cannot_load_its_own_model_leaves_no_manifest(tmp_path: Path, onnx_file: Path) -> None:
    model = Converted(onnx_file, error=0.1, source=("model.keras",))
    model.framework = "tensorflow"
    with pytest.raises(ContractError, match="is not a Keras model"):
        write_model(tmp_path / "model", model, EXAMPLE)
    assert not (tmp_path / "model" / "model.json").exists()


def test_large_predictions_are_compared_by_their_size(tmp_path: Path, onnx_file: Path) -> None:
    model = Converted(onnx_file, error=1)
    manifest = write_model(tmp_path / "model", model, EXAMPLE * 1e5, tolerance=1e-5)
    assert np.abs(manifest.golden.outputs).max() > 1e6
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        assert server.post({"inputs": [[1, 1, 1]]}).json() == {"outputs": [[7.0, 14.0]]}


def test_a_conversion_that_is_near_for_all_rows_starts_also_on_small_ones(tmp_path: Path, onnx_file: Path) -> None:
    model = Converted(onnx_file, error=0.01)
    parity_rows = EXAMPLE * 1e4
    manifest = write_model(tmp_path / "model", model, EXAMPLE, parity_rows=parity_rows)
    assert manifest.golden.tolerance == pytest.approx(0.02, rel=0.01)
    assert write_model(tmp_path / "model", Converted(onnx_file), EXAMPLE).golden.tolerance == 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"example": [1.0, 2.0]}, r"the example has the shape \(2,\), must be rows"),
        ({"example": np.zeros((0, 3))}, r"the example has the shape \(0, 3\), must be rows"),
        ({"example": np.zeros((1, 3), "uint8")}, "element type is uint8, must be one of float32"),
        ({"example": np.zeros((1, 4))}, "does not predict the example"),
        ({"feature_names": ["a"]}, "the example's rows have 3 columns, their names are 1"),
        ({"training_rows": EXAMPLE}, "training_rows needs feature_names"),
        ({"model": "model.joblib"}, "must be a .tflite or .onnx file"),
        ({"model": "none.onnx"}, "none.onnx is not a file"),
        ({"model": object()}, "a model of builtins is of no known kind"),
    ],
)
def test_what_cannot_be_written_says_why(
    tmp_path: Path, onnx_file: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        write_model(tmp_path / "model", **{"model": onnx_file, "example": EXAMPLE, **changes})
    assert not (tmp_path / "model" / "model.json").exists()


def test_a_library_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import LinearRegression

    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ContractError, match="a sklearn model needs the package skl2onnx"):
        write_model(tmp_path, LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]), [[0.5]])


def test_a_scikit_learn_classifier_is_served_with_its_probabilities(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.random.default_rng(0).normal(size=(200, 3))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, np.where(rows[:, 0] > 0, "up", "down"))
    manifest = write_model(tmp_path / "model", model, rows)
    assert manifest.labels == ("down", "up")
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        answered = server.post({"inputs": rows[:50].tolist()}).json()["outputs"]
    np.testing.assert_allclose(answered, model.predict_proba(rows[:50]), atol=1e-5)


def test_a_scikit_learn_regression_is_served(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    manifest = write_model(tmp_path, LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]), [[0.5], [2.0]])
    assert (manifest.framework, manifest.runtime) == ("sklearn", "onnx")
    np.testing.assert_allclose(manifest.golden.outputs, [[2.0], [5.0]], atol=1e-5)


def test_a_regression_with_large_outputs_and_one_small_one_is_served(tmp_path: Path) -> None:
    """Its terms of 10⁵ are rounded in single precision, and so is their small difference."""
    from sklearn.linear_model import LinearRegression

    rows = np.random.default_rng(0).uniform(0, 1e5, (500, 3))
    model = LinearRegression().fit(rows, rows @ [0.7, 1.1, -1.3])
    rows[0, 2] = (rows[0, :2] @ [0.7, 1.1] - 12) / 1.3
    manifest = write_model(tmp_path / "model", model, rows)
    assert np.abs(manifest.golden.outputs).max() > 35_000
    difference = model.predict(rows[:1].astype("float32")) - model.predict(rows[:1])
    assert np.abs(difference).max() / 12 > 1e-5
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        [answered] = server.post({"inputs": rows[:1].tolist()}).json()["outputs"]
    assert answered == pytest.approx(12, abs=0.1)


@pytest.mark.tensorflow
def test_a_keras_model_is_served_by_litert(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.set_weights([np.array([[2.0]]), np.array([1.0])])
    manifest = write_model(tmp_path / "model", model, [[0.5], [2.0]])
    assert (manifest.framework, manifest.runtime, manifest.file) == ("tensorflow", "litert", "model.tflite")
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        assert server.post({"inputs": [[0.5], [2]]}).json() == {"outputs": [2.0, 5.0]}


@pytest.fixture
def torch() -> Any:
    """`.venv` has no PyTorch, which takes 6 GB. In an environment of its own:

    pip install -r model/requirements-train-pytorch.txt -r model/requirements-serve.txt hypothesis pytest
    python -m pytest tests/unit/model/test_write_model.py -k pytorch
    """
    return pytest.importorskip("torch", reason="needs model/requirements-train-pytorch.txt: see the fixture `torch`")


def test_a_pytorch_model_is_served_as_onnx_as_it_predicts(tmp_path: Path, torch: Any) -> None:
    layers = [torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 2)]
    model = torch.nn.Sequential(*layers)
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    manifest = write_model(tmp_path / "model", model, rows)
    assert (manifest.framework, manifest.runtime, manifest.file) == ("pytorch", "onnx", "model.onnx")
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(rows)).numpy()
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        for count in (1, 2, 20):
            answered = server.post({"inputs": rows[:count].tolist()}).json()["outputs"]
            np.testing.assert_allclose(answered, expected[:count], atol=1e-5)


def test_a_pytorch_model_that_onnx_cannot_express_is_served_by_pytorch(tmp_path: Path, torch: Any) -> None:
    class Eigenvalues(torch.nn.Module):  # type: ignore[misc]
        def forward(self, rows: Any) -> Any:
            return torch.linalg.eigvalsh(rows)

    manifest = write_model(tmp_path / "model", Eigenvalues(), [np.diag([3.0, 1.0]).tolist()])
    assert (manifest.runtime, manifest.file) == ("framework", "model.pt2")
    with start_server(tmp_path / "model", tmp_path / "log", start_seconds=180) as server:
        assert server.post({"inputs": [np.diag([5.0, 2.0]).tolist()]}).json() == {"outputs": [[2.0, 5.0]]}


def test_a_pytorch_model_that_returns_more_than_one_tensor_is_refused(tmp_path: Path, torch: Any) -> None:
    with pytest.raises(ContractError, match="the model returns a tuple, must return one tensor"):
        write_model(tmp_path, torch.nn.LSTM(3, 4), EXAMPLE)


@pytest.mark.parametrize(("library", "extra"), [("sklearn", "sklearn"), ("keras", "tensorflow"), ("torch", "pytorch")])
def test_the_extra_of_a_framework_has_what_writes_its_models(library: str, extra: str) -> None:
    extras = tomllib.loads((REPOSITORY / "model" / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = {re.split("[<>=]", requirement)[0] for requirement in extras[extra]}
    _kind, packages = trained._KINDS[library]
    assert set(packages) <= installed


def test_the_sample_writes_the_manifest_that_it_always_wrote(tmp_path: Path, onnx_file: Path) -> None:
    settings = TrainingContract("abc", "line", "pytorch", {}, "", "", tmp_path, tmp_path)
    none = np.zeros((0, 3), "float32")
    rows = dataset.Dataset((none, none), (none, none), (none, none), Parameters().for_rows(3, 0))
    model: Any = Converted(onnx_file, source=("model.pt2",))
    export.write_model(model, tmp_path / "model", settings, rows, np.arange(400).reshape(200, 2))
    written = json.loads((tmp_path / "model" / "model.json").read_text())
    digests, baseline, versions = (written.pop(field) for field in ("sha256", "baseline", "versions"))
    assert json.dumps(written) == json.dumps(
        {
            "name": "line",
            "run_id": "abc",
            "framework": "pytorch",
            "runtime": "onnx",
            "file": "model.onnx",
            "inputs": {"shape": [-1, 3], "dtype": "float32"},
            "outputs": {"shape": [-1, 2], "dtype": "float32"},
            "golden": {
                "inputs": [[-1.0] * 3, [0.0] * 3, [0.5] * 3, [1.0] * 3],
                "outputs": [[-5.0, -16.0], [1.0, -1.0], [4.0, 6.5], [7.0, 14.0]],
                "tolerance": 1e-05,
            },
        }
    )
    assert (list(digests), len(baseline)) == (["model.onnx", "model.pt2"], 2)
    packages = {name: metadata.version(name) for name in ("onnxruntime", "numpy")}
    assert versions == {"python": platform.python_version(), **packages}


def test_metrics_go_into_the_output_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODELOPS_OUTPUT_DIR", str(tmp_path / "output"))
    report = {0: {"f1": np.float64(0.9)}, "rows": np.array(5), "each": np.zeros(2)}
    write_metrics({"mse": np.float32(0.5), "rows": 3, "auc": float("nan"), "by class": report})
    written = json.loads((modelops_runtime.output_dir() / "metrics.json").read_text())
    assert written == {
        "mse": 0.5,
        "rows": 3,
        "by class[0][f1]": 0.9,
        "by class[rows]": 5,
        "auc": None,
        "by class[each]": None,
    }
    assert capsys.readouterr().out.splitlines() == [
        "metric auc is NaN, must be a finite number: it is left out",
        'metric by class[each] is "array([0., 0.])", must be a finite number: it is left out',
    ]


def test_the_package_and_its_metrics_import_without_numpy() -> None:
    code = "import sys, modelops_runtime; modelops_runtime.write_metrics; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_every_public_name_is_there() -> None:
    assert all(getattr(modelops_runtime, name) for name in modelops_runtime.__all__)
    assert modelops_runtime.Manifest is Manifest
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        modelops_runtime.nothing  # noqa: B018
