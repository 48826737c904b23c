"""A real engine, scraped by the library's own configuration: what dashboard, alerts, analysis and autoscaler read."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.assets.test_assets import ASSETS
from tests.assets.test_dashboards import panels
from tests.assets.test_metric_names import Scraped, free_port, running
from tests.llm import QUESTION, SMALL, Engine, serving, write_models
from tests.package.clean_environment import clean_environment
from tests.server_metrics import analysis, autoscaler_queries

pytestmark = [pytest.mark.long, pytest.mark.integration]

LABELS = {
    "namespace": "ml",
    "pod": "chat-1",
    "component": "model-service",
    "service": "chat",
    "track": "stable",
    "version": "3",
    "metric_names": "vllm",
}
ROUNDS = 60
WITHOUT = {"Cost of a million tokens": "there is no container here whose CPU and memory are measured"}
"""Panels that are empty here, and why."""


@pytest.fixture(scope="module")
def scraped(prometheus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("large-model")
    models = write_models(folder)
    lora = ["--enable-lora", "--lora-modules", f"polite={models / 'polite'}"]
    config = yaml.safe_load((ASSETS / "prometheus" / "prometheus.yml").read_text())
    [job] = [job for job in config["scrape_configs"] if job["job_name"] == "modelops"]
    with serving(folder, [str(models / "base"), "--served-model-name", "base", *SMALL, *lora]) as engine:
        target = {"targets": [f"127.0.0.1:{engine.port}"], "labels": LABELS}
        own = {"static_configs": [target], "metric_relabel_configs": job["metric_relabel_configs"]}
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ASSETS / "rules" / "*.yaml")],
            "scrape_configs": [{"job_name": "modelops", **own}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        port = free_port()
        arguments = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        command = [prometheus, *arguments, f"--web.listen-address=127.0.0.1:{port}"]
        with running(command, f"http://127.0.0.1:{port}/-/ready", env=clean_environment()):
            found = Scraped("vllm", f"http://127.0.0.1:{port}")
            talk(engine, 1)  # So that the counters are there before they rise.
            found.eventually("vllm:lora_requests_info")
            with ThreadPoolExecutor(4) as clients:
                list(clients.map(lambda _: talk(engine, ROUNDS // 4), range(4)))
            found.eventually(f"sum(vllm:request_success_total) > {2 * ROUNDS}")
            yield found


def talk(engine: Engine, rounds: int) -> None:
    """Chats with the model and its adapter; the longer ones stream."""
    for _ in range(rounds):
        engine.chat("polite")
        engine.post("/v1/completions", {"model": "base", "prompt": "hi there", "max_tokens": 40, "ignore_eos": True})


@pytest.mark.parametrize(
    "expression",
    [
        "service:modelops_requests:rate5m > 0",
        "service:modelops_errors:ratio_rate5m >= 0",
        "service:vllm_requests_waiting:sum >= 0",
        "service:vllm_requests_running:sum >= 0",
        "service:modelops_slo_late_first_token:ratio_rate5m >= 0",
        'vllm:kv_cache_usage_perc{track!="shadow"} >= 0',
        "changes(process_start_time_seconds[30m]) and on (namespace, pod) vllm:num_requests_running",
    ],
)
def test_alerts_read_it(scraped: Scraped, expression: str) -> None:
    [one] = scraped.eventually(expression)
    assert one["metric"]["namespace"] == "ml" and one["metric"]["service"] == "chat"


def test_how_long_answers_take_is_no_latency_of_ours(scraped: Scraped) -> None:
    assert scraped.ask("service:modelops_request_duration_seconds:p99_rate5m") == []
    assert scraped.ask('ALERTS{alertstate="firing", alertname!="Watchdog"}') == []


def test_the_analysis_of_a_canary_gets_its_figures(scraped: Scraped) -> None:
    figures = analysis(scraped.url, "ml", "chat").engine("stable", "3", 60)
    assert figures["requests"] > ROUNDS and figures["error_percent"] == 0 and figures["restarts"] == 0
    assert 0 < figures["token_interval_p99_seconds"] < figures["first_token_p99_seconds"] * 10
    assert QUESTION["max_tokens"] <= figures["answer_tokens"] <= 40


@pytest.mark.parametrize("metric", autoscaler_queries("ml", "vllm_"))
def test_the_autoscaler_gets_its_figures(scraped: Scraped, metric: str) -> None:
    [one] = scraped.eventually(f"({autoscaler_queries('ml', 'vllm_')[metric]}) >= 0")
    assert one["metric"] == {"pod": "chat-1"}


def test_requests_per_second_are_an_aim_too(scraped: Scraped) -> None:
    assert scraped.eventually(f"({autoscaler_queries('ml')['modelops_requests_per_second']}) > 0")


def test_every_panel_of_the_dashboard_has_data(scraped: Scraped) -> None:
    file = ASSETS / "dashboards" / "large-model.json"
    filled = {"$namespace": ".*", "$service": ".*", "$cpu_price": "1", "$memory_price": "1", "$gpu_price": "1"}
    empty = []
    for panel in panels(file):
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in filled.items():
                expression = expression.replace(variable, value)
            if not scraped.ask(expression):
                empty.append(panel["title"])
    assert empty == list(WITHOUT)
