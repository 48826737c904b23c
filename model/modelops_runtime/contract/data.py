"""The variables of a data container, and the command line, which goes before them."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelops_runtime.contract.environment import Environment

ENGINES = ("memory", "dask")
SALT = "MODELOPS_SALT"
"""A secret, for the steps that hide values."""
SQL_PASSWORD = "MODELOPS_SQL_PASSWORD"
"""Password of a SQLAlchemy URL that has none."""
ENGINE_TLS = "MODELOPS_ENGINE_TLS"
"""A folder with `ca.crt`, `worker.crt` and `worker.key`. Without it Dask's workers meet on this machine alone."""


@dataclass(frozen=True)
class DataContract:
    """Settings of the data container."""

    pipeline: str
    """JSON, or @ and a file's name."""
    destination: str
    data_version: str
    shards: int
    shard: int
    """Which worker this is, from 0 on."""
    engine: str
    work: str
    wait_seconds: float
    salt: bytes = field(repr=False)
    version_file: Path | None
    tracking_uri: str
    pipeline_name: str

    @property
    def work_folder(self) -> str:
        """Where the workers of one run meet, in the destination."""
        return f".{self.work}"

    @classmethod
    def read(cls, env: Environment, words: Sequence[str] | None = None) -> "DataContract":
        """`words` of the command line, by default this process's own."""
        parser = _parser(env)
        options = parser.parse_args(words)
        for name, value in (("--pipeline", options.pipeline), ("--destination", options.destination)):
            if not value:
                env.problems.append(f"{name} is not given")
        for name, value in (("--data-version", options.data_version), ("--work", options.work)):
            if value and not value.replace("-", "").replace(".", "").replace("_", "").isalnum():
                env.problems.append(f"{name} is {value!r}, must be letters, digits, '-', '.' and '_'")
        if not 0 <= options.shard < options.shards:
            env.problems.append(f"--shard is {options.shard}, must be 0 to {options.shards - 1}")
        version_file = env.text("MODELOPS_VERSION_FILE", "")
        return cls(
            **vars(options),
            salt=env.text(SALT, "").encode(),
            version_file=Path(version_file) if version_file else None,
            tracking_uri=env.text("MLFLOW_TRACKING_URI", ""),
            pipeline_name=env.text("MODELOPS_PIPELINE_NAME", "data"),
        )


def _parser(env: Environment) -> argparse.ArgumentParser:
    """Each option's default is its variable."""
    parser = argparse.ArgumentParser(
        prog="modelops-prepare",
        description="From raw data to versioned, split training data. Contract and exit codes: docs/model.md.",
    )
    parser.add_argument(
        "--pipeline",
        default=env.text("MODELOPS_PIPELINE", ""),
        help="JSON of the pipeline, or @ and a file's name ($MODELOPS_PIPELINE)",
    )
    parser.add_argument(
        "--destination",
        default=env.text("MODELOPS_DESTINATION", ""),
        help="folder or address in an object store that the versions come into ($MODELOPS_DESTINATION)",
    )
    parser.add_argument(
        "--data-version",
        default=env.text("MODELOPS_DATA_VERSION", ""),
        help="name of the version; default: a hash of inputs, steps and code ($MODELOPS_DATA_VERSION)",
    )
    parser.add_argument(
        "--shards",
        type=int,
        default=env.integer("MODELOPS_SHARDS", 1, minimum=1, maximum=1000),
        help="workers, each with its share ($MODELOPS_SHARDS)",
    )
    parser.add_argument(
        "--shard",
        type=int,
        default=env.integer("JOB_COMPLETION_INDEX", 0, minimum=0, maximum=999),
        help="which of them, from 0 on ($JOB_COMPLETION_INDEX)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=env.text("MODELOPS_ENGINE", "memory", pattern="|".join(ENGINES), rule=" or ".join(ENGINES)),
        help="where all rows are looked at together: in memory of shard 0, or by dask on all ($MODELOPS_ENGINE)",
    )
    parser.add_argument(
        "--work",
        default=env.text("MODELOPS_WORK", "work"),
        help="name under which the workers of one run meet in the destination ($MODELOPS_WORK)",
    )
    parser.add_argument(
        "--wait-seconds",
        type=float,
        default=env.number("MODELOPS_SHARDS_WAIT_SECONDS", 3600, minimum=0, maximum=2_592_000),
        help="how long shard 0 waits for the others ($MODELOPS_SHARDS_WAIT_SECONDS)",
    )
    return parser
