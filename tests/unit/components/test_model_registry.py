"""ModelRegistry: the MLflow server."""

import dataclasses
import fnmatch
from typing import Any

import pytest

from modelops import UPSTREAM_IMAGES, ArgumentsError, ModelRegistry
from tests.unit.components.harness import (
    Program,
    Resource,
    Secret,
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


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("10.0.0.7:5000", True),
        ("[fd00::7]:5000", True),
        ("[::1]:5000", True),
        ("a1b2-12.eu-west-1.elb.amazonaws.com:5000", True),
        ("a1b2-12.elb.eu-west-1.amazonaws.com:5000", True),
        ("rebound.example.com:5000", False),
        ("elb.amazonaws.com.example.com:5000", False),
        ("[evil.example.com]:5000", False),
    ],
)
def test_the_names_of_a_load_balancer_are_allowed_hosts(host: str, allowed: bool) -> None:
    patterns = flags(start({**ARGS, "expose": "LoadBalancer"}))["allowed-hosts"].split(",")
    assert any(fnmatch.fnmatch(host, pattern) for pattern in patterns) == allowed


def test_one_writer_at_a_time() -> None:
    spec = start(ARGS).one("Deployment").inputs["spec"]
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["replicas"] == 1


def test_several_pods_are_replaced_one_by_one_and_leave_the_service_before_they_stop() -> None:
    program = start({**PRODUCTION, "replicas": 3})
    spec = program.one("Deployment").inputs["spec"]
    assert spec["replicas"] == 3
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    seconds = container(program.one("Deployment"), "mlflow")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert seconds < pod(program.one("Deployment"))["terminationGracePeriodSeconds"]
    budget = program.one("PodDisruptionBudget").inputs["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert not start(PRODUCTION).of("PodDisruptionBudget")


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


def test_prometheus_finds_the_registrys_metrics_by_themselves() -> None:
    program = start(PRODUCTION)
    deployment = program.one("Deployment")
    template = deployment.inputs["spec"]["template"]["metadata"]
    port = int(container(deployment, "metrics")["ports"][0]["containerPort"])
    assert template["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": "/metrics",
    }
    assert template["labels"]["app.kubernetes.io/part-of"] == "modelops"
    rules = program.one("NetworkPolicy", "demo").inputs["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in rules] == [5000, port]
    assert references(deployment, "metrics") == {
        "MLFLOW_TRACKING_USERNAME": "username",
        "MLFLOW_TRACKING_PASSWORD": "password",
    }
    assert references(start(ARGS).one("Deployment"), "metrics") == {}


def test_provider_is_respected() -> None:
    assert ignored_provider(run(lambda: ModelRegistry("demo", ARGS, on(provider())))) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"namespace": "A"}, "namespace is 'A'"),
        ({"expose": "Ingress"}, "expose is 'Ingress', must be one of LoadBalancer, ClusterIP, NodePort"),
        ({"storage_size": "big"}, "storage_size is 'big', must be a Kubernetes quantity"),
        ({"image": ""}, "image is '', must not be empty"),
        ({"host": "a b"}, "host is 'a b', must not be empty or contain whitespace"),
        ({"allowed_hosts": [""]}, "allowed_hosts[0] is '', must not be empty"),
        ({"resources": {"cpu": "x"}}, "resources.cpu is 'x'"),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        start({**ARGS, **change})
    assert problem in str(caught.value)


PRODUCTION: dict[str, Any] = {
    **ARGS,
    "database": {},
    "artifacts": {"uri": "s3://bucket/mlflow", "endpoint_url": "http://s3.other:9000", "secret": "bucket"},
    "auth": {"admin_password": "planted password"},
    "backup": {"keep_count": 3},
}


def references(resource: Resource, name: str) -> dict[str, Any]:
    """Variables of a container that come out of Secrets."""
    entries = container(resource, name)["env"]
    return {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in entries if "valueFrom" in each}


def test_production_has_a_database_an_object_store_and_accounts_and_no_volume() -> None:
    program = start(PRODUCTION)
    server = container(program.one("Deployment"), "mlflow")
    assert server["image"] == UPSTREAM_IMAGES["mlflow_full"]
    assert flags(program)["artifacts-destination"] == "s3://bucket/mlflow"
    assert flags(program)["app-name"] == "basic-auth"
    assert references(program.one("Deployment"), "mlflow") == {
        "MLFLOW_BACKEND_STORE_URI": "url",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "key",
    }
    assert [found.name for found in program.of("PersistentVolumeClaim")] == ["demo-backup"]
    assert (
        program.one("StatefulSet").inputs["spec"]["template"]["spec"]["containers"][0]["image"]
        == UPSTREAM_IMAGES["postgres"]
    )


STORES = [
    "s3://bucket/mlflow",
    "gs://bucket/mlflow",
    "wasbs://container@account.blob.core.windows.net/mlflow",
    "wasbs://container@account.blob.core.windows.net",
]


@pytest.mark.parametrize("uri", STORES)
def test_an_object_store_of_any_cloud_is_opened_by_its_secret(uri: str) -> None:
    program = start({**ARGS, "artifacts": {"uri": uri, "secret": "bucket"}, "backup": {}})
    assert flags(program)["artifacts-destination"] == uri
    item = {"key": "GOOGLE_SERVICE_ACCOUNT_KEY", "path": "GOOGLE_SERVICE_ACCOUNT_KEY"}
    volume = {"name": "google", "secret": {"secretName": "bucket", "items": [item], "optional": True}}
    mounted = {"name": "google", "mountPath": "/run/google", "readOnly": True}
    jobs = [program.one("CronJob", name).inputs["spec"]["jobTemplate"] for name in ("demo-backup", "demo-restore")]
    for inputs, name in ((program.one("Deployment").inputs, "mlflow"), (jobs[0], "save"), (jobs[1], "restore")):
        spec = inputs["spec"]["template"]["spec"]
        [user] = [each for each in [*spec["initContainers"], *spec["containers"]] if each["name"] == name]
        assert user["envFrom"] == [{"secretRef": {"name": "bucket"}}]
        assert volume in spec["volumes"] and mounted in user["volumeMounts"]
        variables = {each["name"]: each.get("value") for each in user["env"]}
        assert variables["GOOGLE_APPLICATION_CREDENTIALS"] == f"/run/google/{item['path']}"
    assert container(program.one("Deployment"), "prepare")["envFrom"] == [{"secretRef": {"name": "bucket"}}]
    checked = environment(program.one("Deployment"), "prepare")
    assert (checked["MODELOPS_ARTIFACTS"], checked["MODELOPS_ARTIFACTS_SECRET"]) == (uri, "bucket")


def test_without_a_secret_the_pods_may_ask_the_cloud_for_tokens() -> None:
    def egress(**store: Any) -> set[int]:
        program = start({**ARGS, "artifacts": {"uri": "gs://bucket/mlflow", **store}})
        [rule] = program.one("NetworkPolicy", "demo").inputs["spec"]["egress"]
        return {int(each["port"]) for each in rule["ports"]}

    assert egress() == {53, 5353, 80, 443, 988}
    assert egress(secret="bucket") == {53, 5353, 443}
    program = start({**ARGS, "artifacts": {"uri": "gs://bucket/mlflow"}})
    assert "envFrom" not in container(program.one("Deployment"), "mlflow")


def test_generated_passwords_are_secret_and_the_first_ones_stay() -> None:
    first, second = (start(PRODUCTION) for _ in range(2))
    for name in ("demo-postgres", "demo-writer", "demo-reader", "demo-session"):
        assert isinstance(first.one("Secret", name).inputs["data"], Secret)
        assert first.one("Secret", name).inputs["data"] != second.one("Secret", name).inputs["data"]
        assert first.one("Secret", name).options["ignore_changes"] == ["data"]
    assert isinstance(first.one("Secret", "demo-admin").inputs["stringData"], Secret)


def test_accounts_are_named_for_trainings_and_services() -> None:
    outputs = start(PRODUCTION).outputs
    assert outputs["writer_secret"].value == "demo-writer-1a2b3c4d"
    assert outputs["reader_secret"].value == "demo-reader-1a2b3c4d"
    assert "writer_secret" not in start(ARGS).outputs


def test_a_database_that_is_there_already_is_named_by_a_secret() -> None:
    program = start({**PRODUCTION, "database": {"secret": "postgres", "port": 6432}})
    assert program.of("StatefulSet") == []
    variables = container(program.one("Deployment"), "mlflow")["env"]
    reference = next(
        each["valueFrom"]["secretKeyRef"] for each in variables if each["name"] == "MLFLOW_BACKEND_STORE_URI"
    )
    assert reference == {"name": "postgres", "key": "url"}
    ports = [each["port"] for each in program.one("NetworkPolicy", "demo").inputs["spec"]["egress"][0]["ports"]]
    assert ports == [53, 53, 5353, 5353, 6432, 9000]


def test_only_the_registrys_pods_reach_its_database() -> None:
    rules = start(PRODUCTION).one("NetworkPolicy", "demo-postgres").inputs["spec"]
    (caller,) = rules["ingress"][0]["from"]
    assert caller["podSelector"]["matchLabels"] == {"app.kubernetes.io/instance": "demo"}
    assert rules["egress"] == []


def test_every_pod_of_production_keeps_the_restricted_profile() -> None:
    program = start(PRODUCTION)
    assert breaks_restricted(program.one("StatefulSet")) == breaks_restricted(program.one("Deployment")) == []
    for cronjob in program.of("CronJob"):
        job = dataclasses.replace(cronjob, inputs=cronjob.inputs["spec"]["jobTemplate"])
        assert breaks_restricted(job) == []


def test_a_restore_never_runs_by_itself() -> None:
    suspended = {job.name: job.inputs["spec"]["suspend"] for job in start(PRODUCTION).of("CronJob")}
    assert suspended == {"demo-backup": False, "demo-restore": True}


def test_a_back_up_that_cannot_start_ends_before_it_keeps_more_than_one_other_from_running() -> None:
    for found in start(PRODUCTION).of("CronJob"):
        assert found.inputs["spec"]["concurrencyPolicy"] == "Forbid"
        assert found.inputs["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 24 * 3600


def test_alerts_know_the_jobs_of_back_ups() -> None:
    for found in start(PRODUCTION).of("CronJob"):
        labels = found.inputs["spec"]["jobTemplate"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "modelops"
        assert labels["app.kubernetes.io/component"] == "model-registry-backup"


def test_a_backup_of_a_volume_runs_where_the_volume_is() -> None:
    program = start({**ARGS, "backup": {}})
    spec = program.one("CronJob", "demo-backup").inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (term,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"]["app.kubernetes.io/name"] == "mlflow"
    assert [each["name"] for each in spec["containers"]] == ["save"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"artifacts": {"uri": "az://x"}},
            "artifacts.uri is 'az://x', must be s3://bucket/prefix, gs://bucket/prefix or",
        ),
        ({"artifacts": {"uri": "s3://"}}, "artifacts.uri is 's3://', must be s3://bucket/prefix"),
        ({"artifacts": {"uri": "wasbs://models/x"}}, "artifacts.uri is 'wasbs://models/x', must be s3://bucket/prefix"),
        (
            {"artifacts": {"uri": "gs://x", "endpoint_url": "http://gcs"}},
            "artifacts.endpoint_url is 'http://gcs', must only be given with s3://",
        ),
        (
            {"artifacts": {"uri": "gs://x", "region": "eu"}},
            "artifacts.region is 'eu', must only be given with s3://",
        ),
        ({"artifacts": {}}, "artifacts.uri is missing"),
        (
            {"auth": {"admin_password": "short"}},
            "auth.admin_password is not shown, must have at least 12 characters",
        ),
        (
            {"auth": {"admin_password": "long enough it is", "admin_username": "writer"}},
            "auth.admin_username is 'writer'",
        ),
        (
            {"database": {"secret": "x", "storage_size": "1Gi"}},
            "database.storage_size is '1Gi', must not be given with secret",
        ),
        ({"database": {"port": 5433}}, "database.port is 5433, must only be given with secret"),
        ({"backup": {"keep_count": 0}}, "backup.keep_count is 0, must be 1 to 1000"),
        ({"replicas": 2}, "replicas is 2, must be 1 without database and artifacts: SQLite and a volume belong to one"),
        ({"replicas": 2, "database": {}}, "replicas is 2, must be 1 without artifacts"),
        ({"replicas": 0}, "replicas is 0, must be 1 to 20"),
    ],
)
def test_each_error_of_production(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        start({**ARGS, **change})
    assert problem in str(caught.value)
    assert "short" not in str(caught.value)
