"""MLflow runs of trainings: found by their identity, filled during the training, finished once."""

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from modelops_runtime.contract import ConfigurationError, ContractError, PublishContract, TrainingContract, is_number

BATCH = {"metrics": 1000, "params": 100}
"""What one log_batch call of MLflow's API takes."""
MODEL = "modelops.model"
RUN_ID = "modelops.run_id"
METRICS = "modelops.metrics"
"""Tag with the final metrics as JSON: a metric of the same name may have been logged for each epoch."""
ROLE = "modelops.role"
TRIAL = "modelops.trial"
"""Tag with a trial's number in its sweep."""
PARENT = "mlflow.parentRunId"
T = TypeVar("T")


def experiment(client: MlflowClient, name: str) -> str:
    """Id of the experiment, which is made if it is not there."""
    for _attempt in range(2):
        existing = client.get_experiment_by_name(name)
        if existing:
            if existing.lifecycle_stage == "deleted":
                raise ConfigurationError(f"the MLflow experiment {name!r} is deleted: restore it or use another name")
            return str(existing.experiment_id)
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run made it meanwhile
                raise
    raise ContractError(f"the MLflow experiment {name!r} can't be created or found")


def find(client: MlflowClient, experiment_id: str, training: TrainingContract, role: str, trial: str = "") -> list[Run]:
    """The runs that a training has in the experiment in one role, the oldest first."""
    tags = {MODEL: training.model_name, RUN_ID: training.run_id, ROLE: role, **({TRIAL: trial} if trial else {})}
    words = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    matching = client.search_runs([experiment_id], " and ".join(words), max_results=1000)
    return sorted(matching, key=lambda run: (run.info.start_time, run.info.run_id))


def find_or_create(client: MlflowClient, settings: PublishContract) -> Run:
    """The MLflow run of this training: the one that an earlier attempt or the watcher began, else a new one."""
    training, sweep = settings.training, settings.sweep
    home = experiment(client, settings.experiment_name)
    role, trial = ("run", "") if sweep is None else ("trial", str(sweep.index))
    existing = find(client, home, training, role, trial)
    if existing:
        return existing[0]
    tags = {**describing(settings), ROLE: role}
    name = f"{training.model_name}-{training.run_id}"
    if sweep is not None:
        tags |= {TRIAL: trial, PARENT: parent(client, settings, home).info.run_id}
        name = f"{name}-{trial}"
    return client.create_run(home, run_name=name, tags=tags)


def parent(client: MlflowClient, settings: PublishContract, home: str) -> Run:
    """The run above a sweep's trials.

    Trials start in parallel, and MLflow has no way to create a run only where there is none. So a trial that finds none
    creates one and searches again, and the oldest of several counts; any duplicate left is cleaned up when the best
    trial is selected, by a single process.
    """
    training = settings.training
    existing = find(client, home, training, "sweep")
    if not existing:
        name = f"{training.model_name}-{training.run_id}"
        created = client.create_run(home, run_name=name, tags={**describing(settings), ROLE: "sweep"})
        existing = find(client, home, training, "sweep")
        if existing and existing[0].info.run_id != created.info.run_id:
            client.delete_run(created.info.run_id)
    return existing[0] if existing else created


def describing(settings: PublishContract) -> dict[str, str]:
    """Tags that say where a run or version comes from."""
    training = settings.training
    tags = {
        MODEL: training.model_name,
        RUN_ID: training.run_id,
        "modelops.image": settings.image,
        "modelops.framework": training.framework,
        "modelops.data_uri": training.data_uri,
        "modelops.data_version": training.data_version,
        "modelops.git_commit": settings.git_commit,
    }
    return {key: value for key, value in tags.items() if value}


def log_parameters(client: MlflowClient, run_id: str, parameters: Mapping[str, Any]) -> None:
    """Logging the same again is allowed."""
    params = [Param(key, value if isinstance(value, str) else json.dumps(value)) for key, value in parameters.items()]
    for row in batches(params, BATCH["params"]):
        client.log_batch(run_id, params=row)


def log_epochs(client: MlflowClient, run_id: str, epochs: Iterable[Mapping[str, Any]]) -> None:
    """Rows with `epoch` and metrics, as steps. Those that are there already are left out: MLflow would keep both."""
    rows = list(epochs)
    names = {name for row in rows for name in row if name != "epoch"}
    there = {(name, point.step) for name in names for point in client.get_metric_history(run_id, name)}
    now = int(time.time() * 1000)
    points = [
        Metric(name, value, now, int(row["epoch"]))
        for row in rows
        for name, value in row.items()
        if name != "epoch" and is_number(value) and (name, int(row["epoch"])) not in there
    ]
    for part in batches(points, BATCH["metrics"]):
        client.log_batch(run_id, metrics=part)


def log_final(client: MlflowClient, run_id: str, metrics: Mapping[str, float], last_epoch: int) -> None:
    """The metrics of the finished model, after the last epoch's: so MLflow shows these as the latest."""
    now = int(time.time() * 1000)
    points = [Metric(name, value, now, last_epoch) for name, value in metrics.items()]
    tags = [RunTag(METRICS, json.dumps(dict(metrics), sort_keys=True))]
    client.log_batch(run_id, metrics=points, tags=tags)


def final_metrics(run: Run) -> dict[str, float]:
    """The metrics of a finished run, also of one that somebody else logged."""
    tag = run.data.tags.get(METRICS)
    found = json.loads(tag) if tag else run.data.metrics
    return {name: float(value) for name, value in found.items()}


def batches(items: list[T], size: int) -> list[list[T]]:
    """`items` in parts of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]
