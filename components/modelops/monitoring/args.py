"""Arguments of MonitoringStack's parts."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

import pulumi

from modelops.core.types import Resources
from modelops.monitoring.receivers import Receivers


class Part(TypedDict):
    """A part with only its image and size to set."""

    enabled: NotRequired[bool]
    """Whether to install it. Default true."""
    image: NotRequired[pulumi.Input[str]]
    """Image to use instead. Default: the upstream image at a pinned version."""
    resources: NotRequired[Resources]
    """Resources of its container. Default: depends on the part."""


class PrometheusPart(TypedDict):
    """Prometheus: scrapes and stores metrics, evaluates rules."""

    enabled: NotRequired[bool]
    """Whether to install it. Default true."""
    image: NotRequired[pulumi.Input[str]]
    """Image to use instead, Prometheus 2.42 or later. Default: the upstream image at a pinned version."""
    resources: NotRequired[Resources]
    """Resources of the container. Default: 100m CPU, 384Mi memory, limited to 1Gi."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the metrics volume; the oldest metrics are dropped once 80% of it is used. Default `10Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volume. Default: the cluster's."""
    retain_volume: NotRequired[bool]
    """Whether to keep the volume when the stack is destroyed. Default true."""
    claim: NotRequired[pulumi.Input[str]]
    """Existing PersistentVolumeClaim in the namespace to use instead, such as one that an earlier stack left; it is not
    changed. Default: a new claim."""
    retention_days: NotRequired[pulumi.Input[int]]
    """How long to keep metrics, in days. Default 15; 1 to 3650."""


class AlertmanagerPart(TypedDict):
    """Alertmanager: groups alerts and notifies receivers."""

    enabled: NotRequired[bool]
    """Whether to install it. Default true."""
    image: NotRequired[pulumi.Input[str]]
    """Image to use instead. Default: the upstream image at a pinned version."""
    resources: NotRequired[Resources]
    """Resources of the container. Default: 20m CPU, 64Mi memory, limited to 256Mi."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the volume for silences and the notification log. Default `1Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volume. Default: the cluster's."""
    retain_volume: NotRequired[bool]
    """Whether to keep the volume when the stack is destroyed. Default true."""
    claim: NotRequired[pulumi.Input[str]]
    """Existing PersistentVolumeClaim in the namespace to use instead, such as one that an earlier stack left; it is not
    changed. Default: a new claim."""
    receivers: NotRequired[Receivers]
    """Who receives the alerts. Kept in a Secret. Default: nobody; alerts appear only in Alertmanager's own UI."""
    heartbeat_url: NotRequired[pulumi.Input[str]]
    """URL to which `Watchdog` is posted every minute: that of a service outside the cluster, such as Healthchecks.io,
    that raises an alarm when the posts end. Kept in a Secret. Default: none; nobody notices when alerting itself is
    broken."""
    config: NotRequired[pulumi.Input[str]]
    """Alertmanager's complete configuration (YAML text) instead of `receivers` and `heartbeat_url`, for custom routes.
    Kept in a Secret. Default: generated from them."""


class GrafanaPart(TypedDict):
    """Grafana, with this library's data source and dashboards."""

    enabled: NotRequired[bool]
    """Whether to install it. Default false, as it needs a password."""
    image: NotRequired[pulumi.Input[str]]
    """Image to use instead. Default: the upstream image at a pinned version."""
    resources: NotRequired[Resources]
    """Resources of the container. Default: 100m CPU, 192Mi memory, limited to 512Mi."""
    admin_password: NotRequired[pulumi.Input[str]]
    """Password of the user `admin`, kept in a Secret. Required when Grafana is on; at least 8 characters."""


class Web(TypedDict):
    """How Prometheus and Alertmanager serve their clients."""

    tls: NotRequired[bool]
    """Whether to serve HTTPS only, with certificates from the stack's own CA (output `web_ca_certificate`). Default
    false."""
    certificate_generation: NotRequired[int]
    """Change this number to issue new certificates, as a changed `host` requires. They are valid for ten years.
    Default 1."""


class PrometheusOperator(TypedDict):
    """The cluster's prometheus-operator, with its Prometheus, Alertmanager and exporters."""

    labels: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Labels by which its Prometheus selects rules and monitors, such as `release: kube-prometheus-stack`. Default:
    none."""


class GrafanaSidecar(TypedDict):
    """The cluster's Grafana, with the sidecar that loads dashboards from ConfigMaps."""

    labels: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Labels by which the sidecar selects ConfigMaps. Default `grafana_dashboard: "1"`."""
    folder: NotRequired[pulumi.Input[str]]
    """Folder for the dashboards, if the sidecar honours the annotation `grafana_folder`. Default `ModelOps`."""
    datasource: NotRequired[pulumi.Input[str]]
    """The uid of Grafana's Prometheus data source. Default `prometheus`."""


class Attach(TypedDict):
    """Monitoring that the cluster already has. At least one."""

    prometheus_operator: NotRequired[PrometheusOperator]
    """Hand rules and monitors to prometheus-operator; Prometheus, Alertmanager and the exporters are not installed.
    Default: not used."""
    grafana: NotRequired[GrafanaSidecar]
    """Hand dashboards to a Grafana with its sidecar; Grafana is not installed. Default: not used."""
