"""Logstash: receives lines from all nodes and queues them on its volume until Elasticsearch accepts them."""

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
    certificate_mount,
    existing_ca,
    java_heap,
)
from modelops.monitoring.program import Program, run

DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="1Gi", memory_limit="1Gi")
DEFAULT_QUEUE_SIZE = "1Gi"
_PROGRAM = "logstash"
_HOME = "/usr/share/logstash"


def deploy(shared: Shared, part: LogstashPart, elasticsearch: Elasticsearch) -> pulumi.Output[str]:
    """Creates Logstash and returns the address for Filebeat."""
    scope = shared.scope
    size = part.get("queue_size", DEFAULT_QUEUE_SIZE)
    queue = pulumi.Output.from_input(size).apply(lambda quantity: f"queue.max_bytes: {bytes_of(quantity)}b\n")
    settings = pulumi.Output.concat(asset("monitoring/logs/assets/logstash/logstash.yml"), queue)
    files = shared.files(
        _PROGRAM, {"logstash.yml": settings, "modelops.conf": asset("monitoring/logs/assets/logstash/modelops.conf")}
    )
    # Beyond the queue's limit there is a page being written and one being read.
    volume_size = pulumi.Output.from_input(size).apply(lambda quantity: str(bytes_of(quantity) * 5 // 4))
    claim = retained_claim(
        scope.named(_PROGRAM), scope.namespace, scope.labels(_PROGRAM), volume_size, part, shared.opts
    )
    ca_volumes, ca_mounts = existing_ca(shared, elasticsearch)
    program = Program(
        name=_PROGRAM,
        port=PORTS[_PROGRAM],
        container=_container(shared, part, elasticsearch, ca_mounts),
        volumes=[
            from_config_map("files", files),
            shared.certificate_volume(_PROGRAM),
            claimed("queue", claim),
            *ca_volumes,
        ],
        user=USER,
        group=GROUP,
        private=True,
        annotations=shared.certificates[_PROGRAM].annotations,
    )
    service = run(scope, program, shared.opts, after=[*elasticsearch.after, *shared.certificate_resources]).service
    return with_dependencies(pulumi.Output.concat(scope.host(_PROGRAM), f":{PORTS[_PROGRAM]}"), service)


def _container(
    shared: Shared, part: LogstashPart, elasticsearch: Elasticsearch, mounts: list[core.VolumeMountArgs]
) -> core.ContainerArgs:
    variables: dict[str, pulumi.Input[str]] = {
        "ELASTICSEARCH_URL": elasticsearch.url,
        "LS_JAVA_OPTS": java_heap(part.get("resources"), DEFAULT_RESOURCES),
        "WRITER_USERNAME": elasticsearch.username,
        # Debian and Red Hat images both keep their CA bundle there.
        "CERTIFICATE_AUTHORITY": elasticsearch.ca_file or "/etc/ssl/certs/ca-certificates.crt",
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
