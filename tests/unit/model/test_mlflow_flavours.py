"""Models of frameworks that are not among the requirements, as plain MLflow logs them.

The first test runs the others in an environment of their own, in the cache; elsewhere they are skipped.
"""

import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.environments import environment_of
from tests.unit.model.test_mlflow_models import SETOSA, VIRGINICA, Client, flowers, mlflow

__all__ = ["flowers"]
pytestmark = pytest.mark.filterwarnings("ignore")
TORCH = 1
"""How many tests need PyTorch, whose environment takes gigabytes."""
ROWS = {"inputs": [SETOSA, VIRGINICA, [6.0, 2.7, 5.1, 1.6]]}


def installed(module: str) -> Any:
    return pytest.importorskip(module, reason="needs tests/requirements-models-mlflow.txt")


@pytest.mark.skipif(bool(importlib.util.find_spec("xgboost")), reason="the frameworks are here")
@pytest.mark.parametrize(
    ("environment", "skipped"), [("models-mlflow", 2 + TORCH), pytest.param("models-torch", 2, marks=pytest.mark.long)]
)
def test_the_frameworks_models_are_served_in_an_environment_that_has_them(environment: str, skipped: int) -> None:
    command = [environment_of(environment), "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert f" {skipped} skipped" in done.stdout  # these two, and what the environment lacks


def xgboost_classifier(rows: Any, classes: Any) -> Any:
    return installed("xgboost").XGBClassifier(n_estimators=10).fit(rows, classes)


def xgboost_booster(rows: Any, classes: Any) -> Any:
    package = installed("xgboost")
    settings = {"objective": "multi:softprob", "num_class": 3}
    return package.train(settings, package.DMatrix(rows, classes), num_boost_round=10)


def lightgbm_classifier(rows: Any, classes: Any) -> Any:
    return installed("lightgbm").LGBMClassifier(n_estimators=10, verbose=-1).fit(rows, classes)


def lightgbm_booster(rows: Any, classes: Any) -> Any:
    package = installed("lightgbm")
    settings = {"objective": "multiclass", "num_class": 3, "verbose": -1}
    return package.train(settings, package.Dataset(rows, classes), num_boost_round=10)


MAKERS = {
    "xgboost.XGBClassifier": xgboost_classifier,
    "xgboost.Booster": xgboost_booster,
    "lightgbm.LGBMClassifier": lightgbm_classifier,
    "lightgbm.Booster": lightgbm_booster,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_trees_are_asked_themselves_and_predict_what_mlflow_predicts(
    tmp_path: Path, flowers: tuple[Any, Any], kind: str
) -> None:
    make: Callable[[Any, Any], Any] = MAKERS[kind]
    model = make(*flowers)
    flavour = getattr(mlflow, kind.partition(".")[0])
    flavour.save_model(model, tmp_path / "m", input_example=flowers[0][:3], pip_requirements=[])
    client = Client(tmp_path / "m")
    assert (client.model.way, client.notes) == (kind, [])
    expected = mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(flowers[0])
    got = client.post({"inputs": flowers[0].to_numpy().tolist()}).json()["outputs"]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    missing = client.post({"inputs": [[6.3, None, 6.0, 2.5]]})
    assert missing.status == 200


@pytest.mark.parametrize("kind", ["xgboost.XGBClassifier", "lightgbm.LGBMClassifier"])
def test_trees_converted_to_onnx_predict_the_same(
    tmp_path: Path, flowers: tuple[Any, Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("onnxmltools")
    model = MAKERS[kind](*flowers)
    flavour = getattr(mlflow, kind.partition(".")[0])
    flavour.save_model(model, tmp_path / "m", input_example=flowers[0][:3], pip_requirements=[])
    monkeypatch.setenv("MODELOPS_MODEL_DIR", str(tmp_path / "m"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "model"))
    client = Client(tmp_path / "m", MODELOPS_ONNX="true")
    assert (client.model.way, client.notes) == ("onnxruntime", [])
    assert client.post(ROWS).json() == Client(tmp_path / "m").post(ROWS).json()


def test_a_pytorch_model_takes_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = installed("torch")
    from mlflow.models import infer_signature

    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    rows = np.array(ROWS["inputs"], "float32")
    with torch.no_grad():
        expected = model(torch.from_numpy(rows)).numpy()
    signature = infer_signature(rows, expected)
    mlflow.pytorch.save_model(
        model,
        tmp_path / "m",
        signature=signature,
        input_example=rows,
        pip_requirements=[],
        serialization_format="pickle",
    )
    client = Client(tmp_path / "m")
    assert client.model.platform == "pytorch"
    np.testing.assert_allclose(client.post(ROWS).json()["outputs"], expected, rtol=1e-5)
    output = client.get("/v2/models/flowers")["outputs"]
    assert output == [{"name": "output", "datatype": "FP32", "shape": [-1, 2]}]
    installed("onnxscript")
    monkeypatch.setenv("MODELOPS_MODEL_DIR", str(tmp_path / "m"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "model"))
    converted = Client(tmp_path / "m", MODELOPS_ONNX="true")
    assert (converted.model.way, converted.notes) == ("onnxruntime", [])
    np.testing.assert_allclose(converted.post(ROWS).json()["outputs"], expected, rtol=1e-4)
