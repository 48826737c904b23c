"""Arguments of the log pipeline: Filebeat, Logstash, Elasticsearch, Kibana."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import pulumi

from modelops.core.types import Resources
from modelops.monitoring.args import Part


class Snapshots(TypedDict):
    """Nightly snapshots of the logs to object storage (S3 or compatible)."""

    bucket: pulumi.Input[str]
    """Bucket; it must exist."""
    base_path: NotRequired[pulumi.Input[str]]
    """Path in the bucket. Default `elasticsearch`."""
    endpoint: NotRequired[pulumi.Input[str]]
    """URL of the object store. Default: Amazon S3."""
    access_key: pulumi.Input[str]
    """Access key, kept in a Secret."""
    secret_key: pulumi.Input[str]
    """Secret key, kept in a Secret."""
    retention_days: NotRequired[pulumi.Input[int]]
    """How long to keep snapshots, in days. Default 30; 1 to 3650."""


class ElasticsearchPart(TypedDict):
    """Elasticsearch: stores the logs, on one node or three."""

    image: NotRequired[pulumi.Input[str]]
    """Image to use instead, Elasticsearch 8.14 or later. Default: the upstream image at a pinned version."""
    resources: NotRequired[Resources]
    """Resources of each node's container; half of the memory, at most 31 GiB, becomes the Java heap. Default: 200m CPU,
    2Gi memory."""
    nodes: NotRequired[int]
    """Number of nodes: 1, or 3, which store each line twice and survive the loss of one. Default 1. Choose early: going
    from one to three requires a restore."""
    zones: NotRequired[Sequence[pulumi.Input[str]]]
    """Zones (`topology.kubernetes.io/zone`) for three nodes, one in each. Default: spread over nodes, and over zones
    where possible."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of each node's volume. Default `20Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volumes. Default: the cluster's."""
    retain_volume: NotRequired[bool]
    """Whether to keep the volumes when the stack is destroyed; a stack of the same name reuses them. Default true."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace to use instead; with one node only. Default: new claims."""
    retention_days: NotRequired[pulumi.Input[int]]
    """How long to keep logs, in days. Default 14; 1 to 3650."""
    daily_size: NotRequired[pulumi.Input[str]]
    """Expected log volume per day, as stored. When set, volumes too small for `retention_days` of it are rejected.
    Default: not checked."""
    snapshots: NotRequired[Snapshots]
    """Snapshots to object storage. Default: none."""


class ExistingElasticsearch(TypedDict):
    """An Elasticsearch that the team already runs, with ECK or elsewhere; no Elasticsearch or Kibana is installed."""

    url: pulumi.Input[str]
    """URL, `https://…:9200`."""
    username: pulumi.Input[str]
    """User that writes, and unless `setup` is false also runs the setup; the component's page lists its privileges."""
    ca_certificate: NotRequired[pulumi.Input[str]]
    """CA certificate (PEM) that signs its own. Default: the CAs that the images trust."""
    setup: NotRequired[bool]
    """Whether to install the index template, lifecycle policy and ingest pipeline there. Default true."""


class LogstashPart(TypedDict):
    """Logstash: receives lines from all nodes and queues them on a volume until Elasticsearch accepts them."""

    enabled: NotRequired[bool]
    """Whether to install it. Without it Filebeat writes to Elasticsearch itself, with the same result. Default true."""
    image: NotRequired[pulumi.Input[str]]
    """Image to use instead. Default: the upstream image at a pinned version."""
    resources: NotRequired[Resources]
    """Resources of the container; half of the memory becomes the Java heap. Default: 100m CPU, 1Gi memory."""
    queue_size: NotRequired[pulumi.Input[str]]
    """Size of the queue on its volume. Default `1Gi`; at least `128Mi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volume. Default: the cluster's."""
    retain_volume: NotRequired[bool]
    """Whether to keep the volume, with the queued lines, when the stack is destroyed. Default true."""
    claim: NotRequired[pulumi.Input[str]]
    """Existing PersistentVolumeClaim in the namespace to use instead, such as one that an earlier stack left; it is not
    changed. Default: a new claim."""


class FilebeatPart(TypedDict):
    """Filebeat: reads container log files on every node and queues lines on the node until they are accepted."""

    enabled: NotRequired[bool]
    """Whether to install it. Default true."""
    image: NotRequired[pulumi.Input[str]]
    """Image to use instead, Filebeat 7.17 or later. Default: the upstream image at a pinned version."""
    resources: NotRequired[Resources]
    """Resources of the container. Default: 50m CPU, 128Mi memory, limited to 512Mi."""
    queue_size: NotRequired[pulumi.Input[str]]
    """How much each node queues on its own disk while the output is down. Default `1Gi`; at least `64Mi`."""


class ElkPart(TypedDict):
    """Elasticsearch with Logstash, Kibana and Filebeat: searchable container logs."""

    enabled: NotRequired[bool]
    """Whether to install the log pipeline at all. Default false."""
    password: NotRequired[pulumi.Input[str]]
    """Password of the superuser `modelops`, or of `existing`'s user; at least 8 characters. Default: generated once.
    The passwords of Kibana, Logstash, Filebeat and Grafana are derived from it. Changing it restarts the pods and then
    takes effect."""
    existing: NotRequired[ExistingElasticsearch]
    """An existing Elasticsearch to send logs to. Requires `password`. Default: a new one."""
    runtime_image: NotRequired[pulumi.Input[str]]
    """Image with Python 3.11 or newer, in which the setup's start is watched. Default: Python's own image."""
    certificate_generation: NotRequired[int]
    """Change this number for another CA of the stack's own, which is valid for ten years. Default 1."""
    elasticsearch: NotRequired[ElasticsearchPart]
    """Elasticsearch settings. Default: as listed there."""
    logstash: NotRequired[LogstashPart]
    """Logstash settings. Default: installed."""
    kibana: NotRequired[Part]
    """Kibana settings. Default: installed, unless `existing` is set."""
    filebeat: NotRequired[FilebeatPart]
    """Filebeat settings. Default: installed."""
