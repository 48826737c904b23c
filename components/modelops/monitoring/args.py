"""Arguments of MonitoringStack's parts."""

from collections.abc import Mapping, Sequence
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


class BasicAuth(TypedDict):
    """A user name and a password."""

    username: pulumi.Input[str]
    """User name."""
    secret: pulumi.Input[str]
    """Name of a Secret in the namespace with `password`."""


class SigV4(TypedDict):
    """AWS's signatures, for Amazon Managed Service for Prometheus."""

    region: pulumi.Input[str]
    """Region of the workspace."""
    role_arn: NotRequired[pulumi.Input[str]]
    """Role to assume. Default: none."""
    secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. Default: none, for nodes
    or pods that have an identity of AWS."""


class RemoteWrite(TypedDict):
    """A receiver of metrics by Prometheus' remote write protocol. At most one kind of credentials."""

    url: pulumi.Input[str]
    """Address, such as `https://mimir.example.com/api/v1/push`."""
    headers: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Further HTTP headers, such as `X-Scope-OrgID` for Mimir's tenant; no secrets. Default: none."""
    basic_auth: NotRequired[BasicAuth]
    """User name and password. Default: none."""
    token_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `token`, a bearer token. Default: none."""
    sigv4: NotRequired[SigV4]
    """AWS's signatures. Default: none."""
    ca_certificate: NotRequired[pulumi.Input[str]]
    """CA certificate (PEM) of the receiver. Default: the CAs that the image trusts."""
    metrics: NotRequired[pulumi.Input[str]]
    """Regular expression for the names of the metrics to send, in full. Default: all."""


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
    replicas: NotRequired[int]
    """Number of Prometheus servers. Each of several scrapes everything onto a volume of its own, and sends it out with
    the label `prometheus_replica`; alerts reach Alertmanager as those of one. From one to several begins with empty
    volumes. Default 1; 1 to 5."""
    remote_write: NotRequired[Sequence[RemoteWrite]]
    """Where to send all metrics, such as Thanos, Mimir or a managed service. Default: nowhere."""


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
    replicas: NotRequired[int]
    """Number of Alertmanagers. Several have a volume each and tell each other what they have sent and what is silenced,
    so that each notification goes out once and the loss of one loses none. From one to several begins with empty
    volumes. Default 1; 1 to 5."""
    receivers: NotRequired[Receivers]
    """Who receives the alerts. Kept in a Secret. Default: nobody; alerts appear only in Alertmanager's own UI."""
    heartbeat_url: NotRequired[pulumi.Input[str]]
    """URL to which `Watchdog` is posted every minute: that of a service outside the cluster, such as Healthchecks.io,
    that raises an alarm when the posts end. Kept in a Secret. Default: none; nobody notices when alerting itself is
    broken."""
    config: NotRequired[pulumi.Input[str]]
    """Alertmanager's complete configuration (YAML text) instead of `receivers` and `heartbeat_url`, for custom routes.
    Kept in a Secret. Default: generated from them."""


class Prices(TypedDict):
    """What the dashboards reckon costs with. Whoever looks at one can change them there for a while."""

    cpu: NotRequired[pulumi.Input[float]]
    """Price of a core and hour. Default 0.04."""
    memory: NotRequired[pulumi.Input[float]]
    """Price of a GiB of memory and hour. Default 0.005."""
    gpu: NotRequired[pulumi.Input[float]]
    """Price of a GPU and hour. Default 2."""
    currency: NotRequired[pulumi.Input[str]]
    """The prices' currency, in three letters. Default `USD`."""


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
    prices: NotRequired[Prices]
    """Prices of the machines, for what models and tokens cost. Default: as of each price."""
    sign_on_header: NotRequired[pulumi.Input[str]]
    """HTTP header in which a proxy tells who has signed in there, such as `X-Forwarded-Email`; Grafana then asks for no
    password, and only pods with the label `app.kubernetes.io/instance: <this component's name>` may connect, as the
    proxy's must have. Default: none, people sign in to Grafana."""


class Web(TypedDict):
    """How Prometheus and Alertmanager serve their clients."""

    tls: NotRequired[bool]
    """Whether to serve HTTPS only, with certificates that `certificates` signs (output `web_ca_certificate`). Default
    false."""
    certificate_generation: NotRequired[int]
    """Change this number for another CA of the stack's own, which is valid for ten years. Default 1."""


class CertificateIssuer(TypedDict):
    """An issuer of cert-manager, which issues the certificates in the cluster and renews them there."""

    name: pulumi.Input[str]
    """Name of the issuer; it must issue certificates for the cluster's own names, as a CA or Vault does."""
    kind: NotRequired[str]
    """`Issuer`, in the stack's namespace and for Filebeat's certificate in `agents_namespace`, or `ClusterIssuer`.
    Default `Issuer`."""
    ca_certificate: NotRequired[pulumi.Input[str]]
    """CA certificate (PEM) behind the issuer, for clients: becomes the output `web_ca_certificate`. Default: none, and
    no such output; pods read the one that cert-manager hands out."""


class CertificateAuthority(TypedDict):
    """Who signs the stack's certificates: `ca_certificate` with `ca_key`, or `issuer`."""

    ca_certificate: NotRequired[pulumi.Input[str]]
    """Certificate (PEM) of a CA of your own, which may be one below your company's; then followed by those above it.
    Default: the stack's own CA."""
    ca_key: NotRequired[pulumi.Input[str]]
    """Its private key (PEM, without a passphrase). Kept in the state, encrypted, and in no pod. Required with
    `ca_certificate`."""
    issuer: NotRequired[CertificateIssuer]
    """An issuer of cert-manager. Default: none."""


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
    prices: NotRequired[Prices]
    """Prices of the machines, for what models and tokens cost. Default: as of each price."""


class Attach(TypedDict):
    """Monitoring that the cluster already has. At least one."""

    prometheus_operator: NotRequired[PrometheusOperator]
    """Hand rules and monitors to prometheus-operator; Prometheus, Alertmanager and the exporters are not installed.
    Default: not used."""
    grafana: NotRequired[GrafanaSidecar]
    """Hand dashboards to a Grafana with its sidecar; Grafana is not installed. Default: not used."""
