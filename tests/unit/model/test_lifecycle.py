"""Starting, refusing to start, limits under load, draining."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelops_runtime.artifacts.manifest import FILE_NAME
from modelops_runtime.contract.environment import Environment
from modelops_runtime.contract.serving import ServeContract
from modelops_runtime.serving.lifecycle import listen
from tests.load import load
from tests.models import write_model
from tests.runtime import run_module
from tests.unit.model.support import SLOW_MODEL, RunningServer, start_server


def serve_fails(model_dir: Path, **variables: object) -> tuple[int, str]:
    finished = run_module("modelops_runtime serve", MODELOPS_MODEL_DIR=model_dir, MODELOPS_PORT=0, **variables)
    return finished.returncode, finished.stderr


def test_ready_only_after_the_golden_prediction(server: RunningServer) -> None:
    assert server.ask("GET", "/healthz/live").status == 200
    answer = server.ask("GET", "/healthz/ready")
    assert (answer.status, answer.json()) == (200, {"ready": True, "model": "line", "version": "run-abc123def456"})
    assert [line["event"] for line in server.log()][:2] == ["listening", "ready"]


def test_a_wrong_golden_prediction_ends_the_server(tmp_path: Path) -> None:
    write_model(tmp_path, golden_error=0.01)
    code, message = serve_fails(tmp_path)
    assert code == 1
    assert "error: the golden prediction of line is wrong: 0.01 away" in message


def test_no_model_ends_the_server(tmp_path: Path) -> None:
    code, message = serve_fails(tmp_path)
    assert code == 1
    assert f"error: there is no model in {tmp_path}" in message


def test_a_file_that_is_no_model_ends_the_server(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.tflite").write_bytes(b"x" * 1000)
    code, message = serve_fails(tmp_path)
    assert code == 1
    assert "is not a LiteRT model" in message


def test_a_broken_manifest_ends_the_server_naming_every_problem(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"name": "x", "file": "../x", "inputs": {"shape": [1, 1], "dtype": "str"}}')
    code, message = serve_fails(tmp_path)
    assert code == 1
    for part in ("run_id", "framework", "runtime", "inputs.shape", "inputs.dtype", "outputs", "golden"):
        assert part in message
    assert "Traceback" not in message


def test_wrong_settings_are_all_named(tmp_path: Path) -> None:
    code, message = serve_fails(tmp_path, MODELOPS_DRAIN_SECONDS=-1, MODELOPS_MAX_BATCH_ROWS="x", MODELOPS_THREADS=1.5)
    assert code == 2
    assert [line.split()[1] for line in message.splitlines()] == [
        "MODELOPS_DRAIN_SECONDS",
        "MODELOPS_MAX_BATCH_ROWS",
        "MODELOPS_THREADS",
    ]


def test_a_port_in_use_is_named(model_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = run_module(
            "modelops_runtime serve", MODELOPS_MODEL_DIR=model_dir, MODELOPS_PORT=port, MODELOPS_HOST="127.0.0.1"
        )
    assert finished.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in finished.stderr


def half_a_request(server: RunningServer) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), 10)
    head = "POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n"
    connection.sendall(head.encode() + b'{"inputs"')
    return connection


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_past_the_bound_requests_are_sent_away_and_probes_are_not(model_dir: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        start_server(model_dir, log, program=SLOW_MODEL, MODELOPS_MAX_CONCURRENCY=2) as server,
        ThreadPoolExecutor(2) as callers,
    ):
        waiting = [callers.submit(server.post, {"inputs": [[1.5]]}) for _request in range(2)]
        while server.metrics()["modelops_in_flight"] < 3:  # the third is the one that reads them
            time.sleep(0.01)
        answer = server.post({"inputs": [[0]]})
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["rule"] == "max_concurrency"
        assert server.ask("GET", "/healthz/ready").status == 200
        assert [request.result().json() for request in waiting] == [{"outputs": [4.0]}] * 2
        assert server.post({"inputs": [[0]]}).status == 200


def test_a_body_that_does_not_come_is_given_up(model_dir: Path, tmp_path: Path) -> None:
    with start_server(model_dir, tmp_path / "log", MODELOPS_BODY_SECONDS=0.2) as server:
        connection = half_a_request(server)
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"rule":"max_seconds"' in answer
        connection.close()


def test_a_caller_who_goes_away_is_no_error(model_dir: Path, tmp_path: Path) -> None:
    with start_server(model_dir, tmp_path / "log", MODELOPS_MAX_CONCURRENCY=1) as server:
        half_a_request(server).close()
        server.requests(1)
        assert server.post({"inputs": [[0.5]]}).status == 200
        assert [line["status"] for line in server.requests(2)] == [499, 200]


def test_sigterm_drains_without_a_failed_request(model_dir: Path, tmp_path: Path) -> None:
    """Four callers ask throughout, each on kept connections; a request is half sent when SIGTERM comes."""
    with start_server(model_dir, tmp_path / "log", MODELOPS_DRAIN_SECONDS=2) as server:
        with load(f"http://127.0.0.1:{server.port}/api/predict", kept=4, pause_seconds=0) as result:
            waiting = half_a_request(server)
            time.sleep(0.3)
            server.process.terminate()
            while not any(line["event"] == "draining" for line in server.log()):
                time.sleep(0.01)
            assert server.ask("GET", "/healthz/ready").status == 503
            assert server.ask("GET", "/healthz/live").status == 200
            assert server.post({"inputs": [[0.5]]}).headers["connection"] == "close"
            time.sleep(0.5)
        # The endpoint is gone from every proxy by now.
        waiting.sendall(b":[[0.5]]}")
        assert b'{"outputs":[2.0]}' in read_all(waiting)
        waiting.close()
        assert server.process.wait(15) == 0
    assert result.failed == []
    assert 0 < result.closed < result.answered
    assert result.answered > 100
    assert [line["event"] for line in server.log() if line["event"] != "request"][-2:] == ["draining", "stopped"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_listens_on_ipv4_and_ipv6_alike(host: str) -> None:
    settings = ServeContract.read(Environment({"MODELOPS_PORT": "0"}))
    with listen(settings) as server, socket.create_connection((host, server.getsockname()[1]), timeout=5):
        pass
