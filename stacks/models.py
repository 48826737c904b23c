"""The schema of a stack's settings. Fields without a sensible default are required."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=50)]
Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(m|k|[MGTPE]i?|Ki)?$")]
Host = Annotated[str, Field(pattern=r"^\S+$")]
ExposeName = Literal["LoadBalancer", "ClusterIP", "NodePort"]
Port = Annotated[int, Field(ge=1, le=65_535)]
AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]


class Model(BaseModel):
    """Frozen, and strict about names: a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True)


class ResourceSettings(Model):
    """Requests and limits of a container; the component has defaults."""

    cpu: Quantity | None = None
    cpu_limit: Quantity | None = None
    memory: Quantity | None = None
    memory_limit: Quantity | None = None
    gpus: int | None = Field(default=None, ge=0)
    gpu_resource: str | None = None
    devices: dict[str, Annotated[int, Field(ge=1)]] | None = None


class ImageSettings(Model):
    """How images are built and where they are pushed."""

    registry: str = Field(pattern=r"^[a-z0-9]+([._:/-]+[a-z0-9]+)*$")
    """Registry and path to push `train`, `serve` and, with `data`, `prepare` to: `registry.example.com/team`."""
    builder: Literal["docker-build", "docker"] = "docker-build"
    builder_name: str | None = None
    base_image: str | None = None
    """The Dockerfile's `BASE_IMAGE`. Default: the Dockerfile's own."""
    platforms: list[str] = []
    cache: bool = False
    compression: Literal["zstd", "gzip"] = "zstd"


class Bounds(Model):
    """Bounds of a metric."""

    min: float | None = None
    max: float | None = None
    min_delta: float | None = None
    max_delta: float | None = None


class VolumeSettings(Model):
    """A volume: a new one by its size, or an existing one by its claim."""

    storage_size: Quantity | None = None
    storage_class: str | None = None
    access_modes: list[AccessMode] | None = None
    claim: str | None = None


class CheckpointSettings(VolumeSettings):
    """Where checkpoints outlive a pod: on a volume or in an object store."""

    uri: str | None = None
    secret: str | None = None
    interval_seconds: int | None = Field(default=None, ge=1, le=86_400)
    interval_steps: int | None = Field(default=None, ge=1)
    retain_volume: bool | None = None
    keep_after_publish: bool | None = None


class TolerationSettings(Model):
    """A node taint that the pods tolerate."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] | None = None
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class TopologySpreadSettings(Model):
    """How evenly pods are spread."""

    topology_key: str
    max_skew: int | None = Field(default=None, ge=1)
    when_unsatisfiable: Literal["ScheduleAnyway", "DoNotSchedule"] | None = None


class ClusterNetworkSettings(Model):
    """The cluster's IP families, and what network policies must know of it."""

    dns_ports: list[Port] | None = None
    api_server_ports: list[Port] | None = None
    egress_ports: list[Port] | None = None
    ip_families: list[Literal["IPv4", "IPv6"]] | None = None
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    cluster_domain: str | None = None


class PodSettings(Model):
    """How a component's pods fit the cluster."""

    node_selector: dict[str, str] | None = None
    tolerations: list[TolerationSettings] | None = None
    affinity: dict[str, Any] | None = None
    topology_spread: list[TopologySpreadSettings] | None = None
    priority_class: str | None = None
    runtime_class: str | None = None
    pod_labels: dict[str, str] | None = None
    pod_annotations: dict[str, str] | None = None
    service_account_annotations: dict[str, str] | None = None
    environment: dict[str, str] | None = None
    ca_config_map: Host | None = None
    image_pull_secret: Host | None = None
    assigned_user: bool | None = None
    network: ClusterNetworkSettings | None = None


class HelperSettings(Model):
    """The library's own containers beside the main ones."""

    helper_resources: ResourceSettings | None = None


class ServiceMetadataSettings(Model):
    """The Services that clients reach."""

    service_labels: dict[str, str] | None = None
    service_annotations: dict[str, str] | None = None


class PublisherSettings(Model):
    """The programs that register the model."""

    command: list[str] | None = Field(default=None, min_length=1)
    select_command: list[str] | None = Field(default=None, min_length=1)
    registry_wait_seconds: int | None = Field(default=None, ge=0, le=3600)


class BaseModelSettings(Model):
    """The model that a fine-tuning starts from."""

    uri: Host
    digest: Host | None = None
    secret: Name | None = None


class ModelSettings(PodSettings, HelperSettings):
    """How the model is trained."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?$")] = "linear"
    context: str = "model"
    """Folder with the Dockerfile of the images, relative to the repository."""
    framework: Literal["tensorflow", "pytorch", "mxnet", "other"] | None = None
    """Required unless a release is promoted, which trains nothing."""
    command: list[str] | None = Field(default=None, min_length=1)
    parameters: dict[str, Any] = {}
    publisher: PublisherSettings | None = None
    runtime_image: Host | None = None
    experiment_name: str | None = None
    sweep: dict[str, list[Any]] | None = None
    sweep_metric: str | None = None
    sweep_goal: Literal["min", "max"] | None = None
    sweep_parallelism: int | None = Field(default=None, ge=1, le=200)
    gate: dict[str, Bounds] = {}
    first_version: bool | None = None
    """Whether `min_delta` and `max_delta` pass while nothing serves yet."""
    reported_metrics: list[str] | None = None
    base_model: BaseModelSettings | None = None
    data_uri: str | None = None
    data_version: str | None = None
    data_claim: Host | None = None
    data_secret: Host | None = None
    workers: int = Field(default=1, ge=1, le=256)
    processes_per_worker: int = Field(default=1, ge=1, le=64)
    tensor_parallel: int = Field(default=1, ge=1)
    resources: ResourceSettings | None = None
    shared_memory: Quantity | None = None
    checkpoints: CheckpointSettings | None = None
    model_cache: VolumeSettings | None = None
    resource_claims: dict[str, str] | None = None
    retries: int = Field(default=0, ge=0, le=10)
    timeout_seconds: int = Field(default=3600, ge=30, le=2_592_000)
    ttl_seconds_after_finished: int | None = Field(default=None, ge=60, le=2_592_000)
    suspend: bool | None = None
    queue: Name | None = None
    queue_timeout_seconds: int | None = Field(default=None, ge=0, le=2_592_000)
    scheduling_timeout_seconds: int | None = Field(default=None, ge=0, le=2_592_000)
    wait: bool | None = None  # False from the second run on: the service needs a published one
    watch: bool | None = None
    backend: Literal["job", "jobset", "trainer"] = "job"


class DataVolumeSettings(VolumeSettings):
    """The volume at `/data`."""

    retain_volume: bool | None = None


class DataSettings(PodSettings, HelperSettings):
    """How the model's training data is prepared from raw data."""

    sources: list[dict[str, Any]] = Field(min_length=1)
    """Where the raw data is: `uri`, `format`, `types` …"""
    steps: list[dict[str, Any]] = Field(min_length=1)
    target: str | None = None
    destination: Host | None = None
    """Default: a folder on the volume."""
    volume: DataVolumeSettings | None = None
    input_version: str | None = None
    image: Host | None = None
    """Image that prepares. Default: the one built from the target `prepare`."""
    command: list[str] | None = Field(default=None, min_length=1)
    shards: int | None = Field(default=None, ge=1, le=100)
    engine: Literal["memory", "dask"] | None = None
    salt_secret: Host | None = None
    data_secret: Host | None = None
    resources: ResourceSettings | None = None
    retries: int | None = Field(default=None, ge=0, le=10)
    timeout_seconds: int | None = Field(default=None, ge=30, le=2_592_000)
    ttl_seconds_after_finished: int | None = Field(default=None, ge=60, le=2_592_000)
    watch: bool | None = None
    """Whether a run whose pods can't start ends early. Default: yes."""
    scheduling_timeout_seconds: int | None = Field(default=None, ge=0, le=2_592_000)
    runtime_image: Host | None = None
    """Image with Python for that watch. Default: the service's, else Python's own."""


class PromotionSettings(PodSettings, HelperSettings):
    """Another environment's release, to deploy unchanged. Exactly one of `stack` and `file`."""

    stack: Host | None = None
    """Full name of the stack whose output `release` to use: `organization/modelops/staging`."""
    file: Host | None = None
    """File with that output as JSON, relative to the repository, for when the stack's state is out of reach."""
    tracking_uri: Host | None = None
    """Address at which pods reach that environment's MLflow. Default: the release's own."""
    tracking_secret: Host | None = None
    """Secret in the namespace with `username` and `password` of an account there. Default: none."""
    tracking_token: bool | None = None
    """Whether that Secret has a `token` instead. Default: no."""
    image: Host | None = None
    """Image with Python for the container that copies. Default: Python's own image."""
    experiment_name: str | None = None
    resources: ResourceSettings | None = None
    timeout_seconds: int | None = Field(default=None, ge=30, le=86_400)


class ScaleToZeroSettings(Model):
    """When KEDA starts a service that has no pods."""

    prometheus_url: Host
    query: str = Field(min_length=1)
    threshold: float = Field(gt=0)
    idle_seconds: int = Field(default=300, ge=1, le=86_400)


class AutoscalingSettings(Model):
    """Bounds and targets of the autoscaler."""

    min_replicas: int | None = Field(default=None, ge=0, le=1000)
    max_replicas: int = Field(ge=1, le=1000)
    target_cpu_percent: int | None = Field(default=None, ge=1, le=1000)
    target_memory_percent: int | None = Field(default=None, ge=1, le=1000)
    target_requests_per_second: float | None = Field(default=None, gt=0)
    target_latency_ms: float | None = Field(default=None, gt=0)
    target_queue_length: float | None = Field(default=None, gt=0)
    target_running_requests: float | None = Field(default=None, gt=0)
    target_kv_cache_percent: float | None = Field(default=None, gt=0, le=100)
    target_tokens_per_second: float | None = Field(default=None, gt=0)
    scale_down_stabilization_seconds: int | None = Field(default=None, ge=0, le=3600)
    scale_down_pods_per_minute: int | None = Field(default=None, ge=1)
    scale_up_pods_per_minute: int | None = Field(default=None, ge=1)
    scale_to_zero: ScaleToZeroSettings | None = None


class RolloutSettings(Model):
    """How a release replaces pods."""

    max_surge: int | None = Field(default=None, ge=0, le=1000)
    max_unavailable: int | None = Field(default=None, ge=0, le=1000)
    progress_seconds: int | None = Field(default=None, ge=10, le=14_400)
    watch: bool | None = None


class SmokeTestSettings(Model):
    """A prediction that must be correct before a new version gets traffic."""

    inputs: list[Any] = Field(min_length=1)
    outputs: list[Any] = Field(min_length=1)
    tolerance: float | None = Field(default=None, ge=0)
    image: Host | None = None


class TracingSettings(Model):
    """Where the server sends OpenTelemetry spans."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$")]
    sample_ratio: float | None = Field(default=None, ge=0, le=1)
    secret: Host | None = None


class MlflowSettings(Model):
    """How a model that plain MLflow logged is served."""

    predict_method: Host | None = None
    onnx: bool | None = None
    ignore_requirements: bool | None = None


class ServingCacheSettings(Model):
    """A volume for fetched models."""

    storage_size: Quantity | None = None
    storage_class: str | None = None
    access_modes: list[AccessMode] | None = None


class GatewaySettings(Model):
    """An existing Gateway."""

    name: Host
    namespace: Host | None = None
    listener: Host | None = None
    https: bool = True


class RouteSettings(Model):
    """A host name for the service, through exactly one of `ingress_class`, `gateway` and `gateway_class`."""

    host: Host
    ingress_class: Host | None = None
    gateway: GatewaySettings | None = None
    gateway_class: Host | None = None
    tls_secret: Host | None = None
    annotations: dict[str, str] | None = None


class AnalysisSettings(Model):
    """The bounds that a canary must keep."""

    prometheus_url: Host
    prometheus_ca_certificate: str | None = None
    max_extra_error_percent: float | None = Field(default=None, ge=0, le=100)
    max_p99_ratio: float | None = Field(default=None, ge=1, le=100)
    max_prediction_drift: float | None = Field(default=None, ge=0, le=100)
    max_restarts: int | None = Field(default=None, ge=0, le=1000)
    min_requests: int | None = Field(default=None, ge=1, le=10_000_000)
    min_seconds: int | None = Field(default=None, ge=0, le=2_592_000)
    interval_seconds: int | None = Field(default=None, ge=1, le=3600)
    image: Host | None = None


class CanaryStepSettings(Model):
    """A share of the requests that a canary has for a while."""

    weight_percent: int = Field(ge=1, le=100)
    pause_seconds: int | None = Field(default=None, ge=0, le=2_592_000)


class CanarySettings(Model):
    """A second track that gets a share of the requests: one, or several one after the other."""

    model_uri: Host
    weight_percent: int | None = Field(default=None, ge=1, le=99)
    steps: list[CanaryStepSettings] | None = None
    split: Literal["Replicas", "Gateway", "NginxIngress"] | None = None
    image: Host | None = None
    tolerance_points: float | None = Field(default=None, ge=0.1, le=50)
    analysis: AnalysisSettings | None = None


class BlueGreenSettings(Model):
    """Two full tracks, one of which is live."""

    live: Literal["blue", "green"]
    standby_model_uri: Host | None = None


class ShadowSettings(Model):
    """A track that gets copies of the requests."""

    model_uri: Host
    image: Host | None = None
    percent: int | None = Field(default=None, ge=1, le=100)
    replicas: int | None = Field(default=None, ge=1, le=1000)
    mirroring: Literal["Server", "Gateway"] | None = None


class ServiceSettings(PodSettings, HelperSettings, ServiceMetadataSettings):
    """How the model is served."""

    image: Host | None = None
    """Image that serves the model. Default: the one built from the target `serve`."""
    runtime_image: Host | None = None
    """Image with Python for the library's own programs in the service. Default: Python's own image."""
    fetch_command: list[str] | None = Field(default=None, min_length=1)
    serve_command: list[str] | None = Field(default=None, min_length=1)
    metric_names: Literal["modelops", "fastapi-instrumentator", "opentelemetry"] | None = None
    allow_drift: bool | None = None
    model_secret: Host | None = None
    model_endpoint_url: Host | None = None
    resource_claims: dict[str, str] | None = None
    model_name: str | None = None
    serving_alias: str = "serving"
    canary: CanarySettings | None = None
    blue_green: BlueGreenSettings | None = None
    shadow: ShadowSettings | None = None
    replicas: int | None = Field(default=None, ge=1, le=1000)
    autoscaling: AutoscalingSettings | None = None
    rollout: RolloutSettings | None = None
    smoke_test: SmokeTestSettings | None = None
    cache: ServingCacheSettings | None = None
    expose: ExposeName = "ClusterIP"
    host: Host | None = None
    route: RouteSettings | None = None
    port: int = Field(default=80, ge=1, le=65_535)
    resources: ResourceSettings | None = None
    tracking_secret: Host | None = None
    startup_timeout_seconds: int = Field(default=120, ge=10, le=14_400)
    drain_seconds: int = Field(default=10, ge=1, le=600)
    endpoint_seconds: int | None = Field(default=None, ge=1, le=300)
    grpc_port: int | None = Field(default=None, ge=1, le=65_535)
    tracing: TracingSettings | None = None
    cors_origins: list[Annotated[str, Field(pattern=r"^(\*|https?://[^\s/,]+)$")]] | None = None
    mlflow: MlflowSettings | None = None


class DatabaseSettings(Model):
    """The registry's PostgreSQL: a new server, or an existing one whose address is in a Secret."""

    secret: str | None = None
    port: int | None = Field(default=None, ge=1, le=65_535)
    image: Host | None = None
    storage_size: Quantity | None = None
    storage_class: str | None = None
    claim: str | None = None
    resources: ResourceSettings | None = None


class ArtifactSettings(Model):
    """Object store for model files."""

    uri: Annotated[str, Field(pattern=r"^(s3|gs|wasbs)://\S+$")]
    endpoint_url: str | None = None
    region: str | None = None
    secret: str | None = None


class BackupSettings(Model):
    """When and where the registry is backed up."""

    schedule: str | None = None
    keep_count: int | None = Field(default=None, ge=1, le=1000)
    storage_size: Quantity | None = None
    storage_class: str | None = None
    claim: str | None = None


class RegistrySettings(PodSettings, HelperSettings, ServiceMetadataSettings):
    """The MLflow server. With `registry_admin_password`, it has accounts."""

    database: DatabaseSettings | None = None
    """Default: SQLite on the volume."""
    artifacts: ArtifactSettings | None = None
    """Default: the volume."""
    backup: BackupSettings | None = None
    image: Host | None = None
    storage_size: Quantity = "5Gi"
    storage_class: str | None = None
    retain_volume: bool = True
    claim: str | None = None
    expose: ExposeName = "ClusterIP"
    host: Host | None = None
    allowed_hosts: list[str] = []
    replicas: int = Field(default=1, ge=1, le=20)
    resources: ResourceSettings | None = None
    protect: bool = False
    """Whether Pulumi refuses to delete the registry with all its models and metrics."""


class PartSettings(Model):
    """A part of the monitoring stack."""

    enabled: bool = True
    image: Host | None = None
    resources: ResourceSettings | None = None


class PriceSettings(Model):
    """What the dashboards reckon costs with, an hour."""

    cpu: float | None = Field(default=None, ge=0)
    memory: float | None = Field(default=None, ge=0)
    gpu: float | None = Field(default=None, ge=0)
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")


class GrafanaSettings(PartSettings):
    """Grafana."""

    enabled: bool = False
    prices: PriceSettings | None = None
    sign_on_header: Host | None = None


class KeptSettings(PartSettings):
    """A part with a volume that outlives the stack."""

    storage_class: str | None = None
    retain_volume: bool = True
    claim: str | None = None


class BasicAuthSettings(Model):
    """A user name, and the name of a Secret with `password`."""

    username: str
    secret: Host


class SigV4Settings(Model):
    """AWS's signatures."""

    region: Host
    role_arn: Host | None = None
    secret: Host | None = None


class RemoteWriteSettings(Model):
    """A receiver of metrics."""

    url: Host
    headers: dict[str, str] | None = None
    basic_auth: BasicAuthSettings | None = None
    token_secret: Host | None = None
    sigv4: SigV4Settings | None = None
    ca_certificate: str | None = None
    metrics: str | None = None


class PrometheusSettings(KeptSettings):
    """Prometheus."""

    storage_size: Quantity = "10Gi"
    retention_days: int = Field(default=15, ge=1, le=3650)
    replicas: int = Field(default=1, ge=1, le=5)
    remote_write: list[RemoteWriteSettings] | None = None


class SnapshotSettings(Model):
    """Where Elasticsearch's snapshots go, with the secret settings `snapshot_access_key` and `snapshot_secret_key`."""

    bucket: Host
    base_path: str | None = None
    endpoint: Host | None = None
    retention_days: int | None = Field(default=None, ge=1, le=3650)


class ElasticsearchSettings(Model):
    """Elasticsearch."""

    image: Host | None = None
    resources: ResourceSettings | None = None
    nodes: Literal[1, 3] = 1
    zones: list[str] | None = None
    storage_size: Quantity = "20Gi"
    storage_class: str | None = None
    retain_volume: bool = True
    claim: str | None = None
    retention_days: int = Field(default=14, ge=1, le=3650)
    daily_size: Quantity | None = None
    snapshots: SnapshotSettings | None = None


class AlertmanagerSettings(KeptSettings):
    """Alertmanager."""

    storage_size: Quantity = "1Gi"
    replicas: int = Field(default=1, ge=1, le=5)


class LogstashSettings(KeptSettings):
    """Logstash."""

    queue_size: Quantity = "1Gi"


class FilebeatSettings(PartSettings):
    """Filebeat."""

    queue_size: Quantity = "1Gi"


class ExistingElasticsearchSettings(Model):
    """An existing Elasticsearch; `elastic_password` is that of `username`."""

    url: Host
    username: str
    ca_certificate: str | None = None
    setup: bool | None = None


class ElkSettings(Model):
    """Elasticsearch and the programs around it."""

    enabled: bool = False
    existing: ExistingElasticsearchSettings | None = None
    certificate_generation: int | None = Field(default=None, ge=1)
    elasticsearch: ElasticsearchSettings = ElasticsearchSettings()
    logstash: LogstashSettings = LogstashSettings()
    kibana: PartSettings = PartSettings()
    filebeat: FilebeatSettings = FilebeatSettings()
    runtime_image: Host | None = None
    """Image with Python for the watch of the set-up. Default: the service's, else Python's own."""


class WebSettings(Model):
    """The web endpoints of Prometheus and Alertmanager."""

    tls: bool = False
    certificate_generation: int = Field(default=1, ge=1)


class IssuerSettings(Model):
    """An issuer of cert-manager."""

    name: Name
    kind: Literal["Issuer", "ClusterIssuer"] = "Issuer"
    ca_certificate: str | None = None


class CertificateSettings(Model):
    """Who signs certificates: an issuer, or `ca_certificate` with the secret setting `ca_key`."""

    ca_certificate: str | None = None
    issuer: IssuerSettings | None = None


class OperatorSettings(Model):
    """The cluster's prometheus-operator."""

    labels: dict[str, str] = {}


class SidecarSettings(Model):
    """The cluster's Grafana."""

    labels: dict[str, str] = {"grafana_dashboard": "1"}
    folder: str = "ModelOps"
    datasource: str = "prometheus"
    prices: PriceSettings | None = None


class AttachSettings(Model):
    """The cluster's existing monitoring."""

    prometheus_operator: OperatorSettings | None = None
    grafana: SidecarSettings | None = None


class MonitoringSettings(PodSettings, HelperSettings, ServiceMetadataSettings):
    """The monitoring stack."""

    expose: ExposeName = "ClusterIP"
    host: Host | None = None
    web: WebSettings = WebSettings()
    certificates: CertificateSettings | None = None
    runbook_url: Host | None = None
    prometheus: PrometheusSettings = PrometheusSettings()
    alertmanager: AlertmanagerSettings = AlertmanagerSettings()
    node_exporter: PartSettings = PartSettings()
    kube_state_metrics: PartSettings = PartSettings()
    grafana: GrafanaSettings = GrafanaSettings()
    elk: ElkSettings = ElkSettings()
    attach: AttachSettings | None = None
    """With `prometheus_operator`, our own Prometheus, Alertmanager and exporters are off, whatever their settings."""
    agents_namespace: Name | None = None
    """Namespace of node_exporter and Filebeat alone. Default: `<namespace>-node-agents` if the stack makes its
    namespaces, else that of monitoring."""

    @property
    def has_agents(self) -> bool:
        """Whether a program reads the nodes' files."""
        operated = self.attach is not None and self.attach.prometheus_operator is not None
        return (self.node_exporter.enabled and not operated) or (self.elk.enabled and self.elk.filebeat.enabled)


class Settings(Model):
    """All settings of a stack."""

    production: bool = False
    """Whether the stack has real users, and so must have receivers for alerts, a protected registry and so on."""
    namespace: Name
    """Namespace of everything but monitoring, which is in `<namespace>-monitoring`, its agents on the nodes in
    `<namespace>-node-agents`. Default `modelops-<stack>`."""
    create_namespaces: bool = True
    """Whether the stack makes its namespaces. False for a team that has been given them; they are never deleted."""
    images: ImageSettings | None = None
    """Required unless a release is promoted, which builds nothing."""
    data: DataSettings | None = None
    """Default: none, the training reads what `model.data_uri` names, or has its own sample."""
    model: ModelSettings
    promote: PromotionSettings | None = None
    """Default: none, the model is trained here."""
    service: ServiceSettings = ServiceSettings()
    registry: RegistrySettings = RegistrySettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    image_registry_username: str | None = None
    image_registry_password: SecretStr | None = Field(default=None, min_length=1)
    alertmanager_config: SecretStr | None = Field(default=None, min_length=1)
    """Alertmanager's configuration with its receivers."""
    registry_admin_password: SecretStr | None = Field(default=None, min_length=12)
    """Password of the MLflow account `admin`. If set, MLflow requires a login."""
    grafana_admin_password: SecretStr | None = Field(default=None, min_length=8)
    elastic_password: SecretStr | None = Field(default=None, min_length=8)
    ca_key: SecretStr | None = Field(default=None, min_length=1)
    """Private key of `monitoring.certificates.ca_certificate`."""
    snapshot_access_key: SecretStr | None = Field(default=None, min_length=1)
    snapshot_secret_key: SecretStr | None = Field(default=None, min_length=1)

    @property
    def monitoring_namespace(self) -> str:
        """Namespace of the monitoring stack."""
        return f"{self.namespace}-monitoring"

    @property
    def agents_namespace(self) -> str:
        """Namespace of what reads the nodes' files, which Kubernetes' restricted profile forbids."""
        own = f"{self.namespace}-node-agents" if self.create_namespaces else self.monitoring_namespace
        return self.monitoring.agents_namespace or own
