"""The arguments of TrainingJob."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

import pulumi

from modelops.core.types import Resources


class Framework(Enum):
    """The machine-learning framework that the training image uses."""

    TENSORFLOW = "tensorflow"
    """TensorFlow, Keras included. Several workers meet by `TF_CONFIG`."""
    PYTORCH = "pytorch"
    """PyTorch. Several workers meet by torchrun's variables (`PET_*`, `MASTER_ADDR`, `RANK` …)."""
    MXNET = "mxnet"
    """Apache MXNet. Several workers meet by its `DMLC_*` variables."""
    OTHER = "other"
    """Anything else. One worker only: no way for several to meet is known."""


class Backend(Enum):
    """What runs the pods."""

    JOB = "job"
    """Kubernetes' own Job. Needs nothing else."""
    JOBSET = "jobset"
    """A JobSet (`jobset.x-k8s.io`) of one Job. Its controller must be in the cluster."""
    TRAINER = "trainer"
    """A TrainJob of Kubeflow Trainer v2 (`trainer.kubeflow.org`). Its controller must be in the cluster."""


class Goal(Enum):
    """Which of a sweep's runs is the best."""

    MIN = "min"
    """The one with the smallest value of `sweep_metric`."""
    MAX = "max"
    """The one with the greatest value of `sweep_metric`."""


if TYPE_CHECKING:
    AnyFramework = Framework | Literal["tensorflow", "pytorch", "mxnet", "other"]
    AnyBackend = Backend | Literal["job", "jobset", "trainer"]
    AnyGoal = Goal | Literal["min", "max"]
else:  # Pulumi's schema has the enum alone.
    AnyFramework = Framework
    AnyBackend = Backend
    AnyGoal = Goal


class GateBounds(TypedDict):
    """Bounds of one metric. At least one of them."""

    min: NotRequired[pulumi.Input[float]]
    """Smallest value that passes, itself included. Default: no lower bound."""
    max: NotRequired[pulumi.Input[float]]
    """Largest value that passes, itself included. Default: no upper bound."""
    min_delta: NotRequired[pulumi.Input[float]]
    """Smallest difference to the same metric of the version now serving: -0.01 lets a model be worse by that much.
    Without a version that serves it holds for any value. Default: no such bound."""
    max_delta: NotRequired[pulumi.Input[float]]
    """Largest difference to the same metric of the version now serving. Default: no such bound."""


class Publisher(TypedDict):
    """What checks the gate and registers the model after the training."""

    command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """The publishing program and its arguments. Default `modelops-publish`."""
    select_command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """The program that registers the best of a sweep's runs, and its arguments. Default `modelops-select`."""
    registry_wait_seconds: NotRequired[pulumi.Input[int]]
    """How long a registry that does not answer is waited for, before a training as after it. Default 120; 0 to 3600."""


class Checkpoints(TypedDict):
    """Where the training leaves its state, to go on from there. One of `storage_size`, `claim` and `uri`."""

    storage_size: NotRequired[pulumi.Input[str]]
    """Size of a volume to claim for it (`10Gi`)."""
    storage_class: NotRequired[pulumi.Input[str]]
    """Storage class of that volume. Default: the cluster's default class."""
    access_modes: NotRequired[Sequence[pulumi.Input[str]]]
    """Access modes of that volume. Default `ReadWriteOnce`, with several workers `ReadWriteMany`."""
    retain_volume: NotRequired[bool]
    """Whether the volume stays in the cluster when the component is removed. Default false: it goes with it."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace to use instead. It stays as it is."""
    uri: NotRequired[pulumi.Input[str]]
    """Place in an object store (`s3://bucket/prefix`, `gs://…`, `az://…`). What is there stays there."""
    secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become variables of the training container (`AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL` …). Only with `uri`. Default: none."""
    interval_seconds: NotRequired[pulumi.Input[int]]
    """Seconds between checkpoints. Default: the image's own; 1 to 86400."""
    interval_steps: NotRequired[pulumi.Input[int]]
    """Steps between checkpoints. Default: the image's own; at least 1."""
    keep_after_publish: NotRequired[bool]
    """Whether a run's checkpoints and output stay on the volume once it is published. Default false: they go."""


class ModelCache(TypedDict):
    """A volume for what runs download in common: weights of a foundation model, a tokenizer. One of `storage_size` and
    `claim`."""

    storage_size: NotRequired[pulumi.Input[str]]
    """Size of a volume to claim for it (`200Gi`)."""
    storage_class: NotRequired[pulumi.Input[str]]
    """Storage class of that volume. Default: the cluster's default class."""
    access_modes: NotRequired[Sequence[pulumi.Input[str]]]
    """Access modes of that volume. Default `ReadWriteOnce`, with several workers `ReadWriteMany`."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace to use instead."""


class Toleration(TypedDict):
    """A taint of nodes that the pods accept."""

    key: NotRequired[pulumi.Input[str]]
    """The taint's key. Default: every taint."""
    operator: NotRequired[pulumi.Input[str]]
    """`Equal` or `Exists`. Default `Equal`."""
    value: NotRequired[pulumi.Input[str]]
    """The taint's value, with `Equal`. Default: none."""
    effect: NotRequired[pulumi.Input[str]]
    """`NoSchedule`, `PreferNoSchedule` or `NoExecute`. Default: each of them."""
    toleration_seconds: NotRequired[pulumi.Input[int]]
    """How long a pod stays on a node that gets a `NoExecute` taint. Default: for ever."""


class TrainingJobArgs(TypedDict):
    """Arguments of TrainingJob."""

    image: pulumi.Input[str]
    """Training image by digest (`repository@sha256:…`), with `/bin/sh`. Part of the run's identity."""
    model_name: pulumi.Input[str]
    """Name under which the model is registered: letters, digits, `.`, `_` and `-`, at most 63 characters."""
    framework: AnyFramework
    """Framework that the image uses. Part of the run's identity."""
    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    tracking_uri: pulumi.Input[str]
    """Address of the MLflow server that takes metrics and model, as pods see it."""
    command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """The training program and its arguments. Default `python -m sample.train`. Part of the run's identity."""
    parameters: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[Any]]]]
    """Hyperparameters by name: JSON scalars (text, numbers, true, false, null). Default: none. Part of the run's
    identity, where 1 and 1.0 are the same."""
    sweep: NotRequired[Mapping[str, Sequence[Any]]]
    """Hyperparameters to try, each with its values; every combination is a run of its own, and the best one is
    registered. At most 200 runs. Default: no sweep. Part of the run's identity."""
    sweep_metric: NotRequired[str]
    """The metric by which a sweep's best run is found. Required with `sweep`. Part of the run's identity."""
    sweep_goal: NotRequired[AnyGoal]
    """Whether the best run has the smallest or the greatest value. Default `min`. Part of the run's identity."""
    sweep_parallelism: NotRequired[int]
    """How many of a sweep's runs are at work at a time. Default: all of them; 1 to 200."""
    gate: NotRequired[Mapping[str, GateBounds]]
    """Bounds by metric name; a model outside of them is not registered and the Job fails. Default: no gate."""
    reported_metrics: NotRequired[Sequence[str]]
    """Names of the metrics that the training reports, so that a gate or sweep on another one is refused in the plan.
    Default: not known before the training, which then fails with the names it reported."""
    data_uri: NotRequired[pulumi.Input[str]]
    """Where the training data is: DataPipeline's `data_uri`, or what else the image reads. Default: the image's own
    sample data. Part of the run's identity."""
    data_version: NotRequired[pulumi.Input[str]]
    """Version of the data, to train anew when it changes. Default: none. Part of the run's identity."""
    data_claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace, mounted at `/data` for reading: DataPipeline's `data_claim`,
    where `data_uri` is a folder under `/data`. Default: none."""
    data_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become variables of the training container (`AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL` …), where `data_uri` is an object store's address. Default: none."""
    tracking_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `username` and `password` for MLflow: ModelRegistry's `writer_secret`.
    Only what publishes gets them, not the training. Default: none."""
    tracking_url: NotRequired[pulumi.Input[str]]
    """Address of the MLflow server as people see it, for `run_url`: ModelRegistry's `url`. Default: `tracking_uri`."""
    serving_alias: NotRequired[str]
    """Alias of the version that serves now, which relative bounds of the gate compare with. Default `serving`."""
    git_commit: NotRequired[pulumi.Input[str]]
    """Commit that the image was built from, recorded with the run. Default: none."""
    experiment_name: NotRequired[pulumi.Input[str]]
    """MLflow experiment that the run is logged to. Default: the model's name."""
    environment: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Variables of the training container that say how a run runs (`NCCL_DEBUG` …). What shapes the model belongs into
    `parameters`: these are no part of the run's identity. Default: none."""
    workers: NotRequired[int]
    """How many pods train the model together. Default 1; 1 to 256. Part of the run's identity."""
    processes_per_worker: NotRequired[int]
    """Training processes in each pod, one a GPU mostly; with PyTorch torchrun starts them. Default 1; 1 to 64. Part of
    the run's identity."""
    tensor_parallel: NotRequired[int]
    """Over how many processes one copy of the model is spread; the rest of them is data parallel. Default 1; must
    divide `workers` × `processes_per_worker`. Part of the run's identity."""
    resources: NotRequired[Resources]
    """Resources of the training container of each worker. Default: 500m CPU, 1Gi memory, limited to 2Gi."""
    shared_memory: NotRequired[pulumi.Input[str]]
    """Size of `/dev/shm` (`8Gi`), which NCCL and data loaders use; it counts as the container's memory. Default: the
    container runtime's, 64Mi mostly."""
    checkpoints: NotRequired[Checkpoints]
    """Where checkpoints outlive a pod. Default: nowhere, a training that is interrupted begins again."""
    model_cache: NotRequired[ModelCache]
    """Volume at `MODELOPS_CACHE_DIR` (and `HF_HOME`) that all runs share. Default: none."""
    node_selector: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Labels that a node must have. Default: any node."""
    tolerations: NotRequired[Sequence[Toleration]]
    """Taints that the pods accept. Default: none."""
    affinity: NotRequired[Mapping[str, Any]]
    """Affinity of the pods, in Kubernetes' own spelling (`nodeAffinity`, `podAntiAffinity` …). Default: none."""
    priority_class: NotRequired[pulumi.Input[str]]
    """PriorityClass of the pods. Default: the cluster's."""
    retries: NotRequired[int]
    """How often a failed training is tried again. Default 0; 0 to 10. Wrong configuration (exit code 2) and a missed
    gate (3) are never retried; a pod that the cluster disrupts, that was told to stop (143) or that lost a peer (75)
    is replaced in any case and doesn't count."""
    timeout_seconds: NotRequired[int]
    """How long the Job may take, retries included, in seconds. Default 3600; 30 to 2592000 (thirty days)."""
    ttl_seconds_after_finished: NotRequired[int]
    """After how many seconds Kubernetes removes the finished Job with its pods and logs. That never trains again.
    Default: it stays until the next run; 60 to 2592000."""
    suspend: NotRequired[bool]
    """Whether the Job starts suspended: no pod until somebody sets `spec.suspend` to false, which `pulumi up` waits
    for. Default false."""
    queue: NotRequired[pulumi.Input[str]]
    """Kueue's LocalQueue in the namespace: the Job is created suspended, and Kueue starts it when there is room.
    Default: none."""
    queue_timeout_seconds: NotRequired[int]
    """How much longer than `timeout_seconds` Pulumi waits, with `queue` or `suspend`. Default 86400; 0 to 2592000."""
    backend: NotRequired[AnyBackend]
    """What runs the pods. Default `job`. With another one the component's name has at most 40 characters."""
    runtime_image: NotRequired[pulumi.Input[str]]
    """Image with `modelops_runtime`, which checks whether the run is published already, judges the gate and registers
    the model: the target `publish`. Default: `image`."""
    publisher: NotRequired[Publisher]
    """What publishes the model. Default: `modelops-publish` in the training image."""
    image_pull_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with credentials for the image's registry. Default: none."""
