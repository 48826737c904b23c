"""Network policies: they are judged after a Service's address has become a pod's, on clusters of every make."""

from typing import Any

import pulumi
import pytest

from modelops import ModelPromotion, ModelRegistry, ModelService, TrainingJob
from tests.package.test_consumer import PROMOTION, SERVING, TRAINING
from tests.unit.components.harness import Program, run

DNS = [(53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP")]
ROLE = {"service_account_annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/ml"}}
TOKENS = {80, 988, 443}


def egress(program: Program, name: str) -> list[dict[str, Any]]:
    return list(program.one("NetworkPolicy", name).inputs["spec"]["egress"])


def ports(rules: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(port["port"], port["protocol"]) for rule in rules for port in rule.get("ports", [])]


def promotion(source: str, **more: Any) -> Program:
    return run(lambda: ModelPromotion("demo", {**PROMOTION, "source_uri": source, **more}))  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("url", "peer"),
    [
        ("http://registry", {"podSelector": {}}),
        ("http://registry:8080/path", {"podSelector": {}}),
        (
            "http://registry.staging.svc",
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "staging"}}},
        ),
        (
            "https://registry.staging.svc.example.internal:8443",
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "staging"}}},
        ),
    ],
)
def test_a_service_is_reached_on_whatever_port_its_pods_have(url: str, peer: dict[str, Any]) -> None:
    rules = egress(promotion(url), "demo")
    assert peer in [found for rule in rules if "ports" not in rule for found in rule["to"]]


@pytest.mark.parametrize(
    ("url", "port"),
    [("https://mlflow.example.com", 443), ("http://10.0.0.7:5000", 5000), ("https://[fd00::7]:5001", 5001)],
)
def test_a_host_outside_the_cluster_is_reached_on_its_port_only(url: str, port: int) -> None:
    rules = egress(promotion(url, tracking_uri=url), "demo")
    assert (port, "TCP") in ports(rules)
    assert [rule for rule in rules if "to" in rule] == []


def test_no_rule_lets_everything_out() -> None:
    assert all(rule.get("to") or rule.get("ports") for rule in egress(promotion("http://registry"), "demo"))


def test_dns_is_looked_up_where_clusters_usually_have_it_or_where_it_is_said_to_be() -> None:
    assert ports(egress(promotion("http://registry"), "demo"))[:4] == DNS
    rules = egress(promotion("http://registry", network={"dns_ports": [1053]}), "demo")
    assert ports(rules)[:2] == [(1053, "UDP"), (1053, "TCP")]
    assert (53, "UDP") not in ports(rules)


def test_the_api_server_is_reached_on_the_usual_ports_or_on_the_given_ones() -> None:
    usual = {(port, "TCP") for port in (443, 6443, 6444, 8443, 16443)}
    assert usual <= set(ports(egress(promotion("http://registry"), "demo")))
    assert usual <= set(ports(egress(run(lambda: ModelService("demo", SERVING)), "demo-watch")))  # type: ignore[arg-type]
    rules = egress(promotion("http://registry", network={"api_server_ports": [7443]}), "demo")
    assert (7443, "TCP") in ports(rules) and (6443, "TCP") not in ports(rules)


def test_a_proxy_is_reached_by_every_pod_that_may_leave() -> None:
    network: Any = {"network": {"egress_ports": [3128]}}
    program = run(lambda: ModelService("demo", {**SERVING, **network, "serving_alias": "live"}))
    policies = [found for found in program.of("NetworkPolicy") if found.inputs["spec"].get("egress")]
    assert {found.name for found in policies} == {"demo", "demo-watch", "demo-alias", "demo-alias-watch"}
    for found in policies:
        assert (3128, "TCP") in ports(found.inputs["spec"]["egress"]), found.name


def test_an_account_with_a_role_gets_its_tokens() -> None:
    plain = run(lambda: ModelService("demo", SERVING))  # type: ignore[arg-type]
    with_role = run(lambda: ModelService("demo", {**SERVING, **ROLE}))  # type: ignore[typeddict-item]
    assert not TOKENS & {port for port, _ in ports(egress(plain, "demo"))}
    assert {port for port, _ in ports(egress(with_role, "demo"))} >= TOKENS
    store: Any = {"namespace": "ml", "artifacts": {"uri": "s3://models"}, **ROLE}
    assert {port for port, _ in ports(egress(run(lambda: ModelRegistry("demo", store)), "demo"))} >= TOKENS


def test_an_address_that_is_an_output_is_reached_as_a_plain_one() -> None:
    late = promotion(pulumi.Output.from_input("http://registry.staging.svc"))  # type: ignore[arg-type]
    assert egress(late, "demo") == egress(promotion("http://registry.staging.svc"), "demo")


def test_a_training_may_reach_any_source_of_data() -> None:
    program = run(lambda: TrainingJob("demo", TRAINING))  # type: ignore[arg-type]
    policies = [each.inputs["spec"] for each in program.of("NetworkPolicy") if "-watch" not in each.name]
    assert [policy["policyTypes"] for policy in policies] == [["Ingress"]]
