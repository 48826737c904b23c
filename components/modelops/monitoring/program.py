"""Deploys a program of the monitoring stack: its pods, its Service, its network policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, timeouts, with_dependencies
from modelops.core.types import Expose
from modelops.kubernetes.access import service_account
from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import (
    allow_ingress,
    allow_within,
    cluster_domain,
    cluster_host,
    ip_families,
    network_policy,
    pods_in,
    service_url,
)
from modelops.kubernetes.placement import with_service_metadata
from modelops.kubernetes.pods import (
    PATIENCE_SECONDS,
    PROGRESS_SECONDS,
    USER_ID,
    claimed,
    core,
    name_of,
    pod_template,
    restricted_pod,
    single_replica,
)
from modelops.kubernetes.volumes import DATA, PodVolumes, retained_claim
from modelops.kubernetes.watch import UNAWAITED

net = k8s.networking.v1

COMPONENT = "monitoring"


@dataclass(frozen=True)
class Scope:
    """The monitoring stack that a part belongs to."""

    name: str
    namespace: pulumi.Input[str]
    external_host: pulumi.Input[str] | None = None
    """Host name that external clients use for exposed programs."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """The stack's arguments, of which `PodArgs` apply to every pod."""
    agents_namespace: pulumi.Input[str] | None = None
    """Namespace of what reads the nodes' files; None: `namespace`."""

    @property
    def agents(self) -> Scope:
        """The same stack where its agents are."""
        return self if self.agents_namespace is None else replace(self, namespace=self.agents_namespace)

    @property
    def peers(self) -> list[net.NetworkPolicyPeerArgs]:
        """All pods of the stack, as its network policies name them."""
        pods = k8s.meta.v1.LabelSelectorArgs(match_labels={"app.kubernetes.io/instance": self.name})
        elsewhere = [] if self.agents_namespace is None else [pods_in(self.agents_namespace, pods)]
        return [net.NetworkPolicyPeerArgs(pod_selector=pods), *elsewhere]

    def named(self, program: str) -> str:
        """Name of a program's objects."""
        return f"{self.name}-{program}"

    def labels(self, program: str) -> dict[str, pulumi.Input[str]]:
        return standard_labels(program, COMPONENT, self.name)

    def metadata(self, program: str) -> k8s.meta.v1.ObjectMetaArgs:
        return k8s.meta.v1.ObjectMetaArgs(
            name=self.named(program), namespace=self.namespace, labels=self.labels(program)
        )

    def agent_metadata(self, program: str) -> k8s.meta.v1.ObjectMetaArgs:
        """Metadata of a DaemonSet, for whose pods Pulumi doesn't wait: a node that is down, or whatever an agent sends
        to, must not fail an update of everything else. Alerts tell of agents that don't work."""
        metadata = self.metadata(program)
        metadata.annotations = {**UNAWAITED}
        return metadata

    def host(self, program: str) -> pulumi.Output[str]:
        """DNS name of a program's Service inside the cluster."""
        return cluster_host(self.named(program), self.namespace)

    @property
    def cluster_domain(self) -> pulumi.Input[str]:
        """DNS domain of the cluster."""
        return cluster_domain(self.args)


@dataclass(frozen=True)
class Program:
    """One program that runs in one pod at a time or, with `replicas`, in several that have a volume each."""

    name: str
    port: int
    container: core.ContainerArgs
    volumes: Sequence[core.VolumeArgs]
    annotations: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    init_containers: Sequence[core.ContainerArgs] = ()
    user: int = USER_ID
    group: int | None = None
    token: bool = False
    """Whether the pod gets an API server token."""
    private: bool = False
    """Whether only pods of the same monitoring stack may connect."""
    scheme: str = "http"
    """`http` or `https`."""
    replicas: int = 1
    volume: PodVolumes | None = None
    """The volume of each of several pods."""
    peer_port: int | None = None
    """Port at which several pods reach each other."""


@dataclass(frozen=True)
class Running:
    """A program on the cluster."""

    workload: k8s.apps.v1.Deployment | k8s.apps.v1.StatefulSet
    service: core.Service
    url: pulumi.Output[str]


def account(scope: Scope, program: str, opts: pulumi.ResourceOptions) -> core.ServiceAccount:
    """The program's service account; pods must opt in to its token."""
    return service_account(scope.named(program), scope.metadata(program), opts, scope.args)


def permissions(
    scope: Scope,
    program: str,
    identity: core.ServiceAccount,
    rules: Sequence[k8s.rbac.v1.PolicyRuleArgs],
    opts: pulumi.ResourceOptions,
) -> None:
    """Cluster-wide permissions, without fixed names: two stacks on one cluster must not collide."""
    metadata = k8s.meta.v1.ObjectMetaArgs(labels=scope.labels(program))
    role = k8s.rbac.v1.ClusterRole(scope.named(program), metadata=metadata, rules=list(rules), opts=opts)
    k8s.rbac.v1.ClusterRoleBinding(
        scope.named(program),
        metadata=metadata,
        role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name=name_of(role)),
        subjects=[
            k8s.rbac.v1.SubjectArgs(
                kind="ServiceAccount",
                name=with_dependencies(scope.named(program), identity),
                namespace=scope.namespace,
            )
        ],
        opts=opts,
    )


def run(
    scope: Scope,
    program: Program,
    opts: pulumi.ResourceOptions,
    *,
    expose: Expose = Expose.CLUSTER_IP,
    rules: Sequence[k8s.rbac.v1.PolicyRuleArgs] = (),
    after: Sequence[pulumi.Resource] = (),
) -> Running:
    """Runs the program once the resources `after` exist, with the cluster-wide permissions in `rules`."""
    identity = account(scope, program.name, opts)
    if rules:
        permissions(scope, program.name, identity, rules, opts)
    ingress = [allow_ingress(program.port, scope.peers if program.private else None)]
    if program.peer_port is not None:
        ingress.append(allow_within(_selector(scope, program))[0])
    network_policy(
        scope.named(program.name),
        scope.metadata(program.name),
        selector(program.name, scope.name),
        opts,
        ingress=ingress,
    )
    deploy = _deployment if program.replicas == 1 else _several
    workload = deploy(scope, program, identity, merged(opts, depends_on=[*after]))
    service = core.Service(
        scope.named(program.name),
        metadata=with_service_metadata(scope.metadata(program.name), scope.args),
        spec=core.ServiceSpecArgs(
            type=expose.value,
            selector=selector(program.name, scope.name),
            ports=[core.ServicePortArgs(name=program.scheme, port=program.port, target_port=program.port)],
            # Each of several knows what it saw itself: who asks twice is to ask the same one.
            session_affinity="ClientIP" if program.replicas > 1 else None,
            **ip_families(scope.args),
        ),
        opts=merged(opts, depends_on=[workload]),
    )
    url = service_url(
        service,
        expose=expose,
        port=program.port,
        inside=scope.host(program.name),
        host=scope.external_host if expose is not Expose.CLUSTER_IP else None,
        ready=[workload],
        scheme=program.scheme,
    )
    return Running(workload, service, url)


def program_volume(
    scope: Scope, program: str, part: Mapping[str, Any], size: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> tuple[PodVolumes | None, list[core.VolumeArgs]]:
    """The volume `data` of a part with `replicas`: of each of several pods, or the volume of the only one."""
    labels = scope.labels(program)
    if part.get("replicas", 1) > 1:
        return PodVolumes(selector(program, scope.name), size, part), []
    return None, [claimed(DATA, retained_claim(scope.named(program), scope.namespace, labels, size, part, opts))]


def peers_name(scope: Scope, program: str) -> str:
    """Name of the Service at which DNS has the address of each of a program's pods."""
    return scope.named(f"{program}-nodes")


def _selector(scope: Scope, program: Program) -> k8s.meta.v1.LabelSelectorArgs:
    return k8s.meta.v1.LabelSelectorArgs(match_labels=selector(program.name, scope.name))


def _deployment(
    scope: Scope, program: Program, identity: core.ServiceAccount, opts: pulumi.ResourceOptions
) -> k8s.apps.v1.Deployment:
    return k8s.apps.v1.Deployment(
        scope.named(program.name),
        metadata=scope.metadata(program.name),
        spec=single_replica(selector(program.name, scope.name), _template(scope, program, identity)),
        opts=merged(opts, custom_timeouts=timeouts(PROGRESS_SECONDS + PATIENCE_SECONDS)),
    )


def _several(
    scope: Scope, program: Program, identity: core.ServiceAccount, opts: pulumi.ResourceOptions
) -> k8s.apps.v1.StatefulSet:
    """Pods that are replaced one by one, on nodes of their own where there are enough."""
    name, pods = scope.named(program.name), _selector(scope, program)
    peers = core.Service(
        peers_name(scope, program.name),
        # The pods find each other here before they are ready.
        metadata=k8s.meta.v1.ObjectMetaArgs(
            name=peers_name(scope, program.name),
            namespace=scope.namespace,
            labels=scope.labels(program.name),
            annotations={"pulumi.com/skipAwait": "true"},
        ),
        spec=core.ServiceSpecArgs(
            cluster_ip="None",
            publish_not_ready_addresses=True,
            selector=pods.match_labels,
            ports=[core.ServicePortArgs(name=program.scheme, port=program.port, target_port=program.port)],
            **ip_families(scope.args),
        ),
        opts=opts,
    )
    k8s.policy.v1.PodDisruptionBudget(
        name,
        metadata=scope.metadata(program.name),
        spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(max_unavailable=1, selector=pods),
        opts=opts,
    )
    spread = core.TopologySpreadConstraintArgs(
        max_skew=1, topology_key="kubernetes.io/hostname", when_unsatisfiable="ScheduleAnyway", label_selector=pods
    )
    volume = program.volume
    workload = k8s.apps.v1.StatefulSet(
        name,
        metadata=scope.metadata(program.name),
        spec=k8s.apps.v1.StatefulSetSpecArgs(
            replicas=program.replicas,
            service_name=peers_name(scope, program.name),
            selector=pods,
            # Lets the others know a new one before the next one goes.
            min_ready_seconds=10,
            template=_template(scope, program, identity, topology_spread_constraints=[spread]),
            **(volume.fields if volume else {}),
        ),
        opts=merged(
            volume.options(opts) if volume else opts,
            depends_on=[peers],
            custom_timeouts=timeouts(program.replicas * (PROGRESS_SECONDS + PATIENCE_SECONDS)),
        ),
    )
    if volume:
        volume.grow(workload, name, program.replicas, scope.namespace, opts)
    return workload


def _template(scope: Scope, program: Program, identity: core.ServiceAccount, **fields: Any) -> core.PodTemplateSpecArgs:
    return pod_template(
        scope.labels(program.name),
        with_dependencies(scope.named(program.name), identity),
        [program.container],
        scope.args,
        annotations=program.annotations,
        security=restricted_pod(program.user, program.group),
        token=program.token,
        volumes=list(program.volumes),
        init_containers=list(program.init_containers) or None,
        **fields,
    )
