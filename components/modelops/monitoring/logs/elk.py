"""The log pipeline: Filebeat → Logstash → Elasticsearch → Kibana, from the containers' files to a searchable page."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pulumi

from modelops.core.outputs import with_dependencies
from modelops.core.quantities import bytes_of
from modelops.core.types import Expose
from modelops.core.validation import Problems
from modelops.monitoring.logs import elasticsearch, filebeat, kibana, logstash, setup_job
from modelops.monitoring.logs.args import ElasticsearchPart, ElkPart
from modelops.monitoring.logs.shared import EXISTING_AUTHORITY, PORTS, Elasticsearch, Reader, Shared, share
from modelops.monitoring.program import Scope

PROGRAMS = ("elasticsearch", "logstash", "kibana", "filebeat")
_LEAST_QUEUE = {"filebeat": 64 * 2**20, "logstash": 128 * 2**20}
_FULL = 0.8
"""Share of a volume that logs may fill: Elasticsearch moves shards away from fuller ones, and stops writing later."""


class Elk(pulumi.ComponentResource):
    """Elasticsearch, its own or an existing one, and the programs around it that are on."""

    elasticsearch_url: pulumi.Output[str]
    kibana_url: pulumi.Output[str] | None
    shared: Shared
    elasticsearch: Elasticsearch
    reader: Reader | None
    """How to read the lines; none of an existing Elasticsearch, whose user need not be able to."""

    def __init__(self, scope: Scope, part: ElkPart, *, expose: Expose, opts: pulumi.ResourceOptions) -> None:
        super().__init__("modelops:monitoring:Elk", scope.named("elk"), None, opts)
        child_opts = pulumi.ResourceOptions(parent=self)
        own = part.get("elasticsearch") or ElasticsearchPart()
        shared = self.shared = share(scope, part, child_opts)
        target = self.elasticsearch = _existing(part) or elasticsearch.deploy(shared, own)
        self.elasticsearch_url = target.url
        self.reader = None if "existing" in part else Reader(shared)
        self.kibana_url = inside = None
        if has_kibana(part):
            web = kibana.deploy(shared, part.get("kibana") or {}, target, expose)
            self.kibana_url = web.url
            inside = with_dependencies(
                f"https://{scope.named('kibana')}:{PORTS['kibana']}", web.deployment, web.service
            )
        if "existing" not in part or part["existing"].get("setup", True):
            # Before the first line comes: without its template a stream would be made as a plain index.
            job = setup_job.deploy(shared, own, target, inside)
            target = replace(target, after=(*target.after, job))
        forwarder = None
        if is_on(given := part.get("logstash") or {}):
            forwarder = logstash.deploy(shared, given, target)
        if is_on(beats := part.get("filebeat") or {}):
            filebeat.deploy(shared, beats, target, forwarder)
        self.register_outputs({"elasticsearch_url": self.elasticsearch_url, "kibana_url": self.kibana_url})


def is_on(part: Any) -> bool:
    """Whether one of the programs around Elasticsearch is there."""
    return bool(part.get("enabled", True))


def has_kibana(part: ElkPart) -> bool:
    """Kibana comes with an Elasticsearch of our own, unless it is off."""
    return "existing" not in part and is_on(part.get("kibana") or {})


def _existing(part: ElkPart) -> Elasticsearch | None:
    given = part.get("existing")
    if given is None:
        return None
    authority = EXISTING_AUTHORITY if "ca_certificate" in given else None
    return Elasticsearch(pulumi.Output.from_input(given["url"]), given["username"], "ADMIN_PASSWORD", authority)


def check(problems: Problems, part: Any) -> None:
    """The rules between the arguments of the log pipeline. Only called where it is on."""
    own, existing = part.get("elasticsearch") or {}, part.get("existing")
    problems.number("elk.certificate_generation", part.get("certificate_generation"), 1)
    if existing is not None:
        problems.url("elk.existing.url", existing.get("url"))
        if "password" not in part:
            problems.missing("elk.password", "it is required with elk.existing: it is that user's")
        if (part.get("kibana") or {}).get("enabled"):
            problems.add("elk.kibana.enabled", True, "must be false with elk.existing, which has its own")
    _check_nodes(problems, own)
    _check_volume(problems, own)
    snapshots = own.get("snapshots") or {}
    problems.url("elk.elasticsearch.snapshots.endpoint", snapshots.get("endpoint"))
    problems.number("elk.elasticsearch.snapshots.retention_days", snapshots.get("retention_days"), 1, 3650)
    for program, least in _LEAST_QUEUE.items():
        field, size = f"elk.{program}.queue_size", (part.get(program) or {}).get("queue_size")
        problems.quantity(field, size)
        if (known := _bytes(size)) is not None and known < least:
            problems.add(field, size, f"must be at least {least // 2**20}Mi")


def _check_nodes(problems: Problems, own: Mapping[str, Any]) -> None:
    nodes, zones = own.get("nodes", 1), own.get("zones")
    if nodes not in (1, 3):
        problems.add("elk.elasticsearch.nodes", nodes, "must be 1 or 3: two can't outvote one that is lost")
    if zones is not None and (nodes != 3 or len(set(zones)) != 3):
        problems.add("elk.elasticsearch.zones", list(zones), "must be three zones, for nodes: 3")


def _check_volume(problems: Problems, own: Mapping[str, Any]) -> None:
    """Whether the volumes hold what is expected until it is deleted."""
    problems.quantity("elk.elasticsearch.daily_size", own.get("daily_size"))
    daily = _bytes(own.get("daily_size"))
    size = _bytes(own.get("storage_size", elasticsearch.DEFAULT_STORAGE_SIZE))
    days = own.get("retention_days", elasticsearch.DEFAULT_RETENTION_DAYS)
    if daily is None or size is None or not isinstance(days, int):
        return
    # Three nodes hold two copies; an index goes as a whole, when its youngest line is old enough.
    share_of_a_node = 2 / 3 if own.get("nodes", 1) == 3 else 1
    needed = daily * (days + max(1, days // 30)) * share_of_a_node / _FULL
    if needed > size:
        least = -(-int(needed) // 2**30)
        problems.add(
            "elk.elasticsearch.storage_size",
            own.get("storage_size", elasticsearch.DEFAULT_STORAGE_SIZE),
            f"must be at least {least}Gi for {days} days of {own['daily_size']}",
        )


def _bytes(quantity: Any) -> int | None:
    try:
        return bytes_of(quantity) if isinstance(quantity, str) else None
    except ValueError:
        return None
