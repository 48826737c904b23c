"""The log pipeline: Filebeat → Logstash → Elasticsearch → Kibana, from container log files to searchable logs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pulumi

from modelops.core.component import child_options, holding_data
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.outputs import with_dependencies
from modelops.core.quantities import bytes_of
from modelops.core.types import Expose
from modelops.core.validation import Problems
from modelops.kubernetes.certificates import Authority, Certificate
from modelops.kubernetes.volumes import check_claim
from modelops.monitoring.logs import elasticsearch, filebeat, kibana, logstash, setup_job
from modelops.monitoring.logs.args import ElasticsearchPart, ElkPart
from modelops.monitoring.logs.shared import EXISTING_CA_FILE, PORTS, Elasticsearch, Shared, create_shared
from modelops.monitoring.program import Scope

PROGRAMS = {
    "elasticsearch": elasticsearch.DEFAULT_RESOURCES,
    "logstash": logstash.DEFAULT_RESOURCES,
    "kibana": kibana.DEFAULT_RESOURCES,
    "filebeat": filebeat.DEFAULT_RESOURCES,
}
"""The programs and their default resources."""
_MIN_QUEUE_BYTES = {"filebeat": 64 * 2**20, "logstash": 128 * 2**20}
_MAX_DISK_USAGE = 0.8
"""Share of a volume that logs may fill: above it Elasticsearch moves shards away, and later stops writing."""


class Elk(pulumi.ComponentResource):
    """Elasticsearch, new or existing, and the enabled programs around it."""

    elasticsearch_url: pulumi.Output[str]
    kibana_url: pulumi.Output[str] | None
    certificates: list[Certificate]
    readable: Shared | None
    """Secrets for reading the logs; none for an existing Elasticsearch, whose user need not have read access."""

    def __init__(
        self, scope: Scope, part: ElkPart, signer: Authority, *, expose: Expose, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("modelops:monitoring:Elk", scope.named("elk"), None, holding_data(opts))
        child_opts = child_options(self)
        settings = part.get("elasticsearch") or ElasticsearchPart()
        shared = create_shared(scope, part, signer, child_opts)
        self.certificates = [*shared.certificates.values()]
        target = _existing(part) or elasticsearch.deploy(shared, settings)
        # In full, for clients in other namespaces.
        url = pulumi.Output.concat("https://", scope.host("elasticsearch"), f":{PORTS['elasticsearch']}")
        self.elasticsearch_url = target.url if "existing" in part else with_dependencies(url, *target.after)
        self.readable = None if "existing" in part else shared
        self.kibana_url = internal_kibana_url = None
        if "existing" not in part and is_on(part.get("kibana") or {}):
            server = kibana.deploy(shared, part.get("kibana") or {}, target, expose)
            self.kibana_url = server.url
            internal_kibana_url = with_dependencies(
                f"https://{scope.named('kibana')}:{PORTS['kibana']}", server.workload, server.service
            )
        if "existing" not in part or part["existing"].get("setup", True):
            # Before the first line arrives: without the template it would create a plain index, not a data stream.
            image = part.get("runtime_image", UPSTREAM_IMAGES["python"])
            job = setup_job.deploy(shared, settings, target, internal_kibana_url, image)
            target = replace(target, after=(*target.after, job))
        logstash_host = None
        if is_on(logstash_part := part.get("logstash") or {}):
            logstash_host = logstash.deploy(shared, logstash_part, target)
        if is_on(filebeat_part := part.get("filebeat") or {}):
            filebeat.deploy(shared, filebeat_part, replace(target, url=self.elasticsearch_url), logstash_host)
        self.register_outputs({"elasticsearch_url": self.elasticsearch_url, "kibana_url": self.kibana_url})


def is_on(part: Any) -> bool:
    """Whether a program around Elasticsearch is enabled."""
    return bool(part.get("enabled", True))


def _existing(part: ElkPart) -> Elasticsearch | None:
    existing = part.get("existing")
    if existing is None:
        return None
    ca_file = EXISTING_CA_FILE if "ca_certificate" in existing else None
    return Elasticsearch(pulumi.Output.from_input(existing["url"]), existing["username"], "ADMIN_PASSWORD", ca_file)


def check(problems: Problems, part: Any) -> None:
    """Checks the arguments of the log pipeline, when it is on."""
    settings, existing = part.get("elasticsearch") or {}, part.get("existing")
    problems.number("elk.certificate_generation", part.get("certificate_generation"), 1)
    if existing is not None:
        problems.url("elk.existing.url", existing.get("url"))
        if "password" not in part:
            problems.missing("elk.password", "it is required with elk.existing, for its user")
        if (part.get("kibana") or {}).get("enabled"):
            problems.add("elk.kibana.enabled", True, "must be false with elk.existing, which has its own")
    _check_nodes(problems, settings)
    check_claim(problems, "elk.elasticsearch", settings)
    _check_volume(problems, settings)
    snapshots = settings.get("snapshots") or {}
    problems.url("elk.elasticsearch.snapshots.endpoint", snapshots.get("endpoint"))
    problems.number("elk.elasticsearch.snapshots.retention_days", snapshots.get("retention_days"), 1, 3650)
    for program, minimum in _MIN_QUEUE_BYTES.items():
        field, size = f"elk.{program}.queue_size", (part.get(program) or {}).get("queue_size")
        problems.quantity(field, size)
        if (size_bytes := _bytes(size)) is not None and size_bytes < minimum:
            problems.add(field, size, f"must be at least {minimum // 2**20}Mi")


def _check_nodes(problems: Problems, settings: Mapping[str, Any]) -> None:
    nodes, zones = settings.get("nodes", 1), settings.get("zones")
    if nodes not in (1, 3):
        problems.add("elk.elasticsearch.nodes", nodes, "must be 1 or 3: two have no majority when one is lost")
    if zones is not None and (nodes != 3 or len(set(zones)) != 3):
        problems.add("elk.elasticsearch.zones", list(zones), "must be three zones, for nodes: 3")
    if nodes != 1 and "claim" in settings:
        problems.add("elk.elasticsearch.claim", settings["claim"], "must not be given with three nodes")


def _check_volume(problems: Problems, settings: Mapping[str, Any]) -> None:
    """Checks that the volumes hold the expected logs until they are deleted."""
    problems.quantity("elk.elasticsearch.daily_size", settings.get("daily_size"))
    daily = _bytes(settings.get("daily_size"))
    storage_size = settings.get("storage_size", elasticsearch.DEFAULT_STORAGE_SIZE)
    size = _bytes(storage_size)
    days = settings.get("retention_days", elasticsearch.DEFAULT_RETENTION_DAYS)
    if daily is None or size is None or not isinstance(days, int):
        return
    # Three nodes hold two copies; an index is deleted as a whole, once its newest line is old enough.
    share_of_a_node = 2 / 3 if settings.get("nodes", 1) == 3 else 1
    needed = daily * (days + max(1, days // 30)) * share_of_a_node / _MAX_DISK_USAGE
    if needed > size:
        rule = f"must be at least {-(-int(needed) // 2**30)}Gi for {days} days of {settings['daily_size']}"
        problems.add("elk.elasticsearch.storage_size", storage_size, rule)


def _bytes(quantity: Any) -> int | None:
    try:
        return bytes_of(quantity) if isinstance(quantity, str) else None
    except ValueError:
        return None
