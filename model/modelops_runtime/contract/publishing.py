"""The variables of a publishing container."""

from dataclasses import dataclass
from typing import Any

from modelops_runtime.contract.environment import HTTP_URL, NAME, NAME_RULE, Environment
from modelops_runtime.contract.training import SweepContract, TrainingContract


@dataclass(frozen=True)
class PublishContract:
    """Settings of the publishing container, those of the training included."""

    training: TrainingContract
    gate: dict[str, Any]
    alias: str
    serving_alias: str
    first_version: bool
    image: str
    git_commit: str
    report: str
    sweep: "SweepContract | None"
    tracking_uri: str
    experiment_name: str
    wait_seconds: float

    @classmethod
    def read(cls, env: Environment) -> "PublishContract":
        training = TrainingContract.read(env, meets_peers=False)
        return cls(
            training=training,
            gate=env.json_object("MODELOPS_GATE"),
            alias=env.text("MODELOPS_ALIAS", f"run-{training.run_id}", pattern=NAME, rule=NAME_RULE),
            serving_alias=env.text("MODELOPS_SERVING_ALIAS", "serving", pattern=NAME, rule=NAME_RULE),
            first_version=env.switch("MODELOPS_FIRST_VERSION"),
            image=env.text("MODELOPS_IMAGE", ""),
            git_commit=env.text("MODELOPS_GIT_COMMIT", ""),
            report=env.text("MODELOPS_REPORT", ""),
            sweep=SweepContract.read(env),
            tracking_uri=env.text("MLFLOW_TRACKING_URI", pattern=HTTP_URL, rule="an http:// or https:// URL"),
            experiment_name=env.text("MLFLOW_EXPERIMENT_NAME", training.model_name or "modelops"),
            wait_seconds=env.number("MODELOPS_REGISTRY_WAIT_SECONDS", 120, minimum=0, maximum=3600),
        )
