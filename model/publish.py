"""The publishing container: `python -m model.publish`. Gate first, then MLflow. Contract: docs/model.md."""

import json
import math
import os
import time
import urllib.request
from pathlib import Path
from typing import Any, TypeVar

# Before MLflow is imported: we do our own waiting, with a message; no git, no links to addresses in the cluster.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from model import contract, gate
from model.contract import ConfigurationError, ContractError, Environment, PublishContract

BATCH = {"metrics": 1000, "params": 100, "tags": 100}
"""What one log_batch call of MLflow's API takes."""
T = TypeVar("T")


def read_outputs(output_dir: Path) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Metrics and per-epoch history that training left. Raises ConfigurationError naming what is not as agreed."""
    problems = []
    metrics = _read_json(output_dir / "metrics.json")
    history = _read_json(output_dir / "history.json", default=[])
    if not isinstance(metrics, dict) or not all(_is_number(value) for value in metrics.values()):
        problems.append(f"{output_dir}/metrics.json must be a JSON object of finite numbers")
    if not isinstance(history, list) or not all(
        isinstance(row, dict) and _is_number(row.get("epoch")) for row in history
    ):
        problems.append(f"{output_dir}/history.json must be a list of objects with an epoch")
    if not any((output_dir / "model").glob("*")):
        problems.append(f"the training left no model in {output_dir}/model")
    if problems:
        raise ConfigurationError(*problems)
    return metrics, history


def _read_json(path: Path, default: Any = None) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        if default is None:
            raise ConfigurationError(f"the training left no {path}") from None
        return default
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def wait_for_registry(tracking_uri: str, wait_seconds: float) -> None:
    """Raises ContractError with the last reason when the registry does not answer within `wait_seconds`."""
    deadline = time.monotonic() + wait_seconds
    pause = 0.5
    said = False
    while True:
        try:
            with urllib.request.urlopen(f"{tracking_uri.rstrip('/')}/health", timeout=5):
                return
        except (OSError, ValueError) as error:
            if time.monotonic() + pause > deadline:
                waited = f"after {wait_seconds:g} s"
                raise ContractError(f"the registry {tracking_uri} is not reachable {waited}: {error}") from None
            if not said:
                print(f"waiting up to {wait_seconds:g} s for the registry {tracking_uri}: {error}", flush=True)
                said = True
        time.sleep(pause)
        pause = min(pause * 2, 5)


def published_version(client: MlflowClient, name: str, alias: str) -> str | None:
    """The version that already has the alias, else None."""
    try:
        return str(client.get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def log_run(
    client: MlflowClient, settings: PublishContract, metrics: dict[str, float], history: list[dict[str, float]]
) -> tuple[str, str]:
    """A finished MLflow run with parameters, metrics, history, tags and the model: its id and the model's URI."""
    training = settings.training
    experiment = _experiment(client, settings.experiment_name)
    run = client.create_run(experiment, run_name=f"{training.model_name}-{training.run_id}")
    run_id = run.info.run_id
    try:
        params = [Param(key, _text(value)) for key, value in training.parameters.items()]
        tags = [RunTag(key, value) for key, value in _tags(settings).items()]
        for row in _batches(params, BATCH["params"]):
            client.log_batch(run_id, params=row)
        client.log_batch(run_id, tags=tags)
        for points in _batches(_points(metrics, history), BATCH["metrics"]):
            client.log_batch(run_id, metrics=points)
        client.log_artifacts(run_id, str(training.output_dir / "model"), "model")
    except BaseException:
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
        "modelops.run_id": training.run_id,
        "modelops.image": settings.image,
        "modelops.framework": training.framework,
        "modelops.data_uri": training.data_uri,
        "modelops.data_version": training.data_version,
    }
    return {key: value for key, value in tags.items() if value}


def _points(metrics: dict[str, float], history: list[dict[str, float]]) -> list[Metric]:
    now = int(time.time() * 1000)
    points = [Metric(name, value, now, 0) for name, value in metrics.items()]
    for row in history:
        step = int(row["epoch"])
        points += [
            Metric(name, value, now, step) for name, value in row.items() if name != "epoch" and _is_number(value)
        ]
    return points


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _batches(items: list[T], size: int) -> list[list[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def register(client: MlflowClient, settings: PublishContract, mlflow_run: str, source: str) -> str:
    """A version of the registered model; the alias is set last, so whoever finds it finds everything."""
    name = settings.training.model_name
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(name, source, mlflow_run, tags=_tags(settings), await_creation_for=0)
    version = str(made.version)
    client.set_registered_model_alias(name, settings.alias, version)
    return version


def publish(settings: PublishContract, bounds: gate.Gate) -> None:
    metrics, history = read_outputs(settings.training.output_dir)
    for line in gate.check(bounds, metrics):
        print(f"gate met: {line}", flush=True)
    wait_for_registry(settings.tracking_uri, settings.wait_seconds)
    client = MlflowClient(settings.tracking_uri)
    name, alias = settings.training.model_name, settings.alias
    try:
        version = published_version(client, name, alias)
        if version:
            print(f"{name}@{alias} is already published as version {version}: nothing to do", flush=True)
            return
        mlflow_run, source = log_run(client, settings, metrics, history)
        version = register(client, settings, mlflow_run, source)
    except MlflowException as error:
        reason = str(error).splitlines()[0][:500]
        raise ContractError(f"the registry {settings.tracking_uri} refused or failed: {reason}") from error
    print(f"published {name} version {version} as models:/{name}@{alias} (MLflow run {mlflow_run})", flush=True)


def main() -> None:
    env = Environment()
    settings = PublishContract.read(env)
    bounds: gate.Gate = {}
    try:
        bounds = gate.parse(settings.gate)
    except ConfigurationError as error:
        env.problems.extend(error.problems)
    env.check()
    publish(settings, bounds)


if __name__ == "__main__":
    contract.run(main)
