"""docs/tutorial/bring-your-own.md, done as it says: a script, an image and a server that know nothing of this project.

The tests are its steps on one stack, in its order. tests/unit/examples has the first, which needs no cluster.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.examples import Example
from tests.cluster.monitoring.panels import ask, queries
from tests.cluster.support import REPOSITORY, eventually, forwarded, kubectl, objects, platform_facts, post
from tests.load import LoadResult, load
from tests.server_metrics import RECORDED, analysis, autoscaler_queries

pytestmark = [pytest.mark.models, pytest.mark.long]

PAGE = (REPOSITORY / "docs" / "tutorial" / "bring-your-own.md").read_text()
ROW = [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]
EMPTY_PANELS = {"Drift"}
"""What the tutorial says that the example's server does without."""
COMMON_SERVER = """
import os

import mlflow.sklearn
import uvicorn
from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

model = mlflow.sklearn.load_model(os.environ["MODELOPS_MODEL_DIR"])
app = FastAPI()
Instrumentator().instrument(app).expose(app)

@app.post("/api/predict")
def predict(rows: dict[str, list[list[float]]]) -> dict[str, list[float]]:
    return {"outputs": model.predict(rows["inputs"]).tolist()}

@app.get("/healthz/live")
@app.get("/healthz/ready")
async def healthy() -> str:
    return "healthy"

uvicorn.run(app, host="0.0.0.0", port=int(os.environ["MODELOPS_PORT"]))
"""
"""A server that has no metrics of its own, only those of Prometheus FastAPI Instrumentator."""
Figure = Callable[[str], None]


@dataclass
class Tutorial:
    """The stack of the tutorial, brought up, and what its steps have shown so far."""

    namespace: str
    example: Example
    outputs: dict[str, Any]
    answers: dict[str, float] = field(default_factory=dict)
    """What each `alpha` that was released predicts."""

    def predicted(self) -> float:
        status, answer = post(self.outputs["predict_url"], {"inputs": [ROW]})
        assert status == 200, answer
        return float(answer["outputs"][0])

    @contextmanager
    def load(self) -> Iterator[LoadResult]:
        """Clients of which half keep their connections."""
        with load(
            self.outputs["predict_url"], callers=4, kept=2, pause_seconds=0.05, inputs=ROW[:1], others=ROW[1:]
        ) as result:
            yield result

    def release(self, alpha: str) -> tuple[LoadResult, float]:
        """Releases a version under load; also how long that took, in seconds."""
        self.example.configure(alpha=alpha)
        with self.load() as result:
            started = time.monotonic()
            self.example.pulumi("up", "--yes", "--skip-preview")
            took = time.monotonic() - started
            eventually(lambda: len(self.pods(leaving=True)) == 2)
        self.outputs = self.example.outputs()
        self.answers[alpha] = self.predicted()
        return result, took

    def pods(self, *, leaving: bool = False) -> list[dict[str, Any]]:
        wanted = "app.kubernetes.io/name=model-service,app.kubernetes.io/instance=diabetes"
        found = objects("pods", self.namespace, "--selector", wanted)
        return [pod for pod in found if leaving or "deletionTimestamp" not in pod["metadata"]]

    def trained(self) -> list[str]:
        """The training pods whose script has run."""
        pods = objects("pods", self.namespace, "--selector", "app.kubernetes.io/name=training-job")
        names = [pod["metadata"]["name"] for pod in pods]
        logs = {name: kubectl("logs", "--namespace", self.namespace, name, "--all-containers") for name in names}
        return [name for name, said in logs.items() if "'r2': 0." in said]


@pytest.fixture(scope="module")
def tutorial(
    platform_env: dict[str, str], installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tutorial]:
    facts = platform_facts()
    folder = tmp_path_factory.mktemp("bring-your-own")
    namespace = f"own-{uuid.uuid4().hex[:8]}"
    example = Example("bring-your-own", folder / "program", installed)
    example.build_on(facts)
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    try:
        outputs = example.up(namespace=namespace, repository=f"{facts['registry']}/bring-your-own")
        yield Tutorial(namespace, example, outputs)
    finally:
        example.destroy()
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)


@pytest.fixture(scope="module")
def prometheus_url(tutorial: Tutorial) -> Iterator[str]:
    """Through a port that is forwarded as the tutorial says."""
    assert "kubectl port-forward" in PAGE and "service/monitoring-prometheus" in PAGE
    with forwarded(tutorial.namespace, "service/monitoring-prometheus", 9090) as port:
        yield f"http://127.0.0.1:{port}"


def test_one_up_builds_trains_judges_registers_and_serves(tutorial: Tutorial) -> None:
    tutorial.answers["1"] = tutorial.predicted()
    assert 25 < tutorial.answers["1"] < 350
    assert tutorial.outputs["metrics"]["r2"] > 0.4
    assert re.fullmatch(r"models:/diabetes@run-\w+", tutorial.outputs["model_uri"])
    images = {pod["spec"]["containers"][0]["image"] for pod in tutorial.pods()}
    assert len(images) == 1 and "/bring-your-own@sha256:" in images.pop()
    assert len(tutorial.trained()) == 1


def test_a_plan_names_what_an_argument_needs_of_the_server(tutorial: Tutorial) -> None:
    program = tutorial.example.folder / "__main__.py"
    text = program.read_text()
    scaled = '"autoscaling": {"max_replicas": 3, "target_latency_ms": 50},\n        "expose"'
    program.write_text(text.replace('"expose"', scaled))
    try:
        said = tutorial.example.pulumi("preview")
    finally:
        program.write_text(text)
    assert "autoscaling.target_latency_ms: expose modelops_request_duration_seconds" in said


def test_a_second_version_goes_out_without_a_lost_request(tutorial: Tutorial, figure: Figure) -> None:
    images = {pod["spec"]["containers"][0]["image"] for pod in tutorial.pods()}
    result, took = tutorial.release("100")
    figure(f"own server, second version: {result.answered} answered, {len(result.failed)} failed, {took:.0f} s")
    assert not result.failed, result.failed[:5]
    assert result.closed, "kept connections were asked to close"
    assert result.outputs == {tutorial.answers["1"], tutorial.answers["100"]}
    assert {pod["spec"]["containers"][0]["image"] for pod in tutorial.pods()} == images


def test_a_version_that_misses_its_gate_changes_nothing(tutorial: Tutorial) -> None:
    [sentence] = re.findall(r"`(gate not met: .*?)`", PAGE)
    tutorial.example.configure(alpha="1000")
    with tutorial.load() as result:
        failed = tutorial.example.run("up", "--yes", "--skip-preview")
    assert failed.returncode != 0
    assert sentence in failed.stdout + failed.stderr
    assert not result.failed and result.outputs == {tutorial.answers["100"]}


def test_going_back_builds_and_trains_nothing_and_loses_no_request(tutorial: Tutorial, figure: Figure) -> None:
    first = tutorial.answers["1"]
    trained = set(tutorial.trained())
    result, took = tutorial.release("1")
    figure(f"own server, going back: {result.answered} answered, {len(result.failed)} failed, {took:.0f} s")
    assert not result.failed, result.failed[:5]
    assert result.outputs == {first, tutorial.answers["100"]} and tutorial.answers["1"] == first
    assert set(tutorial.trained()) <= trained


@pytest.mark.parametrize("expression", [*RECORDED, 'sum(up{component="model-service"}) == 2'])
def test_what_the_alerts_read_is_there(tutorial: Tutorial, prometheus_url: str, expression: str) -> None:
    assert eventually(lambda: ask(prometheus_url, expression))


def test_no_alert_fires(tutorial: Tutorial, prometheus_url: str) -> None:
    firing = ask(prometheus_url, 'ALERTS{alertstate="firing", alertname!="Watchdog"}')
    assert [alert["metric"]["alertname"] for alert in firing] == []


def test_every_panel_of_the_services_dashboard_has_data(tutorial: Tutorial, prometheus_url: str) -> None:
    panels: dict[str, bool] = {}
    for query in queries(tutorial.namespace):
        if query.dashboard == "model-service":
            found = bool(ask(prometheus_url, query.expression))
            panels[query.panel] = panels.get(query.panel, False) or found
    assert {panel for panel, found in panels.items() if not found} == EMPTY_PANELS
    assert len(panels) > 10


def test_the_analysis_of_a_canary_gets_its_figures(tutorial: Tutorial, prometheus_url: str) -> None:
    prometheus = analysis(prometheus_url, tutorial.namespace, "diabetes")
    version = tutorial.outputs["model_uri"].partition("@")[2]
    figures = prometheus.track("stable", version, 600)
    assert figures["requests"] > 0 and figures["error_percent"] == 0
    assert figures["p99_seconds"] > 0 and figures["restarts"] == 0
    [[output, buckets]] = prometheus.predictions("stable", version, 600).items()
    assert output == "0" and buckets[-1][1] > 0


def test_the_autoscaler_s_metrics_are_computed_from_it(tutorial: Tutorial, prometheus_url: str) -> None:
    with tutorial.load():
        for metric, query in autoscaler_queries(tutorial.namespace).items():
            assert eventually(lambda asked=query: ask(prometheus_url, f"({asked}) > 0")), metric


def test_a_server_with_a_common_library_s_metrics_is_watched_as_well(tutorial: Tutorial, prometheus_url: str) -> None:
    folder = tutorial.example.folder
    (folder / "image" / "serve.py").write_text(COMMON_SERVER)
    with (folder / "image" / "requirements.txt").open("a") as requirements:
        requirements.write("\nprometheus-fastapi-instrumentator==8.1.0\n")
    program = (folder / "__main__.py").read_text()
    named = program.replace('"expose"', '"metric_names": "fastapi-instrumentator",\n        "expose"')
    (folder / "__main__.py").write_text(named)
    tutorial.example.pulumi("up", "--yes", "--skip-preview")
    tutorial.outputs = tutorial.example.outputs()
    version = tutorial.outputs["model_uri"].partition("@")[2]
    with tutorial.load():
        for expression in RECORDED:
            assert eventually(lambda asked=expression: ask(prometheus_url, asked)), expression
        for metric, query in autoscaler_queries(tutorial.namespace).items():
            assert eventually(lambda asked=query: ask(prometheus_url, f"({asked}) > 0")), metric
        prometheus = analysis(prometheus_url, tutorial.namespace, "diabetes")
        assert eventually(lambda: prometheus.track("stable", version, 60)["requests"] > 0)
    renamed = 'modelops_requests_total{path="/api/predict", version="' + version + '"}'
    assert ask(prometheus_url, renamed) and not ask(prometheus_url, "http_requests_total")
