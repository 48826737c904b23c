"""The server's metrics and logs."""

import json
from pathlib import Path

import pytest

from modelops_runtime.serving.http import identity
from tests.unit.model.support import RunningServer, start_server

REQUESTS = 'modelops_requests_total{code="%s",path="%s"}'


def test_requests_and_predictions_are_counted(model_dir: Path, tmp_path: Path) -> None:
    with start_server(model_dir, tmp_path / "log") as server:
        server.post({"inputs": [[1], [2], [3]]})
        server.post({"inputs": []})
        server.ask("GET", "/nowhere/1")
        server.ask("GET", "/nowhere/2")
        metrics = server.metrics()
    assert metrics[REQUESTS % (200, "/api/predict")] == 1
    assert metrics[REQUESTS % (422, "/api/predict")] == 1
    assert metrics[REQUESTS % (404, "other")] == 2
    assert metrics["modelops_predictions_total"] == 3
    assert metrics["modelops_in_flight"] == 1  # the one that reads them
    assert metrics["modelops_ready"] == 1
    assert metrics['modelops_model_info{model="line",version="run-abc123def456"}'] == 1
    assert metrics['modelops_request_duration_seconds_count{path="/api/predict"}'] == 2
    assert metrics['modelops_request_duration_seconds_bucket{le="+Inf",path="/api/predict"}'] == 2
    assert metrics["process_resident_memory_bytes"] > 0


def test_strangers_can_t_make_series(server: RunningServer) -> None:
    for number in range(20):
        server.ask("GET", f"/{number}")
        server.ask("BREW", "/api/predict")
    series = [name for name in server.metrics() if name.startswith("modelops_requests_total")]
    assert not any("/7" in name or "BREW" in name for name in series)


def test_one_json_line_a_request_without_its_inputs(model_dir: Path, tmp_path: Path) -> None:
    with start_server(model_dir, tmp_path / "log") as server:
        server.ask(
            "POST", "/api/predict?secret=1", b'{"inputs":[[123.25]]}', {**server.headers, "X-Request-Id": "trace-1"}
        )
        server.post({"inputs": [["hush"]]})
        first, second = server.requests(2)
    text = (tmp_path / "log").read_text()
    assert first["latency_ms"] > 0
    assert first["ts"].endswith("Z")
    del first["latency_ms"], first["ts"]
    assert first == {
        "level": "info",
        "event": "request",
        "request_id": "trace-1",
        "method": "POST",
        "path": "/api/predict",
        "status": 200,
        "model": "line",
        "model_version": "run-abc123def456",
    }
    assert second["status"] == 422
    for secret in ("123.25", "secret", "hush"):
        assert secret not in text


def test_inputs_are_logged_when_asked_for(model_dir: Path, tmp_path: Path) -> None:
    with start_server(model_dir, tmp_path / "log", MODELOPS_LOG_INPUTS="true") as server:
        server.post(b'{"inputs": [[0.5]]}')
        server.post({"inputs": [[row] for row in range(1000)]})
        server.ask("GET", "/healthz/live")
        small, large, other = server.requests(3)
    assert small["inputs"] == '{"inputs": [[0.5]]}'
    assert len(large["inputs"]) == 4096
    assert "inputs" not in other


def test_every_log_line_is_json(server: RunningServer) -> None:
    server.ask("GET", "/%0a%22")
    for line in server.log_file.read_text().splitlines():
        assert {"ts", "level", "event", "model", "model_version"} <= json.loads(line).keys()


def test_a_caller_s_trace_is_logged_and_passed_on_to_the_shadow(model_dir: Path, tmp_path: Path) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with (
        start_server(model_dir, tmp_path / "shadow.log") as shadow,
        start_server(model_dir, tmp_path / "log", MODELOPS_MIRROR_URL=f"http://127.0.0.1:{shadow.port}") as server,
    ):
        headers = {"Content-Type": "application/json", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        assert server.ask("POST", "/api/predict", b'{"inputs": [[0.5]]}', headers).status == 200
        assert [running.requests(1)[0]["trace_id"] for running in (server, shadow)] == [trace, trace]


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "x",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{'a' * 32}-{'0' * 16}-01",
        f"ff-{'a' * 32}-{'b' * 16}-01",
        f"00-{'A' * 32}-{'b' * 16}-01",
        f"00-{'a' * 32}-{'b' * 16}-01x",
    ],
)
def test_what_is_no_trace_is_not_logged(traceparent: str) -> None:
    assert identity({"headers": [(b"traceparent", traceparent.encode())]})[1] == ""
