"""Filebeat on every node: the one program here that must read the node's files as root."""

import pulumi
import pulumi_kubernetes as k8s

from modelops._assets import asset
from modelops._labels import selector
from modelops._outputs import known_after
from modelops._pods import Sizes, container, core, from_config_map, mount, resource_requirements, scratch
from modelops._storage import config_map
from modelops._types import Resources
from modelops.monitoring._program import AGENT_OPTIONS, Scope, account, permissions

SIZES = Sizes(cpu="50m", memory="100Mi", memory_limit="256Mi")
_PROGRAM = "filebeat"
_RULES = (
    k8s.rbac.v1.PolicyRuleArgs(
        api_groups=[""], resources=["namespaces", "nodes", "pods"], verbs=["get", "list", "watch"]
    ),
)


def deploy(
    scope: Scope,
    image: pulumi.Input[str],
    resources: Resources | None,
    logstash: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> None:
    """Creates the DaemonSet and what it needs. What was read is remembered as long as the pod lives."""
    name = scope.named(_PROGRAM)
    identity = account(scope, _PROGRAM, opts)
    permissions(scope, _PROGRAM, identity, _RULES, opts)
    text = {"filebeat.yml": asset("filebeat/filebeat.yml")}
    files = config_map(name, scope.namespace, scope.labels(_PROGRAM), text, opts)
    k8s.apps.v1.DaemonSet(
        name,
        metadata=scope.metadata(_PROGRAM),
        spec=k8s.apps.v1.DaemonSetSpecArgs(
            selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(_PROGRAM, scope.name)),
            template=core.PodTemplateSpecArgs(
                metadata=k8s.meta.v1.ObjectMetaArgs(labels=scope.labels(_PROGRAM)),
                spec=core.PodSpecArgs(
                    service_account_name=known_after(name, identity),
                    automount_service_account_token=True,
                    enable_service_links=False,
                    tolerations=[core.TolerationArgs(operator="Exists")],
                    volumes=[
                        from_config_map("files", files),
                        scratch("data"),
                        core.VolumeArgs(name="logs", host_path=core.HostPathVolumeSourceArgs(path="/var/log")),
                    ],
                    containers=[_container(image, resources, logstash)],
                ),
            ),
        ),
        opts=pulumi.ResourceOptions.merge(opts, AGENT_OPTIONS),
    )


def _container(
    image: pulumi.Input[str], resources: Resources | None, logstash: pulumi.Input[str]
) -> core.ContainerArgs:
    node = core.EnvVarArgs(
        name="NODE_NAME",
        value_from=core.EnvVarSourceArgs(field_ref=core.ObjectFieldSelectorArgs(field_path="spec.nodeName")),
    )
    return container(
        _PROGRAM,
        image,
        variables={"LOGSTASH_HOST": logstash},
        secrets=[node],
        args=[
            "-e",
            "--strict.perms=false",
            "-c",
            "/etc/filebeat/filebeat.yml",
            "--path.data=/data",
            "--path.logs=/data/logs",
        ],
        resources=resource_requirements(resources, SIZES),
        security_context=core.SecurityContextArgs(
            run_as_user=0,
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            # Container logs belong to root and are readable for root alone.
            capabilities=core.CapabilitiesArgs(drop=["ALL"], add=["DAC_READ_SEARCH"]),
            seccomp_profile=core.SeccompProfileArgs(type="RuntimeDefault"),
        ),
        volume_mounts=[
            mount("files", "/etc/filebeat", read_only=True),
            mount("logs", "/var/log", read_only=True),
            mount("data", "/data"),
        ],
    )
