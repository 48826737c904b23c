"""Models that a tracking server knows: registered versions, logged models, and folders of runs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelops_runtime.artifacts.store import is_store
from modelops_runtime.registry.sources.client import Registry
from modelops_runtime.registry.sources.source import RemoteFile, Source
from modelops_runtime.registry.sources.store import Store

_LOGGED = re.compile(r"models:/(m-[0-9a-f]+)")


@dataclass(frozen=True)
class Artifacts:
    """A folder of artifacts that the tracking server passes on. A version's never changes."""

    registry: Registry
    key: str

    def files(self) -> Sequence[RemoteFile]:
        return self.registry.files(self.key, deep=True)

    def download(self, file: RemoteFile, target: Path) -> None:
        self.registry.download(file, target)


def located(registry: Registry, uri: str, wait_seconds: float) -> Source:
    """The files behind a `models:/` or `runs:/` URI."""
    if logged := _LOGGED.fullmatch(uri):
        address = str(_logged_model(registry, logged[1])["artifact_uri"])
    elif uri.startswith("runs:/"):
        address = _of_run(registry, uri)
    else:
        address = registry.artifact_uri(*parse_model_uri(uri))
    return artifacts(registry, address, wait_seconds)


def artifacts(registry: Registry, artifact_uri: str, wait_seconds: float) -> Source:
    """The files of an artifact folder: passed on by the server, or straight from the object store that they are in."""
    if is_store(artifact_uri):
        return Store(artifact_uri, wait_seconds)
    return Artifacts(registry, artifact_uri)


def parse_model_uri(uri: str) -> tuple[str, str | None, str | None]:
    """Name and alias or version of `models:/name@alias` or `models:/name/3`."""
    path = uri.removeprefix("models:/")
    if "@" in path:
        name, alias = path.split("@", 1)
        return name, alias, None
    name, version = path.split("/", 1)
    return name, None, version


def _logged_model(registry: Registry, model_id: str) -> dict[str, Any]:
    answer = registry.get(f"logged-models/{model_id}", {}, f"models:/{model_id}")
    info: dict[str, Any] = answer.get("model", {}).get("info", {})
    return info


def _of_run(registry: Registry, uri: str) -> str:
    """Where a run's folder is. What MLflow 3 logs as a model has a place of its own, which the run names."""
    run_id, _, path = uri.removeprefix("runs:/").partition("/")
    run = registry.get("runs/get", {"run_id": run_id}, f"the run of {uri}")["run"]
    name, _, inside = path.partition("/")
    outputs = run.get("outputs", {}).get("model_outputs", [])
    logged = [_logged_model(registry, output["model_id"]) for output in outputs]
    named = [info for info in logged if info.get("name") == name]
    if not named:
        return f"{run['info']['artifact_uri'].rstrip('/')}/{path}"
    newest = max(named, key=lambda info: int(info.get("creation_timestamp_ms", 0)))
    return f"{newest['artifact_uri'].rstrip('/')}/{inside}".rstrip("/")
