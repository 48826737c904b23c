"""A cluster with IPv6 beside IPv4 (`MODELOPS_DUAL_STACK=1 make up` for the embedded one): a Service has an address of
each family, and its server answers at both."""

import ipaddress
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelRegistry
from tests.cluster.provider.harness import Stack
from tests.cluster.support import kubectl, objects, platform_facts
from tests.cluster.training.registry import TINY, platform_image

pytestmark = [pytest.mark.clusters, pytest.mark.long]

ASK = (
    "import http.client, sys\n"
    "connection = http.client.HTTPConnection(sys.argv[1], 5000, timeout=20)\n"
    "connection.request('GET', '/health', headers={'Host': 'registry:5000'})\n"
    "print(connection.getresponse().status)\n"
)


@pytest.fixture
def stack(namespace: str, tmp_path: Path) -> Iterator[Stack]:
    [node, *_] = json.loads(kubectl("get", "nodes", "--output", "json"))["items"]
    addresses = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
    if {ipaddress.ip_address(address).version for address in addresses} != {4, 6}:
        pytest.skip(f"the cluster's nodes have no addresses of both families: {addresses}")
    made = Stack(tmp_path / "stack", namespace=namespace)
    yield made
    made.destroy(succeed=None)


@pytest.mark.parametrize("first", ["IPv4", "IPv6"])
def test_a_service_is_reached_by_both_families(stack: Stack, namespace: str, first: str) -> None:
    families = ["IPv4", "IPv6"] if first == "IPv4" else ["IPv6", "IPv4"]

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        args: Any = {
            "namespace": namespace,
            "image": platform_image(platform_facts(), "mlflow"),
            "resources": TINY,
            "network": {"ip_families": families, "ip_family_policy": "RequireDualStack"},
        }
        made = ModelRegistry("registry", args, pulumi.ResourceOptions(provider=provider))
        return {"tracking_uri": made.tracking_uri}

    stack.up(build)
    [service] = objects("services", namespace)
    addresses = service["spec"]["clusterIPs"]
    assert [f"IPv{ipaddress.ip_address(address).version}" for address in addresses] == families
    [pod] = objects("pods", namespace)
    for address in [*addresses, *(each["ip"] for each in pod["status"]["podIPs"])]:
        command = ("exec", "--namespace", namespace, "deployment/registry", "--container", "mlflow", "--")
        assert kubectl(*command, "python3", "-c", ASK, address).strip() == "200", address
    stack.unchanged(build)
