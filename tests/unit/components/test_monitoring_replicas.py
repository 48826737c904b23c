"""MonitoringStack beyond one pod: pairs of Prometheus servers, a cluster of Alertmanagers, remote write."""

from typing import Any

import pulumi
import pytest
import yaml

from modelops import ArgumentsError, MonitoringStack
from tests.unit.components.harness import Program, breaks_restricted, container, pod, run

ARGS: dict[str, Any] = {"namespace": "watch"}
SEVERAL: dict[str, Any] = {**ARGS, "prometheus": {"replicas": 2}, "alertmanager": {"replicas": 3}}


def watch(args: Any) -> Program:
    return run(lambda: MonitoringStack("m", args))


def configuration(program: Program) -> dict[str, Any]:
    text = program.one("ConfigMap", "m-prometheus").inputs["data"]["prometheus.yml"]
    return dict(yaml.safe_load(text))


@pytest.fixture(scope="module")
def several() -> Program:
    return watch(SEVERAL)


@pytest.mark.parametrize(("name", "count"), [("prometheus", 2), ("alertmanager", 3)])
def test_each_pod_has_a_volume_of_its_own_and_they_go_one_by_one(several: Program, name: str, count: int) -> None:
    workload = several.one("StatefulSet", f"m-{name}")
    spec = workload.inputs["spec"]
    assert spec["replicas"] == count
    [template] = spec["volumeClaimTemplates"]
    assert template["metadata"]["name"] == "data"
    assert {"name": "data", "mountPath": f"/{name}"} in container(workload, name)["volumeMounts"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert several.one("PodDisruptionBudget", f"m-{name}").inputs["spec"]["maxUnavailable"] == 1
    [spread] = spec["template"]["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert breaks_restricted(workload) == []
    grown = {found.name for found in several.of("PersistentVolumeClaimPatch")}
    assert {f"m-{name}-{index}-data" for index in range(count)} <= grown


def test_who_asks_a_pair_twice_asks_the_same_server(several: Program) -> None:
    assert several.one("core/v1:Service", "m-prometheus").inputs["spec"]["sessionAffinity"] == "ClientIP"
    assert "sessionAffinity" not in watch(ARGS).one("core/v1:Service", "m-prometheus").inputs["spec"]


def test_a_server_of_a_pair_names_itself_in_all_it_sends_out_but_alerts(several: Program) -> None:
    config = configuration(several)
    assert config["global"]["external_labels"] == {"prometheus_replica": "${POD_NAME}"}
    assert config["alerting"]["alert_relabel_configs"] == [{"action": "labeldrop", "regex": "prometheus_replica"}]
    server = container(several.one("StatefulSet", "m-prometheus"), "prometheus")
    [name] = [each for each in server["env"] if each["name"] == "POD_NAME"]
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    alone = configuration(watch({**ARGS, "external_labels": {"stack": "dev"}}))
    assert alone["global"]["external_labels"] == {"stack": "dev"}
    assert "alert_relabel_configs" not in alone["alerting"]


def test_every_alert_reaches_every_alertmanager(several: Program) -> None:
    [receivers] = configuration(several)["alerting"]["alertmanagers"]
    assert receivers == {
        "static_configs": [
            {"targets": [f"m-alertmanager-{index}.m-alertmanager-nodes.watch.svc:9093" for index in range(3)]}
        ]
    }
    peers = several.one("core/v1:Service", "m-alertmanager-nodes").inputs["spec"]
    assert (peers["clusterIP"], peers["publishNotReadyAddresses"]) == ("None", True)
    # The names of single pods are in no certificate.
    [secured] = configuration(watch({**SEVERAL, "web": {"tls": True}}))["alerting"]["alertmanagers"]
    assert secured["tls_config"]["server_name"] == "m-alertmanager"


def test_alertmanagers_gossip_and_nobody_else_joins_in(several: Program) -> None:
    flags = container(several.one("StatefulSet", "m-alertmanager"), "alertmanager")["args"]
    assert "--cluster.listen-address=[$(POD_IP)]:9094" in flags
    assert "--cluster.peer=m-alertmanager-nodes.watch.svc:9094" in flags
    rules = several.one("NetworkPolicy", "m-alertmanager").inputs["spec"]["ingress"]
    assert [rule.get("ports", [{}])[0].get("port") for rule in rules] == [9093, None]
    labels = several.one("StatefulSet", "m-alertmanager").inputs["spec"]["selector"]["matchLabels"]
    assert rules[1]["from"] == [{"podSelector": {"matchLabels": labels}}]
    alone = container(watch(ARGS).one("Deployment", "m-alertmanager"), "alertmanager")
    assert "--cluster.listen-address=" in alone["args"]


REMOTE: list[dict[str, Any]] = [
    {
        "url": "https://mimir.example.com/api/v1/push",
        "headers": {"X-Scope-OrgID": "ml"},
        "basic_auth": {"username": pulumi.Output.from_input("42"), "secret": "mimir"},
        "ca_certificate": "PEM",
        "metrics": "modelops_.*",
    },
    {"url": "https://thanos.example.com/api/v1/receive", "token_secret": "thanos"},
    {
        "url": "https://aps-workspaces.eu-central-1.amazonaws.com/workspaces/ws-1/api/v1/remote_write",
        "sigv4": {"region": "eu-central-1", "role_arn": "arn:aws:iam::1:role/write", "secret": "aws"},
    },
]


def test_metrics_go_to_receivers_by_remote_write_with_credentials_from_secrets() -> None:
    program = watch({**ARGS, "prometheus": {"remote_write": REMOTE}})
    mimir, thanos, amazon = configuration(program)["remote_write"]
    assert mimir == {
        "url": "https://mimir.example.com/api/v1/push",
        "headers": {"X-Scope-OrgID": "ml"},
        "basic_auth": {"username": "42", "password_file": "/etc/modelops/remote/0/password"},
        "tls_config": {"ca_file": "/etc/prometheus/remote-0.crt"},
        "write_relabel_configs": [{"source_labels": ["__name__"], "action": "keep", "regex": "modelops_.*"}],
    }
    assert thanos["authorization"] == {"credentials_file": "/etc/modelops/remote/1/token"}
    assert amazon["sigv4"] == {"region": "eu-central-1", "role_arn": "arn:aws:iam::1:role/write"}
    workload = program.one("Deployment", "m-prometheus")
    volumes = {volume["name"]: volume for volume in pod(workload)["volumes"]}
    assert volumes["remote-0"]["secret"] == {"secretName": "mimir", "items": [{"key": "password", "path": "password"}]}
    assert volumes["remote-1"]["secret"] == {"secretName": "thanos", "items": [{"key": "token", "path": "token"}]}
    server = container(workload, "prometheus")
    mounted = {each["mountPath"] for each in server["volumeMounts"]}
    assert {"/etc/modelops/remote/0", "/etc/modelops/remote/1"} <= mounted
    assert server["envFrom"] == [{"secretRef": {"name": "aws"}}]
    assert program.one("ConfigMap", "m-prometheus").inputs["data"]["remote-0.crt"] == "PEM"
    assert {"key": "remote-0.crt", "path": "remote-0.crt"} in volumes["files"]["configMap"]["items"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"prometheus": {"replicas": 0}}, "prometheus.replicas is 0, must be 1 to 5"),
        ({"alertmanager": {"replicas": 9}}, "alertmanager.replicas is 9, must be 1 to 5"),
        ({"prometheus": {"replicas": 2, "claim": "old"}}, "prometheus.claim is 'old', must not be given with replicas"),
        ({"prometheus": {"remote_write": [{}]}}, "prometheus.remote_write[0].url is missing"),
        ({"prometheus": {"remote_write": [{"url": "mimir"}]}}, "prometheus.remote_write[0].url is 'mimir'"),
        (
            {"prometheus": {"remote_write": [{"url": "https://x", "token_secret": "a", "sigv4": {"region": "r"}}]}},
            "must have one kind of credentials",
        ),
        (
            {"prometheus": {"remote_write": [{"url": "https://x", "headers": {"authorization": "Bearer 1"}}]}},
            "must not have credentials, which belong in a Secret",
        ),
        (
            {"prometheus": {"remote_write": [{"url": "https://x", "sigv4": {"region": "r", "secret": "a"}}] * 2}},
            "must have one sigv4.secret at most",
        ),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        watch({**ARGS, **change})
    assert problem in str(caught.value)
