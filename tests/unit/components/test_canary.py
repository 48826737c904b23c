"""ModelService with a canary: two tracks, a share of the requests, an analysis that decides."""

import json
from typing import Any

import pulumi
import pytest

from modelops import ArgumentsError, ModelService
from tests.unit.components.harness import (
    IMAGE,
    Program,
    breaks_restricted,
    container,
    environment,
    ignored_provider,
    on,
    pod,
    provider,
    run,
)

A, B, C = (f"models:/linear@run-{letter}" for letter in "abc")
ANALYSIS = {"prometheus_url": "http://prometheus.mon.svc:9090"}
ARGS: dict[str, Any] = {
    "image": IMAGE,
    "model_uri": A,
    "tracking_uri": "http://registry.ml.svc:5000",
    "namespace": "ml",
    "replicas": 9,
    "canary": {"model_uri": B, "weight_percent": 10},
}
ANALYSED = {**ARGS, "canary": {**ARGS["canary"], "analysis": ANALYSIS}}


def serve(args: Any, **how: Any) -> Program:
    return run(lambda: ModelService("demo", args), **how)


def record(verdict: str, *, stable: str = A, canary: str = B, image: str = "") -> dict[str, str]:
    entry = {
        "declared": {"model_uri": A, "image": ""},
        "stable": {"model_uri": stable, "image": ""},
        "canary": {"model_uri": canary, "image": image},
        "verdict": verdict,
        "reason": "because",
        "figures": {"prediction_drift": 0.01},
    }
    return {"analysis.json": json.dumps(entry)}


def judged(verdict: str, args: Any = ANALYSED, **how: Any) -> Program:
    return serve(args, records={"demo-canary-record": record(verdict, **how)})


def uri(program: Program, deployment: str) -> str:
    return str(environment(program.one("Deployment", deployment), "fetch")["MODELOPS_MODEL_URI"])


def replicas(program: Program, deployment: str) -> Any:
    return program.one("Deployment", deployment).inputs["spec"].get("replicas")


def test_two_tracks_share_the_services_address_by_their_pods() -> None:
    program = serve(ARGS)
    assert (uri(program, "demo"), replicas(program, "demo")) == (A, 9)
    assert (uri(program, "demo-canary"), replicas(program, "demo-canary")) == (B, 1)
    selector = program.one("core/v1:Service").inputs["spec"]["selector"]
    for name in ("demo", "demo-canary"):
        assert (
            selector.items() <= program.one("Deployment", name).inputs["spec"]["template"]["metadata"]["labels"].items()
        )


def test_the_service_waits_for_both_tracks() -> None:
    assert {"demo-watch", "demo-canary-watch"} <= set(serve(ARGS).one("core/v1:Service").options["dependencies"])


def test_the_canary_has_an_autoscaler_and_a_disruption_budget_of_its_own() -> None:
    canary = {**ARGS["canary"], "tolerance_points": 10}
    args = {**ARGS, "canary": canary, "autoscaling": {"min_replicas": 9, "max_replicas": 18}}
    del args["replicas"]
    program = serve(args)
    scaler = program.one("HorizontalPodAutoscaler", "demo-canary").inputs["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"], scaler["scaleTargetRef"]["name"]) == (1, 2, "demo-canary")
    assert replicas(program, "demo-canary") is None
    budget = program.one("PodDisruptionBudget", "demo-canary").inputs["spec"]["selector"]["matchLabels"]
    assert budget["modelops.dev/track"] == "canary"


def test_an_autoscaled_canary_can_be_taken_away_all_the_same() -> None:
    args = {**ANALYSED, "autoscaling": {"min_replicas": 9, "max_replicas": 9}}
    del args["replicas"]
    retired = judged("roll back", args).one("Deployment", "demo-canary").inputs
    assert retired["spec"]["replicas"] == 0
    assert retired["metadata"]["annotations"]["pulumi.com/patchForce"] == "true"
    assert "replicas" not in judged("hold", args).one("Deployment", "demo-canary").inputs["spec"]


def test_the_first_plan_knows_that_there_is_no_verdict_yet() -> None:
    program = serve(ANALYSED, preview=True)
    assert (uri(program, "demo"), replicas(program, "demo-canary")) == (A, 1)
    status = program.outputs["canary_status"]
    assert status.known and status.value["verdict"] == "hold"


def test_hold_changes_nothing() -> None:
    held, new = judged("hold"), serve(ANALYSED)
    for name in ("demo", "demo-canary", "demo-analyst"):
        assert held.one("Deployment", name).inputs == new.one("Deployment", name).inputs


def test_promote_serves_the_canarys_version_on_the_stable_track() -> None:
    program = judged("promote")
    assert (uri(program, "demo"), replicas(program, "demo")) == (B, 9)
    assert replicas(program, "demo-canary") == 0
    status = program.outputs["canary_status"].value
    assert (status["verdict"], status["reason"], status["figures"]) == (
        "promote",
        "because",
        {"prediction_drift": 0.01},
    )
    assert status["stable_model_uri"] == B


def test_the_canary_goes_only_once_the_promoted_version_serves() -> None:
    assert "demo-watch" in judged("promote").one("Deployment", "demo-canary").options["dependencies"]


def test_a_canarys_image_is_promoted_with_it() -> None:
    args = {**ANALYSED, "canary": {**ANALYSED["canary"], "image": "other@sha256:1"}}
    assert container(serve(args).one("Deployment", "demo-canary"), "serve")["image"] == "other@sha256:1"
    promoted = judged("promote", args, image="other@sha256:1").one("Deployment", "demo")
    assert container(promoted, "serve")["image"] == "other@sha256:1"


def test_roll_back_takes_the_canary_away() -> None:
    program = judged("roll back")
    assert (uri(program, "demo"), replicas(program, "demo-canary")) == (A, 0)


def test_a_verdict_on_another_canary_is_none() -> None:
    program = judged("roll back", canary=C)
    assert replicas(program, "demo-canary") == 1
    assert program.outputs["canary_status"].value["verdict"] == "hold"


def test_a_verdict_changes_nothing_about_the_analyst() -> None:
    assert (
        judged("promote").one("Deployment", "demo-analyst").inputs
        == serve(ANALYSED).one("Deployment", "demo-analyst").inputs
    )


def test_the_analyst_may_read_and_write_one_object() -> None:
    program = serve(ANALYSED)
    assert program.one("rbac.authorization.k8s.io/v1:Role", "demo-analyst").inputs["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["demo-canary"], "verbs": ["get", "patch"]}
    ]
    place = program.one("core/v1:ConfigMap", "demo-canary").inputs
    assert "data" not in place and "immutable" not in place


def test_the_analyst_is_told_what_to_compare() -> None:
    program = serve(ANALYSED)
    settings = json.loads(environment(program.one("Deployment", "demo-analyst"), "analyst")["MODELOPS_ANALYSIS"])
    assert settings == {
        "namespace": "ml",
        "service": "demo",
        "config_map": "demo-canary",
        "prometheus_url": "http://prometheus.mon.svc:9090",
        "interval_seconds": 15,
        "declared": {"model_uri": A, "image": "", "version": "run-a"},
        "canary": {"model_uri": B, "image": "", "version": "run-b"},
        "bounds": {
            "max_extra_error_percent": 1,
            "max_p99_ratio": 1.5,
            "max_prediction_drift": 0.25,
            "max_restarts": 0,
            "min_requests": 500,
            "min_seconds": 600,
        },
    }


def test_the_analyst_begins_once_the_canary_answers() -> None:
    assert "demo-canary-watch" in serve(ANALYSED).one("Deployment", "demo-analyst").options["dependencies"]


def test_the_analyst_keeps_the_restricted_profile_and_is_no_serving_pod() -> None:
    program = serve(ANALYSED)
    analyst = program.one("Deployment", "demo-analyst")
    assert breaks_restricted(analyst) == []
    assert pod(analyst)["automountServiceAccountToken"] is True
    labels = analyst.inputs["spec"]["template"]["metadata"]["labels"]
    selector = program.one("core/v1:Service").inputs["spec"]["selector"]
    assert not selector.items() <= labels.items()


def test_the_analyst_reaches_prometheus_and_the_api_server_only() -> None:
    rules = serve(ANALYSED).one("NetworkPolicy", "demo-analyst").inputs["spec"]
    assert "ingress" not in rules
    assert [port["port"] for port in rules["egress"][0]["ports"]] == [
        53,
        53,
        5353,
        5353,
        9090,
        443,
        6443,
        6444,
        8443,
        16443,
    ]


def test_without_analysis_there_is_no_analyst() -> None:
    program = serve(ARGS)
    assert [found.name for found in program.of("Deployment")] == ["demo", "demo-canary"]
    assert "demo-analyst" not in [role.name for role in program.of("Role")]
    assert program.outputs["canary_status"].value["verdict"] == "hold"


def test_provider_is_respected() -> None:
    assert ignored_provider(run(lambda: ModelService("demo", ANALYSED, on(provider())))) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"replicas": 2}, "canary.weight_percent is 10, must be a share that replica counts keep to within 3 points"),
        ({"replicas": 2}, "nearest possible is 33.3 %, 1 canary pod beside 2 stable pods"),
        (
            {"canary": {"model_uri": "b", "weight_percent": 10}},
            "canary.model_uri is 'b', must be models:/<name>@<alias>",
        ),
        ({"canary": {"model_uri": B}}, "canary.weight_percent is missing"),
        ({"canary": {"model_uri": B, "weight_percent": 0}}, "canary.weight_percent is 0, must be 1 to 99"),
        (
            {"canary": {"model_uri": B, "weight_percent": 60}},
            "canary.weight_percent is 60, must be at most 50 where replica",
        ),
        (
            {"canary": {"model_uri": B, "weight_percent": 10, "analysis": {}}},
            "canary.analysis.prometheus_url is missing",
        ),
        (
            {"canary": {"model_uri": B, "weight_percent": 10, "analysis": {**ANALYSIS, "max_p99_ratio": 0.5}}},
            "canary.analysis.max_p99_ratio is 0.5, must be 1 to 100",
        ),
        (
            {"canary": {"model_uri": B, "weight_percent": 10, "tolerance_points": "3"}},
            "canary.tolerance_points is '3', must be a number",
        ),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        serve({**ARGS, **change})
    assert problem in str(caught.value)


def test_autoscalers_that_part_are_an_error_unless_tolerated() -> None:
    args = {key: value for key, value in ARGS.items() if key != "replicas"}
    with pytest.raises(ArgumentsError, match="autoscaling may make it anything from 5"):
        serve({**args, "autoscaling": {"min_replicas": 9, "max_replicas": 18}})


GATEWAY = {"host": "model.example.com", "gateway": {"name": "shared"}}
ROUTED = {**ANALYSED, "route": GATEWAY, "canary": {**ANALYSED["canary"], "split": "Gateway", "weight_percent": 25}}


def weights(program: Program) -> dict[str, int]:
    [rule] = program.one("HTTPRoute").inputs["spec"]["rules"]
    return {ref["name"]: ref["weight"] for ref in rule["backendRefs"]}


def leads_to(program: Program, service: str) -> list[str]:
    """The tracks to whose pods a Service leads."""
    selector = program.one("core/v1:Service", service).inputs["spec"]["selector"].items()
    tracks = [found for found in program.of("Deployment") if "analyst" not in found.name]
    return [
        found.name for found in tracks if selector <= found.inputs["spec"]["template"]["metadata"]["labels"].items()
    ]


def test_a_gateways_weights_split_the_requests() -> None:
    program = serve(ROUTED)
    assert weights(program) == {"demo": 75, "demo-canary": 25}
    assert (leads_to(program, "demo"), leads_to(program, "demo-canary")) == (["demo"], ["demo-canary"])
    assert replicas(program, "demo-canary") == 3


def test_weights_move_once_the_canary_answers() -> None:
    program = serve(ROUTED)
    assert "demo-canary-watch" in program.one("core/v1:Service", "demo").options["dependencies"]
    assert "demo" in program.one("HTTPRoute").options["dependencies"]


@pytest.mark.parametrize("verdict", ["promote", "roll back"])
def test_a_canary_that_goes_loses_no_request_that_the_gateway_still_sends(verdict: str) -> None:
    program = judged(verdict, ROUTED)
    assert weights(program) == {"demo": 100, "demo-canary": 0}
    assert leads_to(program, "demo-canary") == ["demo"]
    assert replicas(program, "demo-canary") == 0
    # Its Service, which leads elsewhere by then.
    assert "demo-canary" in program.one("Deployment", "demo-canary").options["dependencies"]


def test_ingress_nginx_takes_the_weight_from_a_second_ingress() -> None:
    route = {"host": "model.example.com", "ingress_class": "nginx", "annotations": {"a": "b"}}
    program = serve({**ROUTED, "route": route, "canary": {**ROUTED["canary"], "split": "NginxIngress"}})
    assert program.one("Ingress", "demo").inputs["metadata"]["annotations"] == {"a": "b"}
    second = program.one("Ingress", "demo-canary").inputs
    assert second["metadata"]["annotations"] == {
        "a": "b",
        "nginx.ingress.kubernetes.io/canary": "true",
        "nginx.ingress.kubernetes.io/canary-weight": "25",
    }
    [path] = second["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"]["name"] == "demo-canary"


def test_autoscaling_goes_with_a_routes_weights() -> None:
    args = {**ROUTED, "autoscaling": {"min_replicas": 2, "max_replicas": 8}}
    del args["replicas"]
    scaler = serve(args).one("HorizontalPodAutoscaler", "demo-canary").inputs["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 8)


@pytest.mark.parametrize("split", ["Gateway", "NginxIngress"])
def test_weights_without_a_route_are_an_error(split: str) -> None:
    args = {**ARGS, "canary": {**ARGS["canary"], "split": split}}
    with pytest.raises(ArgumentsError, match=f"canary.split is {split}, must be Replicas without a `route`"):
        serve(args)


@pytest.mark.parametrize("route", [{}, {"split": "NginxIngress"}])
def test_the_number_of_stable_pods_must_be_known_in_the_plan(route: dict[str, str]) -> None:
    def program() -> None:
        args = {**ARGS, "replicas": pulumi.Output.from_input(9), "canary": {**ARGS["canary"], **route}}
        if route:
            args["route"] = {"host": "models.example.com", "ingress_class": "nginx"}
        reason = "replicas is not known yet, must be a plain value with canary: the canary's pods are counted from it"
        with pytest.raises(ArgumentsError, match=reason):
            ModelService("demo", args)  # type: ignore[arg-type]

    run(program)
