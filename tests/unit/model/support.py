"""A server in a process of its own, a small HTTP client, and an entry point run in this process."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelops_runtime import contract
from modelops_runtime.artifacts.manifest import Golden, Manifest, Tensor
from modelops_runtime.artifacts.runtimes import Runtime
from modelops_runtime.contract import Environment, ServeContract
from modelops_runtime.serving.app import App
from modelops_runtime.serving.logs import Log
from modelops_runtime.serving.manifest_model import ManifestModel
from modelops_runtime.serving.metrics import Metrics
from tests.conftest import REPOSITORY
from tests.runtime import environment


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RunningServer:
    process: "subprocess.Popen[str]"
    port: int
    log_file: Path
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    def connect(self, timeout: float = 10) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, content: object, path: str = "/api/predict") -> Answer:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", path, body, self.headers)

    def log(self) -> list[dict[str, Any]]:
        lines = self.log_file.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]  # the last one may be half written

    def requests(self, count: int) -> list[dict[str, Any]]:
        """The log lines of the first `count` requests: a line is written after its answer is sent."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            lines = [line for line in self.log() if line["event"] == "request"]
            if len(lines) >= count:
                return lines[:count]
            time.sleep(0.02)
        raise AssertionError(f"fewer than {count} requests were logged")

    def metrics(self) -> dict[str, float]:
        """Values by series, as Prometheus' text format writes them."""
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


TENSOR = Tensor((-1, 1), "float32")
MANIFEST = Manifest("line", "1", "tensorflow", "litert", "x", TENSOR, TENSOR, Golden([[1.0]], [[2.0]], 1e-5))


def served(runtime: Runtime, **variables: object) -> App:
    """The application in this process, with a model of one number in and out that predicts in a thread of its own."""
    settings = ServeContract.read(Environment({name: str(value) for name, value in variables.items()}))
    app = App(settings, Log("1"), Metrics())
    app.serve(ManifestModel(MANIFEST, runtime, settings, inline_rows=0))
    return app


async def ask(app: App, method: str, path: str, body: bytes = b"") -> Answer:
    """The application's answer to a request."""
    sent: list[Any] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, sent[1]["body"])


def run_here(
    main: Callable[[], None], capsys: "pytest.CaptureFixture[str]", **variables: object
) -> "subprocess.CompletedProcess[str]":
    """Like run_module, but in this process: what it imports is imported once."""
    handler = signal.getsignal(signal.SIGTERM)
    env = environment(**variables)
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        contract.run(main)
    except SystemExit as ended:
        captured = capsys.readouterr()
        return subprocess.CompletedProcess([], int(ended.code or 0), captured.out, captured.err)
    finally:
        os.environ.clear()
        os.environ.update(before)
        signal.signal(signal.SIGTERM, handler)
    raise AssertionError("did not exit")


SLOW_MODEL = (
    "-c",
    """
import sys, time
from modelops_runtime.artifacts import runtimes
from modelops_runtime.serving import manifest_model
load = runtimes.load
class Slow:
    def __init__(self, runtime): self.runtime = runtime
    def __getattr__(self, name): return getattr(self.runtime, name)
    def predict(self, inputs):
        time.sleep(float(inputs.max()))
        return self.runtime.predict(inputs)
manifest_model.load = lambda *arguments: Slow(load(*arguments))
manifest_model.request_seconds = lambda *arguments: 1.0
from modelops_runtime.__main__ import main
sys.argv = ["modelops", "serve"]
main()
""",
)
"""The program of a server whose predictions take as many seconds as the largest number in their inputs."""


@contextmanager
def start_server(
    model_dir: Path,
    log_file: Path,
    *,
    program: Sequence[str] = ("-m", "modelops_runtime", "serve"),
    wait_for: str = "ready",
    start_seconds: float = 60,
    **variables: object,
) -> Iterator[RunningServer]:
    settings = {"MODELOPS_HOST": "127.0.0.1", "MODELOPS_PORT": 0, "MODELOPS_DRAIN_SECONDS": 0, **variables}
    command = [sys.executable, *program]
    with log_file.open("w") as log:
        env = environment(MODELOPS_MODEL_DIR=model_dir, MODELOPS_MODEL_VERSION="run-abc123def456", **settings)
        process = subprocess.Popen(command, env=env, cwd=REPOSITORY, stdout=log, stderr=subprocess.PIPE, text=True)
    try:
        yield RunningServer(process, _wait_for(process, log_file, wait_for, start_seconds), log_file)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def _wait_for(process: "subprocess.Popen[str]", log_file: Path, event: str, seconds: float) -> int:
    """The port, as soon as the log has the event."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        lines = [json.loads(line) for line in log_file.read_text().splitlines() if line.endswith("}")]
        if any(line["event"] == event for line in lines):
            return int(next(line["port"] for line in lines if line["event"] == "listening"))
        time.sleep(0.02)
    raise AssertionError(f"the server did not say {event!r}: {process.stderr.read() if process.stderr else ''}")
