"""The Job that installs the lifecycle policy, pipeline, template and Kibana's objects. It is idempotent."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.assets import asset
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.outputs import merged, with_dependencies
from modelops.core.quantities import bytes_of
from modelops.kubernetes.labels import selector
from modelops.kubernetes.network import network_policy
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    from_config_map,
    mount,
    pod_template,
    resource_requirements,
    restricted_pod,
    scratch,
)
from modelops.kubernetes.start_watch import watched_options
from modelops.monitoring.logs.args import ElasticsearchPart, Snapshots
from modelops.monitoring.logs.elasticsearch import DEFAULT_RETENTION_DAYS, DEFAULT_STORAGE_SIZE
from modelops.monitoring.logs.shared import (
    GROUP,
    STACK_CA_FILE,
    USER,
    Elasticsearch,
    Shared,
    certificate_mount,
    existing_ca,
)
from modelops.monitoring.program import account

DEFAULT_RESOURCES = DefaultResources(cpu="20m", memory="32Mi", memory_limit="128Mi")
DEFAULT_SNAPSHOT_DAYS = 30
_DEADLINE_SECONDS = 600
_PROGRAM = "log-setup"
_INDICES = 30
"""About how many indices a stream has before the oldest is deleted."""
_MAX_SHARD, _MIN_SHARD = 50 * 2**30, 64 * 2**20


def deploy(
    shared: Shared,
    part: ElasticsearchPart,
    elasticsearch: Elasticsearch,
    kibana_url: pulumi.Output[str] | None,
    runtime_image: pulumi.Input[str],
) -> k8s.batch.v1.Job:
    """Runs the setup, again whenever one of its files changes. The watch of its start runs in `runtime_image`."""
    scope, opts = shared.scope, shared.opts
    identity = account(scope, _PROGRAM, opts)
    network_policy(scope.named(_PROGRAM), scope.metadata(_PROGRAM), selector(_PROGRAM, scope.name), opts)
    files = shared.files(_PROGRAM, _files(part, with_kibana=kibana_url is not None))
    ca_volumes, ca_mounts = existing_ca(shared, elasticsearch)
    managed = elasticsearch.ca_file == STACK_CA_FILE
    variables: dict[str, pulumi.Input[str]] = {
        "ELASTICSEARCH_URL": elasticsearch.url,
        "USERNAME": "modelops_setup" if managed else elasticsearch.username,
        "CERTIFICATE_AUTHORITY": elasticsearch.ca_file or "",
    }
    if kibana_url is not None:
        variables["KIBANA_URL"] = kibana_url
    setup = container(
        "setup",
        part.get("image", UPSTREAM_IMAGES["elasticsearch"]),
        variables=variables,
        secrets=shared.passwords(PASSWORD="SETUP_PASSWORD" if managed else elasticsearch.password),
        command=["/bin/sh", "/setup/setup.sh"],
        resources=resource_requirements(scope.args.get("helper_resources"), DEFAULT_RESOURCES),
        volume_mounts=[
            mount("files", "/setup", read_only=True),
            mount("tmp", "/tmp"),
            certificate_mount(),
            *ca_mounts,
        ],
    )
    template = pod_template(
        scope.labels(_PROGRAM),
        with_dependencies(scope.named(_PROGRAM), identity),
        [setup],
        scope.args,
        security=restricted_pod(USER, GROUP),
        restart_policy="Never",
        volumes=[
            from_config_map("files", files),
            scratch(),
            shared.ca_volume(),
            *ca_volumes,
        ],
    )
    after = merged(opts, depends_on=[*elasticsearch.after, *shared.certificate_resources])
    watched = watched_options(
        scope.named(_PROGRAM),
        selector(_PROGRAM, scope.name),
        template,
        {**scope.args, "namespace": scope.namespace},
        after,
        first=identity,
        image=runtime_image,
        seconds=_DEADLINE_SECONDS,
    )
    return k8s.batch.v1.Job(
        scope.named(_PROGRAM),
        metadata=k8s.meta.v1.ObjectMetaArgs(
            namespace=scope.namespace,
            labels=scope.labels(_PROGRAM),
            annotations={"pulumi.com/replaceUnready": "true"},  # a failed one is run again by the next `up`
        ),
        spec=k8s.batch.v1.JobSpecArgs(
            backoff_limit=3,
            active_deadline_seconds=_DEADLINE_SECONDS,
            template=template,
        ),
        opts=merged(
            watched,
            custom_timeouts=pulumi.CustomTimeouts(create="12m"),
            replace_on_changes=["spec"],
        ),
    )


def _files(part: ElasticsearchPart, *, with_kibana: bool) -> dict[str, pulumi.Input[str]]:
    days = part.get("retention_days", DEFAULT_RETENTION_DAYS)
    size = part.get("storage_size", DEFAULT_STORAGE_SIZE)
    nodes = part.get("nodes", 1)
    files: dict[str, pulumi.Input[str]] = {
        "setup.sh": asset("monitoring/logs/assets/elasticsearch-setup/setup.sh"),
        "pipeline.json": asset("monitoring/logs/assets/elasticsearch-setup/pipeline.json"),
        "index-template.json": index_template(nodes),
        "lifecycle.json": pulumi.Output.all(days, size).apply(lambda values: lifecycle(values[0], values[1])),
    }
    if snapshots := part.get("snapshots"):
        files |= _snapshot_files(snapshots)
    if with_kibana:
        files["kibana.ndjson"] = asset("monitoring/logs/assets/kibana/objects.ndjson")
    return files


def index_template(nodes: int) -> str:
    """The streams' template, with a replica if there is more than one node."""
    template: dict[str, Any] = json.loads(asset("monitoring/logs/assets/elasticsearch-setup/index-template.json"))
    template["template"]["settings"]["index.number_of_replicas"] = 1 if nodes > 1 else 0
    return json.dumps(template, indent=2)


def lifecycle(retention_days: float, storage_size: str) -> str:
    """When a stream rolls over to a new index, and when an old one is deleted.

    Only whole indices are deleted, so each covers at most a thirtieth of the retention or a fortieth of a volume.
    """
    policy: dict[str, Any] = json.loads(asset("monitoring/logs/assets/elasticsearch-setup/lifecycle.json"))
    days = int(retention_days)
    shard = max(min(bytes_of(storage_size) // 40, _MAX_SHARD), _MIN_SHARD)
    rollover = policy["policy"]["phases"]["hot"]["actions"]["rollover"]
    rollover["max_age"] = f"{max(1, days // _INDICES)}d"
    rollover["max_primary_shard_size"] = f"{shard // 2**20}mb"
    policy["policy"]["phases"]["delete"]["min_age"] = f"{days}d"
    return json.dumps(policy, indent=2)


def _snapshot_files(snapshots: Snapshots) -> dict[str, pulumi.Input[str]]:
    def repository(location: list[str]) -> str:
        document: dict[str, Any] = json.loads(asset("monitoring/logs/assets/elasticsearch-setup/repository.json"))
        document["settings"] |= {"bucket": location[0], "base_path": location[1]}
        return json.dumps(document, indent=2)

    def policy(days: float) -> str:
        document: dict[str, Any] = json.loads(asset("monitoring/logs/assets/elasticsearch-setup/snapshots.json"))
        document["retention"]["expire_after"] = f"{int(days)}d"
        return json.dumps(document, indent=2)

    location = pulumi.Output.all(snapshots["bucket"], snapshots.get("base_path", "elasticsearch"))
    days = pulumi.Output.from_input(snapshots.get("retention_days", DEFAULT_SNAPSHOT_DAYS))
    return {"repository.json": location.apply(repository), "snapshots.json": days.apply(policy)}
