"""Arguments of the log pipeline: Filebeat, Logstash, Elasticsearch, Kibana."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import pulumi

from modelops.core.types import Resources
from modelops.monitoring.args import Part


class Snapshots(TypedDict):
    """Nightly snapshots of the logs to object storage (S3 or what speaks its protocol)."""

    bucket: pulumi.Input[str]
    """Bucket; it must exist."""
    base_path: NotRequired[pulumi.Input[str]]
    """Folder in the bucket. Default `elasticsearch`."""
    endpoint: NotRequired[pulumi.Input[str]]
    """Address of the object store. Default: Amazon's."""
    access_key: pulumi.Input[str]
    """Access key, kept in a Secret."""
    secret_key: pulumi.Input[str]
    """Secret key, kept in a Secret."""
    retention_days: NotRequired[pulumi.Input[int]]
    """How long a snapshot is kept, in days. Default 30; 1 to 3650."""


class ElasticsearchPart(TypedDict):
    """Elasticsearch: keeps logs, on one node or three."""

    image: NotRequired[pulumi.Input[str]]
    """Another image with the same program, 8.14 or later. Default: the upstream one, by exact version."""
    resources: NotRequired[Resources]
    """Resources of each node's container; half of the memory, 31 GiB at most, becomes Java's heap. Default: 200m CPU,
    2Gi memory."""
    nodes: NotRequired[int]
    """How many nodes: 1, or 3, which go on when one is lost and keep each line twice. Default 1. Decide at the start:
    a change from one to three needs a restore."""
    zones: NotRequired[Sequence[str]]
    """Zones (`topology.kubernetes.io/zone`) for three nodes, one in each. Default: spread over nodes and zones as far
    as there are some."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of each node's volume. Default `20Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volumes. Default: the cluster's."""
    retain_volume: NotRequired[bool]
    """Whether the volumes outlive the stack: `pulumi destroy` leaves them, and a stack of the same name takes them up
    again. Default true."""
    retention_days: NotRequired[pulumi.Input[int]]
    """How long logs are kept, in days. Default 14; 1 to 3650."""
    daily_size: NotRequired[pulumi.Input[str]]
    """How much log a day you expect, in bytes as stored. When given, volumes too small for `retention_days` of it are
    refused."""
    snapshots: NotRequired[Snapshots]
    """Snapshots to object storage. Default: none."""


class ExistingElasticsearch(TypedDict):
    """An Elasticsearch that the team runs already, with ECK or elsewhere; none is made then, nor a Kibana."""

    url: pulumi.Input[str]
    """Address, `https://…:9200`."""
    username: pulumi.Input[str]
    """User that writes, and unless `setup` is false also sets up: see the component's page for the rights."""
    ca_certificate: NotRequired[pulumi.Input[str]]
    """Certificate (PEM) that its own is signed with. Default: the authorities that the images know."""
    setup: NotRequired[bool]
    """Whether the index template, lifecycle policy and ingest pipeline are put there. Default true."""


class LogstashPart(TypedDict):
    """Logstash: takes the lines of all nodes and keeps them on a volume until Elasticsearch has them."""

    enabled: NotRequired[bool]
    """Whether the part is there. Without it Filebeat writes to Elasticsearch itself; the lines come out the same.
    Default true."""
    image: NotRequired[pulumi.Input[str]]
    """Another image with the same program. Default: the upstream one, by exact version."""
    resources: NotRequired[Resources]
    """Resources of the container; half of the memory becomes Java's heap. Default: 100m CPU, 1Gi memory."""
    queue_size: NotRequired[pulumi.Input[str]]
    """Size of the queue on its volume. Default `1Gi`; at least `128Mi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volume. Default: the cluster's."""
    retain_volume: NotRequired[bool]
    """Whether the volume, with the lines that wait on it, stays when the stack is destroyed. Default true."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace to use instead, such as one that an earlier stack left; it stays
    as it is. Default: one of its own."""


class FilebeatPart(TypedDict):
    """Filebeat: reads the containers' log files on every node and keeps lines on the node until they are taken."""

    enabled: NotRequired[bool]
    """Whether the part is there. Default true."""
    image: NotRequired[pulumi.Input[str]]
    """Another image with the same program, 7.17 or later. Default: the upstream one, by exact version."""
    resources: NotRequired[Resources]
    """Resources of the container. Default: 50m CPU, 128Mi memory, limited to 512Mi."""
    queue_size: NotRequired[pulumi.Input[str]]
    """How much each node keeps on its own disk while nothing takes it. Default `1Gi`; at least `64Mi`."""


class ElkPart(TypedDict):
    """Elasticsearch with Logstash, Kibana and Filebeat: the containers' logs, searchable."""

    enabled: NotRequired[bool]
    """Whether Elasticsearch, and with it any of the four, is there. Default false."""
    password: NotRequired[pulumi.Input[str]]
    """Password of the superuser `modelops`, or of `existing`'s user; at least 8 characters. Default: generated once.
    Those of Kibana, Logstash, Filebeat and Grafana are derived from it. A changed one holds after the pods' restart,
    which the change causes."""
    existing: NotRequired[ExistingElasticsearch]
    """An Elasticsearch to send to in place of one of its own. Needs `password`."""
    certificate_generation: NotRequired[int]
    """Number of the certificates: another number makes new ones. They are valid for ten years. Default 1."""
    elasticsearch: NotRequired[ElasticsearchPart]
    """Elasticsearch's own settings. Default: as stated there."""
    logstash: NotRequired[LogstashPart]
    """Logstash's own settings. Default: there."""
    kibana: NotRequired[Part]
    """Kibana's own settings. Default: there, unless Elasticsearch is an existing one."""
    filebeat: NotRequired[FilebeatPart]
    """Filebeat's own settings. Default: there."""
