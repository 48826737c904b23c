"""Prometheus: its scrape configuration, rules and retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import yaml

from modelops.core.assets import asset
from modelops.core.component import child_options, holding_data
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.quantities import bytes_of
from modelops.core.types import Expose
from modelops.kubernetes.config import config_map
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    core,
    field_variable,
    from_config_map,
    http_probe,
    mount,
    resource_requirements,
    scratch,
)
from modelops.monitoring import remote_write
from modelops.monitoring.args import PrometheusPart
from modelops.monitoring.program import Program, Scope, program_volume, run
from modelops.monitoring.rules import rule_files
from modelops.monitoring.tls import CA_FILE, WEB_CONFIG, WebTls, web_config, web_mount

PORT = 9090
DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="384Mi", memory_limit="1Gi")
DEFAULT_STORAGE_SIZE = "10Gi"
DEFAULT_RETENTION_DAYS = 15
_USER = 65534
_PROGRAM = "prometheus"
REPLICA = "prometheus_replica"
"""The label that prometheus-operator gives the servers of a pair, and Thanos and Mimir tell them apart by."""


class Prometheus(pulumi.ComponentResource):
    """Prometheus, or several that each see everything, with this library's scrape configuration and rules."""

    url: pulumi.Output[str]

    def __init__(
        self,
        scope: Scope,
        part: PrometheusPart,
        *,
        expose: Expose,
        namespaces: Sequence[pulumi.Input[str]] | None,
        external_labels: Mapping[str, pulumi.Input[str]],
        alertmanager: pulumi.Output[dict[str, Any]] | None,
        runbook_url: pulumi.Input[str] | None,
        web: WebTls | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("modelops:monitoring:Prometheus", scope.named(_PROGRAM), None, holding_data(opts))
        child_opts = child_options(self)
        name = scope.named(_PROGRAM)
        replicas, receivers = part.get("replicas", 1), part.get("remote_write") or []
        config = pulumi.Output.all(
            namespaces=list(namespaces) if namespaces else None,
            external_labels=dict(external_labels),
            alertmanager=alertmanager,
            remote_write=remote_write.configuration(receivers) if receivers else None,
        ).apply(
            lambda values: render_config(
                **values, tls_name=scope.named("alertmanager") if web else None, several=replicas > 1
            )
        )
        rules = rule_files(runbook_url)
        settings: dict[str, pulumi.Input[str]] = {
            "prometheus.yml": config,
            **({WEB_CONFIG: web_config()} if web else {}),
            **remote_write.authorities(receivers),
        }
        files = config_map(name, scope.namespace, scope.labels(_PROGRAM), {**settings, **rules}, child_opts)
        size = part.get("storage_size", DEFAULT_STORAGE_SIZE)
        volume, claims = program_volume(scope, _PROGRAM, part, size, child_opts)
        program = Program(
            name=_PROGRAM,
            port=PORT,
            container=_container(part, size, https=web is not None),
            volumes=[
                from_config_map(
                    "files", files, {file: file for file in settings} | {rule: f"rules/{rule}" for rule in rules}
                ),
                *claims,
                scratch(),
                *remote_write.volumes(receivers),
                *([web.volume(_PROGRAM)] if web else []),
            ],
            user=_USER,
            token=True,
            scheme="https" if web else "http",
            replicas=replicas,
            volume=volume,
        )
        after = web.resources if web else []
        self.url = run(scope, program, child_opts, expose=expose, rules=_rules(), after=after).url
        self.register_outputs({"url": self.url})


def address(scope: Scope, *, https: bool) -> pulumi.Output[str]:
    """Where other programs in the cluster query Prometheus."""
    return pulumi.Output.concat("https://" if https else "http://", scope.host(_PROGRAM), f":{PORT}")


def render_config(
    namespaces: Sequence[str] | None,
    external_labels: Mapping[str, str],
    alertmanager: Mapping[str, Any] | None,
    tls_name: str | None = None,
    remote_write: Sequence[Mapping[str, Any]] | None = None,
    several: bool = False,
) -> str:
    """The scrape configuration with this stack's settings.

    `alertmanager` says how to find it. `tls_name`, given when the stack serves TLS, is the name in its certificate.
    """
    config: dict[str, Any] = yaml.safe_load(asset("monitoring/assets/prometheus/prometheus.yml"))
    if external_labels:
        config["global"]["external_labels"] = dict(external_labels)
    if remote_write:
        config["remote_write"] = list(remote_write)
    if alertmanager is None:
        del config["alerting"]
    else:
        config["alerting"]["alertmanagers"] = [dict(alertmanager)]
    if several:
        _tell_apart(config)
    if tls_name is not None:
        _use_tls(config, tls_name)
    for job in config["scrape_configs"] if namespaces else ():
        _limit(job, sorted(namespaces or ()))
    return yaml.dump(config, Dumper=_WithoutAliases, sort_keys=False)


def _tell_apart(config: dict[str, Any]) -> None:
    """Gives what one of several sends out its name, but for alerts: Alertmanager takes the same ones for one."""
    labels = config["global"].setdefault("external_labels", {})
    labels[REPLICA] = "${POD_NAME}"
    if "alerting" in config:
        config["alerting"]["alert_relabel_configs"] = [{"action": "labeldrop", "regex": REPLICA}]


def _use_tls(config: dict[str, Any], alertmanager_name: str) -> None:
    """Uses TLS for Prometheus itself and Alertmanager; the annotations of other pods decide for those."""
    tls = {"ca_file": CA_FILE}
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    jobs["prometheus"] |= {"scheme": "https", "tls_config": tls}
    # Prometheus discovers Alertmanager by pod IP, which is in no certificate.
    jobs["modelops"]["tls_config"] = {**tls, "server_name": alertmanager_name}
    for alertmanager in config.get("alerting", {}).get("alertmanagers", []):
        # The certificate has no names of single pods.
        alertmanager |= {"scheme": "https", "tls_config": {**tls, "server_name": alertmanager_name}}


def _limit(job: dict[str, Any], namespaces: Sequence[str]) -> None:
    """Limits a job to `namespaces`: discovers only their pods and drops the kubelets' metrics of other namespaces."""
    for discovery in job.get("kubernetes_sd_configs", []):
        if discovery["role"] == "pod":
            discovery["namespaces"] = {"names": list(namespaces)}
        if discovery["role"] == "node":
            keep = {"source_labels": ["namespace"], "action": "keep", "regex": "|".join(["", *namespaces])}
            job["metric_relabel_configs"] = [*job.get("metric_relabel_configs", []), keep]


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _container(part: PrometheusPart, size: pulumi.Input[str], *, https: bool) -> core.ContainerArgs:
    receivers, several = part.get("remote_write") or [], part.get("replicas", 1) > 1
    days = pulumi.Output.from_input(part.get("retention_days", DEFAULT_RETENTION_DAYS))
    return container(
        _PROGRAM,
        part.get("image", UPSTREAM_IMAGES["prometheus"]),
        variables={},
        secrets=[field_variable("POD_NAME", "metadata.name")] if several else [],
        env_from=remote_write.environment(receivers),
        args=[
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            days.apply(lambda count: f"--storage.tsdb.retention.time={int(count)}d"),
            # The rest is for the write-ahead log and for compaction, which need space beside the blocks.
            pulumi.Output.from_input(size).apply(
                lambda quantity: f"--storage.tsdb.retention.size={bytes_of(quantity) * 4 // 5 // 2**20}MB"
            ),
            *([f"--web.config.file=/etc/prometheus/{WEB_CONFIG}"] if https else []),
        ],
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
        resources=resource_requirements(part.get("resources"), DEFAULT_RESOURCES),
        # Replaying a large write-ahead log takes minutes.
        startup_probe=http_probe("/-/ready", "http", period=2, failures=150, https=https),
        readiness_probe=http_probe("/-/ready", "http", period=10, failures=3, https=https),
        liveness_probe=http_probe("/-/healthy", "http", period=20, failures=3, timeout=5, https=https),
        volume_mounts=[
            mount("files", "/etc/prometheus", read_only=True),
            mount("data", "/prometheus"),
            mount("tmp", "/tmp"),
            *remote_write.mounts(receivers),
            *([web_mount()] if https else []),
        ],
    )


def _rules() -> tuple[k8s.rbac.v1.PolicyRuleArgs, ...]:
    """Permissions for target discovery and for the metrics of kubelets and the API server."""
    return (
        k8s.rbac.v1.PolicyRuleArgs(api_groups=[""], resources=["nodes", "pods"], verbs=["get", "list", "watch"]),
        k8s.rbac.v1.PolicyRuleArgs(api_groups=[""], resources=["nodes/metrics"], verbs=["get"]),
        k8s.rbac.v1.PolicyRuleArgs(
            api_groups=["discovery.k8s.io"], resources=["endpointslices"], verbs=["get", "list", "watch"]
        ),
        k8s.rbac.v1.PolicyRuleArgs(api_groups=[""], resources=["services"], verbs=["get", "list", "watch"]),
        k8s.rbac.v1.PolicyRuleArgs(non_resource_urls=["/metrics"], verbs=["get"]),
    )
