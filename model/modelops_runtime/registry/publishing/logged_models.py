"""A run's model as MLflow 3 keeps it: a logged model, which has the files and is the run's output.

A registry of MLflow 2 has no such thing, nor has its client: there the files are artifacts of the run.
"""

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
from modelops_runtime.registry.publishing import mlmodel, runs

NAME = "model"
"""Of the logged model, or of the folder among the run's artifacts: `runs:/<run>/model` is either."""
INSTEAD = "the model's files are artifacts of the run"
NO_ENDPOINT = "ENDPOINT_NOT_FOUND"


def find_or_create(client: MlflowClient, settings: PublishContract, run: Run) -> Any | None:
    """The logged model of a run, with the run's parameters: the one that an earlier attempt began, else a new one.
    None where the registry or its client is of MLflow 2."""
    home, run_id = run.info.experiment_id, run.info.run_id
    if not hasattr(client, "create_logged_model"):
        print(f"this image has MLflow {mlflow.__version__}, without logged models: {INSTEAD}", flush=True)
        return None
    try:
        begun = client.search_logged_models([home], f"source_run_id = '{run_id}' AND name = '{NAME}'")
        model = begun[0] if begun else client.create_logged_model(home, NAME, run_id, tags=runs.describing(settings))
    except MlflowException as error:
        if error.error_code != NO_ENDPOINT:
            raise
        print(f"the registry is of MLflow 2, without logged models: {INSTEAD}", flush=True)
        return None
    new = {name: value for name, value in run.data.params.items() if name not in model.params}
    if new:
        client.log_model_params(model.model_id, new)
    return model


def upload(client: MlflowClient, settings: PublishContract, run: Run, model: Any | None) -> None:
    """The model folder, and what makes it one of MLflow's. A logged model is then ready, and the run's output."""
    folder, run_id = settings.training.output_dir / "model", run.info.run_id
    if model is None:
        with _described(folder, run_id=run_id, artifact_path=NAME) as beside:
            for part in (folder, *beside):
                client.log_artifacts(run_id, str(part), NAME)
        return
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    if model.status != LoggedModelStatus.READY:
        names = {"artifact_path": model.artifact_location, "model_uuid": model.model_id, "model_id": model.model_id}
        with _described(folder, run_id=run_id, **names) as beside:
            for part in (folder, *beside):
                client.log_model_artifacts(model.model_id, str(part))
        client.finalize_logged_model(model.model_id, "READY")
    if not _outputs(run):
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])


@contextmanager
def _described(folder: Path, **identity: Any) -> Iterator[list[Path]]:
    """The folder of what the model's folder lacks to be one of MLflow's, if it can be one."""
    with tempfile.TemporaryDirectory() as scratch:
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
