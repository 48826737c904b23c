"""What an existing monitoring takes: rules and a monitor for prometheus-operator, dashboards for Grafana.

Nothing here runs anything. What such a monitoring has of its own is left out: alerts on nodes, volumes, targets and
certificates, and the dashboard of the platform.
"""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import yaml

from modelops.core.assets import asset, assets
from modelops.kubernetes.crds import require
from modelops.monitoring.args import GrafanaSidecar, PrometheusOperator
from modelops.monitoring.grafana import LOGS_DASHBOARD
from modelops.monitoring.program import Scope

API = "monitoring.coreos.com/v1"
DEFAULT_FOLDER = "ModelOps"
DEFAULT_LABELS = {"grafana_dashboard": "1"}
DEFAULT_DATASOURCE = "prometheus"
_PROGRAM = "attached"
_PLATFORM = "platform"
"""The rules and the dashboard that are left out."""
_KEYS = {"source_labels": "sourceLabels", "target_label": "targetLabel"}
_OWN_CONTAINERS, _THEIR_CONTAINERS = r"job=\"resource\"", r"metrics_path=\"/metrics/cadvisor\""
"""By what dashboards pick the series of containers: our job, and the kubelet's path where the operator scrapes it."""


class Attached(pulumi.ComponentResource):
    """PrometheusRules and a PodMonitor, and ConfigMaps with dashboards, as far as they are asked for."""

    def __init__(
        self,
        scope: Scope,
        *,
        operator: PrometheusOperator | None,
        sidecar: GrafanaSidecar | None,
        namespaces: Sequence[pulumi.Input[str]] | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("modelops:monitoring:Attached", scope.named(_PROGRAM), None, opts)
        child_opts = pulumi.ResourceOptions(parent=self)
        if operator is not None:
            needed = [require(scope.name, kinds, API, child_opts) for kinds in ("podmonitors", "prometheusrules")]
            # The dashboards too: without the operator nothing at all is made.
            child_opts = pulumi.ResourceOptions(parent=self, depends_on=needed)
            _monitor(scope, operator, namespaces, child_opts)
        if sidecar is not None:
            _dashboards(scope, sidecar, child_opts, operated=operator is not None)
        self.register_outputs({})


def _monitor(
    scope: Scope,
    operator: PrometheusOperator,
    namespaces: Sequence[pulumi.Input[str]] | None,
    opts: pulumi.ResourceOptions,
) -> None:
    def create(kind: str, name: str, spec: Any) -> None:
        k8s.apiextensions.CustomResource(
            scope.named(name),
            api_version=API,
            kind=kind,
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=scope.named(name),
                namespace=scope.namespace,
                labels={**scope.labels(_PROGRAM), **operator.get("labels", {})},
            ),
            spec=spec,
            opts=opts,
        )

    for file, text in assets("monitoring/assets/rules").items():
        if (name := file.removesuffix(".yaml")) != _PLATFORM:
            create("PrometheusRule", name, yaml.safe_load(text))
    create(
        "PodMonitor",
        "components",
        {
            "namespaceSelector": {"matchNames": list(namespaces)} if namespaces else {"any": True},
            "selector": {"matchLabels": {"app.kubernetes.io/part-of": "modelops"}},
            "podMetricsEndpoints": [{"relabelings": relabelings()}],
        },
    )


def relabelings() -> list[dict[str, Any]]:
    """Our own scrape job's, in the operator's spelling, so that rules and dashboards find the same labels."""
    config = yaml.safe_load(asset("monitoring/assets/prometheus/prometheus.yml"))
    job = next(found for found in config["scrape_configs"] if found["job_name"] == "modelops")
    own = [{_KEYS.get(key, key): value for key, value in rule.items()} for rule in job["relabel_configs"]]
    return [*own, {"targetLabel": "job", "replacement": "modelops"}]


def _dashboards(scope: Scope, sidecar: GrafanaSidecar, opts: pulumi.ResourceOptions, *, operated: bool) -> None:
    """One ConfigMap each, as the sidecar likes them, and with fixed names: it takes changes up where they are."""
    uid = pulumi.Output.from_input(sidecar.get("datasource", DEFAULT_DATASOURCE))
    for file, text in assets("monitoring/assets/dashboards").items():
        # That Grafana need not know of the logs, nor, where the operator watches it, of our view of the platform.
        if file == LOGS_DASHBOARD or (operated and file == f"{_PLATFORM}.json"):
            continue
        own = text.replace(_OWN_CONTAINERS, _THEIR_CONTAINERS) if operated else text
        name = scope.named(f"dashboard-{file.removesuffix('.json')}")
        k8s.core.v1.ConfigMap(
            name,
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=name,
                namespace=scope.namespace,
                labels={**scope.labels(_PROGRAM), **sidecar.get("labels", DEFAULT_LABELS)},
                annotations={"grafana_folder": sidecar.get("folder", DEFAULT_FOLDER)},
            ),
            data={file: _with_datasource(own, uid)},
            opts=opts,
        )


def _with_datasource(dashboard: str, uid: pulumi.Output[str]) -> pulumi.Output[str]:
    return uid.apply(lambda known: dashboard.replace('"uid": "prometheus"', f'"uid": "{known}"'))
