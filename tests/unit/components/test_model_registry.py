"""ModelRegistry: the MLflow server."""

from typing import Any

import pytest

from modelops import UPSTREAM_IMAGES, ArgumentsError, ModelRegistry
from tests.unit.components.harness import (
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

ARGS: dict[str, Any] = {"namespace": "ml"}


def start(args: Any, **how: Any) -> Program:
    return run(lambda: ModelRegistry("demo", args), **how)


def flags(program: Program) -> dict[str, str]:
    arguments = container(program.one("Deployment"), "mlflow")["args"]
    return dict(argument.lstrip("-").partition("=")[::2] for argument in arguments[2:])


def test_defaults() -> None:
    program = start(ARGS)
    server = container(program.one("Deployment"), "mlflow")
    assert server["image"] == UPSTREAM_IMAGES["mlflow"]
    assert server["args"][:2] == ["mlflow", "server"]
    assert environment(program.one("Deployment"), "mlflow")["MLFLOW_BACKEND_STORE_URI"] == "sqlite:////mlflow/mlflow.db"
    assert flags(program)["artifacts-destination"] == "/mlflow/artifacts"
    assert program.one("PersistentVolumeClaim").inputs["spec"]["resources"] == {"requests": {"storage": "5Gi"}}
    assert "storageClassName" not in program.one("PersistentVolumeClaim").inputs["spec"]
    assert program.one("core/v1:Service").inputs["spec"]["type"] == "ClusterIP"
    assert program.outputs["tracking_uri"].value == program.outputs["url"].value == "http://demo.ml.svc:5000"


def test_everything_set_is_kept() -> None:
    args = {
        "namespace": "ml",
        "image": "mlflow:1",
        "storage_size": "50Gi",
        "storage_class": "fast",
        "expose": "NodePort",
        "host": "mlflow.example.com",
        "allowed_hosts": ["proxy.example.com"],
        "resources": {"memory": "2Gi"},
        "image_pull_secret": "registry",
    }
    program = start(args)
    deployment = program.one("Deployment")
    assert container(deployment, "mlflow")["image"] == "mlflow:1"
    assert container(deployment, "mlflow")["resources"]["limits"] == {"memory": "2Gi"}
    claim = program.one("PersistentVolumeClaim").inputs["spec"]
    assert (claim["resources"]["requests"]["storage"], claim["storageClassName"]) == ("50Gi", "fast")
    assert {"mlflow.example.com", "proxy.example.com"} <= set(flags(program)["allowed-hosts"].split(","))
    assert program.outputs["url"].value == "http://mlflow.example.com:30080"
    assert pod(deployment)["imagePullSecrets"] == [{"name": "registry"}]


def test_url_is_the_load_balancers_and_tracking_uri_stays_inside() -> None:
    outputs = start({**ARGS, "expose": "LoadBalancer"}).outputs
    assert outputs["url"].value == "http://127.0.0.2:5000"
    assert outputs["tracking_uri"].value == "http://demo.ml.svc:5000"


def test_a_plan_knows_the_tracking_uri_and_its_users_wait_for_the_server() -> None:
    found = start({**ARGS, "expose": "LoadBalancer"}, preview=True, load_balancer=None).outputs
    assert found["tracking_uri"].known
    assert "demo" in found["tracking_uri"].depends_on
    assert not found["url"].known


def test_addresses_are_allowed_hosts_only_where_the_server_is_exposed() -> None:
    hosts = flags(start(ARGS))["allowed-hosts"].split(",")
    assert "demo.ml.svc:5000" in hosts
    assert "demo.ml.svc.cluster.local:5000" in hosts
    assert not any("[0-9]" in host for host in hosts)
    exposed = flags(start({**ARGS, "expose": "LoadBalancer"}))["allowed-hosts"].split(",")
    assert "[0-9]*.[0-9]*.[0-9]*.*[0-9]:*" in exposed
    assert "*" not in exposed


def test_one_writer_at_a_time() -> None:
    spec = start(ARGS).one("Deployment").inputs["spec"]
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["replicas"] == 1


def test_pulumi_does_not_wait_for_the_volume_alone() -> None:
    claim = start(ARGS).one("PersistentVolumeClaim")
    assert claim.inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}


def test_the_service_comes_after_the_deployment() -> None:
    assert "demo" in start(ARGS).one("core/v1:Service").options["dependencies"]


def test_pods_keep_the_restricted_profile_and_connect_to_nothing() -> None:
    program = start(ARGS)
    assert breaks_restricted(program.one("Deployment")) == []
    rules = program.one("NetworkPolicy").inputs["spec"]
    assert rules["policyTypes"] == ["Ingress", "Egress"]
    assert rules.get("egress", []) == []


def test_provider_is_respected() -> None:
    assert ignored_provider(run(lambda: ModelRegistry("demo", ARGS, on(provider())))) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"namespace": "A"}, "namespace is 'A'"),
        ({"expose": "Ingress"}, "expose is 'Ingress', must be one of LoadBalancer, ClusterIP, NodePort"),
        ({"storage_size": "big"}, "storage_size is 'big', must be a Kubernetes quantity"),
        ({"image": ""}, "image is '', must not be empty"),
        ({"host": "a b"}, "host is 'a b', must not be empty or have blanks"),
        ({"allowed_hosts": [""]}, "allowed_hosts[0] is '', must not be empty"),
        ({"resources": {"cpu": "x"}}, "resources.cpu is 'x'"),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        start({**ARGS, **change})
    assert problem in str(caught.value)
