"""Arguments of the parts of MonitoringStack."""

from typing import NotRequired, TypedDict

import pulumi

from modelops._types import Resources


class Part(TypedDict):
    """A part with nothing to set but where it comes from and how big it is."""

    enabled: NotRequired[bool]
    """Whether the part is there. Default true."""
    image: NotRequired[pulumi.Input[str]]
    """Another image with the same program. Default: the upstream one, by exact version."""
    resources: NotRequired[Resources]
    """Resources of the part's container. Default: the part's."""


class PrometheusPart(TypedDict):
    """Prometheus: scrapes, keeps metrics, evaluates rules."""

    enabled: NotRequired[bool]
    """Whether the part is there. Default true."""
    image: NotRequired[pulumi.Input[str]]
    """Another image with the same program, 2.42 or later. Default: the upstream one, by exact version."""
    resources: NotRequired[Resources]
    """Resources of the container. Default: 100m CPU, 384Mi memory, limited to 1Gi."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the volume for metrics; the oldest go when four fifths of it are used. Default `10Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volume. Default: the cluster's."""
    retention_days: NotRequired[pulumi.Input[int]]
    """How long metrics are kept, in days. Default 15; 1 to 3650."""


class AlertmanagerPart(TypedDict):
    """Alertmanager: groups alerts and sends them on."""

    enabled: NotRequired[bool]
    """Whether the part is there. Default true."""
    image: NotRequired[pulumi.Input[str]]
    """Another image with the same program. Default: the upstream one, by exact version."""
    resources: NotRequired[Resources]
    """Resources of the container. Default: 20m CPU, 64Mi memory, limited to 256Mi."""
    config: NotRequired[pulumi.Input[str]]
    """Alertmanager's configuration (YAML text) with routes and receivers. Kept in a Secret. Default: alerts show on
    Alertmanager's own page and go nowhere."""


class GrafanaPart(TypedDict):
    """Grafana, with the data source and dashboards of this library."""

    enabled: NotRequired[bool]
    """Whether the part is there. Default false, as it needs a password."""
    image: NotRequired[pulumi.Input[str]]
    """Another image with the same program. Default: the upstream one, by exact version."""
    resources: NotRequired[Resources]
    """Resources of the container. Default: 100m CPU, 192Mi memory, limited to 512Mi."""
    admin_password: NotRequired[pulumi.Input[str]]
    """Password of the user `admin`, kept in a Secret. Required when the part is there; at least 8 characters."""


class ElasticsearchPart(TypedDict):
    """Elasticsearch: keeps logs. One node."""

    image: NotRequired[pulumi.Input[str]]
    """Another image with the same program, 8.14 or later. Default: the upstream one, by exact version."""
    resources: NotRequired[Resources]
    """Resources of the container; half of the memory becomes Java's heap. Default: 200m CPU, 2Gi memory."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the volume for logs. Default `20Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volume. Default: the cluster's."""
    retention_days: NotRequired[pulumi.Input[int]]
    """How long logs are kept, in days. Default 14; 1 to 3650."""


class ElkPart(TypedDict):
    """Elasticsearch with Logstash, Kibana and Filebeat: the containers' logs, searchable."""

    enabled: NotRequired[bool]
    """Whether Elasticsearch, and with it any of the four, is there. Default false, as it needs a password."""
    password: NotRequired[pulumi.Input[str]]
    """Password of the superuser `modelops`, kept in a Secret; those of Logstash and Kibana are derived from it.
    Required when the part is there; at least 8 characters. A changed one holds after the pods' restart, which the
    change causes."""
    elasticsearch: NotRequired[ElasticsearchPart]
    """Elasticsearch's own settings. Default: as stated there."""
    logstash: NotRequired[Part]
    """Logstash's own settings. Default: there. Needed by Filebeat."""
    kibana: NotRequired[Part]
    """Kibana's own settings. Default: there."""
    filebeat: NotRequired[Part]
    """Filebeat's own settings. Default: there."""
