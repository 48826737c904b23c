"""Alertmanager: groups alerts and sends them on."""

import pulumi

from modelops._assets import asset
from modelops._images import UPSTREAM_IMAGES
from modelops._labels import scrape
from modelops._pods import Sizes, container, core, from_secret, http_probe, mount, resource_requirements, scratch
from modelops._storage import secret
from modelops._types import Expose
from modelops.monitoring._program import Program, Scope, run
from modelops.monitoring._types import AlertmanagerPart

PORT = 9093
SIZES = Sizes(cpu="20m", memory="64Mi", memory_limit="256Mi")
_USER = 65534
_PROGRAM = "alertmanager"


class Alertmanager(pulumi.ComponentResource):
    """One Alertmanager. Silences live as long as its pod."""

    url: pulumi.Output[str]

    def __init__(self, scope: Scope, part: AlertmanagerPart, *, expose: Expose, opts: pulumi.ResourceOptions) -> None:
        super().__init__("modelops:monitoring:Alertmanager", scope.named(_PROGRAM), None, opts)
        here = pulumi.ResourceOptions(parent=self)
        config = part.get("config", asset("alertmanager/alertmanager.yml"))
        files = secret(
            scope.named(_PROGRAM), scope.namespace, scope.labels(_PROGRAM), {"alertmanager.yml": config}, here
        )
        program = Program(
            name=_PROGRAM,
            port=PORT,
            container=_container(part),
            volumes=[from_secret("files", files), scratch("data"), scratch()],
            annotations=scrape(PORT),
            user=_USER,
        )
        self.url = run(scope, program, here, expose=expose).url
        self.register_outputs({"url": self.url})


def address(scope: Scope) -> pulumi.Output[str]:
    """Where Prometheus sends alerts to."""
    return pulumi.Output.concat(scope.host(_PROGRAM), f":{PORT}")


def _container(part: AlertmanagerPart) -> core.ContainerArgs:
    return container(
        _PROGRAM,
        part.get("image", UPSTREAM_IMAGES["alertmanager"]),
        variables={},
        args=[
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--storage.path=/alertmanager",
            "--cluster.listen-address=",  # one replica has nobody to gossip with
        ],
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
        resources=resource_requirements(part.get("resources"), SIZES),
        startup_probe=http_probe("/-/ready", "http", period=1, failures=60),
        readiness_probe=http_probe("/-/ready", "http", period=10, failures=3),
        liveness_probe=http_probe("/-/healthy", "http", period=20, failures=3, timeout=5),
        volume_mounts=[
            mount("files", "/etc/alertmanager", read_only=True),
            mount("data", "/alertmanager"),
            mount("tmp", "/tmp"),
        ],
    )
