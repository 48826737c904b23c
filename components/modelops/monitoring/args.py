"""Arguments of the parts of MonitoringStack."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

import pulumi

from modelops.core.types import Resources
from modelops.monitoring.receivers import Receivers


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
    retain_volume: NotRequired[bool]
    """Whether the volume stays when the stack is destroyed. Default true."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace to use instead, such as one that an earlier stack left; it stays
    as it is. Default: one of its own."""
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
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the volume for silences and for what was sent. Default `1Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volume. Default: the cluster's."""
    retain_volume: NotRequired[bool]
    """Whether the volume stays when the stack is destroyed. Default true."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace to use instead, such as one that an earlier stack left; it stays
    as it is. Default: one of its own."""
    receivers: NotRequired[Receivers]
    """Who gets the alerts. Kept in a Secret. Default: alerts show on Alertmanager's own page and go nowhere."""
    config: NotRequired[pulumi.Input[str]]
    """Alertmanager's whole configuration (YAML text) in place of `receivers`, for routes of your own. Kept in a Secret.
    Default: made from `receivers`."""


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


class Web(TypedDict):
    """How Prometheus and Alertmanager speak to whoever asks them."""

    tls: NotRequired[bool]
    """Whether to serve HTTPS only, with certificates of the stack's own CA: the output `web_ca_certificate`. Default
    false."""
    certificate_generation: NotRequired[int]
    """Number of the certificates: another number makes new ones, as a changed `host` needs. They are valid for ten
    years. Default 1."""


class PrometheusOperator(TypedDict):
    """The prometheus-operator that the cluster has, with its Prometheus, Alertmanager and exporters."""

    labels: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Labels by which its Prometheus picks rules and monitors, such as `release: kube-prometheus-stack`. Default:
    none."""


class GrafanaSidecar(TypedDict):
    """The Grafana that the cluster has, with the sidecar that collects dashboards out of ConfigMaps."""

    labels: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Labels by which the sidecar picks ConfigMaps. Default `grafana_dashboard: "1"`."""
    folder: NotRequired[pulumi.Input[str]]
    """Folder that the dashboards are shown in, where the sidecar goes by the annotation `grafana_folder`. Default
    `ModelOps`."""
    datasource: NotRequired[pulumi.Input[str]]
    """The uid of Grafana's data source for Prometheus. Default `prometheus`."""


class Attach(TypedDict):
    """Monitoring that the cluster has already. At least one."""

    prometheus_operator: NotRequired[PrometheusOperator]
    """Give rules and monitors to prometheus-operator; Prometheus, Alertmanager and exporters of our own are not there.
    Default: not used."""
    grafana: NotRequired[GrafanaSidecar]
    """Give dashboards to a Grafana with its sidecar; there is none of our own. Default: not used."""
