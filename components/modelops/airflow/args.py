"""The arguments of AirflowPipeline."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi

from modelops.core.types import AnyExpose, Resources
from modelops.training.args import AnyFramework, GateBounds


class PipelineData(TypedDict):
    """What the DAG's first step makes: DataPipeline's arguments of the same names, in one pod."""

    image: pulumi.Input[str]
    """Image with the pipeline's program by digest (`repository@sha256:…`), the target `prepare`."""
    sources: Sequence[Mapping[str, Any]]
    """Where the raw data is."""
    steps: Sequence[Mapping[str, Any]]
    """What is done to it; one of them is `split`."""
    target: NotRequired[str]
    """The column that a model learns to predict. Default: none."""
    salt_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entry `salt` is the key of hashes and pseudonyms. Default: none."""
    data_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become variables of the preparing pod. Default: none."""
    resources: NotRequired[Resources]
    """Resources of the preparing pod. Default: 500m CPU, 1Gi memory, limited to 4Gi."""


class PipelineTraining(TypedDict):
    """What the DAG trains: TrainingJob's arguments of the same names, in one pod."""

    image: pulumi.Input[str]
    """Training image by digest (`repository@sha256:…`)."""
    model_name: str
    """Name under which the model is registered."""
    framework: AnyFramework
    """Framework that the image uses."""
    tracking_uri: pulumi.Input[str]
    """Address of the MLflow server, as pods see it."""
    parameters: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[Any]]]]
    """Hyperparameters by name. Default: none."""
    gate: NotRequired[Mapping[str, GateBounds]]
    """Bounds by metric name; outside of them the run ends at `evaluate`. Default: no gate."""
    tracking_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `username` and `password` for MLflow. Default: none."""
    resources: NotRequired[Resources]
    """Resources of the training pod. Default: 500m CPU, 1Gi memory, limited to 2Gi."""


class AirflowServer(TypedDict):
    """The Airflow that the component deploys."""

    image: NotRequired[pulumi.Input[str]]
    """Airflow 3 with the FAB auth manager, the PostgreSQL driver and the `kubernetes` client. Default
    `docker.io/apache/airflow:3.3.2-python3.12`."""
    database_image: NotRequired[pulumi.Input[str]]
    """PostgreSQL. Default: ModelRegistry's."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the database's volume. Default `5Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of that volume. Default: the cluster's."""
    expose: NotRequired[AnyExpose]
    """How its pages and its API are reached. Default `ClusterIP`."""
    resources: NotRequired[Resources]
    """Resources of each of its three programs. Default: 100m CPU, 512Mi memory, limited to 1536Mi."""


class ExistingAirflow(TypedDict):
    """An Airflow 3 that is there already, and has the `kubernetes` client."""

    service_account: pulumi.Input[str]
    """ServiceAccount of the pods in which its tasks run: it gets the right to run the pipeline's Jobs."""
    namespace: pulumi.Input[str]
    """That account's namespace."""


class AirflowPipelineArgs(TypedDict):
    """Arguments of AirflowPipeline."""

    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    data: PipelineData
    """What is prepared."""
    training: PipelineTraining
    """What is trained on it."""
    claim: pulumi.Input[str]
    """Name of a PersistentVolumeClaim in the namespace, at `/data` of every step: versions of the data go to
    `/data/prepared`, what trainings leave to `/data/runs`."""
    schedule: NotRequired[str]
    """When to run, as cron has it (`0 3 * * *`), in UTC. Default: when somebody triggers it."""
    start: NotRequired[str]
    """ISO 8601 date from which the schedule counts. Default `2026-01-01`."""
    catchup: NotRequired[bool]
    """Whether the runs between `start` and now are made up for. Default false; Airflow's backfills do it as well."""
    retries: NotRequired[int]
    """How often a failed step is tried again. Default 1; 0 to 10. What would end the same is not."""
    retry_seconds: NotRequired[int]
    """Pause before that. Default 60; 0 to 86400."""
    timeout_seconds: NotRequired[int]
    """How long a step may take. Default 3600; 30 to 2592000."""
    alertmanager_url: NotRequired[pulumi.Input[str]]
    """Alertmanager that a failed run raises `ModelPipelineFailed` at, as pods see it: of a MonitoringStack
    `http://<its name>-alertmanager.<its namespace>.svc:9093`. Default: none."""
    airflow: NotRequired[AirflowServer]
    """The Airflow to deploy. Default: one with the defaults, unless `existing` is given."""
    existing: NotRequired[ExistingAirflow]
    """Use this Airflow: then the component only makes the DAG, as a ConfigMap to mount, and rights. Default: none."""
    image_pull_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with credentials for the images' registry. Default: none."""
