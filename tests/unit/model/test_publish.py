"""Publishing to a real MLflow server, and fetching back from it."""

import json
import math
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from modelops_runtime.contract import FetchContract
from modelops_runtime.registry.fetch import fetch
from modelops_runtime.registry.publish import main
from tests.models import write_model
from tests.runtime import run_module
from tests.unit.model.support import run_here

NOWHERE = "http://127.0.0.1:9"


def get(url: str, path: str, **query: str) -> Any:
    target = f"{url}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(target, timeout=10) as response:
        return json.load(response)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """What a training leaves."""
    folder = tmp_path / "output"
    write_model(folder / "model")
    (folder / "metrics.json").write_text('{"mse": 0.03, "r2": 0.98}')
    history = [{"epoch": epoch, "loss": 1 / epoch, "val_loss": 2 / epoch} for epoch in range(1, 601)]
    (folder / "history.json").write_text(json.dumps(history))
    return folder


Publish = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def publish(output: Path, mlflow_url: str, capsys: pytest.CaptureFixture[str]) -> Publish:
    """Publishes `output`; keyword arguments change its environment."""

    def run(**changes: object) -> "subprocess.CompletedProcess[str]":
        variables: dict[str, object] = {
            "MODELOPS_RUN_ID": "abc",
            "MODELOPS_MODEL_NAME": "line",
            "MODELOPS_PARAMETERS": '{"epochs": 600, "name": "x", "layers": [1, 2]}',
            "MODELOPS_OUTPUT_DIR": output,
            "MODELOPS_GATE": '{"mse": {"max": 0.1}}',
            "MODELOPS_IMAGE": "registry/train@sha256:1",
            "MODELOPS_DATA_VERSION": "v5",
            "MLFLOW_TRACKING_URI": mlflow_url,
            "MLFLOW_EXPERIMENT_NAME": "first",
            "MODELOPS_REGISTRY_WAIT_SECONDS": 0,
        }
        return run_here(main, capsys, **{**variables, **changes})

    return run


def test_a_run_is_published_once_with_all_that_belongs_to_it(
    publish: Publish, output: Path, mlflow_url: str, tmp_path: Path
) -> None:
    finished = publish()
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[0] == "gate met: mse is 0.03, must be at most 0.1"
    assert "published line version 1 as models:/line@run-abc" in finished.stdout
    assert finished.stderr == ""

    version = get(mlflow_url, "registered-models/alias", name="line", alias="run-abc")["model_version"]
    run = get(mlflow_url, "runs/get", run_id=version["run_id"])["run"]
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == "line-abc"
    params = {param["key"]: param["value"] for param in run["data"]["params"]}
    assert params == {"epochs": "600", "name": "x", "layers": "[1, 2]"}
    metrics = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert (metrics["mse"], metrics["r2"]) == (0.03, 0.98)
    expected = {
        "modelops.run_id": "abc",
        "modelops.image": "registry/train@sha256:1",
        "modelops.framework": "tensorflow",
        "modelops.data_version": "v5",
    }
    assert expected.items() <= {tag["key"]: tag["value"] for tag in run["data"]["tags"]}.items()
    assert expected.items() <= {tag["key"]: tag["value"] for tag in version["tags"]}.items()
    history = get(mlflow_url, "metrics/get-history", run_id=version["run_id"], metric_key="val_loss")["metrics"]
    assert {point["step"]: point["value"] for point in history} == {n: 2 / n for n in range(1, 601)}
    assert (
        get(mlflow_url, "experiments/get-by-name", experiment_name="first")["experiment"]["experiment_id"]
        == (run["info"]["experiment_id"])
    )

    again = publish()
    assert again.returncode == 0
    assert "line@run-abc is already published as version 1: nothing to do" in again.stdout
    assert (
        get(mlflow_url, "registered-models/get", name="line")["registered_model"]["latest_versions"][0]["version"]
        == "1"
    )

    for uri in ("models:/line@run-abc", "models:/line/1"):
        target = tmp_path / uri.replace("/", "_")
        assert fetch(FetchContract(uri, mlflow_url, target, None, 0, 2**20)).run_id == "abc123def456"
        assert (target / "model.tflite").read_bytes() == (output / "model" / "model.tflite").read_bytes()


def test_a_publishing_that_was_cut_off_is_finished_not_repeated(publish: Publish, mlflow_url: str) -> None:
    assert publish(MODELOPS_MODEL_NAME="cut").returncode == 0
    MlflowClient(mlflow_url).delete_registered_model_alias("cut", "run-abc")
    assert "published cut version 1 as models:/cut@run-abc" in publish(MODELOPS_MODEL_NAME="cut").stdout
    assert "nothing to do" in publish(MODELOPS_MODEL_NAME="cut").stdout


def test_the_parameters_that_were_used_are_logged(publish: Publish, output: Path, mlflow_url: str) -> None:
    (output / "parameters.json").write_text('{"epochs": 600, "seed": 7}')
    assert publish(MODELOPS_MODEL_NAME="defaults", MODELOPS_PARAMETERS="{}").returncode == 0
    version = get(mlflow_url, "registered-models/alias", name="defaults", alias="run-abc")["model_version"]
    params = get(mlflow_url, "runs/get", run_id=version["run_id"])["run"]["data"]["params"]
    assert {param["key"]: param["value"] for param in params} == {"epochs": "600", "seed": "7"}


def test_what_is_not_in_the_registry_is_named(mlflow_url: str, tmp_path: Path) -> None:
    for uri in ("models:/nothing@run-1", "models:/nothing/1"):
        finished = run_module(
            "modelops_runtime fetch",
            MODELOPS_MODEL_URI=uri,
            MLFLOW_TRACKING_URI=mlflow_url,
            MODELOPS_MODEL_DIR=tmp_path / "model",
        )
        assert finished.returncode == 1
        assert finished.stderr.startswith(f"error: the registry {mlflow_url} refused {uri}: ")
        assert "not found" in finished.stderr
        assert finished.stderr.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_another_run_of_the_model_gets_the_next_version(publish: Publish) -> None:
    finished = [
        publish(MODELOPS_MODEL_NAME="two", MODELOPS_RUN_ID=run_id, MODELOPS_PARAMETERS="{}") for run_id in ("r1", "r2")
    ]
    assert [run.returncode for run in finished] == [0, 0]
    assert "published two version 2 as models:/two@run-r2" in finished[1].stdout


def test_a_gate_that_is_not_met_publishes_nothing(publish: Publish, mlflow_url: str) -> None:
    finished = publish(MODELOPS_MODEL_NAME="bad", MODELOPS_GATE='{"mse": {"max": 0.01}}')
    assert finished.returncode == 3
    assert finished.stderr == "error: gate not met: mse is 0.03, must be at most 0.01\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(mlflow_url, "registered-models/get", name="bad")


def test_a_changed_gate_judges_a_published_run_by_its_exact_figures_in_the_registry(
    publish: Publish, output: Path, mlflow_url: str
) -> None:
    mse = 0.030000000000000001387  # more digits than a message shows
    (output / "metrics.json").write_text(json.dumps({"mse": mse, "f1/class_spam": 0.7}))
    assert publish(MODELOPS_MODEL_NAME="judged").returncode == 0
    shutil.rmtree(output)  # the next Job finds the run in the registry and trains nothing

    def judge(bounds: dict[str, dict[str, float]]) -> "subprocess.CompletedProcess[str]":
        return publish(MODELOPS_MODEL_NAME="judged", MODELOPS_GATE=json.dumps(bounds))

    done = judge({"mse": {"max": mse}, "f1/class_spam": {"min": 0.7}})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "gate met: mse is 0.03, must be at most 0.03",
        "gate met: f1/class_spam is 0.7, must be at least 0.7",
        "judged@run-abc is already published as version 1: nothing to do",
    ]
    assert judge({"mse": {"max": math.nextafter(mse, 0)}}).returncode == 3
    tightened = judge({"mse": {"max": 0.01}, "f1/class_spam": {"min": 0.8}})
    assert (tightened.returncode, tightened.stdout) == (3, "")
    assert tightened.stderr == (
        "error: gate not met: mse is 0.03, must be at most 0.01\n"
        "error: gate not met: f1/class_spam is 0.7, must be at least 0.8\n"
    )
    unknown = judge({"accuracy": {"min": 0}})
    assert unknown.returncode == 2
    assert unknown.stderr == "error: MODELOPS_GATE: accuracy not reported; reported metrics: f1/class_spam, mse\n"
    # What was published stays, and the gate may be loosened again.
    assert len(MlflowClient(mlflow_url).search_model_versions("name = 'judged'")) == 1
    assert judge({"mse": {"max": 0.1}}).returncode == 0


def test_a_run_that_missed_its_gate_is_published_once_the_gate_lets_it(publish: Publish) -> None:
    assert publish(MODELOPS_MODEL_NAME="loosened", MODELOPS_GATE='{"mse": {"max": 0.01}}').returncode == 3
    done = publish(MODELOPS_MODEL_NAME="loosened", MODELOPS_GATE='{"mse": {"max": 0.05}}')
    assert "published loosened version 1 as models:/loosened@run-abc" in done.stdout


def test_a_gate_on_what_is_not_reported(publish: Publish) -> None:
    finished = publish(MLFLOW_TRACKING_URI=NOWHERE, MODELOPS_GATE='{"accuracy": {"min": 1}}')
    assert finished.returncode == 2
    assert finished.stderr == "error: MODELOPS_GATE: accuracy not reported; reported metrics: mse, r2\n"


def test_a_registry_that_is_not_there(publish: Publish) -> None:
    finished = publish(MLFLOW_TRACKING_URI=NOWHERE, MODELOPS_REGISTRY_WAIT_SECONDS=1)
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: the registry http://127.0.0.1:9 is not reachable after 1 s: ")
    assert "waiting up to 1 s for the registry http://127.0.0.1:9" in finished.stdout


def test_an_experiment_that_was_deleted_is_named(publish: Publish, mlflow_url: str) -> None:
    def post(path: str, content: dict[str, str]) -> Any:
        request = urllib.request.Request(
            f"{mlflow_url}/api/2.0/mlflow/{path}", json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    made = post("experiments/create", {"name": "gone"})
    post("experiments/delete", {"experiment_id": made["experiment_id"]})
    finished = publish(MODELOPS_MODEL_NAME="gone", MLFLOW_EXPERIMENT_NAME="gone")
    assert finished.returncode == 2
    assert "the MLflow experiment 'gone' is deleted" in finished.stderr


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.json", None, "the training left no {}/metrics.json"),
        ("metrics.json", "{", "metrics.json is not JSON"),
        ("metrics.json", '{"mse": "x"}', "metrics.json must be a JSON object of finite numbers"),
        ("metrics.json", '{"mse": NaN}', "metrics.json must be a JSON object of finite numbers"),
        ("history.json", '{"epoch": 1}', "history.json must be a list of objects with an epoch"),
        ("model", None, "the training left no model in {}/model"),
    ],
)
def test_a_training_that_broke_its_contract(
    publish: Publish, output: Path, file: str, content: str | None, message: str
) -> None:
    if content is not None:
        (output / file).write_text(content)
    elif file == "model":
        shutil.rmtree(output / file)
    else:
        (output / file).unlink()
    finished = publish(MLFLOW_TRACKING_URI=NOWHERE)
    assert finished.returncode == 2
    assert message.format(output) in finished.stderr
    assert "Traceback" not in finished.stderr


def test_no_history_is_no_problem(publish: Publish, output: Path) -> None:
    (output / "history.json").unlink()
    finished = publish(MLFLOW_TRACKING_URI=NOWHERE)
    assert "is not reachable" in finished.stderr  # everything before was well
