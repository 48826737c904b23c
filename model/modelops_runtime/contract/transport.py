"""The variables of the containers that fetch, hold, promote and transfer model versions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelops_runtime.contract.environment import HTTP_URL, NAME, NAME_RULE, Environment

MODEL_MAX_BYTES = 100 * 2**30
"""Largest file of a model, by default. Transformers writes weights in files of up to 50 GB."""
VERSION = rf"models:/{NAME}(@{NAME}|/[1-9][0-9]{{0,17}})"
VERSION_RULE = "models:/<name>@<alias> or models:/<name>/<version>"
_IN_REGISTRY = rf"{VERSION}|models:/m-[0-9a-f]{{1,64}}|runs:/[0-9a-f]{{1,64}}/[^\s?#]+"
_ELSEWHERE = rf"(s3|gs|az|abfss?|wasbs)://[^\s/?#]+(/[^\s?#]*)?|hf://{NAME}/{NAME}(@[^\s@?#]+)?|file:///[^\s?#]+"
_RULE = (
    "models:/<name>@<alias>, models:/<name>/<version>, models:/m-<id>, runs:/<run id>/<folder>,"
    " hf://<organization>/<model>[@<revision>] or a folder's address: s3://, gs://, az://, abfss://, wasbs:// or file:///"
)
REPOSITORY = r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"


@dataclass(frozen=True)
class FetchContract:
    """Settings of the fetching container."""

    model_uri: str
    tracking_uri: str
    model_dir: Path
    cache_dir: Path | None
    wait_seconds: float
    max_bytes: int

    @classmethod
    def read(cls, env: Environment) -> "FetchContract":
        uri = env.text("MODELOPS_MODEL_URI", pattern=f"{_IN_REGISTRY}|{_ELSEWHERE}", rule=_RULE)
        needs_registry = uri.partition(":")[0] in ("", "models", "runs")
        return cls(
            model_uri=uri,
            tracking_uri=env.text(
                "MLFLOW_TRACKING_URI",
                None if needs_registry else "",
                pattern=HTTP_URL,
                rule="an http:// or https:// URL",
            ),
            model_dir=env.path("MODELOPS_MODEL_DIR", "/modelops/model"),
            cache_dir=Path(cache) if (cache := env.text("MODELOPS_MODEL_CACHE_DIR", "")) else None,
            wait_seconds=env.number("MODELOPS_REGISTRY_WAIT_SECONDS", 60, minimum=0, maximum=3600),
            max_bytes=env.integer("MODELOPS_MODEL_MAX_BYTES", MODEL_MAX_BYTES, minimum=1, maximum=2**50),
        )


@dataclass(frozen=True)
class AdapterPart:
    """An adapter to serve beside the model."""

    name: str
    uri: str
    folder: str
    """Where it goes, below the other adapters."""


@dataclass(frozen=True)
class AssembleContract:
    """Settings of the container that prepares a language model for vLLM."""

    fetch: FetchContract
    """Of the model itself."""
    source_uri: str
    """What the model is called where it comes from, also when it is mounted."""
    model_name: str
    engine_dir: Path
    base_uri: str
    """Empty: the base that an adapter names."""
    adapters: tuple[AdapterPart, ...]

    @classmethod
    def read(cls, env: Environment) -> "AssembleContract":
        fetch = FetchContract.read(env)
        parts = env.json_object("MODELOPS_ADAPTERS")
        adapters = []
        for name, part in parts.items():
            try:
                adapters.append(AdapterPart(name, str(part["uri"]), f"{name}/{part['version']}"))
            except (KeyError, TypeError):
                env.problems.append(f"MODELOPS_ADAPTERS: {name} must be an object with uri and version")
        return cls(
            fetch=fetch,
            source_uri=env.text("MODELOPS_MODEL_SOURCE", fetch.model_uri),
            model_name=env.text("MODELOPS_MODEL_NAME"),
            engine_dir=env.path("MODELOPS_ENGINE_DIR", "/modelops/engine"),
            base_uri=env.text("MODELOPS_BASE_URI", "", pattern=f"{_IN_REGISTRY}|{_ELSEWHERE}", rule=_RULE),
            adapters=tuple(adapters),
        )


@dataclass(frozen=True)
class HoldContract:
    """Settings of the container that keeps the cache from giving up what its pod uses."""

    cache_dir: Path

    @classmethod
    def read(cls, env: Environment) -> "HoldContract":
        return cls(Path(env.text("MODELOPS_MODEL_CACHE_DIR")))


@dataclass(frozen=True)
class PromoteContract:
    """Settings of the container that marks the version now serving."""

    model_uri: str
    serving_alias: str
    tracking_uri: str
    wait_seconds: float

    @classmethod
    def read(cls, env: Environment) -> "PromoteContract":
        return cls(
            model_uri=env.text("MODELOPS_MODEL_URI", pattern=VERSION, rule=VERSION_RULE),
            serving_alias=env.text("MODELOPS_SERVING_ALIAS", "serving", pattern=NAME, rule=NAME_RULE),
            tracking_uri=env.text("MLFLOW_TRACKING_URI", pattern=HTTP_URL, rule="an http:// or https:// URL"),
            wait_seconds=env.number("MODELOPS_REGISTRY_WAIT_SECONDS", 60, minimum=0, maximum=3600),
        )


@dataclass(frozen=True)
class TransferContract:
    """Settings of the container that copies a version from one registry to another."""

    version: FetchContract
    """The version in the registry where it is now."""
    model_name: str
    run_id: str
    gate: dict[str, Any]
    serving_alias: str
    first_version: bool
    report: str
    tracking_uri: str
    experiment_name: str

    @property
    def alias(self) -> str:
        """The version's alias, the same in both registries."""
        return f"run-{self.run_id}"

    @classmethod
    def read(cls, env: Environment) -> "TransferContract":
        name = env.text("MODELOPS_MODEL_NAME", pattern=NAME, rule=NAME_RULE)
        run_id = env.text("MODELOPS_RUN_ID", pattern=NAME, rule=NAME_RULE)
        url = "an http:// or https:// URL"
        return cls(
            version=FetchContract(
                model_uri=f"models:/{name}@run-{run_id}",
                tracking_uri=env.text("MODELOPS_SOURCE_URI", pattern=HTTP_URL, rule=url),
                model_dir=env.path("MODELOPS_MODEL_DIR", "/modelops/model"),
                cache_dir=None,
                wait_seconds=env.number("MODELOPS_REGISTRY_WAIT_SECONDS", 60, minimum=0, maximum=3600),
                max_bytes=env.integer("MODELOPS_MODEL_MAX_BYTES", MODEL_MAX_BYTES, minimum=1, maximum=2**50),
            ),
            model_name=name,
            run_id=run_id,
            gate=env.json_object("MODELOPS_GATE"),
            serving_alias=env.text("MODELOPS_SERVING_ALIAS", "serving", pattern=NAME, rule=NAME_RULE),
            first_version=env.switch("MODELOPS_FIRST_VERSION"),
            report=env.text("MODELOPS_REPORT", ""),
            tracking_uri=env.text("MLFLOW_TRACKING_URI", pattern=HTTP_URL, rule=url),
            experiment_name=env.text("MLFLOW_EXPERIMENT_NAME", name or "modelops"),
        )


@dataclass(frozen=True)
class ReplicateContract:
    """Settings of the container that copies an image from one registry to another."""

    source: str
    """The image by digest."""
    target: str
    """The repository that receives it."""
    docker_config: Path
    """Folder with the registries' logins."""
    wait_seconds: float

    @classmethod
    def read(cls, env: Environment) -> "ReplicateContract":
        return cls(
            source=env.text(
                "MODELOPS_SOURCE_IMAGE", pattern=rf"{REPOSITORY}@sha256:[0-9a-f]{{64}}", rule="an image by digest"
            ),
            target=env.text("MODELOPS_TARGET_REPOSITORY", pattern=REPOSITORY, rule="a repository without a tag"),
            docker_config=env.path("DOCKER_CONFIG", "/modelops/docker"),
            wait_seconds=env.number("MODELOPS_REGISTRY_WAIT_SECONDS", 60, minimum=0, maximum=3600),
        )
