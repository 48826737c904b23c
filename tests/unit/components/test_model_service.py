"""ModelService: one version behind one address."""

import re
from typing import Any, cast

import pulumi
import pytest

from modelops import UPSTREAM_IMAGES, ArgumentsError, ModelService, ModelServiceArgs
from modelops.core.assets import asset
from modelops.kubernetes.runtime import runtime_command
from modelops.serving.checks import LONGEST_NAME
from modelops.serving.track import Track, deploy
from tests.unit.components.harness import (
    breaks_restricted,
    container,
    environment,
    ignored_provider,
    on,
    pod,
    provider,
    run,
)
from tests.unit.components.service import ARGS, serve


def test_defaults() -> None:
    program = serve(ARGS)
    deployment = program.one("Deployment")
    assert deployment.inputs["spec"]["replicas"] == 2
    assert container(deployment, "fetch")["command"] == runtime_command("fetch")
    assert container(deployment, "fetch")["image"] == UPSTREAM_IMAGES["python"]
    assert "command" not in container(deployment, "serve"), "the image's own command serves"
    assert container(deployment, "serve")["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "512Mi"},
    }
    service = program.one("core/v1:Service").inputs["spec"]
    assert (service["type"], service["ports"]) == ("ClusterIP", [{"name": "http", "port": 80, "targetPort": "http"}])
    assert program.of("HorizontalPodAutoscaler") == []
    assert program.outputs["url"].value == "http://demo.ml.svc"
    assert program.outputs["predict_url"].value == "http://demo.ml.svc/api/predict"


def test_a_fetch_command_of_ones_own_is_in_the_serving_image_and_gets_no_program() -> None:
    program = serve({**ARGS, "fetch_command": ["./fetch"]})
    fetch = container(program.one("Deployment"), "fetch")
    assert (fetch["image"], fetch["command"]) == (ARGS["image"], ["./fetch"])
    assert program.of("ConfigMap") == []


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


def test_the_server_gets_the_origins_that_may_ask() -> None:
    origins = ["https://a.example.com", "http://localhost:3000"]
    named = serve({**ARGS, "cors_origins": origins}).one("Deployment")
    assert environment(named, "serve")["MODELOPS_CORS_ORIGINS"] == "https://a.example.com,http://localhost:3000"
    anyone = serve({**ARGS, "cors_origins": [*origins, "*"]}).one("Deployment")
    assert environment(anyone, "serve")["MODELOPS_CORS_ORIGINS"] == "*"
    assert "MODELOPS_CORS_ORIGINS" not in environment(serve(ARGS).one("Deployment"), "serve")


def test_grpc_has_a_port_of_its_own() -> None:
    program = serve({**ARGS, "grpc_port": 9000})
    deployment, ports = program.one("Deployment"), program.one("Service", "demo").inputs["spec"]["ports"]
    assert ports[1] == {
        "name": "grpc",
        "port": 9000,
        "targetPort": "grpc",
        "appProtocol": "kubernetes.io/h2c",
    }
    assert ports[0]["name"] == "http"
    assert container(deployment, "serve")["ports"][1] == {"name": "grpc", "containerPort": 8081}
    assert environment(deployment, "serve")["MODELOPS_GRPC_PORT"] == "8081"
    ingress = program.one("NetworkPolicy", "demo").inputs["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in ingress] == [8080, 8081]


def test_without_grpc_there_is_no_second_port() -> None:
    program = serve(ARGS)
    deployment = program.one("Deployment")
    assert [port["name"] for port in program.one("Service", "demo").inputs["spec"]["ports"]] == ["http"]
    assert [port["name"] for port in container(deployment, "serve")["ports"]] == ["http"]
    assert "MODELOPS_GRPC_PORT" not in environment(deployment, "serve")


def test_spans_go_to_a_collector_that_the_network_policy_lets_them_reach() -> None:
    tracing = {"endpoint": "http://collector.observability:4318", "sample_ratio": 0.25, "secret": "spans"}
    program = serve({**ARGS, "tracing": tracing})
    deployment = program.one("Deployment")
    given = environment(deployment, "serve")
    assert {name: value for name, value in given.items() if name.startswith("OTEL_") and isinstance(value, str)} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.observability:4318",
        "OTEL_SERVICE_NAME": "demo",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
    }
    assert given["MODELOPS_TRACING"] == "true"
    (headers,) = [entry for entry in container(deployment, "serve")["env"] if entry["name"].endswith("_HEADERS")]
    assert headers == {
        "name": "OTEL_EXPORTER_OTLP_HEADERS",
        "valueFrom": {"secretKeyRef": {"name": "spans", "key": "headers"}},
    }
    rules = program.one("NetworkPolicy", "demo").inputs["spec"]
    assert [port["port"] for port in rules["egress"][0]["ports"]] == [53, 53, 5353, 5353, 5000, 4318]


def test_without_tracing_nothing_of_it_is_said() -> None:
    given = environment(serve(ARGS).one("Deployment"), "serve")
    assert not [name for name in given if name.startswith("OTEL_") or name == "MODELOPS_TRACING"]


def test_the_server_is_told_how_to_serve_a_model_of_plain_mlflow() -> None:
    given = {**ARGS, "mlflow": {"predict_method": "predict_proba", "onnx": True, "ignore_requirements": True}}
    variables = environment(serve(given).one("Deployment"), "serve")
    names = ("MODELOPS_PREDICT_METHOD", "MODELOPS_ONNX", "MODELOPS_REQUIREMENTS")
    assert [variables[name] for name in names] == ["predict_proba", "true", "warn"]
    assert not set(names) & environment(serve(ARGS).one("Deployment"), "serve").keys()


def test_the_requirements_are_compared_as_the_model_is_fetched_where_that_is_in_the_image_that_serves() -> None:
    ref = pulumi.Output.from_input("registry.example.com/iris@sha256:1")
    for image in (ref, "registry.example.com/iris:1"):
        same = {**ARGS, "image": image, "runtime_image": image}
        assert environment(serve(same).one("Deployment"), "fetch")["MODELOPS_REQUIREMENTS"] == "refuse"
        ignored = serve({**same, "mlflow": {"ignore_requirements": True}}).one("Deployment")
        assert environment(ignored, "fetch")["MODELOPS_REQUIREMENTS"] == "warn"
    other = serve({**ARGS, "runtime_image": "python:3.12"}).one("Deployment")
    assert environment(other, "fetch")["MODELOPS_REQUIREMENTS"] == ""
    assert "MODELOPS_REQUIREMENTS" not in environment(serve(ARGS).one("Deployment"), "fetch")


def test_a_leaving_pod_has_time_to_drain() -> None:
    deployment = serve({**ARGS, "drain_seconds": 30}).one("Deployment")
    waits = container(deployment, "serve")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert environment(deployment, "serve")["MODELOPS_DRAIN_SECONDS"] == "30"
    assert pod(deployment)["terminationGracePeriodSeconds"] > waits + 30


def progress(args: Any) -> tuple[int, int]:
    """For how long Kubernetes and Pulumi wait for a rollout, in seconds."""
    deployment = serve(args).one("Deployment")
    return (
        int(deployment.inputs["spec"]["progressDeadlineSeconds"]),
        int(deployment.options["create_timeout"].rstrip("s")),
    )


def test_a_release_has_time_for_images_and_for_nodes() -> None:
    deadline, wait = progress(ARGS)
    assert deadline == 600 < wait


def test_a_slow_server_gives_a_release_more_time() -> None:
    assert progress({**ARGS, "startup_timeout_seconds": 1200, "drain_seconds": 60})[0] >= 1200 + 60


def test_the_time_without_progress_can_be_given() -> None:
    deadline, wait = progress({**ARGS, "rollout": {"progress_seconds": 90}})
    assert deadline == 90 < wait < progress(ARGS)[1]


def test_a_leaving_pod_waits_for_load_balancers_that_address_it() -> None:
    deployment = serve({**ARGS, "endpoint_seconds": 45}).one("Deployment")
    assert container(deployment, "serve")["lifecycle"]["preStop"]["sleep"]["seconds"] == 45
    assert pod(deployment)["terminationGracePeriodSeconds"] == 45 + 10 + 10


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
    assert program.one("NetworkPolicy", "demo").inputs["spec"]["podSelector"]["matchLabels"] == own
    labels = deployment["template"]["metadata"]["labels"]
    assert (labels["modelops.dev/track"], labels["modelops.dev/live"]) == ("stable", "true")


def test_a_track_that_is_not_live_gets_nothing_from_the_services_address() -> None:
    def build() -> None:
        track = Track("demo", cast(ModelServiceArgs, ARGS), "demo", role="shadow", live=False)
        deploy(track, pulumi.ResourceOptions())

    deployment = run(build).one("Deployment", "demo-shadow").inputs["spec"]
    assert deployment["selector"]["matchLabels"]["modelops.dev/track"] == "shadow"
    assert "modelops.dev/live" not in deployment["template"]["metadata"]["labels"]


def test_prometheus_finds_the_pods() -> None:
    template = serve(ARGS).one("Deployment").inputs["spec"]["template"]["metadata"]
    assert template["labels"]["app.kubernetes.io/part-of"] == "modelops"
    assert template["annotations"]["prometheus.io/port"] == "8080"


def test_prometheus_is_told_whose_names_the_servers_metrics_have() -> None:
    label = "modelops.dev/metric-names"
    read = f"__meta_kubernetes_pod_label_{re.sub('[^a-z]', '_', label)}"  # as Prometheus spells it
    assert f"[{read}]" in asset("monitoring/assets/prometheus/prometheus.yml")
    own = serve({**ARGS, "metric_names": "opentelemetry"}).one("Deployment").inputs["spec"]
    assert own["template"]["metadata"]["labels"][label] == "opentelemetry"
    assert label not in own["selector"]["matchLabels"]
    for args in (ARGS, {**ARGS, "metric_names": "modelops"}):
        spec = serve(args).one("Deployment").inputs["spec"]
        assert label not in spec["template"]["metadata"]["labels"], "pods of before are not replaced"


def test_the_autoscaler_owns_the_replica_count() -> None:
    program = serve({**ARGS, "autoscaling": {"max_replicas": 4}})
    assert "spec.replicas" in program.one("Deployment").options["ignore_changes"]
    assert program.one("Deployment").inputs["spec"]["replicas"] == 2, "the first release starts at the minimum"
    scaler = program.one("HorizontalPodAutoscaler").inputs["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 4)
    assert scaler["metrics"][0]["containerResource"]["target"]["averageUtilization"] == 70
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
    rules = serve(ARGS).one("NetworkPolicy", "demo").inputs["spec"]
    assert rules["ingress"] == [{"ports": [{"port": 8080, "protocol": "TCP"}]}]
    assert [port["port"] for port in rules["egress"][0]["ports"]] == [53, 53, 5353, 5353, 5000]


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


def test_every_problem_is_in_one_error() -> None:
    with pytest.raises(ArgumentsError) as caught:
        serve({**ARGS, "port": 0, "replicas": 0, "route": {}, "rollout": {"max_surge": 0, "max_unavailable": 0}})
    assert "5 problems" in str(caught.value)


def test_a_name_leaves_room_for_what_is_added_to_it() -> None:
    with pytest.raises(ArgumentsError, match="at most 48 characters"):
        run(lambda: ModelService("a" * 49, cast(ModelServiceArgs, ARGS)))


def test_a_release_that_needs_no_spare_gpu() -> None:
    spec = serve({**ARGS, "rollout": {"max_surge": 0}}).one("Deployment").inputs["spec"]
    strategy = spec["strategy"]
    assert spec["revisionHistoryLimit"] == 0
    assert strategy["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    strategy = serve({**ARGS, "rollout": {"max_surge": 3}}).one("Deployment").inputs["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 3}


def test_credentials_for_the_registry_stay_in_their_secret() -> None:
    deployment = serve({**ARGS, "tracking_secret": "mlflow-login"}).one("Deployment")
    found = {
        entry["name"]: entry["valueFrom"]["secretKeyRef"]
        for entry in container(deployment, "fetch")["env"]
        if "valueFrom" in entry
    }
    assert found == {
        "MLFLOW_TRACKING_USERNAME": {"name": "mlflow-login", "key": "username"},
        "MLFLOW_TRACKING_PASSWORD": {"name": "mlflow-login", "key": "password"},
    }
    assert all("valueFrom" not in entry for entry in container(deployment, "serve")["env"])


def test_a_cache_is_written_by_who_fetches_and_read_by_who_serves() -> None:
    program = serve({**ARGS, "cache": {"storage_size": "3Gi", "storage_class": "shared"}})
    claim = program.one("PersistentVolumeClaim").inputs
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "shared",
        "resources": {"requests": {"storage": "3Gi"}},
    }
    deployment = program.one("Deployment")
    [cache] = [volume for volume in pod(deployment)["volumes"] if volume["name"] == "cache"]
    assert cache["persistentVolumeClaim"] == {"claimName": "demo-models-1a2b3c4d"}
    assert environment(deployment, "fetch")["MODELOPS_MODEL_CACHE_DIR"] == "/modelops/cache"
    for name, read_only in (("fetch", False), ("serve", True)):
        [found] = [each for each in container(deployment, name)["volumeMounts"] if each["name"] == "cache"]
        assert (found["mountPath"], found.get("readOnly", False)) == ("/modelops/cache", read_only)
    assert "demo-models" in deployment.options["dependencies"]
    assert serve(ARGS).of("PersistentVolumeClaim") == []


def test_a_sidecar_keeps_the_pod_s_model_in_the_cache_as_long_as_the_pod_runs() -> None:
    smoke = {"inputs": [[1]], "outputs": [[2]]}
    program = serve({**ARGS, "cache": {}, "smoke_test": smoke, "runtime_image": "python:3.13"})
    for owner in (program.one("Deployment"), program.one("Job", "demo-smoke")):
        names = [each["name"] for each in pod(owner)["initContainers"]]
        assert names[:2] == ["fetch", "hold"]
        hold = container(owner, "hold")
        assert hold["restartPolicy"] == "Always" and hold["image"] == "python:3.13"
        assert hold["command"][-1] == "hold"
        assert environment(owner, "hold")["MODELOPS_MODEL_CACHE_DIR"] == "/modelops/cache"
        [found] = [each for each in hold["volumeMounts"] if each["name"] == "cache"]
        assert found == {"name": "cache", "mountPath": "/modelops/cache"}


@pytest.mark.parametrize("args", [{}, {"cache": {}, "fetch_command": ["fetch"]}])
def test_there_is_none_without_a_cache_or_beside_a_fetching_program_of_your_own(args: dict[str, Any]) -> None:
    deployment = serve({**ARGS, **args}).one("Deployment")
    assert [each["name"] for each in pod(deployment)["initContainers"]] == ["fetch"]


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
        ({"startup_timeout_seconds": 1}, "startup_timeout_seconds is 1, must be 10 to 14400"),
        ({"drain_seconds": 0}, "drain_seconds is 0, must be 1 to 600"),
        ({"endpoint_seconds": 301}, "endpoint_seconds is 301, must be 1 to 300"),
        ({"rollout": {"progress_seconds": 5}}, "rollout.progress_seconds is 5, must be 10 to 14400"),
        ({"grpc_port": 0}, "grpc_port is 0, must be 1 to 65535"),
        ({"grpc_port": 80}, "grpc_port is 80, must not be port"),
        (
            {"tracing": {"endpoint": "here"}},
            "tracing.endpoint is 'here', must be an http:// or https:// address",
        ),
        ({"tracing": {}}, "tracing.endpoint is missing"),
        (
            {"tracing": {"endpoint": "http://collector:4318", "sample_ratio": 2}},
            "tracing.sample_ratio is 2, must be 0 to 1",
        ),
        (
            {"cors_origins": ["https://a.example.com", "https://b.example.com/"]},
            "cors_origins[1] is 'https://b.example.com/', must be an origin without a path",
        ),
        (
            {"autoscaling": {"max_replicas": 1}},
            "autoscaling.max_replicas is 1, must be at least min_replicas (2)",
        ),
        ({"autoscaling": {}}, "autoscaling.max_replicas is missing"),
        (
            {"autoscaling": {"max_replicas": 3, "target_cpu_percent": 0}},
            "autoscaling.target_cpu_percent is 0, must be 1 to 1000",
        ),
        ({"replicas": 2, "autoscaling": {"max_replicas": 3}}, "replicas is 2, must not be given with autoscaling"),
        ({"resources": {"memory": 512}}, 'resources.memory is 512, must be text: write "512"'),
        ({"image": None}, "image is missing, it is required with the modelops runtime"),
        ({"tracking_uri": None}, "tracking_uri is missing, it is required for a model_uri of the form models:/"),
        ({"tracking_secret": ""}, "tracking_secret is '', must be an object's name"),
        ({"vllm": {"nodes": 2}}, "vllm is {'nodes': 2}, must not be given with the modelops runtime"),
        ({"runtime": "triton"}, "runtime is 'triton', must be one of modelops, vllm"),
        ({"cache": {"storage_size": "big"}}, "cache.storage_size is 'big', must be a Kubernetes quantity"),
        (
            {"cache": {"access_modes": ["Any"]}},
            "cache.access_modes is 'Any', must be one of ReadWriteOnce, ReadWriteMany",
        ),
        ({"rollout": {"max_surge": 0, "max_unavailable": 0}}, "must be at least 1 when max_surge is 0"),
        ({"rollout": {"max_surge": -1}}, "rollout.max_surge is -1, must be 0 to 1000"),
        ({"smoke_test": {"inputs": [], "outputs": [1]}}, "smoke_test.inputs is [], must not be empty"),
        ({"smoke_test": {"inputs": [1]}}, "smoke_test.outputs is missing"),
        ({"smoke_test": {"inputs": [1], "outputs": ["x"]}}, "smoke_test.outputs is ['x'], must be numbers"),
        (
            {"smoke_test": {"inputs": [1], "outputs": [1], "tolerance": -1}},
            "smoke_test.tolerance is -1, must be at least 0",
        ),
        ({"route": {"host": "a.b"}}, "route is 'none of them', must have exactly one of ingress_class"),
        (
            {"route": {"host": "a.b", "ingress_class": "x", "gateway_class": "y"}},
            "route is 'ingress_class and gateway_class', must have exactly one",
        ),
        (
            {"route": {"host": "a.b", "gateway": {"name": "x"}, "tls_secret": "y"}},
            "route.tls_secret is 'y', must not be given with gateway",
        ),
        (
            {"host": "c.d", "route": {"host": "a.b", "ingress_class": "x"}},
            "host is 'c.d', must not be given with route",
        ),
        ({"route": {"ingress_class": "x"}}, "route.host is missing"),
        (
            {"autoscaling": {"max_replicas": 3, "min_replicas": 0}},
            "autoscaling.min_replicas is 0, must be 1 to 1000",
        ),
        (
            {"autoscaling": {"max_replicas": 3, "target_latency_ms": 0}},
            "autoscaling.target_latency_ms is 0, must be above 0",
        ),
        (
            {"autoscaling": {"max_replicas": 3, "target_queue_length": 1}},
            "autoscaling.target_queue_length is 1, must not be given without the vllm runtime",
        ),
        (
            {"autoscaling": {"max_replicas": 3, "scale_down_stabilization_seconds": 3601}},
            "autoscaling.scale_down_stabilization_seconds is 3601, must be 0 to 3600",
        ),
        (
            {"autoscaling": {"max_replicas": 3, "scale_down_pods_per_minute": 0}},
            "autoscaling.scale_down_pods_per_minute is 0, must be at least 1",
        ),
        (
            {"autoscaling": {"max_replicas": 3, "scale_to_zero": {"prometheus_url": "x", "query": "", "threshold": 0}}},
            "autoscaling.scale_to_zero.prometheus_url is 'x', must be an http:// or https:// address",
        ),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        serve({**ARGS, **change})
    assert problem in str(caught.value)


def test_the_alias_moves_only_once_the_rollout_is_done() -> None:
    program = serve({**ARGS, "serving_alias": "serving", "serving_alias_secret": "writer"})
    job = program.one("Job", "demo-alias")
    assert "demo-watch" in job.options["dependencies"]
    values = environment(job, "promote")
    assert (values["MODELOPS_SERVING_ALIAS"], values["MODELOPS_MODEL_URI"]) == ("serving", ARGS["model_uri"])
    assert breaks_restricted(job) == []
    assert [other.name for other in serve(ARGS).of("Job")] == ["demo-watch"]


def test_only_what_fetches_has_the_registrys_password() -> None:
    deployment = serve({**ARGS, "tracking_secret": "reader"}).one("Deployment")
    given = {
        name: [entry for entry in container(deployment, name)["env"] if "MLFLOW_TRACKING_PASSWORD" in entry["name"]]
        for name in ("fetch", "serve")
    }
    reference = {"secretKeyRef": {"name": "reader", "key": "password"}}
    assert given == {"fetch": [{"name": "MLFLOW_TRACKING_PASSWORD", "valueFrom": reference}], "serve": []}


def test_pods_run_where_the_arguments_say_those_of_the_jobs_too() -> None:
    placed = {
        "node_selector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
        "priority_class": "serving",
    }
    smoke_test = {"inputs": [[0.5]], "outputs": [2.0]}
    program = serve({**ARGS, **placed, "smoke_test": smoke_test, "serving_alias": "serving"})
    workloads = [*program.of("Deployment"), *(job for job in program.of("Job") if not job.is_watch)]
    assert len(workloads) == 5
    for workload in workloads:
        pod = workload.inputs["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == {"pool": "gpu"} and pod["priorityClassName"] == "serving"
        assert pod["tolerations"] == placed["tolerations"] and pod["affinity"] == {"nodeAffinity": {}}


def test_the_longest_name_gives_no_job_a_name_that_kubernetes_refuses() -> None:
    canary = {"model_uri": "models:/linear@run-ba9876543210", "weight_percent": 10, "tolerance_points": 30}
    tested = {"smoke_test": {"inputs": [[0.5]], "outputs": [2.0]}, "serving_alias": "serving", "canary": canary}
    name = "a" * LONGEST_NAME
    program = run(lambda: ModelService(name, {**ARGS, **tested}))  # type: ignore[typeddict-item]
    jobs = [job.name for job in program.of("Job")]
    assert len(jobs) == len(set(jobs)) == 8, jobs
    assert max(len(job) for job in jobs) + len("-01234567") <= 63
