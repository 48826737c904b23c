"""Alertmanager: groups alerts and notifies receivers."""

from __future__ import annotations

from typing import Any

import pulumi

from modelops.core.component import child_options, holding_data
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.types import Expose
from modelops.kubernetes.config import secret
from modelops.kubernetes.labels import scrape
from modelops.kubernetes.network import cluster_host
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    core,
    field_variable,
    from_secret,
    http_probe,
    mount,
    resource_requirements,
    scratch,
)
from modelops.monitoring.args import AlertmanagerPart
from modelops.monitoring.program import Program, Scope, peers_name, program_volume, run
from modelops.monitoring.receivers import render
from modelops.monitoring.tls import WEB_CONFIG, WebTls, web_config, web_mount

PORT = 9093
DEFAULT_RESOURCES = DefaultResources(cpu="20m", memory="64Mi", memory_limit="256Mi")
DEFAULT_STORAGE_SIZE = "1Gi"
_USER = 65534
_PEER_PORT = 9094
_PROGRAM = "alertmanager"


class Alertmanager(pulumi.ComponentResource):
    """One Alertmanager, or a cluster of several, with a volume for silences and the notification log."""

    url: pulumi.Output[str]

    def __init__(
        self, scope: Scope, part: AlertmanagerPart, *, expose: Expose, web: WebTls | None, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("modelops:monitoring:Alertmanager", scope.named(_PROGRAM), None, holding_data(opts))
        child_opts = child_options(self)
        files = secret(
            scope.named(_PROGRAM),
            scope.namespace,
            scope.labels(_PROGRAM),
            {"alertmanager.yml": _configuration(part), **({WEB_CONFIG: web_config()} if web else {})},
            child_opts,
        )
        size, replicas = part.get("storage_size", DEFAULT_STORAGE_SIZE), part.get("replicas", 1)
        volume, claims = program_volume(scope, _PROGRAM, part, size, child_opts)
        program = Program(
            name=_PROGRAM,
            port=PORT,
            container=_container(scope, part, https=web is not None),
            volumes=[
                from_secret("files", files),
                *claims,
                scratch(),
                *([web.volume(_PROGRAM)] if web else []),
            ],
            annotations=scrape(PORT, https=web is not None),
            user=_USER,
            scheme="https" if web else "http",
            replicas=replicas,
            volume=volume,
            peer_port=_PEER_PORT if replicas > 1 else None,
        )
        self.url = run(scope, program, child_opts, expose=expose, after=web.resources if web else []).url
        self.register_outputs({"url": self.url})


def discovery(scope: Scope, part: AlertmanagerPart) -> pulumi.Output[dict[str, Any]]:
    """How Prometheus finds where to send alerts: to each of several Alertmanagers."""
    if (replicas := part.get("replicas", 1)) == 1:
        hosts = [scope.host(_PROGRAM)]
    else:
        peers = cluster_host(peers_name(scope, _PROGRAM), scope.namespace)
        hosts = [pulumi.Output.concat(f"{scope.named(_PROGRAM)}-{index}.", peers) for index in range(replicas)]
    return pulumi.Output.all(*hosts).apply(
        lambda names: {"static_configs": [{"targets": [f"{name}:{PORT}" for name in names]}]}
    )


def _configuration(part: AlertmanagerPart) -> pulumi.Input[str]:
    if "config" in part:
        return part["config"]
    given: pulumi.Output[Any] = pulumi.Output.all(part.get("receivers"), part.get("heartbeat_url"))
    return given.apply(lambda values: render(*values))


def _cluster(scope: Scope, replicas: int) -> list[pulumi.Input[str]]:
    """Flags by which several gossip. An address in brackets may be of either IP family."""
    if replicas == 1:
        return ["--cluster.listen-address="]
    address = f"[$(POD_IP)]:{_PEER_PORT}"
    return [
        f"--cluster.listen-address={address}",
        f"--cluster.advertise-address={address}",
        pulumi.Output.concat(
            "--cluster.peer=", peers_name(scope, _PROGRAM), ".", scope.namespace, f".svc:{_PEER_PORT}"
        ),
    ]


def _container(scope: Scope, part: AlertmanagerPart, *, https: bool) -> core.ContainerArgs:
    return container(
        _PROGRAM,
        part.get("image", UPSTREAM_IMAGES["alertmanager"]),
        variables={},
        secrets=[field_variable("POD_IP", "status.podIP")] if part.get("replicas", 1) > 1 else [],
        args=[
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--storage.path=/alertmanager",
            *_cluster(scope, part.get("replicas", 1)),
            *([f"--web.config.file=/etc/alertmanager/{WEB_CONFIG}"] if https else []),
        ],
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
        resources=resource_requirements(part.get("resources"), DEFAULT_RESOURCES),
        startup_probe=http_probe("/-/ready", "http", period=1, failures=60, https=https),
        readiness_probe=http_probe("/-/ready", "http", period=10, failures=3, https=https),
        liveness_probe=http_probe("/-/healthy", "http", period=20, failures=3, timeout=5, https=https),
        volume_mounts=[
            mount("files", "/etc/alertmanager", read_only=True),
            mount("data", "/alertmanager"),
            mount("tmp", "/tmp"),
            *([web_mount()] if https else []),
        ],
    )
