"""Filebeat on every node: the only program here that must read the node's files as root."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.assets import asset
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.outputs import merged, with_dependencies
from modelops.core.quantities import bytes_of
from modelops.kubernetes.labels import selector
from modelops.kubernetes.network import network_policy
from modelops.kubernetes.placement import anywhere
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    core,
    field_variable,
    from_config_map,
    mount,
    pod_template,
    resource_requirements,
    scratch,
)
from modelops.monitoring.logs.args import FilebeatPart
from modelops.monitoring.logs.shared import (
    EXISTING_CA,
    EXISTING_CA_FILE,
    Elasticsearch,
    Shared,
    certificate_mount,
    existing_ca,
)
from modelops.monitoring.program import account, permissions

DEFAULT_RESOURCES = DefaultResources(cpu="50m", memory="128Mi", memory_limit="512Mi")
DEFAULT_QUEUE_SIZE = "1Gi"
_PROGRAM = "filebeat"


def deploy(
    shared: Shared,
    part: FilebeatPart,
    elasticsearch: Elasticsearch,
    logstash: pulumi.Output[str] | None,
) -> None:
    """Creates the DaemonSet and what it needs. Read positions and the queue are on the node and outlive the pod."""
    # Named after the stack, not after where its agents are: these can move, and go on where they were.
    data = pulumi.Output.concat("/var/lib/modelops/", shared.scope.namespace, "/", shared.scope.named(_PROGRAM))
    keys = [elasticsearch.password] if logstash is None else []
    if logstash is None and elasticsearch.ca_file == EXISTING_CA_FILE:
        keys.append(EXISTING_CA)
    shared = shared.of_agent(_PROGRAM, *keys)
    scope, opts = shared.scope, shared.opts
    name = scope.named(_PROGRAM)
    identity = account(scope, _PROGRAM, opts)
    permissions(scope, _PROGRAM, identity, _rules(), opts)
    network_policy(name, scope.metadata(_PROGRAM), selector(_PROGRAM, scope.name), opts)
    output = "output-elasticsearch.yml" if logstash is None else "output-logstash.yml"
    text = {file: asset(f"monitoring/logs/assets/filebeat/{file}") for file in ("filebeat.yml", output, "flowing.sh")}
    ca_volumes, ca_mounts = existing_ca(shared, elasticsearch) if logstash is None else ([], [])
    k8s.apps.v1.DaemonSet(
        name,
        metadata=scope.agent_metadata(_PROGRAM),
        spec=k8s.apps.v1.DaemonSetSpecArgs(
            selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(_PROGRAM, scope.name)),
            template=pod_template(
                scope.labels(_PROGRAM),
                with_dependencies(name, identity),
                [_container(shared, part, output, elasticsearch, logstash, ca_mounts)],
                anywhere(scope.args),
                annotations=shared.certificates[_PROGRAM].annotations,
                security=core.PodSecurityContextArgs(),
                token=True,
                tolerations=[core.TolerationArgs(operator="Exists")],
                volumes=[
                    from_config_map("files", shared.files(_PROGRAM, text)),
                    shared.certificate_volume(_PROGRAM),
                    *ca_volumes,
                    scratch(),
                    _host_path("data", data, "DirectoryOrCreate"),
                    _host_path("logs", "/var/log", "Directory"),
                ],
            ),
        ),
        # One that moves ends first: two can't use one folder.
        opts=merged(opts, depends_on=[*elasticsearch.after, *shared.certificate_resources], delete_before_replace=True),
    )


def _host_path(name: str, path: pulumi.Input[str], kind: str) -> core.VolumeArgs:
    return core.VolumeArgs(name=name, host_path=core.HostPathVolumeSourceArgs(path=path, type=kind))


def _container(
    shared: Shared,
    part: FilebeatPart,
    output: str,
    elasticsearch: Elasticsearch,
    logstash: pulumi.Output[str] | None,
    mounts: Sequence[core.VolumeMountArgs],
) -> core.ContainerArgs:
    size = pulumi.Output.from_input(part.get("queue_size", DEFAULT_QUEUE_SIZE))
    variables: dict[str, pulumi.Input[str]] = {"QUEUE_BYTES": size.apply(lambda quantity: str(bytes_of(quantity)))}
    secrets = [field_variable("NODE_NAME", "spec.nodeName")]
    if logstash is not None:
        variables["LOGSTASH_HOST"] = logstash
    else:
        variables["ELASTICSEARCH_URL"] = elasticsearch.url
        variables["WRITER_USERNAME"] = elasticsearch.username
        variables["CERTIFICATE_AUTHORITIES"] = f'["{elasticsearch.ca_file}"]' if elasticsearch.ca_file else "[]"
        secrets += shared.passwords(WRITER_PASSWORD=elasticsearch.password)
    files = [f"/etc/filebeat/{file}" for file in ("filebeat.yml", output)]
    return container(
        _PROGRAM,
        part.get("image", UPSTREAM_IMAGES[_PROGRAM]),
        variables=variables,
        secrets=secrets,
        args=[
            "-e",
            "--strict.perms=false",
            *(argument for file in files for argument in ("-c", file)),
            "--path.data=/data",
            "--path.logs=/tmp/logs",
        ],
        resources=resource_requirements(part.get("resources"), DEFAULT_RESOURCES),
        # Not ready while lines wait and none is acknowledged. Prometheus sees it in the probe results.
        readiness_probe=core.ProbeArgs(
            exec_=core.ExecActionArgs(command=["/bin/sh", "/etc/filebeat/flowing.sh"]),
            initial_delay_seconds=5,
            period_seconds=30,
            timeout_seconds=10,
            failure_threshold=2,
        ),
        security_context=core.SecurityContextArgs(
            run_as_user=0,
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            # Only root can read container logs; on the node's disk, Filebeat writes only its own folder.
            capabilities=core.CapabilitiesArgs(drop=["ALL"], add=["DAC_READ_SEARCH"]),
            seccomp_profile=core.SeccompProfileArgs(type="RuntimeDefault"),
        ),
        volume_mounts=[
            mount("files", "/etc/filebeat", read_only=True),
            mount("logs", "/var/log", read_only=True),
            mount("data", "/data"),
            mount("tmp", "/tmp"),
            certificate_mount(),
            *mounts,
        ],
    )


def _rules() -> tuple[k8s.rbac.v1.PolicyRuleArgs, ...]:
    return (
        k8s.rbac.v1.PolicyRuleArgs(
            api_groups=[""], resources=["namespaces", "nodes", "pods"], verbs=["get", "list", "watch"]
        ),
        k8s.rbac.v1.PolicyRuleArgs(api_groups=["apps"], resources=["replicasets"], verbs=["get", "list", "watch"]),
        k8s.rbac.v1.PolicyRuleArgs(api_groups=["batch"], resources=["jobs"], verbs=["get", "list", "watch"]),
    )
