"""ModelService: one version behind one address."""

from typing import Any, cast

import pulumi
import pytest

from modelops import ArgumentsError, ModelService, ModelServiceArgs
from modelops._service_track import Track, deploy
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

ARGS: dict[str, Any] = {
    "image": IMAGE,
    "model_uri": "models:/linear@run-0123456789ab",
    "tracking_uri": "http://registry.ml.svc:5000",
    "namespace": "ml",
}


def serve(args: Any, **how: Any) -> Program:
    return run(lambda: ModelService("demo", args), **how)


def test_defaults() -> None:
    program = serve(ARGS)
    deployment = program.one("Deployment")
    assert deployment.inputs["spec"]["replicas"] == 2
    assert container(deployment, "fetch")["command"] == ["python", "-m", "model.fetch"]
    assert container(deployment, "serve")["command"] == ["python", "-m", "model.serve"]
    assert container(deployment, "serve")["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "512Mi"},
    }
    service = program.one("core/v1:Service").inputs["spec"]
    assert (service["type"], service["ports"]) == ("ClusterIP", [{"name": "http", "port": 80, "targetPort": "http"}])
    assert program.of("HorizontalPodAutoscaler") == []
    assert program.outputs["url"].value == "http://demo.ml.svc"
    assert program.outputs["predict_url"].value == "http://demo.ml.svc/api/predict"


def test_everything_set_is_kept() -> None:
    args = {
        **ARGS,
        "model_name": "other",
        "replicas": 5,
        "expose": "LoadBalancer",
        "host": "model.example.com",
        "port": 8080,
        "resources": {"cpu": "1", "cpu_limit": "2", "memory": "1Gi"},
        "startup_timeout_seconds": 300,
        "drain_seconds": 30,
        "fetch_command": ["fetch"],
        "serve_command": ["serve", "fast"],
        "image_pull_secret": "registry",
    }
    program = serve(args)
    deployment = program.one("Deployment")
    assert deployment.inputs["spec"]["replicas"] == 5
    assert environment(deployment, "serve")["MODELOPS_MODEL_NAME"] == "other"
    assert container(deployment, "serve")["command"] == ["serve", "fast"]
    assert container(deployment, "fetch")["command"] == ["fetch"]
    assert container(deployment, "serve")["resources"]["limits"] == {"cpu": "2", "memory": "1Gi"}
    assert program.outputs["url"].value == "http://model.example.com:8080"
    assert pod(deployment)["imagePullSecrets"] == [{"name": "registry"}]


def test_containers_get_the_contract() -> None:
    deployment = serve(ARGS).one("Deployment")
    fetch, server = environment(deployment, "fetch"), environment(deployment, "serve")
    assert fetch["MODELOPS_MODEL_URI"] == "models:/linear@run-0123456789ab"
    assert fetch["MLFLOW_TRACKING_URI"] == "http://registry.ml.svc:5000"
    assert fetch["MODELOPS_MODEL_DIR"] == server["MODELOPS_MODEL_DIR"] == "/modelops/model"
    assert server["MODELOPS_PORT"] == "8080"
    assert server["MODELOPS_MODEL_NAME"] == "linear"
    assert server["MODELOPS_MODEL_VERSION"] == "run-0123456789ab"


def test_a_version_by_number_is_named_too() -> None:
    deployment = serve({**ARGS, "model_uri": "models:/linear/7"}).one("Deployment")
    assert environment(deployment, "serve")["MODELOPS_MODEL_VERSION"] == "7"
    assert environment(deployment, "serve")["MODELOPS_MODEL_NAME"] == "linear"


def test_a_release_never_takes_a_pod_before_its_successor_answers() -> None:
    deployment = serve(ARGS).one("Deployment")
    assert deployment.inputs["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }
    server = container(deployment, "serve")
    assert server["startupProbe"]["httpGet"]["path"] == "/healthz/ready"
    assert server["readinessProbe"]["httpGet"]["path"] == "/healthz/ready"
    assert server["livenessProbe"]["httpGet"]["path"] == "/healthz/live"


def test_a_leaving_pod_has_time_to_drain() -> None:
    deployment = serve({**ARGS, "drain_seconds": 30}).one("Deployment")
    waits = container(deployment, "serve")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert environment(deployment, "serve")["MODELOPS_DRAIN_SECONDS"] == "30"
    assert pod(deployment)["terminationGracePeriodSeconds"] > waits + 30


def test_a_bad_version_fails_within_minutes() -> None:
    deployment = serve(ARGS).one("Deployment")
    assert deployment.inputs["spec"]["progressDeadlineSeconds"] < int(deployment.options["create_timeout"].rstrip("s"))
    assert int(deployment.options["create_timeout"].rstrip("s")) <= 300


def test_selectors_do_not_change_with_the_version() -> None:
    deployment = serve(ARGS).one("Deployment").inputs["spec"]
    assert "app.kubernetes.io/version" not in deployment["selector"]["matchLabels"]
    assert deployment["template"]["metadata"]["labels"]["app.kubernetes.io/version"] == "run-0123456789ab"


def test_pods_and_selectors_name_the_track() -> None:
    program = serve(ARGS)
    deployment = program.one("Deployment").inputs["spec"]
    own = {"app.kubernetes.io/name": "model-service", "app.kubernetes.io/instance": "demo"}
    assert deployment["selector"]["matchLabels"] == {**own, "modelops.dev/track": "stable"}
    assert program.one("PodDisruptionBudget").inputs["spec"]["selector"] == deployment["selector"]
    assert program.one("core/v1:Service").inputs["spec"]["selector"] == {**own, "modelops.dev/live": "true"}
    assert program.one("NetworkPolicy").inputs["spec"]["podSelector"]["matchLabels"] == own
    labels = deployment["template"]["metadata"]["labels"]
    assert (labels["modelops.dev/track"], labels["modelops.dev/live"]) == ("stable", "true")


def test_a_track_that_is_not_live_gets_nothing_from_the_services_address() -> None:
    def build() -> None:
        deploy(Track("demo", cast(ModelServiceArgs, ARGS), role="shadow", live=False), "demo", pulumi.ResourceOptions())

    deployment = run(build).one("Deployment", "demo-shadow").inputs["spec"]
    assert deployment["selector"]["matchLabels"]["modelops.dev/track"] == "shadow"
    assert "modelops.dev/live" not in deployment["template"]["metadata"]["labels"]


def test_prometheus_finds_the_pods() -> None:
    template = serve(ARGS).one("Deployment").inputs["spec"]["template"]["metadata"]
    assert template["labels"]["app.kubernetes.io/part-of"] == "modelops"
    assert template["annotations"]["prometheus.io/port"] == "8080"


def test_the_autoscaler_owns_the_replica_count() -> None:
    program = serve({**ARGS, "autoscaling": {"max_replicas": 4}})
    assert "replicas" not in program.one("Deployment").inputs["spec"]
    scaler = program.one("HorizontalPodAutoscaler").inputs["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 4)
    assert scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "demo"}


def test_one_pod_at_a_time_may_be_drained_even_when_there_is_only_one() -> None:
    budget = serve({**ARGS, "replicas": 1}).one("PodDisruptionBudget").inputs["spec"]
    assert budget["maxUnavailable"] == 1


def test_pods_spread_over_nodes_by_revision() -> None:
    spread = pod(serve(ARGS).one("Deployment"))["topologySpreadConstraints"][0]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    assert spread["matchLabelKeys"] == ["pod-template-hash"]


def test_the_network_policy_lets_requests_in_and_lookups_and_models_out() -> None:
    rules = serve(ARGS).one("NetworkPolicy").inputs["spec"]
    assert rules["ingress"] == [{"ports": [{"port": 8080, "protocol": "TCP"}]}]
    assert [port["port"] for port in rules["egress"][0]["ports"]] == [53, 53, 5000]


def test_pods_keep_the_restricted_profile_without_a_token() -> None:
    deployment = serve(ARGS).one("Deployment")
    assert breaks_restricted(deployment) == []
    assert pod(deployment)["automountServiceAccountToken"] is False
    assert pod(deployment)["serviceAccountName"] == "demo"


@pytest.mark.parametrize(
    ("expose", "url"),
    [
        ("LoadBalancer", "http://127.0.0.2"),
        ("ClusterIP", "http://demo.ml.svc"),
        ("NodePort", "http://localhost:30080"),
    ],
)
def test_url_of_each_kind_of_exposure(expose: str, url: str) -> None:
    assert serve({**ARGS, "expose": expose}).outputs["url"].value == url


def test_a_plan_knows_the_url_where_it_can() -> None:
    assert serve(ARGS, preview=True).outputs["url"].known
    assert serve({**ARGS, "expose": "LoadBalancer", "host": "a.b"}, preview=True).outputs["url"].value == "http://a.b"
    assert not serve({**ARGS, "expose": "LoadBalancer"}, preview=True, load_balancer=None).outputs["url"].known


def test_whoever_uses_the_url_waits_for_the_pods() -> None:
    assert "demo" in serve(ARGS).outputs["url"].depends_on


def test_provider_is_respected() -> None:
    assert ignored_provider(run(lambda: ModelService("demo", ARGS, on(provider())))) == []  # type: ignore[arg-type]


def test_outputs_of_other_components_are_taken() -> None:
    def build() -> ModelService:
        later = pulumi.Output.from_input("models:/linear@run-aaaaaaaaaaaa")
        return ModelService("demo", {**ARGS, "model_uri": later})  # type: ignore[typeddict-item]

    assert environment(run(build).one("Deployment"), "serve")["MODELOPS_MODEL_VERSION"] == "run-aaaaaaaaaaaa"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"image": ""}, "image is '', must not be empty"),
        ({"model_uri": "linear"}, "model_uri is 'linear', must be models:/<name>@<alias>"),
        ({"tracking_uri": "x"}, "tracking_uri is 'x', must be an http:// or https:// address"),
        ({"namespace": "-"}, "namespace is '-'"),
        ({"replicas": -1}, "replicas is -1, must be 1 to 1000"),
        ({"port": 0}, "port is 0, must be 1 to 65535"),
        ({"expose": "Public"}, "expose is 'Public', must be one of LoadBalancer, ClusterIP, NodePort"),
        ({"startup_timeout_seconds": 1}, "startup_timeout_seconds is 1, must be 10 to 3600"),
        ({"drain_seconds": 0}, "drain_seconds is 0, must be 1 to 600"),
        (
            {"autoscaling": {"max_replicas": 1}},
            "autoscaling.max_replicas is 1, must be at least min_replicas (2)",
        ),
        ({"autoscaling": {}}, "autoscaling.max_replicas is missing"),
        (
            {"autoscaling": {"max_replicas": 3, "target_cpu_percent": 0}},
            "autoscaling.target_cpu_percent is 0, must be 1 to 100",
        ),
        ({"replicas": 2, "autoscaling": {"max_replicas": 3}}, "replicas is 2, must not be given with autoscaling"),
        ({"resources": {"memory": 512}}, "resources.memory is 512, must be a string"),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        serve({**ARGS, **change})
    assert problem in str(caught.value)


def test_the_alias_moves_only_once_the_rollout_is_done() -> None:
    program = serve({**ARGS, "serving_alias": {"tracking_secret": "writer"}})
    job = program.one("Job", "demo-alias")
    assert "demo" in job.options["dependencies"]
    values = environment(job, "promote")
    assert (values["MODELOPS_SERVING_ALIAS"], values["MODELOPS_MODEL_URI"]) == ("serving", ARGS["model_uri"])
    assert breaks_restricted(job) == []
    assert serve(ARGS).of("Job") == []


def test_only_what_fetches_has_the_registrys_password() -> None:
    deployment = serve({**ARGS, "tracking_secret": "reader"}).one("Deployment")
    given = {
        name: [entry for entry in container(deployment, name)["env"] if "MLFLOW_TRACKING_PASSWORD" in entry["name"]]
        for name in ("fetch", "serve")
    }
    reference = {"secretKeyRef": {"name": "reader", "key": "password"}}
    assert given == {"fetch": [{"name": "MLFLOW_TRACKING_PASSWORD", "valueFrom": reference}], "serve": []}
