"""Fetching what a real MLflow server knows of: versions, logged models, folders of runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from modelops_runtime.contract import ConfigurationError, FetchContract
from modelops_runtime.registry.fetch import fetch

FILES = ["model.json", "model.tflite"]


@pytest.fixture
def client(mlflow_url: str) -> MlflowClient:
    return MlflowClient(mlflow_url, registry_uri=mlflow_url)


@pytest.fixture
def run_id(client: MlflowClient) -> Iterator[str]:
    run = client.create_run("0")
    yield run.info.run_id
    client.set_terminated(run.info.run_id)


def fetched(uri: str, mlflow_url: str, target: Path) -> list[str]:
    """Names of the files that a fetch leaves."""
    shutil.rmtree(target, ignore_errors=True)
    fetch(FetchContract(uri, mlflow_url, target, None, wait_seconds=0, max_bytes=2**20))
    return sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())


def log_model(client: MlflowClient, run_id: str, name: str, folder: Path) -> str:
    """Logs a folder as MLflow 3 logs models; the model's id."""
    from mlflow.entities import LoggedModelOutput

    model = client.create_logged_model("0", name=name, source_run_id=run_id)
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def test_a_logged_model_by_its_id(
    client: MlflowClient, run_id: str, mlflow_url: str, model_dir: Path, tmp_path: Path
) -> None:
    model_id = log_model(client, run_id, "line", model_dir)
    assert fetched(f"models:/{model_id}", mlflow_url, tmp_path / "pod") == FILES
    with pytest.raises(ConfigurationError, match="refused models:/m-0"):
        fetched(f"models:/m-{'0' * 32}", mlflow_url, tmp_path / "pod")


def test_a_folder_of_a_run(client: MlflowClient, run_id: str, mlflow_url: str, model_dir: Path, tmp_path: Path) -> None:
    client.log_artifacts(run_id, str(model_dir), "deep/line")
    assert fetched(f"runs:/{run_id}/deep/line", mlflow_url, tmp_path / "pod") == FILES
    with pytest.raises(ConfigurationError, match="refused the run of runs:/00"):
        fetched(f"runs:/{'0' * 32}/deep/line", mlflow_url, tmp_path / "pod")


def test_a_run_s_address_leads_to_what_mlflow_3_logged_as_a_model(
    client: MlflowClient, run_id: str, mlflow_url: str, model_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "MLmodel").write_text("flavors: {}")
    log_model(client, run_id, "line", tmp_path / "older")
    log_model(client, run_id, "line", model_dir)
    log_model(client, run_id, "other", tmp_path / "older")
    assert fetched(f"runs:/{run_id}/line", mlflow_url, tmp_path / "pod") == FILES
    assert fetched(f"runs:/{run_id}/other", mlflow_url, tmp_path / "pod") == ["MLmodel"]


def test_a_version_that_was_registered_from_a_logged_model(
    client: MlflowClient, run_id: str, mlflow_url: str, model_dir: Path, tmp_path: Path
) -> None:
    model_id = log_model(client, run_id, "line", model_dir)
    client.create_registered_model("logged-line")
    client.create_model_version("logged-line", f"models:/{model_id}", run_id, model_id=model_id)
    client.set_registered_model_alias("logged-line", "best", "1")
    for end in ("/1", "@best"):
        assert fetched(f"models:/logged-line{end}", mlflow_url, tmp_path / "pod") == FILES
