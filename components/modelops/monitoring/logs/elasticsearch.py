"""Elasticsearch: a StatefulSet of one node, or of three that store each line twice."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.assets import asset
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.outputs import with_dependencies
from modelops.kubernetes.labels import selector
from modelops.kubernetes.network import allow_ingress, ip_families, network_policy
from modelops.kubernetes.pods import (
    DefaultResources,
    as_document,
    container,
    core,
    field_variable,
    from_config_map,
    mount,
    pod_template,
    resource_requirements,
    restricted_container,
    restricted_pod,
    scratch,
)
from modelops.kubernetes.volumes import DATA, PodVolumes
from modelops.monitoring.logs.args import ElasticsearchPart
from modelops.monitoring.logs.shared import GROUP, PORTS, STACK_CA_FILE, USER, Elasticsearch, Shared, java_heap
from modelops.monitoring.program import Scope, account

DEFAULT_RESOURCES = DefaultResources(cpu="200m", memory="2Gi", memory_limit="2Gi")
DEFAULT_STORAGE_SIZE = "20Gi"
DEFAULT_RETENTION_DAYS = 14
ZONE = "topology.kubernetes.io/zone"
_PROGRAM = "elasticsearch"
_NODES = "elasticsearch-nodes"
_TRANSPORT = 9300
_HOME = "/usr/share/elasticsearch"
_USERS = ("ADMIN_PASSWORD", "KIBANA_PASSWORD", "READER_PASSWORD", "SETUP_PASSWORD", "WRITER_PASSWORD")


def deploy(shared: Shared, part: ElasticsearchPart) -> Elasticsearch:
    """Creates the nodes, and the Services through which clients and the nodes themselves reach them."""
    scope, opts = shared.scope, shared.opts
    count = part.get("nodes", 1)
    identity = account(scope, _PROGRAM, opts)
    files = shared.files(
        _PROGRAM,
        {
            file: asset(f"monitoring/logs/assets/elasticsearch/{file}")
            for file in ("elasticsearch.yml", "roles.yml", "healthy.sh")
        },
    )
    _network(scope, count, opts)
    size = part.get("storage_size", DEFAULT_STORAGE_SIZE)
    volumes = PodVolumes(selector(_PROGRAM, scope.name), size, part)
    nodes = k8s.apps.v1.StatefulSet(
        scope.named(_PROGRAM),
        metadata=scope.metadata(_PROGRAM),
        spec=k8s.apps.v1.StatefulSetSpecArgs(
            replicas=count,
            service_name=scope.named(_NODES),
            # All at once: the nodes need each other to form a cluster.
            pod_management_policy="Parallel",
            # Lets a node recover its shards before the next one restarts.
            min_ready_seconds=30 if count > 1 else None,
            selector=_selector(scope),
            template=pod_template(
                scope.labels(_PROGRAM),
                with_dependencies(scope.named(_PROGRAM), identity),
                [_server(shared, part, count)],
                scope.args,
                security=restricted_pod(USER, GROUP),
                termination_grace_period_seconds=120,
                volumes=[
                    from_config_map("files", files),
                    shared.certificate_volume(_PROGRAM),
                    scratch("config"),
                    scratch(),
                    *volumes.volumes,
                ],
                init_containers=[_preparation(shared, part)],
                **_placement(scope, part),
            ),
            **volumes.fields,
        ),
        opts=volumes.options(
            opts,
            depends_on=shared.certificate_resources,
            custom_timeouts=pulumi.CustomTimeouts(create="15m", update="30m"),
        ),
    )
    volumes.grow(nodes, scope.named(_PROGRAM), count, scope.namespace, opts)
    service = _service(scope, _PROGRAM, PORTS[_PROGRAM], opts)
    url = with_dependencies(shared.elasticsearch_url, service, nodes)
    return Elasticsearch(url, "modelops_writer", "WRITER_PASSWORD", STACK_CA_FILE, after=(nodes, service))


def _selector(scope: Scope) -> k8s.meta.v1.LabelSelectorArgs:
    return k8s.meta.v1.LabelSelectorArgs(match_labels=selector(_PROGRAM, scope.name))


def _network(scope: Scope, count: int, opts: pulumi.ResourceOptions) -> None:
    _service(scope, _NODES, _TRANSPORT, opts, headless=True)
    nodes = [k8s.networking.v1.NetworkPolicyPeerArgs(pod_selector=_selector(scope))]
    network_policy(
        scope.named(_PROGRAM),
        scope.metadata(_PROGRAM),
        selector(_PROGRAM, scope.name),
        opts,
        ingress=[allow_ingress(PORTS[_PROGRAM], scope.peers), allow_ingress(_TRANSPORT, nodes)],
    )
    if count > 1:
        k8s.policy.v1.PodDisruptionBudget(
            scope.named(_PROGRAM),
            metadata=scope.metadata(_PROGRAM),
            spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(max_unavailable=1, selector=_selector(scope)),
            opts=opts,
        )


def _service(
    scope: Scope, name: str, port: int, opts: pulumi.ResourceOptions, *, headless: bool = False
) -> core.Service:
    # Don't wait for either: the nodes need theirs before they are ready, and clients start after the nodes.
    metadata = k8s.meta.v1.ObjectMetaArgs(
        name=scope.named(name),
        namespace=scope.namespace,
        labels=scope.labels(_PROGRAM),
        annotations={"pulumi.com/skipAwait": "true"},
    )
    return core.Service(
        scope.named(name),
        metadata=metadata,
        spec=core.ServiceSpecArgs(
            type="ClusterIP",
            cluster_ip="None" if headless else None,
            publish_not_ready_addresses=headless or None,
            selector=selector(_PROGRAM, scope.name),
            ports=[core.ServicePortArgs(name="transport" if headless else "https", port=port, target_port=port)],
            **ip_families(scope.args),
        ),
        opts=opts,
    )


def _placement(scope: Scope, part: ElasticsearchPart) -> dict[str, Any]:
    """Never two nodes on one host, and only in the chosen zones.

    One node per zone puts the two copies of a line in two zones, so Elasticsearch need not know of zones.
    """
    if part.get("nodes", 1) == 1:
        return {}
    zones = part.get("zones")
    in_zones = core.NodeSelectorRequirementArgs(key=ZONE, operator="In", values=list(zones)) if zones else None
    affinity = core.AffinityArgs(
        pod_anti_affinity=core.PodAntiAffinityArgs(
            required_during_scheduling_ignored_during_execution=[
                core.PodAffinityTermArgs(topology_key="kubernetes.io/hostname", label_selector=_selector(scope))
            ]
        ),
        node_affinity=core.NodeAffinityArgs(
            required_during_scheduling_ignored_during_execution=core.NodeSelectorArgs(
                node_selector_terms=[core.NodeSelectorTermArgs(match_expressions=[in_zones])]
            )
        )
        if in_zones
        else None,
    )
    spread = core.TopologySpreadConstraintArgs(
        max_skew=1,
        topology_key=ZONE,
        when_unsatisfiable="DoNotSchedule" if zones else "ScheduleAnyway",
        label_selector=_selector(scope),
    )
    return {"affinity": as_document(affinity), "topology_spread_constraints": [spread]}


def _preparation(shared: Shared, part: ElasticsearchPart) -> core.ContainerArgs:
    keys = [*_USERS, *(["S3_ACCESS_KEY", "S3_SECRET_KEY"] if "snapshots" in part else [])]
    return container(
        "prepare",
        part.get("image", UPSTREAM_IMAGES[_PROGRAM]),
        variables={},
        secrets=shared.passwords(*keys),
        command=["/bin/sh", "-c", asset("monitoring/logs/assets/elasticsearch/prepare.sh")],
        resources=resource_requirements(part.get("resources"), DEFAULT_RESOURCES),
        security_context=restricted_container(read_only=False),
        volume_mounts=[
            mount("files", "/modelops", read_only=True),
            mount("config", "/config"),
            mount("tmp", "/tmp"),
        ],
    )


def _server(shared: Shared, part: ElasticsearchPart, count: int) -> core.ContainerArgs:
    scope = shared.scope
    names = [f"{scope.named(_PROGRAM)}-{index}" for index in range(count)]
    resources = resource_requirements(part.get("resources"), DEFAULT_RESOURCES)
    variables: dict[str, pulumi.Input[str]] = {
        "ES_JAVA_OPTS": java_heap(part.get("resources"), DEFAULT_RESOURCES),
        "NODE_HOSTS": ",".join(f"{name}.{scope.named(_NODES)}" for name in names),
        "NODE_NAMES": ",".join(names),
    }
    if "snapshots" in part and "endpoint" in part["snapshots"]:
        variables["s3.client.default.endpoint"] = part["snapshots"]["endpoint"]
    healthy = ["/bin/sh", "/modelops/healthy.sh"]
    joined, recovered = (core.ExecActionArgs(command=[*healthy, wanted]) for wanted in ("joined", "recovered"))
    return container(
        _PROGRAM,
        part.get("image", UPSTREAM_IMAGES[_PROGRAM]),
        variables=variables,
        secrets=[
            field_variable("POD_IP", "status.podIP"),
            field_variable("POD_NAME", "metadata.name"),
            *shared.passwords("SETUP_PASSWORD"),
        ],
        ports=[
            core.ContainerPortArgs(name="https", container_port=PORTS[_PROGRAM]),
            core.ContainerPortArgs(name="transport", container_port=_TRANSPORT),
        ],
        resources=resources,
        security_context=restricted_container(read_only=False),
        startup_probe=core.ProbeArgs(exec_=joined, period_seconds=5, failure_threshold=60, timeout_seconds=6),
        readiness_probe=core.ProbeArgs(exec_=recovered, period_seconds=15, failure_threshold=3, timeout_seconds=6),
        volume_mounts=[
            mount("files", "/modelops", read_only=True),
            mount(DATA, f"{_HOME}/data"),
            mount("config", f"{_HOME}/config"),
            # Elasticsearch notices renewed files here and takes them up.
            mount("certificates", f"{_HOME}/config/certificates", read_only=True),
        ],
    )
