"""MLflow runs of trainings: found by their identity, filled during the training, finished once."""

import hashlib
import json
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from modelops_runtime.artifacts.results import flat
from modelops_runtime.contract import ConfigurationError, ContractError, PublishContract, TrainingContract
from modelops_runtime.registry.publishing import records
from modelops_runtime.registry.publishing.names import mlflow_name

BATCH = {"metrics": 1000, "params": 100, "tags": 100}
"""What one log_batch call of MLflow's API takes."""
PARAMETER_CHARACTERS = 6000
"""Of a parameter's value in MLflow (`MAX_PARAM_VAL_LENGTH` in `mlflow/utils/validation.py`), which cuts the rest."""
DATASET_NAME, DATASET_DIGEST = 500, 36
"""Characters of a dataset's name and digest in MLflow, which refuses more. The run's tags have all of them."""
MODEL = "modelops.model"
RUN_ID = "modelops.run_id"
ROLE = "modelops.role"
TRIAL = "modelops.trial"
"""Tag with a trial's number in its sweep."""
PARENT = "mlflow.parentRunId"


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
    tags = {**describing(settings), **_origin(settings), ROLE: role}
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
        created = client.create_run(
            home, run_name=name, tags={**describing(settings), **_origin(settings), ROLE: "sweep"}
        )
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


def _origin(settings: PublishContract) -> dict[str, str]:
    """What MLflow's own pages show of where a run comes from, in its own tags."""
    tags = {"mlflow.source.name": settings.image, "mlflow.source.git.commit": settings.git_commit}
    known = {key: value for key, value in tags.items() if value}
    return {**known, "mlflow.source.type": "JOB"} if settings.image else known


def log_dataset(client: MlflowClient, run_id: str, uri: str, version: str, context: str = "training") -> None:
    """The data as a dataset that the run has read; its digest is the version. Logging the same again is allowed."""
    if not uri:
        return
    scheme = urllib.parse.urlsplit(uri).scheme
    kind = {"": "local", "file": "local", "https": "http"}.get(scheme, scheme)
    # MLflow wants a digest, also of data without a version.
    digest = version or hashlib.sha256(uri.encode()).hexdigest()[:8]
    source = json.dumps({"url" if kind == "http" else "uri": uri})
    dataset = Dataset(uri[:DATASET_NAME], digest[:DATASET_DIGEST], kind, source)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])


def log_parameters(client: MlflowClient, run_id: str, parameters: Mapping[str, Any]) -> None:
    """Logging the same again is allowed. What is there already stays, as MLflow wants; the record has the last."""
    there = client.get_run(run_id).data.params
    params = [Param(mlflow_name(name), _in_mlflow(value)) for name, value in parameters.items()]
    for param in params:
        if there.get(param.key, param.value) != param.value:
            print(f"MLflow keeps {param.key} as {there[param.key]!r}; the training used {param.value!r}", flush=True)
    new = [param for param in params if param.key not in there]
    for part in records.batches(new, BATCH["params"], lambda param: (param.key, param.value)):
        client.log_batch(run_id, params=part)
    log_tags(client, run_id, records.tags(records.PARAMETERS, parameters))


def _in_mlflow(value: Any) -> str:
    """A parameter's value as MLflow can store it: JSON, text as it is, cut where it is too long."""
    text = value if isinstance(value, str) and _storable(value) else json.dumps(value, sort_keys=True)
    return text if len(text) <= PARAMETER_CHARACTERS else f"{text[: PARAMETER_CHARACTERS - 1]}…"


def _storable(text: str) -> bool:
    """Whether it is Unicode (a lone surrogate is not) that PostgreSQL takes, which has no NUL."""
    return "\0" not in text and text == text.encode(errors="ignore").decode()


def log_epochs(client: MlflowClient, run_id: str, epochs: Iterable[Mapping[str, Any]]) -> None:
    """Rows with `epoch` and metrics, as steps. Those that are there already are left out: MLflow would keep both."""
    rows = [(int(row["epoch"]), _points(row)) for row in epochs]
    names = {name for _epoch, row in rows for name in row}
    there = {(name, point.step) for name in names for point in client.get_metric_history(run_id, name)}
    now = int(time.time() * 1000)
    points = [
        Metric(name, value, now, epoch)
        for epoch, row in rows
        for name, value in row.items()
        if (name, epoch) not in there
    ]
    _log_metrics(client, run_id, points)


def _points(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of an epoch, by their names in MLflow; what is no number is left out."""
    metrics, _left_out = flat({name: value for name, value in row.items() if name != "epoch"})
    return {mlflow_name(name): value for name, value in metrics.items()}


def log_final(
    client: MlflowClient, run_id: str, metrics: Mapping[str, float], last_epoch: int, model: Any | None = None
) -> None:
    """The metrics of the finished model, after the last epoch's: so MLflow shows these as the latest. The logged
    `model`, if there is one, gets them too."""
    now, of = int(time.time() * 1000), {} if model is None else {"model_id": model.model_id}
    points = [Metric(mlflow_name(name), value, now, last_epoch, **of) for name, value in metrics.items()]
    _log_metrics(client, run_id, points)
    log_tags(client, run_id, records.tags(records.METRICS, metrics))


def final_metrics(run: Run) -> dict[str, float]:
    """The metrics of a finished run, by their own names, also of one that somebody else logged."""
    return records.final_metrics(run.data.tags, run.data.metrics)


def _log_metrics(client: MlflowClient, run_id: str, metrics: list[Metric]) -> None:
    for part in records.batches(metrics, BATCH["metrics"], lambda metric: (metric.key,)):
        client.log_batch(run_id, metrics=part)


def log_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    run_tags = [RunTag(key, value) for key, value in tags.items()]
    for part in records.batches(run_tags, BATCH["tags"], lambda tag: (tag.key, tag.value)):
        client.log_batch(run_id, tags=part)
