"""Spans by OpenTelemetry, sent to a receiver of OTLP; and that nothing of it is there without MODELOPS_TRACING."""

import contextlib
import gzip
import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.conftest import REPOSITORY
from tests.environments import extra
from tests.models import write_model
from tests.runtime import PYTHONPATH, environment
from tests.unit.model.support import SLOW_MODEL, RunningServer, start_server

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
BODY = b'{"inputs": [[0.5]]}'


class Collector:
    """Receives spans by OTLP over HTTP, or answers with another status."""

    def __init__(self, status: int = 200) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    collector.resources.append(attributes(of_resource.resource))
                    collector.spans += [span for scope in of_resource.scope_spans for span in scope.spans]
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def named(self, name: str, count: int = 1) -> list[Span]:
        """The spans of that name, as soon as there are so many."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = [span for span in self.spans if span.name == name]
            if len(found) >= count:
                return found
            time.sleep(0.02)
        raise AssertionError(f"no {count} of {name!r} among {[span.name for span in self.spans]}")


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def attributes(of: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in of.attributes}


@contextlib.contextmanager
def traced(model_dir: Path, log: Path, url: str, **variables: object) -> Iterator[RunningServer]:
    settings = {"MODELOPS_TRACING": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": 50}
    path = f"{extra('tracing')}:{PYTHONPATH}"
    with start_server(model_dir, log, PYTHONPATH=path, **{**settings, **variables}) as running:
        yield running


def test_a_request_has_a_span_and_its_prediction_another(model_dir: Path, tmp_path: Path, collector: Collector) -> None:
    with traced(model_dir, tmp_path / "log", collector.url, OTEL_SERVICE_NAME="prices") as running:
        headers = {"Content-Type": "application/json", "User-Agent": "tests/1"}
        headers["traceparent"] = f"00-{TRACE}-{PARENT}-01"
        assert running.ask("POST", "/api/predict", BODY, headers).status == 200
        (span,), (within,) = collector.named("POST /api/predict"), collector.named("predict")
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert span.kind == Span.SPAN_KIND_SERVER
        assert attributes(span) == {
            "http.request.method": "POST",
            "http.response.status_code": 200,
            "http.route": "/api/predict",
            "url.path": "/api/predict",
            "url.scheme": "http",
            "user_agent.original": "tests/1",
        }
        assert span.status.code == Status.STATUS_CODE_UNSET
        assert (within.trace_id, within.parent_span_id) == (span.trace_id, span.span_id)
        assert span.start_time_unix_nano <= within.start_time_unix_nano
        assert within.end_time_unix_nano <= span.end_time_unix_nano
        assert running.requests(1)[0]["trace_id"] == TRACE
    assert collector.resources[0]["service.name"] == "prices"
    assert collector.resources[0]["service.version"] == "run-abc123def456"


def test_a_request_without_a_trace_starts_one_that_its_log_line_names(
    model_dir: Path, tmp_path: Path, collector: Collector
) -> None:
    with traced(model_dir, tmp_path / "log", collector.url) as running:
        assert running.post({"inputs": [[0.5]]}).status == 200
        (span,) = collector.named("POST /api/predict")
        assert span.parent_span_id == b""
        assert running.requests(1)[0]["trace_id"] == span.trace_id.hex()
    assert collector.resources[0]["service.name"] == "modelops-serve"


def test_probes_and_scrapes_have_no_spans_and_unknown_paths_make_no_new_names(
    model_dir: Path, tmp_path: Path, collector: Collector
) -> None:
    with traced(model_dir, tmp_path / "log", collector.url) as running:
        for path in ("/healthz/live", "/healthz/ready", "/metrics", "/v2/health/live", "/v2/health/ready"):
            assert running.ask("GET", path).status == 200
        assert running.ask("GET", "/secret/path").status == 404
        assert running.ask("GET", "/v2").status == 200
        collector.named("GET /v2")
        collector.named("GET")
    assert sorted(span.name for span in collector.spans) == ["GET", "GET /v2"]


def test_a_server_s_errors_are_errors_and_a_caller_s_are_not(tmp_path: Path, collector: Collector) -> None:
    write_model(tmp_path / "model")
    with traced(tmp_path / "model", tmp_path / "log", collector.url) as running:
        assert running.post({"inputs": "none"}).status == 422
        assert running.post({"inputs": [[3e38]]}).status == 422
        refused, infinite = collector.named("POST /api/predict", 2)
        assert {span.status.code for span in (refused, infinite)} == {Status.STATUS_CODE_UNSET}
        assert attributes(refused)["http.response.status_code"] == 422
        assert {span.status.code for span in collector.named("predict", 2)} == {Status.STATUS_CODE_UNSET}


def test_a_server_error_is_one_in_its_span(tmp_path: Path, model_dir: Path, collector: Collector) -> None:
    limits = {"MODELOPS_MAX_CONCURRENCY": 1, "program": SLOW_MODEL}
    with traced(model_dir, tmp_path / "log", collector.url, **limits) as running, ThreadPoolExecutor(1) as caller:
        caller.submit(running.post, {"inputs": [[1.0]]})
        while running.metrics()["modelops_in_flight"] < 2:  # the second is the one that reads them
            time.sleep(0.01)
        assert running.post({"inputs": [[0]]}).status == 503
        (span,) = collector.named("POST /api/predict")
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert attributes(span)["error.type"] == "503"


def test_the_shadow_s_span_is_a_child_of_the_live_one_s(model_dir: Path, tmp_path: Path, collector: Collector) -> None:
    with (
        traced(model_dir, tmp_path / "shadow", collector.url, OTEL_SERVICE_NAME="shadow") as shadow,
        traced(
            model_dir, tmp_path / "live", collector.url, MODELOPS_MIRROR_URL=f"http://127.0.0.1:{shadow.port}"
        ) as live,
    ):
        headers = {"Content-Type": "application/json", "traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"}
        assert live.ask("POST", "/v2/models/line/infer", INFER, headers).status == 200
        spans = collector.named("POST /v2/models/line/infer", 2)
    first = next(span for span in spans if span.parent_span_id.hex() == PARENT)
    (second,) = [span for span in spans if span is not first]
    assert second.parent_span_id == first.span_id
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert {span.trace_state for span in spans} == {"a=b"}


INFER = json.dumps({"inputs": [{"name": "input", "shape": [1, 1], "datatype": "FP32", "data": [0.5]}]}).encode()


@pytest.mark.parametrize(
    ("variables", "flags", "sent"),
    [
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "01", False),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, "01", True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1"}, "00", False),
    ],
)
def test_the_sampler_is_opentelemetry_s_own(
    model_dir: Path, tmp_path: Path, collector: Collector, variables: dict[str, str], flags: str, sent: bool
) -> None:
    with traced(model_dir, tmp_path / "log", collector.url, **variables) as running:
        headers = {"Content-Type": "application/json", "traceparent": f"00-{TRACE}-{PARENT}-{flags}"}
        assert running.ask("POST", "/api/predict", BODY, headers).status == 200
        assert running.requests(1)[0]["trace_id"] == TRACE
        running.terminate()
    assert bool(collector.spans) is sent


def test_the_last_spans_are_sent_when_the_server_ends_and_headers_go_with_them(
    model_dir: Path, tmp_path: Path, collector: Collector
) -> None:
    more = {"OTEL_BSP_SCHEDULE_DELAY": 60_000, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret"}
    with traced(model_dir, tmp_path / "log", collector.url, **more) as running:
        assert running.post({"inputs": [[0.5]]}).status == 200
        assert not collector.spans
        assert running.terminate() == 0
    assert len(collector.spans) == 2
    assert collector.headers[0]["api-key"] == "secret"


def test_a_collector_that_is_away_costs_spans_but_no_answer_and_is_logged(model_dir: Path, tmp_path: Path) -> None:
    with traced(model_dir, tmp_path / "log", "http://127.0.0.1:9") as running:
        started = time.monotonic()
        assert [running.post({"inputs": [[0.5]]}).status for _request in range(20)] == [200] * 20
        assert time.monotonic() - started < 5
        deadline = time.monotonic() + 20
        while not (told := [line for line in running.log() if line["event"] == "tracing"]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert told[0]["level"] in ("warning", "error")
        started = time.monotonic()
        assert running.terminate() == 0
        assert time.monotonic() - started < 6


def test_nothing_of_opentelemetry_or_grpc_is_loaded_without_being_asked_for(model_dir: Path) -> None:
    program = """
import asyncio, os, signal, sys
from modelops_runtime.serving import lifecycle
from modelops_runtime.contract import Environment, ServeContract
async def main():
    asyncio.get_running_loop().call_later(3, os.kill, os.getpid(), signal.SIGTERM)
    await lifecycle.serve(ServeContract.read(Environment()))
asyncio.run(main())
print([name for name in sys.modules if name.startswith(("opentelemetry", "grpc", "google", "requests"))],
    file=sys.stderr)
"""
    env = environment(
        MODELOPS_MODEL_DIR=model_dir,
        MODELOPS_PORT=0,
        MODELOPS_HOST="127.0.0.1",
        MODELOPS_DRAIN_SECONDS=0,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
    )
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=REPOSITORY, capture_output=True, text=True)
    assert '"event":"ready"' in done.stdout
    assert done.stderr.strip().splitlines()[-1] == "[]", done.stderr


def test_without_the_packages_the_server_says_what_is_missing(model_dir: Path) -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
from modelops_runtime.__main__ import main
sys.argv = ["modelops", "serve"]
main()
"""
    env = environment(MODELOPS_MODEL_DIR=model_dir, MODELOPS_TRACING="true", MODELOPS_PORT=0)
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    assert "MODELOPS_TRACING needs opentelemetry" in done.stderr
    assert "modelops-runtime[tracing]" in done.stderr
    assert "EXTRAS=tracing" in done.stderr
