"""Exporters of node and cluster metrics: node-exporter and kube-state-metrics."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.component import child_options
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.outputs import merged, with_dependencies
from modelops.kubernetes.certificates import Certificate
from modelops.kubernetes.labels import scrape, selector
from modelops.kubernetes.network import allow_ingress, network_policy
from modelops.kubernetes.placement import anywhere
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    core,
    http_probe,
    mount,
    pod_template,
    resource_requirements,
    restricted_pod,
    scratch,
)
from modelops.monitoring.args import Part
from modelops.monitoring.program import Program, Scope, account, run

NODE_EXPORTER_PORT = 9100
NODE_EXPORTER_SIZES = DefaultResources(cpu="20m", memory="32Mi", memory_limit="128Mi")
KUBE_STATE_METRICS_PORT = 8080
KUBE_STATE_METRICS_SIZES = DefaultResources(cpu="20m", memory="64Mi", memory_limit="256Mi")
_NODE_EXPORTER = "node-exporter"
_KUBE_STATE_METRICS = "kube-state-metrics"
_NODE_USER = 65534
_EXPIRES = "modelops_certificate_expires_timestamp_seconds"
_TEXTFILES = "/etc/modelops/metrics"
_NETWORK_COLLECTORS = ("arp", "conntrack", "netclass", "netdev", "netstat", "sockstat", "softnet", "udp_queues")
"""Off: they would report the pod's network, not the node's."""
_STATE = {
    "": ["namespaces", "nodes", "persistentvolumeclaims", "pods"],
    "apps": ["daemonsets", "deployments", "statefulsets"],
    "autoscaling": ["horizontalpodautoscalers"],
    "batch": ["cronjobs", "jobs"],
    "discovery.k8s.io": ["endpointslices"],
}
"""Kinds that kube-state-metrics reports, by API group: no Secrets, no ConfigMaps."""
_OF_THE_CLUSTER = ("namespaces", "nodes")
"""Those that are in no namespace: kube-state-metrics limited to several would report each object several times."""


_LABELS = ("app.kubernetes.io/part-of", "app.kubernetes.io/instance", "app.kubernetes.io/component")
_REPORTED_LABELS = {
    "deployments": (*_LABELS, "modelops.dev/track"),
    "endpointslices": (*_LABELS, "kubernetes.io/service-name"),
    "jobs": _LABELS,
}
"""Labels that kube-state-metrics reports, by kind: what alerts tell the objects apart by."""


class NodeExporter(pulumi.ComponentResource):
    """Metrics of each node: CPU, memory, disks, network; and when the stack's own certificates expire."""

    def __init__(
        self, scope: Scope, part: Part, *, certificates: Sequence[Certificate] = (), opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("modelops:monitoring:NodeExporter", scope.named(_NODE_EXPORTER), None, opts)
        child_opts = child_options(self)
        identity = account(scope, _NODE_EXPORTER, child_opts)
        expiry = _expiry_metrics(scope, certificates, child_opts)
        network_policy(
            scope.named(_NODE_EXPORTER),
            scope.metadata(_NODE_EXPORTER),
            selector(_NODE_EXPORTER, scope.name),
            child_opts,
            ingress=[allow_ingress(NODE_EXPORTER_PORT)],
        )
        k8s.apps.v1.DaemonSet(
            scope.named(_NODE_EXPORTER),
            metadata=scope.agent_metadata(_NODE_EXPORTER),
            spec=k8s.apps.v1.DaemonSetSpecArgs(
                selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(_NODE_EXPORTER, scope.name)),
                template=_node_pod(
                    scope, part, with_dependencies(scope.named(_NODE_EXPORTER), identity), with_expiry=bool(expiry)
                ),
            ),
            opts=merged(child_opts, depends_on=expiry),
        )
        self.register_outputs({})


def _expiry_metrics(
    scope: Scope, certificates: Sequence[Certificate], opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """A ConfigMap with the expiry of the certificates as metrics. Its name is fixed: a renewal restarts no pod."""
    expiries = [(each.namespace, each.secret, each.expires) for each in certificates if each.expires is not None]
    if not expiries:
        return []

    def text(known: Sequence[tuple[str, str, float]]) -> str:
        # Scraped, a label `namespace` would be the exporter's own.
        lines = [
            f'{_EXPIRES}{{certificate="{name}",certificate_namespace="{namespace}"}} {int(seconds)}'
            for namespace, name, seconds in sorted(known)
        ]
        head = f"# HELP {_EXPIRES} When the certificate in the Secret expires.\n# TYPE {_EXPIRES} gauge\n"
        return head + "\n".join(lines) + "\n"

    data = {"certificates.prom": pulumi.Output.all(*(pulumi.Output.all(*each) for each in expiries)).apply(text)}
    name = _expiry_name(scope)
    metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=scope.namespace, labels=scope.labels(_NODE_EXPORTER))
    return [core.ConfigMap(name, metadata=metadata, data=data, opts=merged(opts, delete_before_replace=True))]


def _expiry_volume(scope: Scope) -> core.VolumeArgs:
    return core.VolumeArgs(name="expiry", config_map=core.ConfigMapVolumeSourceArgs(name=_expiry_name(scope)))


def _expiry_name(scope: Scope) -> str:
    return scope.named("certificate-expiry")


def _node_pod(scope: Scope, part: Part, identity: pulumi.Input[str], *, with_expiry: bool) -> core.PodTemplateSpecArgs:
    """Sees the node's processes and file systems through a read-only mount, without any capabilities.

    Not on the host network: two stacks on one node would claim the same port. cAdvisor reports the node's network
    counters, with `id="/"`.
    """
    exporter = container(
        _NODE_EXPORTER,
        part.get("image", UPSTREAM_IMAGES["node_exporter"]),
        variables={},
        args=[
            "--path.procfs=/host/proc",
            "--path.sysfs=/host/sys",
            "--path.rootfs=/host",
            f"--web.listen-address=:{NODE_EXPORTER_PORT}",
            *(f"--no-collector.{collector}" for collector in _NETWORK_COLLECTORS),
            "--collector.filesystem.mount-points-exclude=^/(dev|proc|run|sys|var/lib/(containerd|docker|kubelet)/.+)($|/)",
            *([f"--collector.textfile.directory={_TEXTFILES}"] if with_expiry else []),
        ],
        ports=[core.ContainerPortArgs(name="http", container_port=NODE_EXPORTER_PORT)],
        resources=resource_requirements(part.get("resources"), NODE_EXPORTER_SIZES),
        readiness_probe=http_probe("/", "http", period=10, failures=3),
        # No mount propagation: it needs a shared root mount, which many local clusters lack.
        volume_mounts=[
            mount("root", "/host", read_only=True),
            *([mount("expiry", _TEXTFILES, read_only=True)] if with_expiry else []),
        ],
    )
    return pod_template(
        scope.labels(_NODE_EXPORTER),
        identity,
        [exporter],
        anywhere(scope.args),
        annotations=scrape(NODE_EXPORTER_PORT),
        security=restricted_pod(_NODE_USER),
        tolerations=[core.TolerationArgs(operator="Exists")],
        volumes=[
            core.VolumeArgs(name="root", host_path=core.HostPathVolumeSourceArgs(path="/")),
            *([_expiry_volume(scope)] if with_expiry else []),
        ],
    )


class KubeStateMetrics(pulumi.ComponentResource):
    """Metrics of the cluster's objects: failed Jobs, Deployments short of pods.

    `namespaces` limits it to the objects in them; None: all.
    """

    def __init__(
        self,
        scope: Scope,
        part: Part,
        *,
        namespaces: Sequence[pulumi.Input[str]] | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("modelops:monitoring:KubeStateMetrics", scope.named(_KUBE_STATE_METRICS), None, opts)
        omitted = _OF_THE_CLUSTER if namespaces else ()
        state = {group: [kind for kind in kinds if kind not in omitted] for group, kinds in _STATE.items()}
        rules = [
            k8s.rbac.v1.PolicyRuleArgs(api_groups=[group], resources=kinds, verbs=["list", "watch"])
            for group, kinds in state.items()
        ]
        program = Program(
            name=_KUBE_STATE_METRICS,
            port=KUBE_STATE_METRICS_PORT,
            container=_state_container(part, sorted(itertools.chain(*state.values())), namespaces),
            volumes=[scratch()],
            annotations=scrape(KUBE_STATE_METRICS_PORT),
            user=_NODE_USER,
            token=True,
        )
        run(scope, program, child_options(self), rules=rules)
        self.register_outputs({})


def _state_container(
    part: Part, kinds: Sequence[str], namespaces: Sequence[pulumi.Input[str]] | None
) -> core.ContainerArgs:
    labels = ",".join(f"{kind}=[{','.join(names)}]" for kind, names in _REPORTED_LABELS.items())
    watched = pulumi.Output.all(*namespaces or ()).apply(lambda names: f"--namespaces={','.join(sorted(set(names)))}")
    return container(
        _KUBE_STATE_METRICS,
        part.get("image", UPSTREAM_IMAGES["kube_state_metrics"]),
        variables={},
        args=[
            f"--port={KUBE_STATE_METRICS_PORT}",
            f"--resources={','.join(kinds)}",
            f"--metric-labels-allowlist={labels}",
            *([watched] if namespaces else []),
        ],
        ports=[core.ContainerPortArgs(name="http", container_port=KUBE_STATE_METRICS_PORT)],
        resources=resource_requirements(part.get("resources"), KUBE_STATE_METRICS_SIZES),
        startup_probe=http_probe("/livez", "http", period=2, failures=30),
        readiness_probe=http_probe("/metrics", "http", period=20, failures=3, timeout=10),
        liveness_probe=http_probe("/livez", "http", period=20, failures=3, timeout=5),
        volume_mounts=[mount("tmp", "/tmp")],
    )
