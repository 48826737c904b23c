"""ModelService with a canary that takes steps: who may move the share, and what a plan makes of what was done."""

import json
from typing import Any

import pulumi
import pytest

from modelops import ArgumentsError
from tests.unit.components.harness import Program, breaks_restricted, container, environment
from tests.unit.components.test_canary import ANALYSED, ANALYSIS, ARGS, A, B, replicas, serve, uri, weights

STEPS = [{"weight_percent": 10, "pause_seconds": 60}, {"weight_percent": 25}, {"weight_percent": 50}]
CANARY: dict[str, Any] = {"model_uri": B, "steps": STEPS, "analysis": ANALYSIS}
BY_PODS = {**ARGS, "canary": CANARY}
GATEWAY = {"host": "model.example.com", "gateway": {"name": "shared"}}
BY_GATEWAY = {**ARGS, "route": GATEWAY, "canary": {**CANARY, "split": "Gateway"}}
NGINX = {"host": "model.example.com", "ingress_class": "nginx"}
BY_INGRESS = {**ARGS, "route": NGINX, "canary": {**CANARY, "split": "NginxIngress"}}
EVERY = {"Deployment": BY_PODS, "HTTPRoute": BY_GATEWAY, "Ingress": BY_INGRESS}


def after(args: Any, weight: int, verdict: str = "hold", canary: str = B) -> Program:
    """A plan once the analyst has recorded that share."""
    versions = {name: {"model_uri": each, "image": ""} for name, each in (("declared", A), ("stable", A))}
    entry = {**versions, "canary": {"model_uri": canary, "image": ""}, "verdict": verdict, "weight_percent": weight}
    return serve(
        args, records={"demo-canary-record": {"analysis.json": json.dumps({**entry, "reason": "p99 latency"})}}
    )


def analyst_settings(program: Program) -> Any:
    return json.loads(environment(program.one("Deployment", "demo-analyst"), "analyst")["MODELOPS_ANALYSIS"])


def share(program: Program, kind: str) -> Any:
    """The canary's share as the object keeps it; for pods, their number."""
    if kind == "HTTPRoute":
        return weights(program)["demo-canary"]
    if kind == "Ingress":
        return int(program.one("Ingress", "demo-canary").inputs["metadata"]["annotations"][f"{_NGINX}/canary-weight"])
    return replicas(program, "demo-canary")


_NGINX = "nginx.ingress.kubernetes.io"
SHARES = {"HTTPRoute": {10: 10, 25: 25, 50: 50, 0: 0}, "Deployment": {10: 1, 25: 3, 50: 9, 0: 0}}
SHARES["Ingress"] = SHARES["HTTPRoute"]


@pytest.mark.parametrize("kind", EVERY)
def test_a_canary_begins_with_its_first_step(kind: str) -> None:
    assert share(serve(EVERY[kind]), kind) == SHARES[kind][10]


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("weight", [25, 50])
def test_a_plan_takes_over_the_share_that_the_analyst_gave(kind: str, weight: int) -> None:
    program = after(EVERY[kind], weight)
    assert share(program, kind) == SHARES[kind][weight]
    assert program.outputs["canary_status"].value["weight_percent"] == weight
    assert uri(program, "demo") == A


@pytest.mark.parametrize("kind", EVERY)
def test_a_plan_cleans_up_what_the_analyst_took_out(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda message, resource: said.append(message))
    program = after(EVERY[kind], 0, "roll back")
    assert share(program, kind) == 0
    assert (uri(program, "demo"), replicas(program, "demo-canary")) == (A, 0)
    assert said == [
        f"the canary {B} gets no requests and has no pods: p99 latency. Name another version, or remove `canary`"
    ]


def test_the_next_canary_begins_anew() -> None:
    assert share(after(BY_GATEWAY, 0, "roll back", "models:/linear@run-c"), "HTTPRoute") == 10


def test_a_promoted_canary_is_served_by_the_stable_track() -> None:
    program = after(BY_GATEWAY, 50, "promote")
    assert (uri(program, "demo"), share(program, "HTTPRoute")) == (B, 0)


def test_a_routes_canary_has_the_pods_of_its_last_step_from_the_first() -> None:
    assert replicas(serve(BY_GATEWAY), "demo-canary") == 5


@pytest.mark.parametrize("kind", EVERY)
def test_an_update_goes_before_the_analyst_and_the_analyst_knows_its_canary(kind: str) -> None:
    program = serve(EVERY[kind])
    keeper = program.one(kind, "demo" if kind == "HTTPRoute" else "demo-canary").inputs["metadata"]["annotations"]
    assert keeper["pulumi.com/patchForce"] == "true"
    traffic = analyst_settings(program)["traffic"]
    assert traffic == {"kind": kind, "deployment": "demo-canary", "canary": keeper["modelops.dev/canary"]}
    other = {**EVERY[kind], "canary": {**EVERY[kind]["canary"], "model_uri": "models:/linear@run-c"}}
    assert analyst_settings(serve(other))["traffic"]["canary"] != traffic["canary"]


def test_the_analyst_may_change_the_one_object_that_keeps_the_share() -> None:
    def more(args: Any) -> Any:
        rules = serve(args).one("rbac.authorization.k8s.io/v1:Role", "demo-analyst").inputs["rules"]
        return [(rule["resources"], rule["resourceNames"], rule["verbs"]) for rule in rules][1:]

    look = (["deployments"], ["demo-canary"], ["get"])
    assert more(BY_PODS) == [look, (["deployments/scale"], ["demo-canary"], ["patch"])]
    assert more(BY_GATEWAY) == [look, (["httproutes"], ["demo"], ["get", "patch"])]
    assert more(BY_INGRESS) == [look, (["ingresses"], ["demo-canary"], ["get", "patch"])]
    assert more(ANALYSED) == []


def test_the_analyst_is_told_the_steps() -> None:
    assert analyst_settings(serve(BY_GATEWAY))["steps"] == STEPS
    by_pods = [{**step, "replicas": count} for step, count in zip(STEPS, (1, 3, 9), strict=True)]
    assert analyst_settings(serve(BY_PODS))["steps"] == by_pods
    assert "steps" not in analyst_settings(serve(ANALYSED))


def test_prometheus_reads_the_analyst_which_counts_as_no_server() -> None:
    program = serve(BY_GATEWAY)
    analyst = program.one("Deployment", "demo-analyst")
    template = analyst.inputs["spec"]["template"]["metadata"]
    assert template["annotations"]["prometheus.io/port"] == "8080"
    assert container(analyst, "analyst")["ports"] == [{"name": "http", "containerPort": 8080}]
    assert template["labels"]["app.kubernetes.io/component"] == "canary-analyst"
    assert program.one("NetworkPolicy", "demo-analyst").inputs["spec"]["ingress"][0]["ports"][0]["port"] == 8080
    assert breaks_restricted(analyst) == []


def test_servers_of_others_are_not_compared_by_a_metric_that_they_lack() -> None:
    bounds = analyst_settings(serve({**BY_GATEWAY, "metric_names": "fastapi-instrumentator"}))["bounds"]
    assert bounds["max_prediction_drift"] == 0


@pytest.mark.parametrize(
    ("canary", "problem"),
    [
        ({"steps": []}, "canary.steps is [], must be one step or more"),
        ({"weight_percent": 10}, "canary.weight_percent is 10, must not be given with steps"),
        ({"analysis": None}, "canary.analysis"),
        ({"steps": [{"weight_percent": 0}]}, "canary.steps[0].weight_percent is 0, must be 1 to 100"),
        ({"steps": [{}]}, "canary.steps[0].weight_percent is missing"),
        (
            {"steps": [{"weight_percent": 25}, {"weight_percent": 10}]},
            "canary.steps[1].weight_percent is 10, must be more than in the step before (25)",
        ),
        ({"steps": [{"weight_percent": 10, "pause_seconds": -1}]}, "canary.steps[0].pause_seconds is -1, must be 0 to"),
        ({"steps": [{"weight_percent": 60}]}, "canary.steps[0].weight_percent is 60, must be at most 50 where replica"),
        (
            {"steps": [{"weight_percent": 1}]},
            "canary.steps[0].weight_percent is 1, must be a share that replica counts",
        ),
        (
            {"analysis": {**ANALYSIS, "min_seconds": 60}},
            "canary.analysis.min_seconds is 60, must not be given with steps",
        ),
        (
            {"analysis": {**ANALYSIS, "interval_seconds": 60}},
            "canary.analysis.interval_seconds is 60, must be at most 20 with steps",
        ),
    ],
)
def test_each_error(canary: dict[str, Any], problem: str) -> None:
    changed = {key: value for key, value in {**CANARY, **canary}.items() if value is not None}
    with pytest.raises(ArgumentsError) as caught:
        serve({**ARGS, "canary": changed})
    assert problem in str(caught.value)


def test_an_autoscaler_and_the_analyst_cannot_both_count_pods() -> None:
    args = {key: value for key, value in BY_PODS.items() if key != "replicas"}
    with pytest.raises(ArgumentsError, match=r"canary\.steps is 'given', must not be given with autoscaling"):
        serve({**args, "autoscaling": {"min_replicas": 9, "max_replicas": 9}})
    scaled = {key: value for key, value in BY_GATEWAY.items() if key != "replicas"}
    assert share(serve({**scaled, "autoscaling": {"min_replicas": 2, "max_replicas": 9}}), "HTTPRoute") == 10
