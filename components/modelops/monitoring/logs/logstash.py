"""Logstash: takes the lines of all nodes and keeps them on its volume until Elasticsearch has them."""

from __future__ import annotations

import pulumi

from modelops.core.assets import asset
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.outputs import with_dependencies
from modelops.core.quantities import bytes_of
from modelops.kubernetes.pods import (
    DefaultResources,
    claimed,
    container,
    core,
    from_config_map,
    http_probe,
    mount,
    resource_requirements,
    restricted_container,
)
from modelops.kubernetes.volumes import retained_claim
from modelops.monitoring.logs.args import LogstashPart
from modelops.monitoring.logs.shared import (
    GROUP,
    PORTS,
    USER,
    Elasticsearch,
    Shared,
    authority_of_existing,
    certificate_mount,
    heap,
)
from modelops.monitoring.program import Program, run

DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="1Gi", memory_limit="1Gi")
DEFAULT_QUEUE_SIZE = "1Gi"
_PROGRAM = "logstash"
_HOME = "/usr/share/logstash"


def deploy(shared: Shared, part: LogstashPart, elasticsearch: Elasticsearch) -> pulumi.Output[str]:
    """Creates Logstash; returns the address that Filebeat sends to."""
    scope = shared.scope
    size = part.get("queue_size", DEFAULT_QUEUE_SIZE)
    queue = pulumi.Output.from_input(size).apply(lambda quantity: f"queue.max_bytes: {bytes_of(quantity)}b\n")
    settings = pulumi.Output.concat(asset("monitoring/logs/assets/logstash/logstash.yml"), queue)
    files = shared.files(
        _PROGRAM, {"logstash.yml": settings, "modelops.conf": asset("monitoring/logs/assets/logstash/modelops.conf")}
    )
    # Beside the queue's pages there is one being written and one being read.
    room = pulumi.Output.from_input(size).apply(lambda quantity: str(bytes_of(quantity) * 5 // 4))
    claim = retained_claim(scope.named(_PROGRAM), scope.namespace, scope.labels(_PROGRAM), room, part, shared.opts)
    authority = authority_of_existing(shared, elasticsearch)
    program = Program(
        name=_PROGRAM,
        port=PORTS[_PROGRAM],
        container=_container(shared, part, elasticsearch, [mounted for _, mounted in authority]),
        volumes=[
            from_config_map("files", files),
            shared.certificate_volume(_PROGRAM),
            claimed("queue", claim),
            *(volume for volume, _ in authority),
        ],
        user=USER,
        group=GROUP,
        private=True,
        startup_seconds=300,
    )
    running = run(scope, program, shared.opts, after=elasticsearch.after)
    return with_dependencies(f"{scope.named(_PROGRAM)}:{PORTS[_PROGRAM]}", running.service)


def _container(
    shared: Shared, part: LogstashPart, elasticsearch: Elasticsearch, mounts: list[core.VolumeMountArgs]
) -> core.ContainerArgs:
    given = part.get("resources") or {}
    variables: dict[str, pulumi.Input[str]] = {
        "ELASTICSEARCH_URL": elasticsearch.url,
        "LS_JAVA_OPTS": heap(given.get("memory_limit", given.get("memory", DEFAULT_RESOURCES.memory_limit))),
        "WRITER_USERNAME": elasticsearch.username,
        # Debian's and Red Hat's images both have their authorities there.
        "CERTIFICATE_AUTHORITY": elasticsearch.authority or "/etc/ssl/certs/ca-certificates.crt",
    }
    return container(
        _PROGRAM,
        part.get("image", UPSTREAM_IMAGES[_PROGRAM]),
        variables=variables,
        secrets=shared.passwords(WRITER_PASSWORD=elasticsearch.password),
        ports=[
            core.ContainerPortArgs(name="beats", container_port=PORTS[_PROGRAM]),
            core.ContainerPortArgs(name="api", container_port=9600),
        ],
        resources=resource_requirements(part.get("resources"), DEFAULT_RESOURCES),
        security_context=restricted_container(read_only=False),
        startup_probe=http_probe("/", "api", period=5, failures=60, timeout=5),
        readiness_probe=http_probe("/", "api", period=15, failures=3, timeout=5),
        volume_mounts=[
            mount("files", f"{_HOME}/config/logstash.yml", read_only=True, sub_path="logstash.yml"),
            mount("files", f"{_HOME}/pipeline/logstash.conf", read_only=True, sub_path="modelops.conf"),
            mount("queue", "/queue"),
            certificate_mount(),
            *mounts,
        ],
    )
