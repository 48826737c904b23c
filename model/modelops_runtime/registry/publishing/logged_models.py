"""A run's model as MLflow 3 keeps it: a logged model, which has the files and is the run's output.

A registry of MLflow 2 has no such thing, nor has its client: there the files are artifacts of the run.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from modelops_runtime.contract import PublishContract
from modelops_runtime.registry.publishing import language, mlmodel, runs
from modelops_runtime.registry.publishing.language import Described

NAME = "model"
"""Of the logged model, or of the folder among the run's artifacts: `runs:/<run>/model` is either."""
INSTEAD = "the model's files are artifacts of the run"
NO_ENDPOINT = "ENDPOINT_NOT_FOUND"
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
LARGE_BYTES = 2**20
"""From this size on, a file is not sent again."""
BYTES_PER_SECOND = 20 * 2**20
"""At which a server at least passes a file on to its store. It answers when the whole file is there."""


def find_or_create(client: MlflowClient, settings: PublishContract, run: Run, tuned: Described | None) -> Any | None:
    """The logged model of a run, with the run's parameters: the one that an earlier attempt began, else a new one.
    None where the registry or its client is of MLflow 2.

    An earlier attempt's may have some of the files. So of a language model, it is one with the same content.
    """
    home, run_id = run.info.experiment_id, run.info.run_id
    if not hasattr(client, "create_logged_model"):
        print(f"this image has MLflow {mlflow.__version__}, without logged models: {INSTEAD}", flush=True)
        return None
    try:
        begun = client.search_logged_models([home], f"source_run_id = '{run_id}' AND name = '{NAME}'")
        tags = {**runs.describing(settings), **(tuned.tags if tuned else {})}
        same = [model for model in begun if model.tags.get(language.DIGEST) == tags.get(language.DIGEST)]
        model = same[0] if same else client.create_logged_model(home, NAME, run_id, tags=tags)
    except MlflowException as error:
        if error.error_code != NO_ENDPOINT:
            raise
        print(f"the registry is of MLflow 2, without logged models: {INSTEAD}", flush=True)
        return None
    new = {name: value for name, value in run.data.params.items() if name not in model.params}
    if new:
        client.log_model_params(model.model_id, new)
    return model


def upload(
    client: MlflowClient, settings: PublishContract, run: Run, model: Any | None, tuned: Described | None
) -> None:
    """The model folder, and what makes it one of MLflow's. A logged model is then ready, and the run's output."""
    folder, run_id = settings.training.output_dir / "model", run.info.run_id
    if model is None:
        with _described(folder, tuned, run_id=run_id, artifact_path=NAME) as beside:
            if tuned:
                for name, path in _ordered(tuned, folder, *beside):
                    with _patient(path):
                        client.log_artifact(run_id, str(path), f"{NAME}/{_parent(name)}".rstrip("/"))
                return
            for part in (folder, *beside):
                client.log_artifacts(run_id, str(part), NAME)
        return
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    if model.status != LoggedModelStatus.READY:
        names = {"artifact_path": model.artifact_location, "model_uuid": model.model_id, "model_id": model.model_id}
        with _described(folder, tuned, run_id=run_id, **names) as beside:
            if tuned:
                _upload_missing(client, model.model_id, _ordered(tuned, folder, *beside))
            else:
                for part in (folder, *beside):
                    client.log_model_artifacts(model.model_id, str(part))
        client.finalize_logged_model(model.model_id, "READY")
    if not _outputs(run):
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])


def _upload_missing(client: MlflowClient, model_id: str, files: list[tuple[str, Path]]) -> None:
    """Goes on where an earlier attempt broke off: a file in its full length is there as a whole, since servers show it
    when its last byte has come. What is made for each attempt anew is small, and differs."""
    for name, path in files:
        size, folder = path.stat().st_size, _parent(name)
        if size >= LARGE_BYTES:
            there = client.list_logged_model_artifacts(model_id, folder or None)
            if any(file.path == name and file.file_size == size for file in there):
                print(f"{name} is in the registry already", flush=True)
                continue
        with _patient(path):
            client.log_model_artifact(model_id, str(path), folder or None)


def _ordered(tuned: Described, folder: Path, beside: Path) -> list[tuple[str, Path]]:
    """Name and path of each file, `MLmodel` last. Hidden files are no part of a language model."""
    names = {name: folder / name for name in tuned.digests}
    names |= {path.relative_to(beside).as_posix(): path for path in beside.rglob("*") if path.is_file()}
    return sorted(names.items(), key=lambda item: item[0] == mlmodel.MLMODEL)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


@contextmanager
def _patient(path: Path) -> Iterator[None]:
    """Gives MLflow's client the time that a file of this size takes."""
    before = os.environ[TIMEOUT]
    os.environ[TIMEOUT] = str(int(before) + path.stat().st_size // BYTES_PER_SECOND)
    try:
        yield
    finally:
        os.environ[TIMEOUT] = before


@contextmanager
def _described(folder: Path, tuned: Described | None, **identity: Any) -> Iterator[list[Path]]:
    """The folder of what the model's folder lacks to be one of MLflow's, if it can be one."""
    with tempfile.TemporaryDirectory() as scratch:
        if tuned:
            language.write(tuned, folder, Path(scratch), **identity)
            yield [Path(scratch)]
        else:
            yield [Path(scratch)] if mlmodel.write(folder, Path(scratch), **identity) else []


def source(run: Run) -> dict[str, str]:
    """Where a version made of a finished run comes from: arguments of `create_model_version`."""
    outputs = _outputs(run)
    if not outputs:
        return {"source": f"{run.info.artifact_uri}/{NAME}"}
    return {"source": f"models:/{outputs[0].model_id}", "model_id": outputs[0].model_id}


def _outputs(run: Run) -> list[Any]:
    outputs = getattr(run, "outputs", None)
    return list(outputs.model_outputs) if outputs else []
