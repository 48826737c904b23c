"""The variables of a training container."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelops_runtime.contract.environment import NAME, NAME_RULE, Environment


@dataclass(frozen=True)
class TrainingContract:
    """Settings of a training container. `parameters` are the model's own and are checked by it."""

    run_id: str
    model_name: str
    framework: str
    parameters: dict[str, Any]
    data_uri: str
    data_version: str
    output_dir: Path
    checkpoint_dir: Path
    checkpoint_uri: str = ""
    checkpoint_seconds: float = 5
    checkpoint_steps: int = 0
    workers: int = 1
    worker_index: int = 0
    worker_hosts: tuple[str, ...] = ()
    peer_port: int = 29400

    @property
    def chief(self) -> bool:
        """Whether this worker is the one that keeps checkpoints and leaves the results."""
        return self.worker_index == 0

    @classmethod
    def read(cls, env: Environment, *, meets_peers: bool = True) -> "TrainingContract":
        """`meets_peers`: whether it is a worker that reads, and needs the names of the others."""
        workers = env.integer("MODELOPS_WORKERS", 1, minimum=1, maximum=1000)
        index = env.integer("MODELOPS_WORKER_INDEX", 0, minimum=0, maximum=max(0, workers - 1))
        hosts = tuple(filter(None, env.text("MODELOPS_WORKER_HOSTS", "").split(",")))
        if meets_peers and workers > 1 and len(hosts) != workers:
            env.problems.append(f"MODELOPS_WORKER_HOSTS has {len(hosts)} names, must have {workers}, one a worker")
        return cls(
            run_id=env.text("MODELOPS_RUN_ID", pattern=NAME, rule=NAME_RULE),
            model_name=env.text("MODELOPS_MODEL_NAME", pattern=NAME, rule=NAME_RULE),
            framework=env.text("MODELOPS_FRAMEWORK", "tensorflow", pattern="[a-z]+", rule="a framework's name"),
            parameters=env.json_object("MODELOPS_PARAMETERS"),
            data_uri=env.text("MODELOPS_DATA_URI", ""),
            data_version=env.text("MODELOPS_DATA_VERSION", ""),
            output_dir=env.path("MODELOPS_OUTPUT_DIR", "/modelops/output"),
            checkpoint_dir=env.path("MODELOPS_CHECKPOINT_DIR", "/modelops/checkpoints"),
            checkpoint_uri=env.text(
                "MODELOPS_CHECKPOINT_URI",
                "",
                pattern=r"[a-z][a-z0-9+.-]*://\S+",
                rule="a URI such as s3://bucket/prefix",
            ),
            checkpoint_seconds=env.number("MODELOPS_CHECKPOINT_SECONDS", 5, minimum=0, maximum=86_400),
            checkpoint_steps=env.integer("MODELOPS_CHECKPOINT_STEPS", 0, minimum=0, maximum=10**9),
            workers=workers,
            worker_index=index,
            worker_hosts=hosts,
            peer_port=env.integer("MODELOPS_PEER_PORT", 29400, minimum=1, maximum=65535),
        )


@dataclass(frozen=True)
class SweepContract:
    """Several trainings under one run id, of which the best by one metric is registered."""

    metric: str
    goal: str
    runs: int
    index: int
    """Which of them this is, from 0 on."""

    @classmethod
    def read(cls, env: Environment) -> "SweepContract | None":
        """None where MODELOPS_SWEEP_METRIC is not set: a training by itself."""
        metric = env.text("MODELOPS_SWEEP_METRIC", "")
        if not metric:
            return None
        runs = env.integer("MODELOPS_SWEEP_RUNS", 1, minimum=1, maximum=10_000)
        return cls(
            metric=metric,
            goal=env.text("MODELOPS_SWEEP_GOAL", "min", pattern="min|max", rule="min or max"),
            runs=runs,
            index=env.integer("MODELOPS_SWEEP_INDEX", 0, minimum=0, maximum=runs - 1),
        )
