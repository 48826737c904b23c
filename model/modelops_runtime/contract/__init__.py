"""The container contracts: every environment variable and exit code that the images know, in one place.

Standard library only: the slim serving image imports it too.
"""

import json
import math
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any


class Exit(IntEnum):
    """Exit codes of every program here. Jobs never retry 2, 3, 10, 11 and 13 to 15, and don't count 75."""

    DONE = 0
    FAILURE = 1
    CONFIGURATION = 2
    GATE = 3
    BAD_ROW = 10
    MISSING_COLUMN = 11
    UNREADABLE = 12
    EMPTY = 13
    PRIVACY = 14
    LEAK = 15
    PEER_LOST = 75
    TERMINATED = 143


class ContractError(Exception):
    """Ends a program with one message a problem and the exit code `code`."""

    def __init__(self, *problems: str, code: Exit = Exit.FAILURE) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.code = code


class ConfigurationError(ContractError):
    """The program was told something wrong: trying again cannot help."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems, code=Exit.CONFIGURATION)


class Environment:
    """Reads variables and collects what is wrong with them; `check` then raises once for all of it."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = os.environ if values is None else values
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None, *, pattern: str = "", rule: str = "") -> str:
        value = self._values.get(name, "")
        if not value and default is None:
            self.problems.append(f"{name} is not set")
        elif value and pattern and not re.fullmatch(pattern, value):
            self.problems.append(f"{name} is {value!r}, must be {rule}")
        return value or default or ""

    def path(self, name: str, default: str) -> Path:
        return Path(self.text(name, default))

    def number(self, name: str, default: float, *, minimum: float, maximum: float) -> float:
        value = self._values.get(name, "")
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not minimum <= number <= maximum:
            self.problems.append(f"{name} is {value!r}, must be a number from {minimum:g} to {maximum:g}")
            return default
        return number

    def integer(self, name: str, default: int, *, minimum: int, maximum: int) -> int:
        number = self.number(name, default, minimum=minimum, maximum=maximum)
        if number != int(number):
            self.problems.append(f"{name} is {self._values[name]!r}, must be a whole number")
        return int(number)

    def json_object(self, name: str) -> dict[str, Any]:
        """A JSON object; unset means an empty one."""
        try:
            value = json.loads(self._values.get(name, "") or "{}")
        except ValueError as error:
            self.problems.append(f"{name} is not JSON: {error}")
            return {}
        if not isinstance(value, dict):
            self.problems.append(f"{name} must be a JSON object, not {type(value).__name__}")
            return {}
        return value

    def switch(self, name: str) -> bool:
        """`true` or `false`; unset means false."""
        return self.text(name, "false", pattern="true|false", rule="true or false") == "true"

    def check(self) -> None:
        if self.problems:
            raise ConfigurationError(*self.problems)


def is_number(value: object) -> bool:
    """A finite number from JSON; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?"
NAME_RULE = "letters, digits, '.', '_' and '-', starting and ending with a letter or digit, at most 128 long"
MODEL_MAX_BYTES = 10 * 2**30
"""Largest file of a model unless said otherwise."""
HTTP_URL = r"https?://[^\s/]+(/\S*)?"


@dataclass(frozen=True)
class TrainingContract:
    """What a training container is told. `parameters` are the model's own and are checked by it."""

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


@dataclass(frozen=True)
class PublishContract:
    """What the publishing container is told besides the training contract."""

    training: TrainingContract
    gate: dict[str, Any]
    alias: str
    serving_alias: str
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
            image=env.text("MODELOPS_IMAGE", ""),
            git_commit=env.text("MODELOPS_GIT_COMMIT", ""),
            report=env.text("MODELOPS_REPORT", ""),
            sweep=SweepContract.read(env),
            tracking_uri=env.text("MLFLOW_TRACKING_URI", pattern=HTTP_URL, rule="an http:// or https:// URL"),
            experiment_name=env.text("MLFLOW_EXPERIMENT_NAME", training.model_name or "modelops"),
            wait_seconds=env.number("MODELOPS_REGISTRY_WAIT_SECONDS", 120, minimum=0, maximum=3600),
        )


@dataclass(frozen=True)
class FetchContract:
    """What the fetching container is told."""

    model_uri: str
    tracking_uri: str
    model_dir: Path
    cache_dir: Path | None
    wait_seconds: float
    max_bytes: int

    @classmethod
    def read(cls, env: Environment) -> "FetchContract":
        return cls(
            model_uri=env.text(
                "MODELOPS_MODEL_URI",
                pattern=rf"models:/{NAME}(@{NAME}|/[1-9][0-9]{{0,17}})",
                rule="models:/<name>@<alias> or models:/<name>/<version>",
            ),
            tracking_uri=env.text("MLFLOW_TRACKING_URI", pattern=HTTP_URL, rule="an http:// or https:// URL"),
            model_dir=env.path("MODELOPS_MODEL_DIR", "/modelops/model"),
            cache_dir=Path(cache) if (cache := env.text("MODELOPS_MODEL_CACHE_DIR", "")) else None,
            wait_seconds=env.number("MODELOPS_REGISTRY_WAIT_SECONDS", 60, minimum=0, maximum=3600),
            max_bytes=env.integer("MODELOPS_MODEL_MAX_BYTES", MODEL_MAX_BYTES, minimum=1, maximum=2**50),
        )


@dataclass(frozen=True)
class PromoteContract:
    """What the container is told that marks the version now serving."""

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
    """What the container is told that brings a version from one registry into another."""

    version: FetchContract
    """The version in the registry where it is now."""
    model_name: str
    run_id: str
    gate: dict[str, Any]
    serving_alias: str
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
            report=env.text("MODELOPS_REPORT", ""),
            tracking_uri=env.text("MLFLOW_TRACKING_URI", pattern=HTTP_URL, rule=url),
            experiment_name=env.text("MLFLOW_EXPERIMENT_NAME", name or "modelops"),
        )


@dataclass(frozen=True)
class ServeContract:
    """What the serving container is told. The bounds protect one process; the defaults suit a small model."""

    model_dir: Path
    model_version: str
    host: str
    port: int
    drain_seconds: float
    max_body_bytes: int
    max_batch_rows: int
    max_concurrency: int
    body_seconds: float
    threads: int
    predict_seconds: float = 30
    batch_rows: int = 0
    log_inputs: bool = False
    mirror_url: str = ""
    mirror_percent: float = 100

    @classmethod
    def read(cls, env: Environment) -> "ServeContract":
        return cls(
            model_dir=env.path("MODELOPS_MODEL_DIR", "/modelops/model"),
            model_version=env.text("MODELOPS_MODEL_VERSION", "unknown", pattern=NAME, rule=NAME_RULE),
            host=env.text("MODELOPS_HOST", "0.0.0.0"),
            port=env.integer("MODELOPS_PORT", 8080, minimum=0, maximum=65535),
            drain_seconds=env.number("MODELOPS_DRAIN_SECONDS", 5, minimum=0, maximum=600),
            max_body_bytes=env.integer("MODELOPS_MAX_BODY_BYTES", 2**20, minimum=64, maximum=2**30),
            max_batch_rows=env.integer("MODELOPS_MAX_BATCH_ROWS", 1024, minimum=1, maximum=10**6),
            max_concurrency=env.integer("MODELOPS_MAX_CONCURRENCY", 64, minimum=1, maximum=10**5),
            body_seconds=env.number("MODELOPS_BODY_SECONDS", 10, minimum=0.1, maximum=600),
            threads=env.integer("MODELOPS_THREADS", 1, minimum=1, maximum=256),
            predict_seconds=env.number("MODELOPS_PREDICT_SECONDS", 30, minimum=0.01, maximum=3600),
            batch_rows=env.integer("MODELOPS_BATCH_ROWS", 0, minimum=0, maximum=10**6),
            log_inputs=env.switch("MODELOPS_LOG_INPUTS"),
            mirror_url=env.text("MODELOPS_MIRROR_URL", "", pattern=r"http://\S+", rule="an http:// address"),
            mirror_percent=env.number("MODELOPS_MIRROR_PERCENT", 100, minimum=0.1, maximum=100),
        )


def run(main: Callable[[], None]) -> None:
    """Run a program: what it refuses becomes plain lines on stderr (the Pod's termination message) and an exit code."""
    # The first process of a container ignores SIGTERM unless it says otherwise.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(Exit.TERMINATED))
    code = Exit.DONE
    try:
        main()
    except ContractError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        code = error.code
    except Exception:
        traceback.print_exc()
        code = Exit.FAILURE
    sys.stdout.flush()
    sys.exit(code)
