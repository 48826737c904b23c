"""The analyst and a canary with steps: when it goes on, when it is taken out of traffic, and what is written where."""

import copy
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops.serving.release import steps as component
from modelops.serving.release import verdict
from tests.unit.components.test_analyst import BOUNDS, ENGINE_BOUNDS, ENGINE_TRACK, TRACK, A, B, C, analyst

STEPS = [
    {"weight_percent": 5, "pause_seconds": 60, "replicas": 1},
    {"weight_percent": 25, "pause_seconds": 120, "replicas": 3},
    {"weight_percent": 50, "pause_seconds": 60, "replicas": 9},
]
TRAFFIC = {"kind": "HTTPRoute", "deployment": "demo-canary", "canary": "this-one"}
SETTINGS = {
    "namespace": "ml",
    "service": "demo",
    "config_map": "demo-canary",
    "declared": A,
    "canary": B,
    "bounds": {**{key: value for key, value in BOUNDS.items() if key != "min_seconds"}, "min_seconds": 600},
    "steps": STEPS,
    "traffic": TRAFFIC,
}
INTERVAL = 15
FIRST = 1000.0


class Conflict(urllib.error.HTTPError):
    def __init__(self, code: int) -> None:
        super().__init__("http://api", code, "no", Message(), None)


def objects() -> dict[str, Any]:
    """The objects of a service with a canary, as far as the analyst sees them."""
    marked = {"annotations": {"modelops.dev/canary": "this-one"}, "resourceVersion": "1"}
    backends = [{"name": "demo", "port": 80, "weight": 95}, {"name": "demo-canary", "port": 80, "weight": 5}]
    weight = {**marked["annotations"], "nginx.ingress.kubernetes.io/canary-weight": "5"}  # type: ignore[dict-item]
    return {
        "configmaps/demo-canary": {"metadata": {}},
        "httproutes/demo": {
            "metadata": copy.deepcopy(marked),
            "spec": {"rules": [{"backendRefs": [{"name": "other"}]}, {"filters": [{}], "backendRefs": backends}]},
        },
        "ingresses/demo-canary": {"metadata": {"annotations": weight, "resourceVersion": "1"}},
        "deployments/demo-canary": {
            "metadata": copy.deepcopy(marked),
            "spec": {"replicas": 1},
            "status": {"availableReplicas": 1},
        },
    }


class FakeCluster:
    """Keeps objects and patches them as the API server does."""

    def __init__(self) -> None:
        self.objects = objects()
        self.writes: list[tuple[str, Any]] = []
        self.refused: list[int] = []

    def call(self, _group: str, path: str, body: Any = None, kind: str = "merge-patch") -> Any:
        found = self.objects[path.removesuffix("/scale")]
        if body is None:
            return copy.deepcopy(found)
        if self.refused and not path.startswith("configmaps"):
            raise Conflict(self.refused.pop())
        self.writes.append((path, body))
        if kind == "json-patch":
            patched(found, body)
        else:
            merge(found, body)
        return found

    @property
    def record(self) -> Any:
        return json.loads(self.objects["configmaps/demo-canary"]["data"]["analysis.json"])

    @property
    def weights(self) -> dict[str, int]:
        backends = self.objects["httproutes/demo"]["spec"]["rules"][1]["backendRefs"]
        return {each["name"]: each["weight"] for each in backends}


def merge(found: Any, body: Mapping[str, Any]) -> None:
    for key, value in body.items():
        if isinstance(value, Mapping):
            merge(found.setdefault(key, {}), value)
        else:
            found[key] = value


def patched(found: Any, changes: list[Any]) -> None:
    for change in changes:
        *path, last = [part.replace("~1", "/") for part in change["path"].split("/")[1:]]
        at = found
        for part in path:
            at = at[int(part) if isinstance(at, list) else part]
        if change["op"] == "add":
            at[last] = change["value"]
        elif at[last] != change["value"]:
            raise Conflict(422)


class FakePrometheus:
    """Both tracks' figures; what the canary does since some second, and how many requests a second there are."""

    def __init__(self) -> None:
        self.now, self.rate, self.silent = FIRST, 10.0, False
        self.faults: list[tuple[float, dict[str, Any]]] = []

    def track(self, name: str, _version: str, seconds: float) -> Any:
        if self.silent:
            raise OSError("connection refused")
        figures: dict[str, Any] = {**TRACK, "requests": round(self.rate * seconds)}
        for since, fault in self.faults if name == "canary" else ():
            if since < self.now:  # As an average over the time that was asked for.
                well = {**TRACK, **ENGINE_TRACK}
                part = min(1.0, (self.now - since) / max(60, seconds))
                figures |= {key: well[key] + part * (value - well[key]) for key, value in fault.items()}
        return figures

    def engine(self, name: str, version: str, seconds: float) -> Any:
        figures = self.track(name, version, seconds)
        return {**ENGINE_TRACK, **{key: figures[key] for key in figures if key in ENGINE_TRACK}}

    def predictions(self, *_: Any) -> Any:
        return {"0": [(1.0, 50.0), (float("inf"), 100.0)]}


class World:
    """An analyst at work, and its clock."""

    def __init__(self, **changes: Any) -> None:
        self.cluster, self.prometheus = FakeCluster(), FakePrometheus()
        self.begin(**changes)

    def begin(self, **changes: Any) -> None:
        """Starts the analyst, or starts it again with other settings."""
        self.analyst = analyst.Analyst({**SETTINGS, **changes}, self.cluster, self.prometheus)

    def after(self, seconds: float) -> Any:
        """The record after so many seconds of looking."""
        end = self.prometheus.now + seconds
        while self.prometheus.now <= end:
            self.analyst.look(self.prometheus.now)
            self.prometheus.now += INTERVAL
        return self.cluster.record


def test_a_good_canary_walks_its_steps_and_is_then_promoted() -> None:
    world, seen = World(), []
    while world.prometheus.now < FIRST + 600:
        record = world.after(0)
        seen.append((record["weight_percent"], record["verdict"]))
        assert world.cluster.weights == {"demo": 100 - seen[-1][0], "demo-canary": seen[-1][0]}
    assert sorted(set(seen), key=seen.index) == [(5, "hold"), (25, "hold"), (50, "hold"), (50, "promote")]
    for weight, pause in ((5, 60), (25, 120), (50, 60)):
        assert seen.count((weight, "hold")) * INTERVAL >= pause


FAULTS: dict[str, dict[str, Any]] = {
    "error rate": {"error_percent": 50.0},
    "p99 latency": {"p99_seconds": 2.0},
    "restarts": {"restarts": 3},
}


@pytest.mark.parametrize("reason", FAULTS)
@pytest.mark.parametrize("kind", ["HTTPRoute", "Ingress", "Deployment"])
def test_a_canary_that_breaks_a_bound_gets_nothing_within_a_minute(kind: str, reason: str) -> None:
    world = World(traffic={**TRAFFIC, "kind": kind})
    assert world.after(100)["weight_percent"] == 25
    world.prometheus.faults = [(world.prometheus.now, FAULTS[reason])]
    record = world.after(45)
    assert (record["verdict"], record["weight_percent"]) == ("roll back", 0) and reason in record["reason"]
    found = world.cluster.objects
    kept = {
        "HTTPRoute": world.cluster.weights["demo-canary"],
        "Ingress": int(found["ingresses/demo-canary"]["metadata"]["annotations"][analyst.Traffic.WEIGHT]),
        "Deployment": found["deployments/demo-canary"]["spec"]["replicas"],
    }
    assert kept[kind] == 0


def test_a_language_model_is_taken_out_by_its_own_figures() -> None:
    world = World(engine="vllm", bounds=ENGINE_BOUNDS)
    assert world.after(100)["weight_percent"] == 25
    world.prometheus.faults = [(world.prometheus.now, {"first_token_p99_seconds": 5.0})]
    record = world.after(45)
    assert (record["verdict"], record["weight_percent"]) == ("roll back", 0)
    assert "time to the first token" in record["reason"]


@pytest.mark.parametrize("silent", [False, True])
def test_changed_steps_are_gone_on_with_from_the_share_that_there_was(silent: bool) -> None:
    world = World()
    assert world.after(100)["weight_percent"] == 25
    world.prometheus.silent = silent
    world.begin(steps=[{"weight_percent": 10, "pause_seconds": 600}, {"weight_percent": 75, "pause_seconds": 600}])
    assert world.after(0)["weight_percent"] == 10 == world.cluster.weights["demo-canary"]


def test_what_goes_wrong_after_a_good_day_is_not_lost_in_its_figures() -> None:
    world = World(steps=[{"weight_percent": 5, "pause_seconds": 200_000}])
    world.after(0)
    world.prometheus.now += 86_400
    assert world.after(0)["verdict"] == "hold"
    world.prometheus.faults = [(world.prometheus.now, {"error_percent": 20.0})]
    record = world.after(45)
    assert (record["verdict"], record["weight_percent"]) == ("roll back", 0)
    assert record["reason"].startswith("in the last 60 seconds: error rate")


def test_a_minute_with_few_requests_decides_nothing_but_the_time_in_which_there_were_enough_does() -> None:
    world = World(steps=[{"weight_percent": 5, "pause_seconds": 200_000}])
    world.after(0)
    world.prometheus.now += 86_400
    world.prometheus.rate = 0.5  # 30 in a minute, 150 in five
    world.prometheus.faults = [(world.prometheus.now, {"error_percent": 20.0})]
    assert world.after(0)["verdict"] == "hold"
    assert world.after(60)["reason"].startswith("in the last 300 seconds: error rate")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 300), st.sampled_from(sorted(FAULTS)))
def test_once_out_of_traffic_a_canary_stays_out(good: int, fault: str) -> None:
    world = World()
    world.after(good)
    world.prometheus.faults = [(world.prometheus.now, FAULTS[fault])]
    record = world.after(60)
    if record["verdict"] == "promote":
        return
    world.prometheus.faults = []
    for _ in range(5):
        world.begin()
        assert world.after(120)["verdict"] == "roll back" and world.cluster.weights["demo-canary"] == 0


def test_without_prometheus_a_canary_goes_no_step() -> None:
    world = World()
    world.after(30)
    world.prometheus.silent = True
    record = world.after(3600)
    assert (record["weight_percent"], record["verdict"]) == (5, "hold") and "query to Prometheus failed" in record[
        "reason"
    ]
    world.prometheus.silent = False
    assert world.after(INTERVAL)["weight_percent"] == 25


def test_without_requests_a_canary_goes_no_step() -> None:
    world = World()
    world.prometheus.rate = 0.001
    assert world.after(3600)["weight_percent"] == 5


def test_a_step_without_a_pause_waits_for_the_program() -> None:
    open_end = [{"weight_percent": 5}, {"weight_percent": 50, "pause_seconds": 60}]
    world = World(steps=open_end)
    record = world.after(3600)
    assert record["weight_percent"] == 5
    assert record["reason"].endswith("it stays at 5 % until the program gives this step `pause_seconds`")
    world.prometheus.faults = []
    world.begin(steps=[{"weight_percent": 5, "pause_seconds": 0}, open_end[1]])
    assert world.after(0)["weight_percent"] == 50


def test_a_step_without_a_pause_is_judged_all_the_same() -> None:
    world = World(steps=[{"weight_percent": 5}])
    world.after(3600)
    world.prometheus.faults = [(world.prometheus.now, {"error_percent": 50.0})]
    assert world.after(45)["weight_percent"] == 0


def test_a_new_analyst_goes_on_where_the_one_before_was() -> None:
    world = World()
    assert world.after(100)["weight_percent"] == 25
    began = world.cluster.record["step_started"]
    world.begin()
    assert world.after(30)["step_started"] == began


@given(st.lists(st.integers(1, 100), min_size=1, unique=True).map(sorted), st.none() | st.integers(0, 100))
def test_analyst_and_plan_agree_on_the_step(weights: list[int], recorded: int | None) -> None:
    assert weights[analyst.reached(weights, recorded)] == verdict.reached(weights, recorded)


def test_the_mark_is_the_one_that_the_component_writes() -> None:
    assert analyst.CANARY == component.MARK


def test_an_update_that_was_planned_before_does_not_bring_a_bad_canary_back() -> None:
    world = World()
    world.prometheus.faults = [(0, {"error_percent": 50.0})]
    world.after(60)
    for reference in world.cluster.objects["httproutes/demo"]["spec"]["rules"][1]["backendRefs"]:
        reference["weight"] = 50
    world.after(0)
    assert world.cluster.weights == {"demo": 100, "demo-canary": 0}


@pytest.mark.parametrize("kind", ["HTTPRoute", "Ingress", "Deployment"])
def test_what_is_for_another_canary_by_now_is_left_alone(kind: str) -> None:
    world = World(traffic={**TRAFFIC, "kind": kind, "canary": "another-one"})
    world.prometheus.faults = [(0, {"error_percent": 50.0})]
    world.after(60)
    assert {path for path, _ in world.cluster.writes} == {"configmaps/demo-canary"}


@pytest.mark.parametrize("kind", ["HTTPRoute", "Ingress", "Deployment"])
@pytest.mark.parametrize("code", [409, 422])
def test_an_object_that_somebody_else_changed_meanwhile_is_read_again(kind: str, code: int) -> None:
    world = World(traffic={**TRAFFIC, "kind": kind})
    world.after(45)
    world.cluster.refused = [code]
    assert world.after(30)["weight_percent"] == 25
    assert any(not path.startswith("configmaps") for path, _ in world.cluster.writes)


def test_another_canary_begins_with_the_first_step() -> None:
    world = World()
    world.prometheus.faults = [(0, {"error_percent": 50.0})]
    assert world.after(60)["weight_percent"] == 0
    world.prometheus.faults = []
    world.begin(canary=C)
    record = world.after(0)
    assert (record["weight_percent"], record["verdict"]) == (5, "hold") and "aborted" not in record


def test_a_promoted_canary_is_left_to_the_next_update() -> None:
    world = World()
    assert world.after(600)["verdict"] == "promote"
    world.cluster.writes.clear()
    for reference in world.cluster.objects["httproutes/demo"]["spec"]["rules"][1]["backendRefs"]:
        reference["weight"] = {"demo": 100, "demo-canary": 0}[reference["name"]]
    world.after(60)
    assert world.cluster.writes == []


def test_a_canary_without_a_pod_that_answers_gets_nothing() -> None:
    """Its share fails in front of the servers, where no server counts it."""
    world = World()
    world.after(30)
    world.cluster.objects["deployments/demo-canary"]["status"] = {}
    assert world.after(0)["verdict"] == "hold"
    record = world.after(45)
    assert (record["verdict"], record["weight_percent"]) == ("roll back", 0)
    assert record["reason"].startswith("no pod of the canary has been available for")


def test_a_pod_that_is_back_at_once_is_no_reason() -> None:
    world = World()
    world.after(30)
    world.cluster.objects["deployments/demo-canary"]["status"] = {}
    world.after(0)
    world.cluster.objects["deployments/demo-canary"]["status"] = {"availableReplicas": 1}
    record = world.after(45)
    assert record["verdict"] == "hold" and "down_since" not in record


def test_prometheus_reads_what_became_of_the_canary() -> None:
    world = World()
    server = world.analyst.metrics.serve(0)
    try:
        world.after(100)
        assert metrics(server) == {"modelops_canary_aborted": 0, "modelops_canary_weight_percent": 25}
        world.prometheus.faults = [(world.prometheus.now, {"error_percent": 50.0})]
        world.after(45)
        assert metrics(server) == {"modelops_canary_aborted": 1, "modelops_canary_weight_percent": 0}
    finally:
        server.shutdown()
        server.server_close()


def metrics(server: Any) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=5) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    assert all('{canary_version="run-b"} ' in line for line in lines)
    return {line.partition("{")[0]: float(line.split()[-1]) for line in lines}
