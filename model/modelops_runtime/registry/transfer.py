"""Brings a model version from one registry into another: `modelops-transfer`. Gate first, then the files.

Nothing is trained or converted. The files are the same to the byte, and so are alias, metrics, parameters and tags, so
a version has one name wherever it is. Contract: docs/model.md. Standard library only: the serving image runs it.
"""

import hashlib
import re
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelops_runtime.artifacts import language_model
from modelops_runtime.artifacts.language_model import LanguageModel
from modelops_runtime.contract import (
    ConfigurationError,
    ContractError,
    Environment,
    FetchContract,
    TransferContract,
)
from modelops_runtime.registry.fetch import Contents, bound, get, listed
from modelops_runtime.registry.publishing import gate, records
from modelops_runtime.registry.publishing.report import Published, report
from modelops_runtime.registry.scratch import resumed
from modelops_runtime.registry.sources import progress
from modelops_runtime.registry.sources.client import Registry
from modelops_runtime.registry.sources.mlflow import artifacts
from modelops_runtime.registry.sources.source import RemoteFile, Source

ACCOUNT = "MODELOPS_SOURCE"
"""Begins the names of the variables with the account at the registry where the version is."""
RUN_ID, ORIGIN = "modelops.run_id", "modelops.transferred_from"
SOURCE = "mlflow.source."
BATCH = 100
"""How much of a run one call of MLflow's API takes."""


@dataclass(frozen=True)
class Version:
    """A registered version and the MLflow run behind it."""

    name: str
    number: str
    tags: dict[str, str]
    run: dict[str, Any]

    @property
    def run_tags(self) -> dict[str, str]:
        """Tags of the run, without those that MLflow gives itself: of its own, only where the run comes from."""
        tags = {tag["key"]: tag["value"] for tag in self.run["data"].get("tags", [])}
        return {key: value for key, value in tags.items() if not key.startswith("mlflow.") or key.startswith(SOURCE)}

    @property
    def metrics(self) -> dict[str, float]:
        """Final metrics, also of a run that somebody else logged."""
        latest = {metric["key"]: metric["value"] for metric in self.run["data"].get("metrics", [])}
        return records.final_metrics(self.run_tags, latest)

    @property
    def published(self) -> Published:
        """What the component reads."""
        info = self.run["info"]
        return Published(self.name, self.number, info["experiment_id"], info["run_id"], self.metrics)


def transfer(settings: TransferContract, bounds: gate.Gate) -> str:
    """Checks the version against the gate and copies it unless it is there already; returns what was done, in words.
    Raises ContractError."""
    uri = settings.version.model_uri
    target = Registry(settings.tracking_uri, settings.version.wait_seconds)
    if there := find(target, settings.model_name, settings.alias):
        _judge_again(target, settings, bounds, there)
        _report(settings, there)
        return f"{uri} is already there as version {there.number}: nothing to do"
    source = Registry(settings.version.tracking_uri, settings.version.wait_seconds, ACCOUNT)
    version = find(source, settings.model_name, settings.alias)
    if version is None:
        raise ContractError(f"the registry {settings.version.tracking_uri} has no {uri}")
    tags = gate.judge(bounds, version.metrics, _comparison(settings), _serving(target, settings))
    stored = artifacts(source, source.artifact_uri(version.name, None, version.number), settings.version.wait_seconds)
    with _scratch(settings, stored) as folder:
        contents = listed(stored, folder, settings.version)
        _check_base(target, settings, stored, contents, folder)
        run = _run(target, settings, version)
        home = f"{run['info']['artifact_uri']}/model"
        _copy(stored, _all(stored, contents, settings.version), contents, folder, target, home)
    number = _register(target, settings, version, run["info"]["run_id"], home, tags)
    _report(settings, Version(version.name, number, version.tags, {**version.run, "info": run["info"]}))
    return f"{uri} is here as version {number}, from {settings.version.tracking_uri} (version {version.number} there)"


def _comparison(settings: TransferContract) -> gate.Comparison:
    return gate.Comparison(settings.model_name, settings.serving_alias, settings.first_version)


def _serving(target: Registry, settings: TransferContract) -> gate.Serving | None:
    """The version that serves in the registry that receives; None when there is none."""
    serving = find(target, settings.model_name, settings.serving_alias)
    if serving is None:
        return None
    same_run = serving.run_tags.get(RUN_ID) == settings.run_id
    return gate.Serving(serving.number, serving.metrics, same_run=same_run)


def _judge_again(target: Registry, settings: TransferContract, bounds: gate.Gate, there: Version) -> None:
    """Judges a version that is there by what its registry has. Raises ContractError."""
    name = settings.model_name

    def before(number: str) -> gate.Serving | None:
        version = _numbered(target, name, number)
        return None if version is None else gate.Serving(number, version.metrics, "which served before")

    comparison, tags = _comparison(settings), there.tags
    met = gate.judge_again(bounds, there.metrics, comparison, tags, lambda: _serving(target, settings), before)
    for key, value in met.items():
        content = {"name": name, "version": there.number, "key": key, "value": value}
        target.post("model-versions/set-tag", content, f"a tag of models:/{name}/{there.number}")


def find(registry: Registry, name: str, alias: str) -> Version | None:
    """The version that an alias of a model names, if there is one."""
    # By a search, and not by the alias itself: a server with accounts refuses to speak of a model that is not there.
    models = registry.get("registered-models/search", {"filter": f"name = '{name}'"}, f"the model {name}")
    numbers = {
        entry["alias"]: str(entry["version"])
        for model in models.get("registered_models", [])
        for entry in model.get("aliases", [])
    }
    if alias not in numbers:
        return None
    what = f"models:/{name}@{alias}"
    answer = registry.get("model-versions/get", {"name": name, "version": numbers[alias]}, what)["model_version"]
    return _version(registry, answer, what)


def _numbered(registry: Registry, name: str, number: str) -> Version | None:
    """The version with this number, unless it was deleted."""
    what = f"models:/{name}/{number}"
    versions = registry.get("model-versions/search", {"filter": f"name = '{name}'"}, what).get("model_versions", [])
    found = [version for version in versions if str(version["version"]) == number]
    return _version(registry, found[0], what) if found else None


def _version(registry: Registry, answer: dict[str, Any], what: str) -> Version:
    run = registry.get("runs/get", {"run_id": answer.get("run_id", "")}, f"the run of {what}")["run"]
    tags = {tag["key"]: tag["value"] for tag in answer.get("tags", [])}
    return Version(answer["name"], str(answer["version"]), tags, run)


def _scratch(settings: TransferContract, stored: Source) -> AbstractContextManager[Path]:
    folder = settings.version.model_dir
    folder.mkdir(parents=True, exist_ok=True)
    return resumed(folder, f".transfer-{hashlib.sha256(stored.key.encode()).hexdigest()[:16]}")


def _all(stored: Source, contents: Contents, settings: FetchContract) -> list[RemoteFile]:
    """Every file of the version, the one by which a server knows it last: also what training left beside those that
    serve, such as the framework's own form of the model."""
    beside = [file for file in stored.files() if file.name not in contents.model.files]
    for file in beside:
        bound(file, settings)
    return [*beside, *contents.files]


def _copy(
    stored: Source, files: Sequence[RemoteFile], contents: Contents, folder: Path, target: Registry, home: str
) -> None:
    """One file after another, so that there has to be room for the largest alone. What an earlier attempt has copied is
    there in its full length, since a server shows a file when its last byte has come."""
    there = {file.name: file.size for file in target.files(home, deep=True)}
    with progress.reported(folder, max((file.size for file in files), default=0)):
        for file in files:
            if there.get(file.name) == file.size:
                print(f"{file.name} is there already", flush=True)
                continue
            contents.get(stored, file, folder)
            target.upload(folder / file.name, home, file.name)
            (folder / file.name).unlink()


def _check_base(target: Registry, settings: TransferContract, stored: Source, contents: Contents, folder: Path) -> None:
    """Whether an adapter's base is where the adapter goes to. Its reference is part of the files, which stay the same
    to the byte; so it has to name the same model in both registries. Raises ConfigurationError.
    """
    described = [file for file in contents.files if file.name == language_model.FILE_NAME]
    if not described:
        return
    contents.get(stored, described[0], folder)
    tuned = LanguageModel.parse(folder / language_model.FILE_NAME)
    uri = tuned.base.uri
    if tuned.kind != "adapter" or not uri.startswith(("models:/", "runs:/")):
        return
    match = re.fullmatch(r"models:/([^/@]+)@(run-[^/@]+)", uri)
    if not match:
        raise ConfigurationError(
            f"the adapter's base is {uri}, which names a model in its own registry alone: fine-tune from"
            " models:/<name>@run-<run id>, which ModelPromotion keeps, or publish the merged model"
        )
    name, alias = match.groups()
    base = find(target, name, alias)
    if base is None:
        raise ConfigurationError(
            f"the adapter's base {uri} is not in the registry {settings.tracking_uri}: promote it first, the model"
            f" {name} with the run {alias.removeprefix('run-')}"
        )
    digest = _digest(target, base, settings.version, folder)
    if digest not in (None, tuned.base.digest):
        raise ConfigurationError(
            f"the adapter was made for {uri} with {tuned.base.digest}; in {settings.tracking_uri} that has {digest}"
        )


def _digest(target: Registry, base: Version, settings: FetchContract, folder: Path) -> str | None:
    """The digest over all files of a version, as far as it has their digests."""
    files = artifacts(target, target.artifact_uri(base.name, None, base.number), settings.wait_seconds)
    sums = [file for file in files.files() if file.name == language_model.SUMS]
    if not sums:
        return None
    with tempfile.TemporaryDirectory(dir=folder) as own:
        get(files, sums[0], Path(own))
        return language_model.digest_of(language_model.read_sums(Path(own, language_model.SUMS)).items())


def _run(target: Registry, settings: TransferContract, version: Version) -> dict[str, Any]:
    """A finished run like the version's own: the one that an earlier attempt began, else a new one."""
    what = f"the run of {settings.version.model_uri}"
    home = _experiment(target, settings.experiment_name)
    words = f"tags.`{RUN_ID}` = '{settings.run_id}' and tags.`{ORIGIN}` = '{settings.version.tracking_uri}'"
    begun = target.post("runs/search", {"experiment_ids": [home], "filter": words}, what).get("runs", [])
    run: dict[str, Any] = begun[0] if begun else _begin(target, settings, version, home, what)
    run_id, data = run["info"]["run_id"], version.run["data"]
    for params in records.batches(data.get("params", []), BATCH, lambda param: (param["key"], param["value"])):
        target.post("runs/log-batch", {"run_id": run_id, "params": params}, what)
    for metrics in records.batches(data.get("metrics", []), BATCH, lambda metric: (metric["key"],)):
        target.post("runs/log-batch", {"run_id": run_id, "metrics": metrics}, what)
    ended = {"run_id": run_id, "status": "FINISHED", "end_time": int(time.time() * 1000)}
    target.post("runs/update", ended, what)
    return run


def _begin(target: Registry, settings: TransferContract, version: Version, home: str, what: str) -> dict[str, Any]:
    tags = {RUN_ID: settings.run_id, **version.run_tags, ORIGIN: settings.version.tracking_uri}
    content = {
        "experiment_id": home,
        "run_name": f"{settings.model_name}-{settings.run_id}",
        "start_time": int(time.time() * 1000),
        "tags": _pairs(tags),
    }
    run: dict[str, Any] = target.post("runs/create", content, what)["run"]
    return run


def _experiment(target: Registry, name: str) -> str:
    """Id of the experiment, which is made if it is not there."""
    what = f"the experiment {name}"
    words = {"filter": f"name = '{name}'", "max_results": 1}
    experiments = target.post("experiments/search", words, what).get("experiments", [])
    return str(
        (experiments[0] if experiments else target.post("experiments/create", {"name": name}, what))["experiment_id"]
    )


def _register(
    target: Registry, settings: TransferContract, version: Version, run_id: str, artifacts: str, judged: dict[str, str]
) -> str:
    """The number of the new version; the alias comes last, so a version found by it is whole. `judged` are the tags
    that this registry's gate gives it."""
    name, what = settings.model_name, settings.version.model_uri
    words = {"filter": f"name = '{name}'"}
    if not target.get("registered-models/search", words, what).get("registered_models"):
        target.post("registered-models/create", {"name": name}, what)
    versions = target.get("model-versions/search", {"filter": f"run_id = '{run_id}'"}, what).get("model_versions", [])
    if not versions:
        own = {key: value for key, value in version.tags.items() if key not in (gate.MET, gate.COMPARED)}
        tags = _pairs({**own, ORIGIN: settings.version.tracking_uri, **judged})
        content = {"name": name, "source": artifacts, "run_id": run_id, "tags": tags}
        versions = [target.post("model-versions/create", content, what)["model_version"]]
    number = str(versions[0]["version"])
    target.set_alias(name, settings.alias, number)
    return number


def _pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _report(settings: TransferContract, version: Version) -> None:
    if settings.report:
        report(settings.report, settings.run_id, version.published)


def main() -> None:
    env = Environment()
    settings = TransferContract.read(env)
    bounds = gate.read(env, settings.gate)
    env.check()
    print(transfer(settings, bounds), flush=True)
