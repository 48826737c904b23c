"""The variables of a serving container."""

from dataclasses import dataclass
from pathlib import Path

from modelops_runtime.contract.environment import NAME, NAME_RULE, Environment

_ORIGIN = r"https?://[^\s/,]+"


@dataclass(frozen=True)
class ServeContract:
    """Settings of the serving container. The bounds protect one process; the defaults suit a small model."""

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
    batch_rows: int | None = None
    """0: none; None: as suits the model."""
    log_inputs: bool = False
    mirror_url: str = ""
    mirror_percent: float = 100
    cors_origins: tuple[str, ...] = ()
    """Of pages that may ask; `*`: any."""
    tracing: bool = False
    grpc_port: int = 0
    """0: none."""
    model_name: str = "model"
    """Of a model that has no manifest to say it."""
    predict_method: str = ""
    """Of a model that plain MLflow logged; empty: the one that it was logged with."""
    onnx: bool = False
    """Whether such a model is converted to ONNX, where that predicts the same."""
    requirements: str = "refuse"
    """What becomes of such a model whose requirements the image hasn't: `refuse` or `warn`."""

    @classmethod
    def read(cls, env: Environment) -> "ServeContract":
        return cls(
            model_dir=env.path("MODELOPS_MODEL_DIR", "/modelops/model"),
            model_version=env.text("MODELOPS_MODEL_VERSION", "unknown", pattern=NAME, rule=NAME_RULE),
            host=env.text("MODELOPS_HOST", "::"),
            port=env.integer("MODELOPS_PORT", 8080, minimum=0, maximum=65535),
            drain_seconds=env.number("MODELOPS_DRAIN_SECONDS", 5, minimum=0, maximum=600),
            max_body_bytes=env.integer("MODELOPS_MAX_BODY_BYTES", 2**20, minimum=64, maximum=2**30),
            max_batch_rows=env.integer("MODELOPS_MAX_BATCH_ROWS", 1024, minimum=1, maximum=10**6),
            max_concurrency=env.integer("MODELOPS_MAX_CONCURRENCY", 64, minimum=1, maximum=10**5),
            body_seconds=env.number("MODELOPS_BODY_SECONDS", 10, minimum=0.1, maximum=600),
            threads=env.integer("MODELOPS_THREADS", 1, minimum=1, maximum=256),
            predict_seconds=env.number("MODELOPS_PREDICT_SECONDS", 30, minimum=0.01, maximum=3600),
            batch_rows=_batch_rows(env),
            log_inputs=env.switch("MODELOPS_LOG_INPUTS"),
            mirror_url=env.text("MODELOPS_MIRROR_URL", "", pattern=r"http://\S+", rule="an http:// address"),
            mirror_percent=env.number("MODELOPS_MIRROR_PERCENT", 100, minimum=0.1, maximum=100),
            model_name=env.text("MODELOPS_MODEL_NAME", "model"),
            predict_method=env.text(
                "MODELOPS_PREDICT_METHOD", "", pattern=r"[A-Za-z][A-Za-z0-9_]*", rule="the name of a method"
            ),
            onnx=env.switch("MODELOPS_ONNX"),
            requirements=env.text("MODELOPS_REQUIREMENTS", "refuse", pattern="refuse|warn", rule="refuse or warn"),
            cors_origins=tuple(filter(None, _origins(env).split(","))),
            tracing=env.switch("MODELOPS_TRACING"),
            grpc_port=env.integer("MODELOPS_GRPC_PORT", 0, minimum=0, maximum=65535),
        )


def _batch_rows(env: Environment) -> int | None:
    rows = env.integer("MODELOPS_BATCH_ROWS", -1, minimum=0, maximum=10**6)
    return None if rows < 0 else rows


def _origins(env: Environment) -> str:
    rule = "* or origins such as https://app.example.com without a path, separated by commas"
    return env.text("MODELOPS_CORS_ORIGINS", "", pattern=rf"\*|{_ORIGIN}(,{_ORIGIN})*", rule=rule)
