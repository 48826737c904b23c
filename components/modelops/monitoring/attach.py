"""What existing monitoring uses: rules and a PodMonitor for prometheus-operator, dashboards for Grafana.

Nothing here runs a program. Whatever such monitoring already covers is left out: alerts on nodes, volumes, targets and
certificates, and the platform dashboard.
"""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import yaml

from modelops.core.assets import asset
from modelops.core.component import child_options
from modelops.kubernetes.crds import require
from modelops.kubernetes.custom_objects import CustomObject
from modelops.monitoring.args import GrafanaSidecar, PrometheusOperator
from modelops.monitoring.dashboards import dashboards
from modelops.monitoring.grafana import LOGS_DASHBOARD
from modelops.monitoring.program import Scope
from modelops.monitoring.rules import rule_files

API = "monitoring.coreos.com/v1"
DEFAULT_FOLDER = "ModelOps"
DEFAULT_LABELS = {"grafana_dashboard": "1"}
DEFAULT_DATASOURCE = "prometheus"
_PROGRAM = "attached"
_PLATFORM = "platform"
"""The rules and the dashboard left out."""
_OPERATOR_KEYS = {"source_labels": "sourceLabels", "target_label": "targetLabel"}
_STACK_MATCHER, _OPERATOR_MATCHER = r"job=\"resource\"", r"metrics_path=\"/metrics/cadvisor\""
"""How dashboards select container series: by our scrape job, or by the kubelet path that the operator scrapes."""


class Attached(pulumi.ComponentResource):
    """PrometheusRules and a PodMonitor for `operator`, ConfigMaps with dashboards for `sidecar`."""

    def __init__(
        self,
        scope: Scope,
        *,
        operator: PrometheusOperator | None,
        sidecar: GrafanaSidecar | None,
        namespaces: Sequence[pulumi.Input[str]] | None,
        runbook_url: pulumi.Input[str] | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("modelops:monitoring:Attached", scope.named(_PROGRAM), None, opts)
        child_opts = child_options(self)
        if operator is not None:
            crds = [require(scope.name, kinds, API, child_opts) for kinds in ("podmonitors", "prometheusrules")]
            # The dashboards depend on them too: without the operator, nothing is created.
            child_opts = child_options(self, depends_on=crds)
            _monitor(scope, operator, namespaces, runbook_url, child_opts)
        if sidecar is not None:
            _dashboards(scope, sidecar, child_opts, operated=operator is not None)
        self.register_outputs({})


def _monitor(
    scope: Scope,
    operator: PrometheusOperator,
    namespaces: Sequence[pulumi.Input[str]] | None,
    runbook_url: pulumi.Input[str] | None,
    opts: pulumi.ResourceOptions,
) -> None:
    def create(kind: str, name: str, spec: Any) -> None:
        CustomObject(
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

    for file, text in rule_files(runbook_url).items():
        if (name := file.removesuffix(".yaml")) != _PLATFORM:
            create("PrometheusRule", name, pulumi.Output.from_input(text).apply(yaml.safe_load))
    create(
        "PodMonitor",
        "components",
        {
            "namespaceSelector": {"matchNames": list(namespaces)} if namespaces else {"any": True},
            "selector": {"matchLabels": {"app.kubernetes.io/part-of": "modelops"}},
            "podMetricsEndpoints": [{"relabelings": relabelings(), "metricRelabelings": metric_relabelings()}],
        },
    )


def relabelings() -> list[dict[str, Any]]:
    """The scrape job's relabelling in the operator's spelling, so that rules and dashboards find the same labels."""
    return [*_of_the_job("relabel_configs"), {"targetLabel": "job", "replacement": "modelops"}]


def metric_relabelings() -> list[dict[str, Any]]:
    """The scrape job's renaming of other servers' metrics, in the operator's spelling."""
    return _of_the_job("metric_relabel_configs")


def _of_the_job(rules: str) -> list[dict[str, Any]]:
    config = yaml.safe_load(asset("monitoring/assets/prometheus/prometheus.yml"))
    job = next(job for job in config["scrape_configs"] if job["job_name"] == "modelops")
    return [{_OPERATOR_KEYS.get(key, key): value for key, value in rule.items()} for rule in job[rules]]


def _dashboards(scope: Scope, sidecar: GrafanaSidecar, opts: pulumi.ResourceOptions, *, operated: bool) -> None:
    """One ConfigMap per dashboard, with a fixed name: the sidecar picks up changes in place."""
    uid = pulumi.Output.from_input(sidecar.get("datasource", DEFAULT_DATASOURCE))
    for file, text in dashboards(sidecar.get("prices")).items():
        # That Grafana may not have the logs, and an operator brings its own view of the platform.
        if file == LOGS_DASHBOARD or (operated and file == f"{_PLATFORM}.json"):
            continue
        name = scope.named(f"dashboard-{file.removesuffix('.json')}")
        k8s.core.v1.ConfigMap(
            name,
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=name,
                namespace=scope.namespace,
                labels={**scope.labels(_PROGRAM), **sidecar.get("labels", DEFAULT_LABELS)},
                annotations={"grafana_folder": sidecar.get("folder", DEFAULT_FOLDER)},
            ),
            data={file: pulumi.Output.all(text, uid).apply(lambda known: _placed(*known, operated=operated))},
            opts=opts,
        )


def _placed(dashboard: str, uid: str, *, operated: bool) -> str:
    """A dashboard by the names that the cluster's own monitoring has."""
    if operated:
        dashboard = dashboard.replace(_STACK_MATCHER, _OPERATOR_MATCHER)
    return dashboard.replace('"uid": "prometheus"', f'"uid": "{uid}"')
