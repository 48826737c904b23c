"""Canaries with steps: the analyst walks a good one through them, and a bad one is out of traffic within a minute."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cluster.serving import gateway
from tests.cluster.serving.canary_support import analysis_record, prometheus_program, services_program
from tests.cluster.serving.support import Serving, released, versions
from tests.cluster.support import eventually, kubectl, platform_facts
from tests.load import load, send_requests

pytestmark = [pytest.mark.serving, pytest.mark.long]

HOST = "model.test"
STEADY, BAD = "steady", "stumbling"
FINE, FAULTY = (0.5, 0.75), (0.5, 0.25)
"""Inputs that both tracks answer, and those of which the faulty server fails one."""
MINUTE = 60


@pytest.fixture(scope="module")
def setup(serving: Serving, platform_env: dict[str, str]) -> dict[str, str]:
    stack = serving.new_stack()
    stack.up(prometheus_program("steps-monitoring", serving, platform_facts(), faults=("errors",)))
    return {key: str(value) for key, value in stack.outputs().items()}


@pytest.fixture(scope="module")
def address(serving: Serving) -> Iterator[str]:
    with gateway.installed({"namespace": serving.namespace, "name": BAD}) as found:
        yield found


def analysis(setup: Mapping[str, str]) -> dict[str, Any]:
    bounds = {"min_requests": 20, "interval_seconds": 5, "max_p99_ratio": 50, "max_prediction_drift": 0}
    return {"prometheus_url": setup["prometheus_url"], **bounds}


def services(serving: Serving, setup: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """One whose pods make the share, and one behind a Gateway whose canary's image fails one input."""
    small: dict[str, Any] = {"drain_seconds": 3}
    steps = [{"weight_percent": 33, "pause_seconds": 15}, {"weight_percent": 50, "pause_seconds": 15}]
    canary = {"model_uri": serving.uri("twin"), "analysis": analysis(setup)}
    steady = serving.args(replicas=2, exposed=True, canary={**canary, "steps": steps}, **small)
    further = [{"weight_percent": 20, "pause_seconds": 15}, {"weight_percent": 40, "pause_seconds": 86_400}]
    bad = {**canary, "steps": further, "split": "Gateway", "image": setup["errors"]}
    route = {"host": HOST, "gateway_class": gateway.CLASS}
    return steady, serving.args(replicas=1, route=route, canary=bad, **small)


def weight(serving: Serving) -> int:
    """The canary's share at the Gateway."""
    route = json.loads(kubectl("get", "httproute", BAD, "--namespace", serving.namespace, "--output", "json"))
    return int({each["name"]: each["weight"] for each in route["spec"]["rules"][0]["backendRefs"]}[f"{BAD}-canary"])


def firing(serving: Serving, prometheus_url: str) -> set[str]:
    """The services whose canary has the alert."""
    service = str(urlsplit(prometheus_url).hostname).partition(".")[0]
    where = f"/api/v1/namespaces/{serving.namespace}/services/{service}:{urlsplit(prometheus_url).port}/proxy"
    found = json.loads(kubectl("get", "--raw", f"{where}/api/v1/alerts"))["data"]["alerts"]
    labels = [each["labels"] for each in found if each["state"] == "firing"]
    return {each["service"] for each in labels if each["alertname"] == "CanaryAborted"}


def test_a_good_canary_walks_its_steps_and_plans_follow(
    serving: Serving, setup: dict[str, str], figure: Callable[[str], None]
) -> None:
    stack, given = serving.new_stack(), {STEADY: services(serving, setup)[0]}
    stack.up(services_program(given))
    assert len(serving.pods(STEADY, track="canary")) == 1
    began = time.monotonic()
    with load(stack.outputs()[f"{STEADY}_url"], callers=2, pause_seconds=0.05, inputs=FINE) as result:
        eventually(lambda: analysis_record(serving.namespace, STEADY).get("weight_percent") == 50, 3 * MINUTE)
        eventually(lambda: len(serving.pods(STEADY, track="canary")) == 2, MINUTE)
        # The plan shows what the analyst did, and an update does not undo it.
        assert released(stack.preview(services_program(given))).get(f"{STEADY}-canary") == ["update"]
        assert len(serving.pods(STEADY, track="canary")) == 2
        eventually(lambda: analysis_record(serving.namespace, STEADY)["verdict"] == "promote", 3 * MINUTE)
        figure(f"canary with steps: 33 % and 50 % in {time.monotonic() - began:.0f} s, {result.total} requests")
        stack.up(services_program(given))
        assert versions(serving.pods(STEADY, track="stable")) == {"twin"}
        assert serving.pods(STEADY, track="canary") == []
        stack.unchanged(services_program(given))
    assert not result.failed, result.failed[:5]
    stack.destroy()


def test_a_bad_canary_is_out_of_traffic_within_a_minute(
    serving: Serving, setup: dict[str, str], address: str, figure: Callable[[str], None]
) -> None:
    stack, given = serving.new_stack(), {BAD: services(serving, setup)[1]}
    url = f"http://{address}/api/predict"
    stack.up(services_program(given))
    eventually(lambda: not send_requests(url, 20, inputs=FINE, host=HOST).failed, MINUTE)
    with load(url, callers=2, pause_seconds=0.05, inputs=FINE, host=HOST) as fine:
        eventually(lambda: weight(serving) == 40, 3 * MINUTE)
    assert not fine.failed, fine.failed[:5]
    began = time.monotonic()
    with load(url, callers=2, pause_seconds=0.05, inputs=FAULTY, host=HOST):
        eventually(lambda: weight(serving) == 0, MINUTE)
        taken = time.monotonic() - began
    figure(f"bad canary at a Gateway: from its first error to no requests in {taken:.0f} s")
    record = analysis_record(serving.namespace, BAD)
    assert record["verdict"] == "roll back" and "error rate" in record["reason"]
    eventually(lambda: not send_requests(url, 50, inputs=FAULTY, host=HOST).failed, 15)
    assert not send_requests(url, 200, inputs=FAULTY, host=HOST).failed

    planned = stack.preview(services_program(given))
    assert "gets no requests and has no pods: " in planned.text and "error rate" in planned.text
    assert {name: released(planned)[name] for name in (BAD, f"{BAD}-canary")} == {
        BAD: ["update"], f"{BAD}-canary": ["update", "update"]
    }  # fmt: skip
    assert weight(serving) == 0 and len(serving.pods(BAD, track="canary")) == 1

    eventually(lambda: BAD in firing(serving, setup["prometheus_url"]), 3 * MINUTE, 5)
    with load(url, callers=2, pause_seconds=0.05, inputs=FAULTY, host=HOST) as cleaned:
        stack.up(services_program(given))
    assert serving.pods(BAD, track="canary") == [] and weight(serving) == 0
    assert stack.outputs()[f"{BAD}_status"]["verdict"] == "roll back"
    assert not cleaned.failed, cleaned.failed[:5]
    stack.unchanged(services_program(given))
    stack.destroy()
