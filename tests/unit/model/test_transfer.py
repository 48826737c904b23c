"""A version on its way from one registry into another: two real MLflow servers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from modelops_runtime.artifacts.manifest import FILE_NAME
from modelops_runtime.contract import Exit
from modelops_runtime.registry import publish, transfer
from modelops_runtime.registry.publishing import gate, records, runs
from tests.models import write_model
from tests.unit.model.conftest import Mlflow, answering, mlflow_server
from tests.unit.model.support import run_here

METRICS = '{"accuracy": 1.0, "mse": 0.04}'
PARAMETERS = {"epochs": 200, "prompt": "ä€" * 10_000, **{f"layer[{number}]": number for number in range(250)}}
URI = "models:/moved@run-abc123def456"


@pytest.fixture(scope="module")
def target_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """The registry that a version goes to. It comes up while the other one is filled."""
    with mlflow_server(tmp_path_factory.mktemp("elsewhere")) as server:
        yield server


@pytest.fixture(scope="module")
def source(mlflow_url: str, target_server: Mlflow, tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """The registry that has the version: the model's files, metrics, parameters and tags as training leaves them."""
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, name="moved")
    # What training leaves beside the files that serve.
    (folder / "model.keras").write_bytes(b"keras")
    (folder / "variables").mkdir()
    (folder / "variables" / "weights 1.bin").write_bytes(b"weights")
    client = MlflowClient(mlflow_url)
    client.create_registered_model("moved")
    tags = {"modelops.run_id": "abc123def456", "modelops.metrics": METRICS, "modelops.image": "train@sha256:1"}
    run = client.create_run("0", tags=tags).info
    runs.log_parameters(client, run.run_id, PARAMETERS)
    for step, value in enumerate((1.0, 0.04)):
        client.log_metric(run.run_id, "mse", value, step=step)
    client.log_artifacts(run.run_id, str(folder), "model")
    made = client.create_model_version(
        "moved", f"{run.artifact_uri}/model", run.run_id, tags={"modelops.framework": "tensorflow"}
    )
    client.set_registered_model_alias("moved", "run-abc123def456", made.version)
    return client


@pytest.fixture(scope="module")
def target(target_server: Mlflow) -> MlflowClient:
    return MlflowClient(answering(target_server))


@pytest.fixture
def run_transfer(source: MlflowClient, target: MlflowClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the program as its container does."""

    def run(**variables: object) -> Any:
        settings = {
            "MODELOPS_MODEL_NAME": "moved",
            "MODELOPS_RUN_ID": "abc123def456",
            "MODELOPS_SOURCE_URI": source.tracking_uri,
            "MODELOPS_MODEL_DIR": tmp_path / "model",
            "MODELOPS_REGISTRY_WAIT_SECONDS": 0,
            "MLFLOW_TRACKING_URI": target.tracking_uri,
        }
        return run_here(transfer.main, capsys, **{**settings, **variables})

    return run


def versions(client: MlflowClient) -> list[Any]:
    return list(client.search_model_versions("name = 'moved'"))


def test_a_gate_that_is_not_met_leaves_the_other_registry_as_it_was(run_transfer: Any, target: MlflowClient) -> None:
    done = run_transfer(MODELOPS_GATE='{"mse": {"max": 0.01}}')
    assert done.returncode == Exit.GATE
    assert "gate not met: mse is 0.04, must be at most 0.01" in done.stderr
    assert versions(target) == [] and target.search_runs(["0"]) == []


def test_a_version_that_is_not_there_is_an_error(run_transfer: Any) -> None:
    done = run_transfer(MODELOPS_RUN_ID="ffffffffffff")
    assert done.returncode == Exit.FAILURE
    assert "has no models:/moved@run-ffffffffffff" in done.stderr


def test_a_version_arrives_as_it_was(
    run_transfer: Any, source: MlflowClient, target: MlflowClient, tmp_path: Path
) -> None:
    bounds = '{"mse": {"max": 0.1, "max_delta": 0.0}}'
    refused = run_transfer(MODELOPS_GATE=bounds)
    assert refused.returncode == Exit.CONFIGURATION
    assert "no version of moved has the alias serving, which mse.max_delta would compare with" in refused.stderr
    assert versions(target) == []
    done = run_transfer(MODELOPS_GATE=bounds, MODELOPS_FIRST_VERSION="true")
    assert done.returncode == Exit.DONE, done.stderr
    assert "gate met: mse is 0.04, must be at most 0.1" in done.stdout
    assert f"{URI} is here as version 1" in done.stdout
    there, here = (client.get_model_version_by_alias("moved", "run-abc123def456") for client in (source, target))
    own = {"modelops.transferred_from": source.tracking_uri, gate.MET: here.tags[gate.MET]}
    assert here.tags == {**there.tags, **own}
    before, after = source.get_run(there.run_id), target.get_run(here.run_id)
    assert after.info.status == "FINISHED"
    assert (after.data.params, after.data.metrics) == (before.data.params, before.data.metrics)
    assert records.read(after.data.tags, records.PARAMETERS) == PARAMETERS
    assert after.data.tags["modelops.metrics"] == METRICS
    assert after.data.tags["modelops.image"] == "train@sha256:1"
    folders = [tmp_path / "there", tmp_path / "here"]
    for client, version, folder in zip((source, target), (there, here), folders, strict=True):
        folder.mkdir()
        client.download_artifacts(version.run_id, "model", str(folder))
    files = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in folders
    ]
    assert files[0] == files[1]
    names = {"model.tflite", FILE_NAME, "model.keras", "variables/weights 1.bin"}
    assert set(files[0]) == {f"model/{name}" for name in names}


def test_a_model_that_mlflow_saved_arrives_whole(
    run_transfer: Any, source: MlflowClient, target: MlflowClient, tmp_path: Path
) -> None:
    logged = tmp_path / "logged"
    (logged / "code").mkdir(parents=True)
    for name in ("MLmodel", "model.skops", "code/steps.py"):
        (logged / name).write_text(name)
    run = source.create_run("0", tags={"modelops.run_id": "abc123def456"}).info
    source.log_artifacts(run.run_id, str(logged), "model")
    source.create_registered_model("logged")
    made = source.create_model_version("logged", f"{run.artifact_uri}/model", run.run_id)
    source.set_registered_model_alias("logged", "run-abc123def456", made.version)
    done = run_transfer(MODELOPS_MODEL_NAME="logged")
    assert done.returncode == Exit.DONE, done.stderr
    here = target.get_model_version_by_alias("logged", "run-abc123def456")
    folder = Path(target.download_artifacts(here.run_id, "model", str(tmp_path)))
    came = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert came == {name: name for name in ("MLmodel", "model.skops", "code/steps.py")}


def test_a_published_version_arrives_as_a_model_of_mlflows(
    run_transfer: Any,
    source: MlflowClient,
    target: MlflowClient,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_model(tmp_path / "output" / "model")
    (tmp_path / "output" / "metrics.json").write_text('{"mse": 0.04}')
    done = run_here(
        publish.main,
        capsys,
        MODELOPS_MODEL_NAME="whole",
        MODELOPS_RUN_ID="abc",
        MODELOPS_OUTPUT_DIR=tmp_path / "output",
        MODELOPS_GIT_COMMIT="c0ffee",
        MLFLOW_TRACKING_URI=source.tracking_uri,
    )
    assert done.returncode == Exit.DONE, done.stderr
    assert source.get_model_version("whole", "1").source.startswith("models:/m-")
    done = run_transfer(MODELOPS_MODEL_NAME="whole", MODELOPS_RUN_ID="abc")
    assert done.returncode == Exit.DONE, done.stderr
    version = target.get_model_version("whole", "1")
    assert target.get_run(version.run_id).data.tags["mlflow.source.git.commit"] == "c0ffee"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", target.tracking_uri)
    loaded = mlflow.pyfunc.load_model("models:/whole/1")
    assert loaded.predict(np.array([[0.5]], "float32")).tolist() == [2.0]


def test_a_version_that_is_there_is_judged_again_and_not_copied(run_transfer: Any, target: MlflowClient) -> None:
    done = run_transfer()
    assert (done.returncode, done.stdout) == (Exit.DONE, f"{URI} is already there as version 1: nothing to do\n")
    assert len(versions(target)) == 1
    # Its registry of origin is not asked any more.
    assert run_transfer(MODELOPS_SOURCE_URI="http://127.0.0.1:9").returncode == Exit.DONE
    assert run_transfer(MODELOPS_GATE='{"mse": {"max": 0.01}}').returncode == Exit.GATE
    unknown = run_transfer(MODELOPS_GATE='{"f1": {"min": 0.5}}')
    assert unknown.returncode == Exit.CONFIGURATION
    assert "f1 not reported; reported metrics: accuracy, mse" in unknown.stderr


def test_one_cut_off_before_its_alias_is_gone_on_with(run_transfer: Any, target: MlflowClient) -> None:
    target.delete_registered_model_alias("moved", "run-abc123def456")
    assert run_transfer().returncode == Exit.DONE
    assert len(versions(target)) == 1
    assert len(target.search_runs([target.get_experiment_by_name("moved").experiment_id])) == 1


def test_it_is_compared_with_the_version_that_serves(
    run_transfer: Any, source: MlflowClient, target: MlflowClient
) -> None:
    run = target.create_run("0").info
    target.log_metric(run.run_id, "mse", 0.02)
    better = target.create_model_version("moved", f"{run.artifact_uri}/model", run.run_id)
    target.set_registered_model_alias("moved", "serving", better.version)

    def refused() -> None:
        done = run_transfer(MODELOPS_GATE='{"mse": {"max_delta": 0.01}}')
        assert done.returncode == Exit.GATE
        compared = "max_delta 0.01; version 2, which serves now, has 0.02"
        assert f"mse is 0.04, must be at most 0.03 ({compared})" in done.stderr

    refused()  # it is there already
    before = target.get_model_version("moved", "1").tags[gate.MET]
    assert run_transfer(MODELOPS_GATE='{"mse": {"max_delta": 0.02}}').returncode == Exit.DONE
    assert target.get_model_version("moved", "1").tags[gate.MET] != before
    target.delete_registered_model_alias("moved", "run-abc123def456")
    refused()


def test_the_version_that_serves_is_compared_with_the_one_before_it(run_transfer: Any, target: MlflowClient) -> None:
    assert run_transfer().returncode == Exit.DONE
    target.set_model_version_tag("moved", "1", gate.COMPARED, "2")
    target.set_registered_model_alias("moved", "serving", "1")
    done = run_transfer(MODELOPS_GATE='{"mse": {"max_delta": 0}}')
    assert done.returncode == Exit.GATE
    assert "mse is 0.04, must be at most 0.02 (max_delta 0; version 2, which served before, has 0.02)" in done.stderr
    target.delete_model_version("moved", "2")
    done = run_transfer(MODELOPS_GATE='{"mse": {"max_delta": 0}}')
    assert (
        done.returncode == Exit.DONE and "mse is 0.04, max_delta 0 has no other version to compare with" in done.stdout
    )


def test_wrong_settings_are_told_all_at_once(run_transfer: Any) -> None:
    done = run_transfer(MODELOPS_MODEL_NAME="", MODELOPS_SOURCE_URI="staging", MODELOPS_GATE='{"mse": {}}')
    assert done.returncode == Exit.CONFIGURATION
    assert [line.split(" ")[1] for line in done.stderr.splitlines()] == [
        "MODELOPS_MODEL_NAME",
        "MODELOPS_SOURCE_URI",
        "MODELOPS_GATE:",
    ]
