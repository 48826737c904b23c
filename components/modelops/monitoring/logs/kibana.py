"""Kibana: the page on which lines are searched."""

from __future__ import annotations

import pulumi

from modelops.core.assets import asset
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.quantities import bytes_of
from modelops.core.types import Expose
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    core,
    from_config_map,
    mount,
    resource_requirements,
    restricted_container,
)
from modelops.monitoring.args import Part
from modelops.monitoring.logs.shared import GROUP, PORTS, USER, Elasticsearch, Shared, certificate_mount
from modelops.monitoring.program import Program, Running, run

DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="1Gi", memory_limit="1536Mi")
_PROGRAM = "kibana"


def deploy(shared: Shared, part: Part, elasticsearch: Elasticsearch, expose: Expose) -> Running:
    """Creates Kibana once Elasticsearch is there."""
    files = shared.files(_PROGRAM, {"kibana.yml": asset("monitoring/logs/assets/kibana/kibana.yml")})
    given = part.get("resources") or {}
    memory = given.get("memory_limit", given.get("memory", DEFAULT_RESOURCES.memory_limit))
    # Half a page's worth of Node's own memory stays beside the heap.
    limit = pulumi.Output.from_input(memory).apply(
        lambda quantity: f"--max-old-space-size={bytes_of(quantity) * 2 // 3 // 2**20}"
    )
    probe = core.HTTPGetActionArgs(path="/login", port="https", scheme="HTTPS")
    server = container(
        _PROGRAM,
        part.get("image", UPSTREAM_IMAGES[_PROGRAM]),
        variables={"ELASTICSEARCH_URL": elasticsearch.url, "NODE_OPTIONS": limit},
        secrets=shared.passwords("KIBANA_PASSWORD", "KIBANA_ENCRYPTION_KEY"),
        ports=[core.ContainerPortArgs(name="https", container_port=PORTS[_PROGRAM])],
        resources=resource_requirements(part.get("resources"), DEFAULT_RESOURCES),
        security_context=restricted_container(read_only=False),
        startup_probe=core.ProbeArgs(http_get=probe, period_seconds=5, failure_threshold=60, timeout_seconds=5),
        readiness_probe=core.ProbeArgs(http_get=probe, period_seconds=15, failure_threshold=3, timeout_seconds=5),
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
        startup_seconds=300,
    )
    return run(shared.scope, program, shared.opts, expose=expose, after=elasticsearch.after)
