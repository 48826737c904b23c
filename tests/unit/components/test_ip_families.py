"""Clusters with IPv6: every Service has the families that are asked for, servers listen to them, URLs have brackets."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelops
from modelops import ArgumentsError, ModelRegistry
from modelops.kubernetes.network import url_host
from tests.package.test_consumer import SERVING, TRAINING
from tests.unit.components.harness import Program, container, environment, run
from tests.unit.components.test_airflow_pipeline import ARGS as PIPELINE

BOTH = {"ip_families": ["IPv6", "IPv4"], "ip_family_policy": "PreferDualStack"}
LOGGED = {"enabled": True, "password": "long enough", "elasticsearch": {"nodes": 3}}
CHAT = {"namespace": "ml", "runtime": "vllm", "model_uri": f"hf://meta-llama/Llama-3.1-8B-Instruct@{'a' * 40}"}
COMPONENTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "a registry on PostgreSQL": ("ModelRegistry", {"namespace": "ml", "database": {}}),
    "a service": ("ModelService", {**SERVING}),
    "a service in two tracks": (
        "ModelService",
        {**SERVING, "canary": {"model_uri": "models:/linear/2", "weight_percent": 20, "split": "Gateway"}},
    ),
    "a training of two workers": ("TrainingJob", {**TRAINING, "workers": 2}),
    "monitoring in pairs, with logs": (
        "MonitoringStack",
        {"namespace": "watch", "prometheus": {"replicas": 2}, "alertmanager": {"replicas": 2}, "elk": LOGGED},
    ),
    "a pipeline with an Airflow": ("AirflowPipeline", {**PIPELINE}),
}


def made(component: str, args: Mapping[str, Any]) -> Program:
    return run(lambda: getattr(modelops, component)("demo", args))


@pytest.mark.parametrize("case", COMPONENTS)
def test_every_service_has_the_families_that_are_asked_for(case: str) -> None:
    component, args = COMPONENTS[case]
    if "canary" in args:
        args = {**args, "route": {"host": "model.example.com", "gateway_class": "envoy"}}
    services = list(made(component, {**args, "network": BOTH}).of("v1:Service"))
    assert services
    for service in services:
        spec = service.inputs["spec"]
        assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv6", "IPv4"], "PreferDualStack"), service.name
    for service in made(component, args).of("v1:Service"):
        assert not {"ipFamilies", "ipFamilyPolicy"} & service.inputs["spec"].keys(), service.name


@pytest.mark.parametrize(
    ("network", "address"), [({}, "0.0.0.0"), (BOTH, "::"), ({"ip_families": ["IPv4"]}, "0.0.0.0")]
)
def test_servers_that_know_one_address_listen_to_that_of_both_families(network: Any, address: str) -> None:
    chat = made("ModelService", {**CHAT, "network": network}).one("Deployment", "demo")
    assert f"--host {address} " in " ".join(container(chat, "serve")["command"])
    monitoring = made("MonitoringStack", {"namespace": "watch", "elk": LOGGED, "network": network})
    assert environment(monitoring.one("Deployment", "demo-kibana"), "kibana")["LISTEN_ADDRESS"] == address


@pytest.mark.parametrize(
    ("changes", "address", "url"),
    [
        ({"expose": "LoadBalancer"}, "fd00::7", "http://[fd00::7]:5000"),
        ({"expose": "LoadBalancer"}, "10.0.0.7", "http://10.0.0.7:5000"),
        ({"expose": "LoadBalancer", "host": "fd00::8"}, None, "http://[fd00::8]:5000"),
        ({"expose": "LoadBalancer", "host": "[fd00::8]"}, None, "http://[fd00::8]:5000"),
        ({"expose": "LoadBalancer", "host": "mlflow.example.com"}, None, "http://mlflow.example.com:5000"),
    ],
)
def test_an_address_of_ipv6_is_in_brackets_in_a_url(changes: Any, address: str | None, url: str) -> None:
    args: Any = {"namespace": "ml", **changes}
    assert run(lambda: ModelRegistry("demo", args), load_balancer=address).outputs["url"].value == url


@given(st.ip_addresses())
def test_every_address_makes_a_url_whose_host_it_is(address: Any) -> None:
    from urllib.parse import urlsplit

    parts = urlsplit(f"http://{url_host(str(address))}:8080/")
    assert (parts.hostname, parts.port) == (str(address), 8080)
    assert url_host(url_host(str(address))) == url_host(str(address))


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        ({"ip_families": ["IPv5"]}, r"network\.ip_families\[0\] is 'IPv5', must be one of IPv4, IPv6"),
        ({"ip_family_policy": "Both"}, r"network\.ip_family_policy is 'Both', must be one of SingleStack, "),
    ],
)
def test_other_words_are_refused(network: Any, problem: str) -> None:
    with pytest.raises(ArgumentsError, match=problem):
        made("ModelRegistry", {"namespace": "ml", "network": network})


def test_the_files_of_programs_have_no_address_of_one_family_alone() -> None:
    """Java listens to both families at 0.0.0.0; Node.js does not, so Kibana's address comes from the arguments."""
    monitoring = made("MonitoringStack", {"namespace": "watch", "elk": LOGGED})
    files = json.dumps([found.inputs["data"] for found in monitoring.of("v1:ConfigMap") if "kibana" in found.name])
    assert "0.0.0.0" not in files and "LISTEN_ADDRESS" in files
