"""Agents in a namespace of their own: the API server admits everything, and an `up` moves what was in one."""

import json
import ssl
import subprocess
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import MonitoringStack
from tests.cluster.provider.harness import Program, Stack
from tests.cluster.support import eventually, exposure, kubectl, objects, platform_facts
from tests.cluster.training.registry import platform_image

pytestmark = [pytest.mark.monitoring]

EXPIRES = "modelops_certificate_expires_timestamp_seconds"
ENFORCE = "pod-security.kubernetes.io/enforce"
PARTS = ("prometheus", "alertmanager", "node_exporter", "kube_state_metrics")


@pytest.fixture
def namespaces(platform_env: dict[str, str]) -> Iterator[tuple[str, str]]:
    """One that allows everything for now, and one for agents."""
    names = f"watch-{uuid.uuid4().hex[:8]}", f"agents-{uuid.uuid4().hex[:8]}"
    for name in names:
        kubectl("create", "namespace", name)
        kubectl("label", "namespace", name, f"{ENFORCE}=privileged")
    yield names
    kubectl("delete", "namespace", *names, "--wait=false")


def monitoring(namespace: str, **more: Any) -> Program:
    parts: dict[str, Any] = {part: {"image": platform_image(platform_facts(), part)} for part in PARTS}
    for part in ("prometheus", "alertmanager"):
        parts[part] |= {"storage_size": "1Gi", "retain_volume": False}
    args: Any = {
        "namespace": namespace,
        "watched_namespaces": [namespace],
        "expose": exposure(),
        "web": {"tls": True},
        **parts,
        **more,
    }

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        made = MonitoringStack("watch", args, pulumi.ResourceOptions(provider=provider))
        return {"prometheus_url": made.prometheus_url, "ca": made.web_ca_certificate}

    return program


def query(stack: Stack, expression: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each result."""
    found = stack.outputs()
    trust = ssl.create_default_context(cadata=found["ca"])
    trust.check_hostname = False  # the load balancer's address was not known when the certificate was made
    url = f"{found['prometheus_url']}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(url, timeout=30, context=trust) as answer:
        results = json.load(answer)["data"]["result"]
    return [(each["metric"], float(each["value"][1])) for each in results]


def uids(kind: str, *namespaces: str) -> set[str]:
    return {each["metadata"]["uid"] for namespace in namespaces for each in objects(kind, namespace)}


def test_agents_move_out_of_a_namespace_that_then_enforces_the_restricted_profile(
    namespaces: tuple[str, str], tmp_path: Path
) -> None:
    own, agents = namespaces
    stack = Stack(tmp_path / "stack", namespace=own)
    try:
        stack.up(monitoring(own))
        volumes = uids("persistentvolumeclaims", own)
        kubectl("label", "namespace", own, f"{ENFORCE}=restricted", "--overwrite")
        moved = stack.up(monitoring(own, agents_namespace=agents))

        assert {"watch-node-exporter", "watch-certificate-expiry"} <= set(moved.changed())
        assert uids("persistentvolumeclaims", own) == volumes and len(volumes) == 2
        assert [each["metadata"]["name"] for each in objects("daemonsets", agents)] == ["watch-node-exporter"]
        assert objects("daemonsets", own) == objects("deployments", agents) == objects("statefulsets", agents) == []

        # Nothing runs on only because it was there before the namespace became restricted.
        kubectl("rollout", "restart", "--namespace", own, "deployment")
        for kind, namespace in (("deployment", own), ("daemonset", agents)):
            kubectl("rollout", "status", "--namespace", namespace, kind, "--timeout=300s")
        events = kubectl("get", "events", "--namespace", own, "--field-selector=reason=FailedCreate", "--output=name")
        assert events.split() == []
        refused = _dry_run_of_the_agent_in(own, agents)
        assert "violates PodSecurity" in refused, "the control: a restricted namespace doesn't admit the agent"

        def scraped() -> bool:
            """Whether Prometheus has an answer of everything that runs now."""
            running = [each["metadata"] for name in namespaces for each in objects("pods", name)]
            pods = {each["name"] for each in running if not each["name"].startswith("watch-kube-state")}
            series = query(stack, f'up{{namespace=~"{own}|{agents}"}} == 1')
            state = query(stack, 'up{job="kube-state-metrics"} == 1')
            return pods - {labels.get("pod") for labels, _ in series} <= prometheus(pods) and bool(state)

        def prometheus(pods: set[str]) -> set[str]:
            """It scrapes itself as a job of its own."""
            itself = query(stack, 'up{job="prometheus"} == 1')
            return {name for name in pods if itself and name.startswith("watch-prometheus")}

        eventually(lambda: scraped() or None, 240)
        expiring = {labels["certificate_namespace"] for labels, _ in query(stack, EXPIRES)}
        assert expiring == {own}
        stack.unchanged(monitoring(own, agents_namespace=agents))
    finally:
        stack.destroy(succeed=None)


def _dry_run_of_the_agent_in(namespace: str, agents: str) -> str:
    """What the API server says of the agent's pod there."""
    [pod] = [each for each in objects("pods", agents) if each["status"].get("phase") == "Running"]
    volumes = [volume for volume in pod["spec"]["volumes"] if "projected" not in volume]
    spec = {key: pod["spec"][key] for key in ("containers", "securityContext")} | {"volumes": volumes}
    document: Any = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "control"}, "spec": spec}
    command = ["kubectl", "apply", "--namespace", namespace, "--dry-run=server", "--filename=-"]
    done = subprocess.run(command, input=json.dumps(document), capture_output=True, text=True)
    return done.stderr
