"""Deploys a program of the monitoring stack: one pod, its Service, its network policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, timeouts, with_dependencies
from modelops.core.types import Expose
from modelops.kubernetes.access import service_account
from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import allow_ingress, cluster_host, network_policy, service_url
from modelops.kubernetes.pods import USER_ID, core, name_of, pod_template, restricted_pod, single_replica

COMPONENT = "monitoring"
AGENT_TIMEOUTS = pulumi.CustomTimeouts(create="5m", update="5m")
"""Node agents start in seconds; if one can't be scheduled, a longer wait only delays the error."""


@dataclass(frozen=True)
class Scope:
    """The monitoring stack that a part belongs to."""

    name: str
    namespace: pulumi.Input[str]
    external_host: pulumi.Input[str] | None = None
    """Host name that external clients use for exposed programs."""

    def named(self, program: str) -> str:
        """Name of a program's objects."""
        return f"{self.name}-{program}"

    def labels(self, program: str) -> dict[str, pulumi.Input[str]]:
        return standard_labels(program, COMPONENT, self.name)

    def metadata(self, program: str) -> k8s.meta.v1.ObjectMetaArgs:
        return k8s.meta.v1.ObjectMetaArgs(
            name=self.named(program), namespace=self.namespace, labels=self.labels(program)
        )

    def host(self, program: str) -> pulumi.Output[str]:
        """DNS name of a program's Service inside the cluster."""
        return cluster_host(self.named(program), self.namespace)


@dataclass(frozen=True)
class Program:
    """One program that runs in one pod at a time."""

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
    startup_seconds: int = 180


@dataclass(frozen=True)
class Running:
    """A program on the cluster."""

    deployment: k8s.apps.v1.Deployment
    service: core.Service
    url: pulumi.Output[str]


def account(scope: Scope, program: str, opts: pulumi.ResourceOptions) -> core.ServiceAccount:
    """The program's service account; pods must opt in to its token."""
    return service_account(scope.named(program), scope.metadata(program), opts)


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
    peers = {"app.kubernetes.io/instance": scope.name}
    network_policy(
        scope.named(program.name),
        scope.metadata(program.name),
        selector(program.name, scope.name),
        opts,
        ingress=[
            allow_ingress(program.port, k8s.meta.v1.LabelSelectorArgs(match_labels=peers) if program.private else None)
        ],
    )
    # Longer than the Deployment's own deadline, to leave time for pulling the image.
    wait = timeouts(program.startup_seconds + 120)
    deployment = k8s.apps.v1.Deployment(
        scope.named(program.name),
        metadata=scope.metadata(program.name),
        spec=_deployment_spec(scope, program, identity),
        opts=merged(opts, depends_on=[*after], custom_timeouts=wait),
    )
    service = core.Service(
        scope.named(program.name),
        metadata=scope.metadata(program.name),
        spec=core.ServiceSpecArgs(
            type=expose.value,
            selector=selector(program.name, scope.name),
            ports=[core.ServicePortArgs(name=program.scheme, port=program.port, target_port=program.port)],
        ),
        opts=merged(opts, depends_on=[deployment]),
    )
    url = service_url(
        service,
        expose=expose,
        port=program.port,
        inside=scope.host(program.name),
        host=scope.external_host if expose is not Expose.CLUSTER_IP else None,
        ready=[deployment],
        scheme=program.scheme,
    )
    return Running(deployment, service, url)


def _deployment_spec(scope: Scope, program: Program, identity: core.ServiceAccount) -> k8s.apps.v1.DeploymentSpecArgs:
    template = pod_template(
        scope.labels(program.name),
        with_dependencies(scope.named(program.name), identity),
        [program.container],
        {},
        annotations=program.annotations,
        security=restricted_pod(program.user, program.group),
        token=program.token,
        volumes=list(program.volumes),
        init_containers=list(program.init_containers) or None,
    )
    return single_replica(selector(program.name, scope.name), template, program.startup_seconds + 60)
