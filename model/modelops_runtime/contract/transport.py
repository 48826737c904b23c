"""The variables of the containers that fetch, promote and transfer model versions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelops_runtime.contract.environment import HTTP_URL, NAME, NAME_RULE, Environment

MODEL_MAX_BYTES = 10 * 2**30
"""Largest file of a model, by default."""
REPOSITORY = r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
LOCAL = "file://"
"""How the URI of a folder begins that is mounted already."""


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
        model_uri = env.text(
            "MODELOPS_MODEL_URI",
            pattern=rf"models:/{NAME}(@{NAME}|/[1-9][0-9]{{0,17}})|{LOCAL}/\S+",
            rule="models:/<name>@<alias> or models:/<name>/<version>",
        )
        default = "" if model_uri.startswith(LOCAL) else None
        return cls(
            model_uri=model_uri,
            tracking_uri=env.text("MLFLOW_TRACKING_URI", default, pattern=HTTP_URL, rule="an http:// or https:// URL"),
            model_dir=env.path("MODELOPS_MODEL_DIR", "/modelops/model"),
            cache_dir=Path(cache) if (cache := env.text("MODELOPS_MODEL_CACHE_DIR", "")) else None,
            wait_seconds=env.number("MODELOPS_REGISTRY_WAIT_SECONDS", 60, minimum=0, maximum=3600),
            max_bytes=env.integer("MODELOPS_MODEL_MAX_BYTES", MODEL_MAX_BYTES, minimum=1, maximum=2**50),
        )


@dataclass(frozen=True)
class PromoteContract:
    """Settings of the container that marks the version now serving."""

    model_uri: str
    serving_alias: str
    tracking_uri: str
    wait_seconds: float

    @classmethod
    def read(cls, env: Environment) -> "PromoteContract":
        fetched = FetchContract.read(env)
        return cls(
            model_uri=fetched.model_uri,
            serving_alias=env.text("MODELOPS_SERVING_ALIAS", "serving", pattern=NAME, rule=NAME_RULE),
            tracking_uri=fetched.tracking_uri,
            wait_seconds=fetched.wait_seconds,
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
