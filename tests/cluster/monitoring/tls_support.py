"""A monitoring stack whose web ends speak TLS."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import MonitoringStack
from tests.cluster.provider.harness import Program
from tests.cluster.support import exposure, platform_facts
from tests.cluster.training.registry import platform_image

OFF = {"enabled": False}
OUTPUTS = ("prometheus_url", "alertmanager_url", "web_ca_certificate")


def web_with_tls(namespace: str, *, node_exporter: bool, **more: Any) -> Program:
    """The stack `watch` of Prometheus and Alertmanager and, for when certificates expire, node-exporter."""
    facts = platform_facts()
    parts = {
        part: {"image": platform_image(facts, part), "retain_volume": False} for part in ("prometheus", "alertmanager")
    }
    args: Any = {
        "namespace": namespace,
        "watched_namespaces": [namespace],
        "web": {"tls": True},
        "expose": exposure(),
        **parts,
        "node_exporter": {"image": platform_image(facts, "node_exporter")} if node_exporter else OFF,
        "kube_state_metrics": OFF,
        **more,
    }

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        made = MonitoringStack("watch", args, pulumi.ResourceOptions(provider=provider))
        return {key: getattr(made, key) for key in OUTPUTS}

    return program
