"""Kibana: the UI for searching the logs."""

from __future__ import annotations

from modelops.core.assets import asset
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.types import Expose
from modelops.kubernetes.network import every_address
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    core,
    from_config_map,
    http_probe,
    mount,
    resource_requirements,
    restricted_container,
)
from modelops.monitoring.args import Part
from modelops.monitoring.logs.shared import GROUP, PORTS, USER, Elasticsearch, Shared, certificate_mount, memory_limit
from modelops.monitoring.program import Program, Running, run

DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="1Gi", memory_limit="1536Mi")
_PROGRAM = "kibana"


def deploy(shared: Shared, part: Part, elasticsearch: Elasticsearch, expose: Expose) -> Running:
    """Creates Kibana once Elasticsearch is up."""
    files = shared.files(_PROGRAM, {"kibana.yml": asset("monitoring/logs/assets/kibana/kibana.yml")})
    # Node.js needs the rest of the memory outside the heap.
    heap = memory_limit(part.get("resources"), DEFAULT_RESOURCES).apply(
        lambda limit: f"--max-old-space-size={limit * 2 // 3 // 2**20}"
    )
    server = container(
        _PROGRAM,
        part.get("image", UPSTREAM_IMAGES[_PROGRAM]),
        variables={
            "ELASTICSEARCH_URL": elasticsearch.url,
            "LISTEN_ADDRESS": every_address(shared.scope.args),
            "NODE_OPTIONS": heap,
        },
        secrets=shared.passwords("KIBANA_PASSWORD", "KIBANA_ENCRYPTION_KEY"),
        ports=[core.ContainerPortArgs(name="https", container_port=PORTS[_PROGRAM])],
        resources=resource_requirements(part.get("resources"), DEFAULT_RESOURCES),
        security_context=restricted_container(read_only=False),
        startup_probe=http_probe("/login", "https", period=5, failures=60, timeout=5, https=True),
        readiness_probe=http_probe("/login", "https", period=15, failures=3, timeout=5, https=True),
        volume_mounts=[
            mount("files", "/usr/share/kibana/config/kibana.yml", read_only=True, sub_path="kibana.yml"),
            certificate_mount(),
        ],
    )
    program = Program(
        name=_PROGRAM,
        port=PORTS[_PROGRAM],
        container=server,
        volumes=[from_config_map("files", files), shared.certificate_volume(_PROGRAM)],
        user=USER,
        group=GROUP,
        scheme="https",
        annotations=shared.certificates[_PROGRAM].annotations,
    )
    return run(
        shared.scope, program, shared.opts, expose=expose, after=[*elasticsearch.after, *shared.certificate_resources]
    )
