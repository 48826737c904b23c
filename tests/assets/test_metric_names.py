"""Servers with the metrics of a common library: what MonitoringStack's Prometheus makes of them."""

import json
import socket
import subprocess
import textwrap
import time
import urllib.error
import urllib.parse
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.assets.test_assets import ASSETS
from tests.package.clean_environment import clean_environment
from tests.server_metrics import RECORDED, analysis, autoscaler_queries

APP = """
import uvicorn
from fastapi import FastAPI

app = FastAPI()

@app.post("/api/predict")
def predict() -> dict[str, list[float]]:
    return {"outputs": [1.0]}

@app.post("/api/fail")
def fail() -> None:
    raise RuntimeError

@app.get("/healthz/ready")
def ready() -> str:
    return "ready"
"""
SERVERS = {
    "fastapi-instrumentator": """
        from prometheus_fastapi_instrumentator import Instrumentator
        Instrumentator().instrument(app).expose(app)
        """,
    "opentelemetry": """
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.metrics import MeterProvider
        from prometheus_client import make_asgi_app
        FastAPIInstrumentor.instrument_app(app, meter_provider=MeterProvider([PrometheusMetricReader()]))
        app.mount("/metrics", make_asgi_app())
        """,
}
PACKAGES = (
    "fastapi==0.165.0",
    "uvicorn==0.54.0",
    "prometheus-fastapi-instrumentator==8.1.0",
    "opentelemetry-instrumentation-fastapi==0.66b2",
    "opentelemetry-exporter-prometheus==0.66b2",
)
PREDICTIONS, FAILURES = 30, 10
LABELS = {
    "namespace": "ml",
    "pod": "own-1",
    "component": "model-service",
    "service": "own",
    "track": "stable",
    "version": "run-1",
}


@dataclass(frozen=True)
class Scraped:
    """A Prometheus that has scraped a server after its requests."""

    names: str
    url: str

    def ask(self, query: str) -> list[dict[str, Any]]:
        address = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return list(json.load(answer)["data"]["result"])

    def eventually(self, query: str) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 30
        while not (found := self.ask(query)):
            assert time.monotonic() < deadline, query
            time.sleep(0.5)
        return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with both libraries."""
    folder = tmp_path_factory.mktemp("metric-names") / "venv"
    venv.create(folder, with_pip=True)
    command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *PACKAGES]
    subprocess.run(command, env=clean_environment(), check=True)
    return folder / "bin" / "python"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def running(command: list[Any], ready_url: str, **more: Any) -> Iterator[None]:
    """A process, once it answers."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **more) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(ready_url, timeout=5).close()
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.2)
            yield
        finally:
            process.kill()


def post(url: str) -> None:
    try:
        urllib.request.urlopen(urllib.request.Request(url, b"", method="POST"), timeout=10).close()
    except urllib.error.HTTPError as error:
        assert error.code == 500


@pytest.fixture(scope="module", params=SERVERS)
def scraped(
    request: pytest.FixtureRequest, installed: Path, prometheus: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("prometheus")
    port, own_port = free_port(), free_port()
    program = APP + textwrap.dedent(SERVERS[request.param]) + f"uvicorn.run(app, port={port}, log_level='critical')\n"
    config = yaml.safe_load((ASSETS / "prometheus" / "prometheus.yml").read_text())
    [job] = [job for job in config["scrape_configs"] if job["job_name"] == "modelops"]
    target = {"targets": [f"127.0.0.1:{port}"], "labels": {**LABELS, "metric_names": request.param}}
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ASSETS / "rules" / "*.yaml")],
        "scrape_configs": [
            {
                "job_name": "modelops",
                "static_configs": [target],
                "metric_relabel_configs": job["metric_relabel_configs"],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    arguments = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command = [prometheus, *arguments, f"--web.listen-address=127.0.0.1:{own_port}"]
    environment = {**clean_environment(), "OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
    server, url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{own_port}"
    with (
        running([installed, "-c", program], f"{server}/healthz/ready", env=environment),
        running(command, f"{url}/-/ready"),
    ):
        # A first request of each kind, so that the counters are there before they rise.
        for path in ("predict", "fail"):
            post(f"{server}/api/{path}")
        found = Scraped(request.param, url)
        found.eventually('modelops_requests_total{path="/api/fail"}')
        for path, times in (("predict", PREDICTIONS), ("fail", FAILURES)):
            for _ in range(times):
                post(f"{server}/api/{path}")
        found.eventually(f'sum(modelops_requests_total{{path="/api/predict"}}) == {PREDICTIONS + 1}')
        found.eventually(f'sum(modelops_requests_total{{path="/api/fail"}}) == {FAILURES + 1}')
        yield found


@pytest.mark.parametrize("expression", [*RECORDED, "service:modelops_slo_errors:ratio_rate5m > 0.1"])
def test_alerts_read_them(scraped: Scraped, expression: str) -> None:
    [one] = scraped.eventually(expression)
    assert one["metric"]["namespace"] == "ml" and one["metric"]["service"] == "own"


def test_the_share_of_errors_is_right(scraped: Scraped) -> None:
    [one] = scraped.eventually("service:modelops_errors:ratio_rate5m > 0")
    assert float(one["value"][1]) == pytest.approx(FAILURES / (PREDICTIONS + FAILURES), abs=0.02)


def test_a_failure_burns_the_budget(scraped: Scraped) -> None:
    assert scraped.eventually('ALERTS{alertname="ModelServiceErrorBudgetBurning"}')


def test_the_analysis_of_a_canary_gets_its_figures(scraped: Scraped) -> None:
    figures = analysis(scraped.url, "ml", "own").track("stable", "run-1", 60)
    assert figures["requests"] > PREDICTIONS / 2 and 20 < figures["error_percent"] < 30
    assert figures["p99_seconds"] > 0 and figures["restarts"] == 0


@pytest.mark.parametrize("metric", autoscaler_queries("ml"))
def test_the_autoscaler_gets_its_figures(scraped: Scraped, metric: str) -> None:
    [one] = scraped.eventually(f"({autoscaler_queries('ml')[metric]}) > 0")
    assert one["metric"] == {"pod": "own-1"}


def test_probes_keep_their_path_so_that_they_count_as_none(scraped: Scraped) -> None:
    assert scraped.ask('modelops_requests_total{path="/healthz/ready"}')


def test_requests_in_flight_are_counted_where_the_library_does(scraped: Scraped) -> None:
    assert bool(scraped.ask("modelops_in_flight")) is (scraped.names == "opentelemetry")


def test_no_series_says_whose_names_it_had(scraped: Scraped) -> None:
    assert scraped.ask('{metric_names!="", __name__!~"up|scrape_.*"}') == []
