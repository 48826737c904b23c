"""MonitoringStack: metrics, alerts, dashboards and logs for everything that this library runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired

import pulumi

from modelops.core.component import arguments_in_one, child_options
from modelops.core.naming import objects_name
from modelops.core.outputs import register_declared_outputs
from modelops.core.types import AnyExpose, Expose, HelperArgs, PodArgs, ServiceMetadataArgs
from modelops.core.validation import Problems, read_args
from modelops.kubernetes import certificates
from modelops.kubernetes.metadata import check_metadata
from modelops.kubernetes.placement import RESERVED_LABELS, check_pods
from modelops.kubernetes.pods import DefaultResources, check_resources
from modelops.kubernetes.volumes import check_claim
from modelops.monitoring import alertmanager, attach, exporters, grafana, prometheus, receivers, remote_write, tls
from modelops.monitoring.args import (
    AlertmanagerPart,
    Attach,
    CertificateAuthority,
    GrafanaPart,
    Part,
    PrometheusPart,
    Web,
)
from modelops.monitoring.dashboards import check_prices
from modelops.monitoring.logs import elk, setup_job
from modelops.monitoring.logs.args import ElkPart
from modelops.monitoring.program import Scope

_DEFAULT_ON = ("prometheus", "alertmanager", "node_exporter", "kube_state_metrics")
_PROGRAMS = {
    "prometheus": prometheus.DEFAULT_RESOURCES,
    "alertmanager": alertmanager.DEFAULT_RESOURCES,
    "node_exporter": exporters.NODE_EXPORTER_SIZES,
    "kube_state_metrics": exporters.KUBE_STATE_METRICS_SIZES,
    "grafana": grafana.DEFAULT_RESOURCES,
}
"""The programs beside those of `elk`, and their default resources."""
_MIN_PASSWORD_LENGTH = 8


class MonitoringStackArgs(PodArgs, HelperArgs, ServiceMetadataArgs):
    """Arguments of MonitoringStack."""

    namespace: pulumi.Input[str]
    """Namespace for everything but what `agents_namespace` gets. It must exist."""
    agents_namespace: NotRequired[pulumi.Input[str]]
    """Namespace for node_exporter and Filebeat alone, which read the nodes' files. It must exist and allow hostPath
    volumes, so that `namespace` can enforce the restricted profile. Default: `namespace`."""
    watched_namespaces: NotRequired[Sequence[pulumi.Input[str]]]
    """Namespaces in which Prometheus discovers this library's pods and kube-state-metrics watches objects; list each
    stack's own where several share a cluster. Default: all."""
    external_labels: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Labels on everything that Prometheus sends out, alerts included. Default: none."""
    expose: NotRequired[AnyExpose]
    """How to expose Prometheus, Alertmanager, Grafana and Kibana: `LoadBalancer`, `ClusterIP` or `NodePort`. Only
    Grafana and Kibana require a password. Default `ClusterIP`."""
    host: NotRequired[pulumi.Input[str]]
    """Host name that external clients use for exposed programs. Default: each load balancer's own address, `localhost`
    with `NodePort`."""
    web: NotRequired[Web]
    """How Prometheus and Alertmanager serve their clients. Default: plain HTTP."""
    certificates: NotRequired[CertificateAuthority]
    """Who signs the certificates of `web.tls` and `elk`. Default: a CA of the stack's own for each."""
    runbook_url: NotRequired[pulumi.Input[str]]
    """Address of your copy of `docs/runbook.md`, such as `https://docs.example.com/runbook.html`; each alert then has
    its section's as `runbook_url`. Default: none, alerts name the file in `runbook`."""
    prometheus: NotRequired[PrometheusPart]
    """Metrics and rules. Default: installed."""
    alertmanager: NotRequired[AlertmanagerPart]
    """Alert routing. Default: installed."""
    node_exporter: NotRequired[Part]
    """Metrics of the nodes. Default: installed."""
    kube_state_metrics: NotRequired[Part]
    """Metrics of the cluster's objects. The alerts on Jobs need them, and without them ModelServiceDown takes a service
    scaled to zero for one that is down. Default: installed."""
    grafana: NotRequired[GrafanaPart]
    """Dashboards. Default: not installed, as it needs a password."""
    elk: NotRequired[ElkPart]
    """Logs. Default: not installed, as it needs more resources than everything else together."""
    attach: NotRequired[Attach]
    """Use monitoring that the cluster already has instead of installing it. For Elasticsearch see `elk.existing`.
    Default: not used."""


class MonitoringStack(pulumi.ComponentResource):
    """Monitors the nodes, the cluster and this library's components. Each part can be turned off, sized or replaced.

    Prometheus discovers the pods of all components by their labels; a new one needs no configuration.
    """

    prometheus_url: pulumi.Output[str] | None
    """URL of Prometheus; none when it is off."""
    alertmanager_url: pulumi.Output[str] | None
    """URL of Alertmanager; none when it is off."""
    grafana_url: pulumi.Output[str] | None
    """URL of Grafana; none when it is off."""
    kibana_url: pulumi.Output[str] | None
    """URL of Kibana; none when it is off."""
    elasticsearch_url: pulumi.Output[str] | None
    """URL of Elasticsearch inside the cluster; none when it is off."""
    web_ca_certificate: pulumi.Output[str] | None
    """CA certificate (PEM) that signs those of Prometheus and Alertmanager; none without `web.tls`, or with an issuer
    that was given without its own."""

    @arguments_in_one
    def __init__(self, name: str, args: MonitoringStackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = _checked(name, args)
        super().__init__("modelops:index:MonitoringStack", name, None, opts)
        name = objects_name(name, opts)
        child_opts = child_options(self)
        scope = Scope(name, args["namespace"], args.get("host"), args, args.get("agents_namespace"))
        expose = Expose(args.get("expose", Expose.CLUSTER_IP))
        self.prometheus_url = self.alertmanager_url = self.grafana_url = None
        self.kibana_url = self.elasticsearch_url = self.web_ca_certificate = None
        web = None
        if (args.get("web") or {}).get("tls"):
            web = tls.web_tls(scope, _authority(scope, args, "web", child_opts), child_opts)
            self.web_ca_certificate = web.ca_certificate
        if is_on(args, "alertmanager"):
            self.alertmanager_url = alertmanager.Alertmanager(
                scope, args.get("alertmanager") or {}, expose=expose, web=web, opts=child_opts
            ).url
        if is_on(args, "kube_state_metrics"):
            exporters.KubeStateMetrics(
                scope, args.get("kube_state_metrics") or {}, namespaces=_watched(args), opts=child_opts
            )
        if is_on(args, "prometheus"):
            self.prometheus_url = _prometheus(scope, args, expose, web, child_opts).url
        issued = [] if web is None else [*web.certificates.values()]
        readable_logs = None
        if is_on(args, "elk"):
            signer = _authority(scope, args, "elk", child_opts)
            logs = elk.Elk(scope, args["elk"], signer, expose=expose, opts=child_opts)
            self.kibana_url, self.elasticsearch_url = logs.kibana_url, logs.elasticsearch_url
            readable_logs = logs.readable
            issued += logs.certificates
        if is_on(args, "node_exporter"):
            exporters.NodeExporter(scope.agents, args.get("node_exporter") or {}, certificates=issued, opts=child_opts)
        if is_on(args, "grafana"):
            self.grafana_url = grafana.Grafana(
                scope, args["grafana"], expose=expose, web=web, logs=readable_logs, opts=child_opts
            ).url
        if (existing := args.get("attach")) is not None:
            attach.Attached(
                scope,
                operator=existing.get("prometheus_operator"),
                sidecar=existing.get("grafana"),
                namespaces=_watched(args),
                runbook_url=args.get("runbook_url"),
                opts=child_opts,
            )
        register_declared_outputs(self)


def is_on(args: Any, part: str) -> bool:
    """Whether the part of that name is installed."""
    return bool((args.get(part) or {}).get("enabled", part in _DEFAULT_ON and not _has_operator(args)))


def _has_operator(args: Any) -> bool:
    """Whether the cluster's prometheus-operator replaces the parts that are on by default."""
    return "prometheus_operator" in (args.get("attach") or {})


def _authority(
    scope: Scope, args: MonitoringStackArgs, part: Literal["web", "elk"], opts: pulumi.ResourceOptions
) -> certificates.Authority:
    """The signer of the part's certificates."""
    generation = (args.get(part) or {}).get("certificate_generation", 1)
    name = f"{scope.named(part)}-ca-{generation}"
    return certificates.authority(name, scope.namespace, scope.labels(part), args.get("certificates"), opts)


def _watched(args: MonitoringStackArgs) -> list[pulumi.Input[str]] | None:
    """The namespaces to discover pods in; always includes the stack's own, whose pods have metrics too."""
    watched = args.get("watched_namespaces")
    own = [args[key] for key in ("namespace", "agents_namespace") if key in args]
    return [*watched, *own] if watched else None


def _prometheus(
    scope: Scope, args: MonitoringStackArgs, expose: Expose, web: tls.WebTls | None, opts: pulumi.ResourceOptions
) -> prometheus.Prometheus:
    return prometheus.Prometheus(
        scope,
        args.get("prometheus") or {},
        expose=expose,
        namespaces=_watched(args),
        external_labels=args.get("external_labels") or {},
        alertmanager=alertmanager.discovery(scope, args.get("alertmanager") or {})
        if is_on(args, "alertmanager")
        else None,
        runbook_url=args.get("runbook_url"),
        web=web,
        opts=opts,
    )


def _checked(name: str, args: MonitoringStackArgs) -> MonitoringStackArgs:
    problems = Problems("MonitoringStack", name)
    problems.dns_label("name", name, maximum=40)
    args = read_args(args, MonitoringStackArgs, problems)
    problems.dns_label("namespace", args.get("namespace"))
    problems.dns_label("agents_namespace", args.get("agents_namespace"))
    problems.text("host", args.get("host"))
    problems.url("runbook_url", args.get("runbook_url"))
    certificates.check(problems, "certificates", args.get("certificates"))
    web: Any = args.get("web") or {}
    if isinstance(web, Mapping):
        problems.number("web.certificate_generation", web.get("certificate_generation"), 1)
    for part, defaults in _PROGRAMS.items():
        _check_part(problems, part, args.get(part), defaults)
    for kind, existing in (args.get("attach") or {}).items():
        if isinstance(existing, Mapping):
            check_metadata(problems, f"attach.{kind}.labels", existing.get("labels"), RESERVED_LABELS)
            check_prices(problems, f"attach.{kind}.prices", existing.get("prices"))
    check_resources(problems, "helper_resources", args.get("helper_resources"), setup_job.DEFAULT_RESOURCES)
    check_pods(problems, args)
    servers: Any = args.get("prometheus") or {}
    if isinstance(servers, Mapping):
        remote_write.check(problems, "prometheus.remote_write", servers.get("remote_write"))
    elk_args: Any = args.get("elk") or {}
    for program, defaults in elk.PROGRAMS.items():
        _check_part(problems, f"elk.{program}", elk_args.get(program), defaults)
    if is_on(args, "elk"):
        elk.check(problems, elk_args)
    alerts: Any = args.get("alertmanager") or {}
    if isinstance(alerts, Mapping):
        receivers.check(problems, "alertmanager.receivers", alerts.get("receivers"))
        receivers.check_address(problems, "alertmanager.heartbeat_url", alerts.get("heartbeat_url"))
        for field in ("receivers", "heartbeat_url"):
            if "config" in alerts and field in alerts:
                problems.add("alertmanager.config", "given", f"must not be given together with {field}")
    if isinstance(viewer := args.get("grafana"), Mapping):
        problems.text("grafana.sign_on_header", viewer.get("sign_on_header"))
        check_prices(problems, "grafana.prices", viewer.get("prices"))
    _check_password(problems, args, "grafana", "admin_password", required=True)
    _check_password(problems, args, "elk", "password", required=False)
    _check_dependencies(problems, args)
    problems.raise_if_any()
    return args


def _check_part(problems: Problems, field: str, part: Any, defaults: DefaultResources) -> None:
    if not isinstance(part, Mapping):
        return
    problems.text(f"{field}.image", part.get("image"))
    problems.quantity(f"{field}.storage_size", part.get("storage_size"))
    problems.number(f"{field}.retention_days", part.get("retention_days"), 1, 3650)
    problems.number(f"{field}.replicas", part.get("replicas"), 1, 5)
    if part.get("replicas", 1) != 1 and "claim" in part:
        problems.add(f"{field}.claim", part["claim"], "must not be given with replicas, which have a volume each")
    check_claim(problems, field, part)
    check_resources(problems, f"{field}.resources", part.get("resources"), defaults)


def _check_password(problems: Problems, args: Any, part: str, field: str, *, required: bool) -> None:
    """Checks the password of a part that is on, without showing its value."""
    if not is_on(args, part):
        return
    password = args[part].get(field)
    if password is None and required:
        problems.missing(f"{part}.{field}", f"it is required when {part} is on")
    elif isinstance(password, str) and len(password) < _MIN_PASSWORD_LENGTH:
        problems.add(f"{part}.{field}", "too short", f"must be at least {_MIN_PASSWORD_LENGTH} characters")


def _check_dependencies(problems: Problems, args: MonitoringStackArgs) -> None:
    existing = args.get("attach")
    if isinstance(existing, Mapping) and not existing:
        problems.add("attach", "empty", "must name prometheus_operator or grafana")
    replaced = [*(_DEFAULT_ON if _has_operator(args) else ()), *(["grafana"] if "grafana" in (existing or {}) else [])]
    for part in replaced:
        if is_on(args, part):
            problems.add(f"{part}.enabled", True, "must be false with attach: the cluster has its own")
    if is_on(args, "grafana") and not is_on(args, "prometheus"):
        problems.add("grafana.enabled", "true", "must be false when prometheus is off: it shows Prometheus' metrics")
