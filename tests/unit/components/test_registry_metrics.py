"""What the registry tells Prometheus: by a server that answers as MLflow does."""

import http.server
import importlib.util
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import modelops
from modelops_runtime.registry.publishing.names import mlflow_name

RUN = {
    "info": {
        "run_id": "f00",
        "run_name": 'line"ar-1',
        "status": "FINISHED",
        "start_time": 1_700_000_000_000,
        "end_time": 1_700_000_042_500,
    },
    "data": {
        "metrics": [{"key": "loss", "value": 0.25}, {"key": "mse", "value": "NaN"}],
        "tags": [{"key": "modelops.model", "value": "linear"}],
    },
}
GOING_ON = {"info": {"run_id": "ba5", "status": "RUNNING", "start_time": 1_700_000_000_000}}


def script() -> Any:
    file = Path(modelops.__file__).parent / "registry" / "assets" / "metrics.py"
    spec = importlib.util.spec_from_file_location("metrics", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = script()


class Mlflow(http.server.BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, Any, str | None]]] = []
    experiments: ClassVar[list[dict[str, str]]] = [{"experiment_id": "1"}]

    def _answer(self, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self.seen.append((self.path, None, self.headers.get("Authorization")))
        first = self.path.endswith("page_token=")
        more: dict[str, Any] = {"next_page_token": "2"} if first else {}
        self._answer({"registered_models": [{"name": "a"}] * (3 if first else 1), **more})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, body, self.headers.get("Authorization")))
        found = {"experiments": self.experiments} if "experiments" in self.path else {"runs": [RUN, GOING_ON]}
        self._answer(found)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(Mlflow, "seen", [])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mlflow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MODELOPS_REGISTRY", f"http://127.0.0.1:{server.server_address[1]}")
    yield script()
    server.shutdown()
    server.server_close()


def values(text: str) -> dict[str, str]:
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))  # type: ignore[arg-type]


def test_runs_stay_to_be_scraped_with_their_metrics_and_how_long_they_took(metrics: Any) -> None:
    found = values(metrics.collect(now=lambda: 1_700_000_100.0))
    ended = 'model="linear",run="line\\"ar-1",mlflow_run_id="f00"'
    assert found["modelops_registry_up"] == "1.0"
    assert found["modelops_registry_models"] == "4.0"
    assert found[f'modelops_run_metric{{{ended},metric="loss"}}'] == "0.25"
    assert found[f'modelops_run_metric{{{ended},metric="mse"}}'] == "nan"
    assert found[f"modelops_run_duration_seconds{{{ended}}}"] == "42.5"
    assert found[f'modelops_run_info{{{ended},status="FINISHED"}}'] == "1.0"
    assert found['modelops_run_duration_seconds{model="",run="ba5",mlflow_run_id="ba5"}'] == "100.0"


def test_prometheus_own_parser_reads_it(metrics: Any) -> None:
    families = {family.name: family for family in text_string_to_metric_families(metrics.collect())}
    assert all(family.type == "gauge" and family.documentation for family in families.values())
    assert {sample.labels["run"] for sample in families["modelops_run_info"].samples} == {'line"ar-1', "ba5"}


def test_only_the_newest_runs_are_asked_for(metrics: Any) -> None:
    metrics.collect()
    asked = next(body for path, body, _ in Mlflow.seen if path.endswith("runs/search"))
    assert asked == {"experiment_ids": ["1"], "max_results": 50, "order_by": ["attributes.start_time DESC"]}


def test_a_registry_without_experiments_has_no_runs(metrics: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mlflow, "experiments", [])
    assert "modelops_run_info{" not in metrics.collect()


def test_a_registry_that_does_not_answer_is_down_and_nothing_else(
    metrics: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metrics, "SERVER", "http://127.0.0.1:9")
    assert values(metrics.collect()) == {"modelops_registry_up": "0.0"}
    assert "the registry does not answer" in capsys.readouterr().err


def test_with_accounts_it_asks_as_a_reader(metrics: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    metrics.collect()
    assert {sent for _, _, sent in Mlflow.seen} == {"Basic cmVhZGVyOnNlY3JldA=="}


def test_however_often_it_is_scraped_the_registry_is_asked_once(metrics: Any) -> None:
    cached = metrics.CachedMetrics()
    first = cached.text()
    asked = len(Mlflow.seen)
    assert cached.text() == first
    assert len(Mlflow.seen) == asked


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=25))
def test_a_metric_has_the_name_that_the_training_gave(name: str) -> None:
    assert SCRIPT.own_name(mlflow_name(name)) == name


@pytest.mark.parametrize("name", ["loss_xD800_", "loss_xFFFFFF_", "loss_x41_"])
def test_what_is_no_character_stays_as_it_is(name: str) -> None:
    assert SCRIPT.own_name(name) == name
