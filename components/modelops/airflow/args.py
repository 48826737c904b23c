"""The arguments of AirflowPipeline."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi

from modelops.core.types import AnyExpose, HelperArgs, PodArgs, Resources, ServiceMetadataArgs
from modelops.training.args import AnyFramework, GateBounds


class PipelineData(TypedDict):
    """How the DAG prepares data, in one pod: DataPipeline's arguments of the same names."""

    image: pulumi.Input[str]
    """Image with the pipeline's program, the target `prepare`, by digest (`repository@sha256:…`)."""
    sources: pulumi.Input[Sequence[pulumi.Input[Mapping[str, pulumi.Input[Any]]]]]
    """Where to read raw data."""
    steps: pulumi.Input[Sequence[pulumi.Input[Mapping[str, pulumi.Input[Any]]]]]
    """Steps to apply; one of them is `split`."""
    target: NotRequired[pulumi.Input[str]]
    """Column that a model learns to predict. Default: none."""
    salt_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entry `salt` is the key for hashes and pseudonyms. Default: none."""
    data_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become environment variables of this pod. Default: none."""
    resources: NotRequired[Resources]
    """Resources of this pod. Default: 500m CPU, 1Gi memory, limited to 4Gi."""


class PipelineTraining(TypedDict):
    """How the DAG trains, in one pod: TrainingJob's arguments of the same names."""

    image: pulumi.Input[str]
    """Training image by digest (`repository@sha256:…`)."""
    model_name: pulumi.Input[str]
    """Name to register the model under."""
    framework: AnyFramework
    """Framework that the image uses."""
    tracking_uri: pulumi.Input[str]
    """Address at which pods reach the MLflow server."""
    parameters: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[Any]]]]
    """Hyperparameters by name. Default: none."""
    gate: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[GateBounds]]]]
    """Bounds by metric name; a run that misses `min` or `max` ends at `evaluate`, one that misses `min_delta` or
    `max_delta` at `register`. Default: no gate."""
    serving_alias: NotRequired[pulumi.Input[str]]
    """Alias of the version that the gate's relative bounds compare with: the `serving_alias` that ModelService moves
    after each rollout. Required with `min_delta` or `max_delta`. Default: none."""
    first_version: NotRequired[pulumi.Input[bool]]
    """Whether the gate's relative bounds pass while no version has the `serving_alias`, for a model's first version.
    Default false: the run ends at `register`."""
    tracking_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `username` and `password` for MLflow. Default: none."""
    tracking_token: NotRequired[bool]
    """Whether the `tracking_secret` has a `token` instead, sent as a bearer token. Default false."""
    runtime_image: NotRequired[pulumi.Input[str]]
    """Image, with Python 3.11 or newer and MLflow's client, of the pods that judge the gate and register the model; the
    library brings the program. Default: MLflow's own image."""
    resources: NotRequired[Resources]
    """Resources of this pod. Default: 500m CPU, 1Gi memory, limited to 2Gi."""


class AirflowServer(TypedDict):
    """The Airflow that the component deploys."""

    image: NotRequired[pulumi.Input[str]]
    """Image of Airflow 3 with the FAB auth manager, the PostgreSQL driver and the `kubernetes` client. Default
    `docker.io/apache/airflow:3.3.2-python3.12`."""
    admin_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with the administrator's `username` and `password`. Default: one with a
    generated password."""
    keys_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with the entries `fernet`, `session` and `tokens`: Airflow's Fernet key, the
    secret key of its pages and API (once the webserver's), and the secret of its tokens. Default: one with generated
    keys."""
    connections_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become environment variables of Airflow's containers: connections
    (`AIRFLOW_CONN_…`) and variables (`AIRFLOW_VAR_…`). Default: none."""
    database_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entry `url` holds the address of a PostgreSQL database that is empty
    or Airflow's: `postgresql+psycopg2://user:password@host:5432/name`. Default: the component runs a server."""
    database_password_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entry `password` is that of the component's own database. Default: one
    with a generated password."""
    database_image: NotRequired[pulumi.Input[str]]
    """Image of PostgreSQL. Default: ModelRegistry's."""
    database_resources: NotRequired[Resources]
    """Resources of PostgreSQL. Default: 100m CPU, 128Mi memory, limited to 512Mi."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the database's volume. Default `5Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of that volume, when it is made. Default: the cluster's."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace to use instead. Default: a new one; it outlives the server."""
    expose: NotRequired[AnyExpose]
    """How Airflow's pages and API are exposed. Default `ClusterIP`."""
    resources: NotRequired[Resources]
    """Resources of each of Airflow's three containers. Default: 100m CPU, 512Mi memory, limited to 1536Mi."""


class ExistingAirflow(TypedDict):
    """An existing Airflow 3 with the `kubernetes` client."""

    service_account: pulumi.Input[str]
    """ServiceAccount of the pods that run its tasks: it is allowed to run the pipeline's Jobs."""
    namespace: pulumi.Input[str]
    """Namespace of that ServiceAccount."""


class AirflowPipelineArgs(PodArgs, HelperArgs, ServiceMetadataArgs):
    """Arguments of AirflowPipeline."""

    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    data: PipelineData
    """How to prepare the data."""
    training: PipelineTraining
    """How to train the model."""
    claim: pulumi.Input[str]
    """Name of a PersistentVolumeClaim in the namespace, mounted at `/data` in every step: versions of the data go to
    `/data/prepared`, the output of trainings to `/data/runs`."""
    schedule: NotRequired[pulumi.Input[str]]
    """Cron schedule (`0 3 * * *`), in UTC. Default: none, runs must be triggered."""
    start: NotRequired[pulumi.Input[str]]
    """ISO 8601 date at which the schedule begins. Default `2026-01-01`."""
    catchup: NotRequired[pulumi.Input[bool]]
    """Whether to make up for the runs between `start` and now. Default false; Airflow's backfills can do that too."""
    retries: NotRequired[pulumi.Input[int]]
    """How often a failed step is retried. Default 1; 0 to 10. A failure that a retry would not change is final."""
    retry_seconds: NotRequired[pulumi.Input[int]]
    """Pause before a retry, in seconds. Default 60; 0 to 86400."""
    timeout_seconds: NotRequired[pulumi.Input[int]]
    """Time limit of a step, in seconds. Default 3600; 30 to 2592000."""
    alertmanager_url: NotRequired[pulumi.Input[str]]
    """Address at which pods reach the Alertmanager that gets `ModelPipelineFailed` of a failed run: a MonitoringStack's
    is `http://<its name>-alertmanager.<its namespace>.svc:9093`, or `https://…` with `web.tls`. Default: none."""
    alertmanager_ca_certificate: NotRequired[pulumi.Input[str]]
    """Certificate (PEM) of the CA that signed Alertmanager's certificate, such as MonitoringStack's
    `web_ca_certificate`. Default: the CAs that Airflow's image trusts."""
    runbook_url: NotRequired[pulumi.Input[str]]
    """Address of your copy of `docs/components/airflow_pipeline.md`; `ModelPipelineFailed` then has its section's as
    `runbook_url`. Default: none, the alert names the file in `runbook`."""
    airflow: NotRequired[AirflowServer]
    """The Airflow to deploy. Default: one with default settings, unless `existing` is given."""
    existing: NotRequired[ExistingAirflow]
    """The Airflow to use instead. The component then only creates permissions and the DAG, as a ConfigMap to mount.
    Default: none."""


def pod_args(args: AirflowPipelineArgs) -> Mapping[str, Any]:
    """The arguments of the pods. By the training's resources they know whether there are devices."""
    return {**args, "resources": args["training"].get("resources", {})}
