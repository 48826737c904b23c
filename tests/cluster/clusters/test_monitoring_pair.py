"""Two Prometheus servers and two Alertmanagers: each sees everything, and one of each may go."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import MonitoringStack
from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, exposure, forwarded, get_json, kubectl, platform_facts
from tests.cluster.training.registry import platform_image

pytestmark = [pytest.mark.clusters]

OFF = {"enabled": False}
PODS = (0, 1)


@pytest.fixture
def stack(namespace: str, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path / "stack", namespace=namespace)
    yield made
    made.destroy(succeed=None)


def ask(namespace: str, pod: str, port: int, path: str) -> Any:
    with forwarded(namespace, f"pod/{pod}", port) as local:
        return get_json(f"http://127.0.0.1:{local}{path}")


def watchdogs(namespace: str, index: int) -> list[dict[str, Any]]:
    found = ask(namespace, f"watch-alertmanager-{index}", 9093, "/api/v2/alerts?filter=alertname%3DWatchdog")
    return [alert["labels"] for alert in found]


def received(namespace: str, index: int, query: str) -> list[Any]:
    """What that Prometheus answers."""
    path = f"/api/v1/query?query={urllib.parse.quote(query)}"
    return list(ask(namespace, f"watch-prometheus-{index}", 9090, path)["data"]["result"])


def test_each_server_sees_everything_alerts_count_once_and_one_of_each_may_go(
    namespace: str, stack: Stack, platform_env: dict[str, str]
) -> None:
    facts = platform_facts()
    parts = {
        part: {"image": platform_image(facts, part), "retain_volume": False, "storage_size": "1Gi", "replicas": 2}
        for part in ("prometheus", "alertmanager")
    }
    args: Any = {
        "namespace": namespace,
        "watched_namespaces": [namespace],
        "external_labels": {"stack": "pair"},
        "expose": exposure(),
        **parts,
        "node_exporter": OFF,
        "kube_state_metrics": OFF,
    }

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        made = MonitoringStack("watch", args, pulumi.ResourceOptions(provider=provider))
        return {key: getattr(made, key) for key in ("prometheus_url", "alertmanager_url")}

    stack.up(program)
    for index in PODS:
        status = ask(namespace, f"watch-alertmanager-{index}", 9093, "/api/v2/status")
        assert len(status["cluster"]["peers"]) == 2
        # Both servers send it to both; the label of neither is left, so it is one alert.
        labels = eventually(lambda index=index: watchdogs(namespace, index), 120)
        assert len(labels) == 1
        assert labels[0]["stack"] == "pair"
        assert "prometheus_replica" not in labels[0]
        eventually(lambda index=index: len(received(namespace, index, 'up{component="monitoring"} == 1')) == 2, 120)

    silence = {
        "matchers": [{"name": "alertname", "value": "Watchdog", "isRegex": False, "isEqual": True}],
        "startsAt": "2020-01-01T00:00:00Z",
        "endsAt": "2099-01-01T00:00:00Z",
        "createdBy": "test",
        "comment": "told to one, known to both",
    }
    with forwarded(namespace, "pod/watch-alertmanager-0", 9093) as port:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v2/silences",
            json.dumps(silence).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).read()
    eventually(lambda: ask(namespace, "watch-alertmanager-1", 9093, "/api/v2/silences"), 60)

    for name in ("prometheus", "alertmanager"):
        kubectl("delete", "pod", f"watch-{name}-0", "--namespace", namespace, "--wait=false")
    urls = stack.outputs()
    eventually(lambda: get_json(f"{urls['prometheus_url']}/api/v1/query?query=1")["status"] == "success", 15)
    eventually(lambda: get_json(f"{urls['alertmanager_url']}/api/v2/status")["cluster"]["status"] == "ready", 15)
    stack.unchanged(program)
