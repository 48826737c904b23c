"""A run and a model version in MLflow."""

import contextlib
import json
import time
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from model.contract import ConfigurationError, ContractError, PublishContract, is_number
from model.outputs import Outputs

BATCH = {"metrics": 1000, "params": 100}
"""What one log_batch call of MLflow's API takes."""
RUN_ID = "modelops.run_id"
T = TypeVar("T")


def record(settings: PublishContract, outputs: Outputs) -> str:
    """Log, register and give the alias; what was done, in words. An alias that is there already is left alone.

    Raises ContractError with MLflow's reason.
    """
    client = MlflowClient(settings.tracking_uri)
    name, alias = settings.training.model_name, settings.alias
    try:
        version = published_version(client, name, alias)
        if version:
            return f"{name}@{alias} is already published as version {version}: nothing to do"
        version = unfinished_version(client, settings) or register(client, settings, outputs)
        client.set_registered_model_alias(name, alias, version)  # last: whoever finds it finds everything
    except MlflowException as error:
        reason = str(error).splitlines()[0][:500]
        raise ContractError(f"the registry {settings.tracking_uri} refused or failed: {reason}") from error
    return f"published {name} version {version} as models:/{name}@{alias}"


def published_version(client: MlflowClient, name: str, alias: str) -> str | None:
    """The version that already has the alias, else None."""
    try:
        return str(client.get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def unfinished_version(client: MlflowClient, settings: PublishContract) -> str | None:
    """A version of this very run that an earlier publishing made, but got no further."""
    made = client.search_model_versions(f"name = '{settings.training.model_name}'")
    same = [version for version in made if version.tags.get(RUN_ID) == settings.training.run_id]
    return str(same[0].version) if same else None


def log_run(client: MlflowClient, settings: PublishContract, outputs: Outputs) -> tuple[str, str]:
    """A finished MLflow run with parameters, metrics, history, tags and the model: its id and the model's URI."""
    training = settings.training
    experiment = _experiment(client, settings.experiment_name)
    run = client.create_run(experiment, run_name=f"{training.model_name}-{training.run_id}")
    run_id = run.info.run_id
    try:
        params = [Param(key, _text(value)) for key, value in outputs.parameters.items()]
        tags = [RunTag(key, value) for key, value in _tags(settings).items()]
        for row in _batches(params, BATCH["params"]):
            client.log_batch(run_id, params=row)
        client.log_batch(run_id, tags=tags)
        for points in _batches(_points(outputs), BATCH["metrics"]):
            client.log_batch(run_id, metrics=points)
        client.log_artifacts(run_id, str(training.output_dir / "model"), "model")
    except BaseException:
        with contextlib.suppress(MlflowException):  # the registry may be what failed
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    return run_id, f"{run.info.artifact_uri}/model"


def _experiment(client: MlflowClient, name: str) -> str:
    for _attempt in range(2):
        found = client.get_experiment_by_name(name)
        if found:
            if found.lifecycle_stage == "deleted":
                raise ConfigurationError(f"the MLflow experiment {name!r} is deleted: restore it or use another name")
            return str(found.experiment_id)
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run made it meanwhile
                raise
    raise ContractError(f"the MLflow experiment {name!r} can't be created or found")


def _tags(settings: PublishContract) -> dict[str, str]:
    training = settings.training
    tags = {
        RUN_ID: training.run_id,
        "modelops.image": settings.image,
        "modelops.framework": training.framework,
        "modelops.data_uri": training.data_uri,
        "modelops.data_version": training.data_version,
    }
    return {key: value for key, value in tags.items() if value}


def _points(outputs: Outputs) -> list[Metric]:
    now = int(time.time() * 1000)
    points = [Metric(name, value, now, 0) for name, value in outputs.metrics.items()]
    for row in outputs.history:
        step = int(row["epoch"])
        points += [
            Metric(name, value, now, step) for name, value in row.items() if name != "epoch" and is_number(value)
        ]
    return points


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _batches(items: list[T], size: int) -> list[list[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def register(client: MlflowClient, settings: PublishContract, outputs: Outputs) -> str:
    """A new version of the registered model, which is made if it is not there."""
    name = settings.training.model_name
    mlflow_run, source = log_run(client, settings, outputs)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(name, source, mlflow_run, tags=_tags(settings), await_creation_for=0)
    return str(made.version)
