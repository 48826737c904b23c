"""What a plan says of the arguments that need something of a server, which one of a team's own may not have."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

import modelops
from modelops.serving.needs import NEEDS, PAGE
from tests.unit.components.service import ARGS, serve

REPOSITORY = Path(__file__).resolve().parents[3]
ASSETS = Path(modelops.__file__).parent / "serving" / "assets"
OWN = {**ARGS, "serve_command": ["python", "serve.py"]}
NEW = "models:/linear@run-ba9876543210"
ANALYSIS = {"prometheus_url": "http://prometheus:9090"}
CANARY = {"model_uri": NEW, "weight_percent": 50, "analysis": ANALYSIS}
GIVEN: dict[str, dict[str, Any]] = {
    "drain_seconds": {"drain_seconds": 20},
    "smoke_test": {"smoke_test": {"inputs": [[1]], "outputs": [3]}},
    "grpc_port": {"grpc_port": 9000},
    "tracing": {"tracing": {"endpoint": "http://collector:4318"}},
    "autoscaling.target_requests_per_second": {"autoscaling": {"max_replicas": 3, "target_requests_per_second": 50}},
    "autoscaling.target_latency_ms": {"autoscaling": {"max_replicas": 3, "target_latency_ms": 50}},
    "canary.analysis": {"canary": CANARY},
    "canary.analysis.max_prediction_drift": {"canary": CANARY},
    "shadow.mirroring": {"shadow": {"model_uri": NEW}},
}
"""By argument: what a program gives that uses it."""


def said(args: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, *, preview: bool = True) -> str:
    lines: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", lambda message, resource: lines.append(message))
    serve(args, preview=preview)
    return "\n".join(lines)


def metrics(text: str) -> set[str]:
    """The metrics that a text reads; the series of a histogram are one metric."""
    names = re.findall(r"\b(?:modelops_(?:request|prediction)|process_start)\w+", text)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def test_every_argument_is_tried() -> None:
    assert GIVEN.keys() == NEEDS.keys()


@pytest.mark.parametrize("argument", NEEDS)
def test_a_preview_names_what_an_argument_needs(argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = said({**OWN, **GIVEN[argument]}, monkeypatch)
    assert text.startswith(f"for these arguments the server that serve_command starts must ({PAGE}):\n")
    assert f"  {argument}: {NEEDS[argument]}" in text.splitlines()


def test_an_image_with_a_command_of_its_own_may_be_a_teams_too(monkeypatch: pytest.MonkeyPatch) -> None:
    text = said({**ARGS, **GIVEN["canary.analysis"]}, monkeypatch)
    assert text.startswith("for these arguments a server other than modelops-serve must")


def test_it_says_whose_names_the_metrics_have(monkeypatch: pytest.MonkeyPatch) -> None:
    text = said({**OWN, **GIVEN["canary.analysis"], "metric_names": "opentelemetry"}, monkeypatch)
    assert f"({PAGE}; metrics as opentelemetry calls them):" in text


def test_a_plan_without_such_arguments_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said({**OWN, "autoscaling": {"max_replicas": 3}}, monkeypatch) == ""
    assert said({**OWN, "canary": {"model_uri": NEW, "weight_percent": 50}}, monkeypatch) == ""


def test_a_longer_drain_of_the_image_s_own_server_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said({**ARGS, **GIVEN["drain_seconds"]}, monkeypatch) == ""


def test_an_update_does_not_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said({**OWN, **GIVEN["smoke_test"]}, monkeypatch, preview=False) == ""


def test_a_comparison_that_is_off_needs_no_predicted_values(monkeypatch: pytest.MonkeyPatch) -> None:
    off = {**CANARY, "analysis": {**ANALYSIS, "max_prediction_drift": 0}}
    assert "modelops_prediction_value" not in said({**OWN, "canary": off}, monkeypatch)


def test_copies_that_the_gateway_sends_need_nothing_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    route = {"host": "model.example.com", "gateway_class": "contour"}
    shadow = {"model_uri": NEW, "mirroring": "Gateway"}
    assert said({**OWN, "route": route, "shadow": shadow}, monkeypatch) == ""


def test_the_metrics_named_are_those_that_are_read() -> None:
    analyst = (ASSETS / "analyst.py").read_text()
    named = " ".join(need for argument, need in NEEDS.items() if argument.startswith("canary."))
    assert metrics(named) == metrics(analyst)
    adapter = (ASSETS / "prometheus-adapter.yaml").read_text()
    scaling = " ".join(need for argument, need in NEEDS.items() if argument.startswith("autoscaling."))
    assert metrics(scaling) == metrics(re.sub("modelops_requests_per_second", "", adapter))


@pytest.mark.parametrize("argument", NEEDS)
def test_the_tutorial_says_what_is_lost(argument: str) -> None:
    rows = [line for line in (REPOSITORY / PAGE).read_text().splitlines() if line.startswith("|")]
    assert any(f"`{argument}`" in row for row in rows)
