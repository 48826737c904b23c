"""Servers that several tests share. Each is a real process that is asked over real HTTP."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.models import write_model
from tests.runtime import environment
from tests.unit.model.support import RunningServer, start_server


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = 2x + 1."""
    directory = tmp_path_factory.mktemp("line")
    write_model(directory)
    return directory


@pytest.fixture(scope="session")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of y = 2x + 1 for tests that leave it as it was."""
    with start_server(model_dir, tmp_path_factory.mktemp("server") / "log") as running:
        yield running


@dataclass
class Mlflow:
    url: str
    process: "subprocess.Popen[bytes]"
    log: Path


@contextmanager
def mlflow_server(folder: Path, python: str = sys.executable) -> Iterator[Mlflow]:
    """A real MLflow server on SQLite and a local folder. It takes seconds until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", f"{folder}/artifacts"]
    env = environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", MLFLOW_DISABLE_TELEMETRY="true")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        yield Mlflow(f"http://127.0.0.1:{port}", process, folder / "log")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answering(server: Mlflow) -> str:
    """The address of the server, which answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=1):
                return server.url
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the MLflow server did not start: {server.log.read_text()[-2000:]}")


@pytest.fixture(scope="session", autouse=True)
def mlflow_starting(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Mlflow | None]:
    """A real MLflow server, started early."""
    if not any("mlflow_url" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_url(mlflow_starting: Mlflow | None) -> str:
    """The address of the MLflow server, which answers."""
    assert mlflow_starting
    return answering(mlflow_starting)
