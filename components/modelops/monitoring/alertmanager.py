"""Alertmanager: groups alerts and notifies receivers."""

from __future__ import annotations

from typing import Any

import pulumi

from modelops.core.component import child_options, holding_data
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.types import Expose
from modelops.kubernetes.config import secret
from modelops.kubernetes.labels import scrape
from modelops.kubernetes.pods import (
    DefaultResources,
    claimed,
    container,
    core,
    from_secret,
    http_probe,
    mount,
    resource_requirements,
    scratch,
)
from modelops.kubernetes.volumes import retained_claim
from modelops.monitoring.args import AlertmanagerPart
from modelops.monitoring.program import Program, Scope, run
from modelops.monitoring.receivers import render
from modelops.monitoring.tls import WEB_CONFIG_FLAG, WebTls, web_mount

PORT = 9093
DEFAULT_RESOURCES = DefaultResources(cpu="20m", memory="64Mi", memory_limit="256Mi")
DEFAULT_STORAGE_SIZE = "1Gi"
_USER = 65534
_PROGRAM = "alertmanager"


class Alertmanager(pulumi.ComponentResource):
    """One Alertmanager, with a volume for its silences and notification log."""

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
            {"alertmanager.yml": _configuration(part)},
            child_opts,
        )
        size = part.get("storage_size", DEFAULT_STORAGE_SIZE)
        claim = retained_claim(scope.named(_PROGRAM), scope.namespace, scope.labels(_PROGRAM), size, part, child_opts)
        program = Program(
            name=_PROGRAM,
            port=PORT,
            container=_container(part, https=web is not None),
            volumes=[
                from_secret("files", files),
                claimed("data", claim),
                scratch(),
                *([web.volume(_PROGRAM)] if web else []),
            ],
            annotations=scrape(PORT, https=web is not None),
            user=_USER,
            scheme="https" if web else "http",
        )
        self.url = run(scope, program, child_opts, expose=expose).url
        self.register_outputs({"url": self.url})


def address(scope: Scope) -> pulumi.Output[str]:
    """Where Prometheus sends alerts."""
    return pulumi.Output.concat(scope.host(_PROGRAM), f":{PORT}")


def _configuration(part: AlertmanagerPart) -> pulumi.Input[str]:
    if "config" in part:
        return part["config"]
    given: pulumi.Output[Any] = pulumi.Output.all(part.get("receivers"), part.get("heartbeat_url"))
    return given.apply(lambda values: render(*values))


def _container(part: AlertmanagerPart, *, https: bool) -> core.ContainerArgs:
    return container(
        _PROGRAM,
        part.get("image", UPSTREAM_IMAGES["alertmanager"]),
        variables={},
        args=[
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--storage.path=/alertmanager",
            "--cluster.listen-address=",  # one replica has no peers to gossip with
            *([WEB_CONFIG_FLAG] if https else []),
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
