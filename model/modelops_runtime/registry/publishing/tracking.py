"""A run and a model version in MLflow."""

import contextlib
import os
from collections.abc import Iterator, Mapping

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from modelops_runtime.contract import ContractError, PublishContract
from modelops_runtime.registry.publishing import gate, language, logged_models, runs, tables
from modelops_runtime.registry.publishing.names import say_renamed
from modelops_runtime.registry.publishing.outputs import Outputs
from modelops_runtime.registry.publishing.report import Published

NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
MLFLOW = {
    "GIT_PYTHON_REFRESH": "quiet",  # there is no git in the image
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # the long waiting is ours, with a message
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # an address that works in the cluster only
}
"""Defaults for MLflow's own settings."""


def registry(settings: PublishContract) -> contextlib.AbstractContextManager[MlflowClient]:
    return client_of(settings.tracking_uri)


@contextlib.contextmanager
def client_of(tracking_uri: str) -> Iterator[MlflowClient]:
    """A client. What MLflow refuses becomes a ContractError with its reason."""
    for name, value in MLFLOW.items():
        os.environ.setdefault(name, value)
    try:
        yield MlflowClient(tracking_uri)
    except MlflowException as error:
        reason = str(error).splitlines()[0][:500]
        raise ContractError(f"the registry {tracking_uri} refused or failed: {reason}") from error


def published(client: MlflowClient, settings: PublishContract) -> Published | None:
    """The version that already has this run's alias, else None."""
    existing = by_alias(client, settings.training.model_name, settings.alias)
    return None if existing is None else described(client, settings.training.model_name, *existing)


def described(client: MlflowClient, name: str, version: str, mlflow_run: str) -> Published:
    """A version with the metrics of its run."""
    run = client.get_run(mlflow_run)
    return Published(name, version, run.info.experiment_id, mlflow_run, runs.final_metrics(run))


def by_alias(client: MlflowClient, name: str, alias: str) -> tuple[str, str] | None:
    """Version and MLflow run that an alias names, or None."""
    # A server with accounts denies access to a model that does not exist, so it is searched first.
    if not client.search_registered_models(f"name = '{name}'"):
        return None
    try:
        version = client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in NOT_THERE:
            return None
        raise
    return str(version.version), str(version.run_id)


def comparison(settings: PublishContract) -> gate.Comparison:
    """What relative bounds compare with."""
    return gate.Comparison(settings.training.model_name, settings.serving_alias, settings.first_version)


def serving(client: MlflowClient, settings: PublishContract) -> gate.Serving | None:
    """The version that serves now; None when there is none."""
    current = by_alias(client, settings.training.model_name, settings.serving_alias)
    if current is None:
        return None
    version, mlflow_run = current
    run = _run(client, mlflow_run)
    if run is None:
        return gate.Serving(version, {})
    same_run = run.data.tags.get(runs.RUN_ID) == settings.training.run_id
    return gate.Serving(version, runs.final_metrics(run), same_run=same_run)


def _run(client: MlflowClient, mlflow_run: str) -> Run | None:
    """None for a run that was deleted, or a version that came without one."""
    try:
        return client.get_run(mlflow_run)
    except MlflowException as error:
        if error.error_code in NOT_THERE:
            return None
        raise


def judge_again(client: MlflowClient, settings: PublishContract, bounds: gate.Gate, published: Published) -> None:
    """Judges a registered version by what MLflow has. Raises ContractError."""
    name = published.name

    def before(number: str) -> gate.Serving | None:
        versions = client.search_model_versions(f"name = '{name}'")
        run_ids = [str(version.run_id) for version in versions if str(version.version) == number]
        run = _run(client, run_ids[0]) if run_ids else None
        return None if run is None else gate.Serving(number, runs.final_metrics(run), "which served before")

    tags = client.get_model_version(name, published.version).tags
    met = gate.judge_again(
        bounds, published.metrics, comparison(settings), tags, lambda: serving(client, settings), before
    )
    for key, value in met.items():
        client.set_model_version_tag(name, published.version, key, value)


def log(client: MlflowClient, settings: PublishContract, outputs: Outputs) -> Run:
    """The finished MLflow run of this training, with parameters, metrics, history, tags, data and the model."""
    run = runs.find_or_create(client, settings)
    if run.info.status == "FINISHED":
        return run
    run_id = run.info.run_id
    client.update_run(run_id, status="RUNNING")
    try:
        say_renamed([*outputs.metrics, *outputs.parameters])
        runs.log_parameters(client, run_id, outputs.parameters)
        runs.log_epochs(client, run_id, outputs.history)
        runs.log_dataset(client, run_id, settings.training.data_uri, settings.training.data_version)
        tuned = language.read(settings.training.output_dir / "model")
        runs.log_tags(client, run_id, tuned.tags if tuned else {})
        run = client.get_run(run_id)
        model = logged_models.find_or_create(client, settings, run, tuned)
        last_epoch = int(max((row["epoch"] for row in outputs.history), default=0))
        runs.log_final(client, run_id, outputs.metrics, last_epoch, model)
        tables.log(client, run_id, settings.training.output_dir)
        logged_models.upload(client, settings, run, model, tuned)
    except BaseException:
        with contextlib.suppress(MlflowException):  # the registry may be what failed
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    return client.get_run(run_id)


def register(client: MlflowClient, settings: PublishContract, run: Run, judged: Mapping[str, str]) -> Published:
    """A version of the registered model from a finished run, then its alias: a version found by it is whole. `judged`
    are the tags that the gate gives it."""
    name = settings.training.model_name
    version = _unfinished_version(client, settings)
    if version is None:
        with contextlib.suppress(MlflowException):
            client.create_registered_model(name)  # usually it exists already; any other reason fails the next call too
        tags = {**runs.describing(settings), **_own(run), **judged}
        source = logged_models.source(client.get_run(run.info.run_id))
        created = client.create_model_version(name, run_id=run.info.run_id, tags=tags, await_creation_for=0, **source)
        version = str(created.version)
    client.set_registered_model_alias(name, settings.alias, version)
    return Published(name, version, run.info.experiment_id, run.info.run_id, runs.final_metrics(run))


def _own(run: Run) -> dict[str, str]:
    """Tags of the run that its version gets too."""
    return {key: value for key, value in run.data.tags.items() if key in (runs.TRIAL, *language.TAGS)}


def _unfinished_version(client: MlflowClient, settings: PublishContract) -> str | None:
    """A version of this very run that an earlier publishing made, but got no further."""
    versions = client.search_model_versions(f"name = '{settings.training.model_name}'")
    same = [version for version in versions if version.tags.get(runs.RUN_ID) == settings.training.run_id]
    return str(same[0].version) if same else None
