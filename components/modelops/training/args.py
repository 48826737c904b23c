"""The arguments of TrainingJob."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

import pulumi

from modelops.core.types import HelperArgs, PodArgs, Resources


class Framework(Enum):
    """The machine-learning framework that the training image uses."""

    TENSORFLOW = "tensorflow"
    """TensorFlow, including Keras. Several workers connect through `TF_CONFIG`."""
    PYTORCH = "pytorch"
    """PyTorch. Several workers connect through torchrun's variables (`PET_*`, `MASTER_ADDR`, `RANK` …)."""
    MXNET = "mxnet"
    """Apache MXNet. Several workers connect through its `DMLC_*` variables."""
    OTHER = "other"
    """Anything else. One worker only, because the library can't connect several."""


class Backend(Enum):
    """The kind of object that runs the pods."""

    JOB = "job"
    """Kubernetes' own Job. Needs nothing else."""
    JOBSET = "jobset"
    """A JobSet (`jobset.x-k8s.io`) of one Job. Its controller must be installed in the cluster."""
    TRAINER = "trainer"
    """A TrainJob of Kubeflow Trainer v2 (`trainer.kubeflow.org`). Its controller must be installed in the cluster."""


class Goal(Enum):
    """Which of a sweep's runs is the best."""

    MIN = "min"
    """The one with the smallest value of `sweep_metric`."""
    MAX = "max"
    """The one with the largest value of `sweep_metric`."""


if TYPE_CHECKING:
    AnyFramework = Framework | Literal["tensorflow", "pytorch", "mxnet", "other"]
    AnyBackend = Backend | Literal["job", "jobset", "trainer"]
    AnyGoal = Goal | Literal["min", "max"]
else:  # Pulumi's schema has the enum alone.
    AnyFramework = Framework
    AnyBackend = Backend
    AnyGoal = Goal


class GateBounds(TypedDict):
    """Bounds of one metric, at least one of them."""

    min: NotRequired[pulumi.Input[float]]
    """Smallest value that passes, inclusive. Default: no lower bound."""
    max: NotRequired[pulumi.Input[float]]
    """Largest value that passes, inclusive. Default: no upper bound."""
    min_delta: NotRequired[pulumi.Input[float]]
    """Smallest difference from the value of the version under `serving_alias` that passes: -0.01 lets a metric drop by
    that much. Default: no such bound."""
    max_delta: NotRequired[pulumi.Input[float]]
    """Largest difference from the value of the version under `serving_alias` that passes. Default: no such bound."""


class Publisher(TypedDict):
    """The programs that check the gate and register the model after a training."""

    command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """The publishing program and its arguments. Default `modelops-publish`."""
    select_command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """The program that registers a sweep's best run, and its arguments. Default `modelops-select`."""
    registry_wait_seconds: NotRequired[pulumi.Input[int]]
    """Seconds to wait for a registry that does not answer, both before and after a training. Default 120; 0 to 3600."""


class Checkpoints(TypedDict):
    """Where a training saves its state, to resume from it. Exactly one of `storage_size`, `claim` and `uri`."""

    storage_size: NotRequired[pulumi.Input[str]]
    """Size of a volume to claim (`10Gi`)."""
    storage_class: NotRequired[pulumi.Input[str]]
    """Storage class of that volume. Default: the cluster's default class."""
    access_modes: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Access modes of that volume. Default `ReadWriteOnce`, or `ReadWriteMany` with several workers."""
    retain_volume: NotRequired[bool]
    """Whether the volume stays in the cluster when the component is removed. Default false: it is deleted."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of an existing PersistentVolumeClaim in the namespace to use instead. It is never changed or deleted."""
    uri: NotRequired[pulumi.Input[str]]
    """Location in an object store (`s3://bucket/prefix`, `gs://…`, `az://…`). Nothing there is deleted."""
    secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become environment variables of the training container
    (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL` …). Only with `uri`. Default: none."""
    interval_seconds: NotRequired[pulumi.Input[int]]
    """Seconds between checkpoints. Default: the image's own; 1 to 86400."""
    interval_steps: NotRequired[pulumi.Input[int]]
    """Steps between checkpoints. Default: the image's own; at least 1."""
    keep_after_publish: NotRequired[pulumi.Input[bool]]
    """Whether a run's checkpoints and output stay on the volume once it is published. Default false: they are
    deleted."""


class ModelCache(TypedDict):
    """A volume for downloads that runs share: a foundation model's weights, a tokenizer. Exactly one of `storage_size`
    and `claim`."""

    storage_size: NotRequired[pulumi.Input[str]]
    """Size of a volume to claim (`200Gi`)."""
    storage_class: NotRequired[pulumi.Input[str]]
    """Storage class of that volume. Default: the cluster's default class."""
    access_modes: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Access modes of that volume. Default `ReadWriteOnce`, or `ReadWriteMany` with several workers."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of an existing PersistentVolumeClaim in the namespace to use instead."""


class BaseModel(TypedDict):
    """The model that a fine-tuning starts from."""

    uri: pulumi.Input[str]
    """Where it is, by a reference that never moves: `hf://<organization>/<model>@<commit>`, `models:/<name>/<version>`,
    `oci://…@sha256:…`, or with a `digest` also `s3://…`, `gs://…`, `az://…` and `pvc://…`. Part of the run's
    identity."""
    digest: NotRequired[pulumi.Input[str]]
    """What its files must be, `sha256:…` over their names and contents. Required for object stores and claims. Default:
    not compared. Part of the run's identity."""
    secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become environment variables of the container that fetches
    (`HF_TOKEN`, `AWS_ACCESS_KEY_ID` …). Default: none."""


class TrainingJobArgs(PodArgs, HelperArgs):
    """Arguments of TrainingJob."""

    image: pulumi.Input[str]
    """Training image by digest (`repository@sha256:…`), with `/bin/sh`. Part of the run's identity."""
    model_name: pulumi.Input[str]
    """Name to register the model under: letters, digits, `.`, `_` and `-`, at most 63 characters."""
    framework: AnyFramework
    """Framework that the image uses. Part of the run's identity."""
    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    tracking_uri: pulumi.Input[str]
    """Address at which pods reach the MLflow server that gets metrics and model."""
    command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """The training program and its arguments. Default `python -m sample.train`. Part of the run's identity."""
    parameters: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[Any]]]]
    """Hyperparameters by name, of any type that JSON has. Default: none. Part of the run's identity, where 1 and 1.0
    are the same."""
    sweep: NotRequired[Mapping[str, Sequence[pulumi.Input[Any]]]]
    """Hyperparameters to try, each with its values. Every combination is one run, and the best one is registered. At
    most 200 runs. Default: no sweep. Part of the run's identity."""
    sweep_metric: NotRequired[pulumi.Input[str]]
    """Metric that decides which of a sweep's runs is the best. Required with `sweep`. Part of the run's identity."""
    sweep_goal: NotRequired[pulumi.Input[AnyGoal]]
    """Whether the best run has the smallest or the largest value. Default `min`. Part of the run's identity."""
    sweep_parallelism: NotRequired[pulumi.Input[int]]
    """How many of a sweep's runs train at a time. Default: all of them; 1 to 200."""
    gate: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[GateBounds]]]]
    """Bounds by metric name. A model that misses them is not registered, and the Job fails. A changed gate judges a
    registered model again. Default: no gate."""
    reported_metrics: NotRequired[Sequence[str]]
    """Names of the metrics that the training reports, so that the plan rejects a gate or sweep on any other. Default:
    not checked; the training then fails and lists the metrics that it reported."""
    base_model: NotRequired[BaseModel]
    """The model to fine-tune, which pods fetch or mount before they train, and the parameters `base_model` and
    `base_digest` name. The training image must have what fetching needs, as the target `finetune` has. Default: none.
    Part of the run's identity."""
    data_uri: NotRequired[pulumi.Input[str]]
    """Location of the training data: DataPipeline's `data_uri`, or anything else that the image reads. Default: the
    image's own sample data. Part of the run's identity."""
    data_version: NotRequired[pulumi.Input[str]]
    """Version of the data; a new one trains again. Default: none. Part of the run's identity."""
    data_claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace, mounted read-only at `/data`: DataPipeline's `data_claim`, for
    a `data_uri` under `/data`. Default: none."""
    data_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become environment variables of the training container
    (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL` …), for a `data_uri` in an object store. Default:
    none."""
    tracking_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `username` and `password` for MLflow: ModelRegistry's `writer_secret`.
    Only the publisher gets them, not the training. Default: none."""
    tracking_token: NotRequired[bool]
    """Whether the `tracking_secret` has a `token` instead, sent as a bearer token. Default false."""
    tracking_url: NotRequired[pulumi.Input[str]]
    """Address at which people reach the MLflow server, for `run_url`: ModelRegistry's `url`. Default:
    `tracking_uri`."""
    serving_alias: NotRequired[pulumi.Input[str]]
    """Alias of the version that the gate's relative bounds compare with: the `serving_alias` that ModelService moves
    after each rollout. Required with `min_delta` or `max_delta`. Default: none."""
    first_version: NotRequired[pulumi.Input[bool]]
    """Whether the gate's relative bounds pass while no version has the `serving_alias`, for a model's first version.
    Default false: the Job fails, before it trains."""
    git_commit: NotRequired[pulumi.Input[str]]
    """Commit that the image was built from, recorded with the run. Default: none."""
    experiment_name: NotRequired[pulumi.Input[str]]
    """MLflow experiment to log the run to. Default: the model's name."""
    workers: NotRequired[int]
    """Number of pods that train the model together. Default 1; 1 to 256. Part of the run's identity."""
    processes_per_worker: NotRequired[int]
    """Training processes per pod, usually one per GPU; with PyTorch, torchrun starts them. Default 1; 1 to 64. Part of
    the run's identity."""
    tensor_parallel: NotRequired[int]
    """Number of processes that share one copy of the model; the copies train data-parallel. Default 1; must divide
    `workers` × `processes_per_worker`. Part of the run's identity."""
    resources: NotRequired[Resources]
    """Resources of the training container of each worker. Default: 500m CPU, 1Gi memory, limited to 2Gi."""
    shared_memory: NotRequired[pulumi.Input[str]]
    """Size of `/dev/shm` (`8Gi`), which NCCL and data loaders use; it counts towards the container's memory. Default:
    the container runtime's, usually 64Mi."""
    checkpoints: NotRequired[Checkpoints]
    """Where checkpoints outlive a pod. Default: nowhere, an interrupted training starts over."""
    model_cache: NotRequired[ModelCache]
    """Volume at `MODELOPS_CACHE_DIR` (and `HF_HOME`) that all runs share. Default: none."""
    resource_claims: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Devices by dynamic resource allocation: name → ResourceClaimTemplate in the namespace, by which each pod that
    trains gets a claim of its own; `resources.gpus` counts others. Needs Kubernetes 1.34 or later. Default: none."""
    retries: NotRequired[pulumi.Input[int]]
    """How often a failed training is retried. Default 0; 0 to 10. Wrong configuration (exit code 2) and a missed gate
    (3) are never retried. A pod that the cluster disrupts, that is stopped (143) or that lost a peer (75) is always
    replaced and doesn't count."""
    timeout_seconds: NotRequired[pulumi.Input[int]]
    """Time limit of the Job, retries included, in seconds. Default 3600; 30 to 2592000 (thirty days)."""
    ttl_seconds_after_finished: NotRequired[pulumi.Input[int]]
    """Seconds until Kubernetes removes the finished Job with its pods and logs, which never makes it train again.
    Default: it stays until the next run; 60 to 2592000."""
    suspend: NotRequired[bool]
    """Whether the Job starts suspended: it has no pods until somebody sets `spec.suspend` to false, and `pulumi up`
    waits for that. Default false."""
    queue: NotRequired[pulumi.Input[str]]
    """Kueue LocalQueue in the namespace: the Job is created suspended, and Kueue starts it when there is room. Default:
    none."""
    queue_timeout_seconds: NotRequired[int]
    """How much longer than `timeout_seconds` Pulumi waits with `queue` or `suspend`. Default 86400; 0 to 2592000."""
    scheduling_timeout_seconds: NotRequired[pulumi.Input[int]]
    """How long a pod may be unschedulable, or without its volumes, before the watch fails the Job. A suspended Job, and
    a pod for which the cluster autoscaler or Karpenter brings a node, wait longer. Default 600; 0 to 2592000, where 0
    leaves it to `timeout_seconds`."""
    wait: NotRequired[bool]
    """Whether `pulumi up` waits for the run. If not, it ends once the Job is created; until the run is published,
    `model_uri` and the other outputs stay those of the last published run (empty if there is none), and the next
    `pulumi up` takes the new one. Not with `sweep`, nor without the watch. Default true."""
    watch: NotRequired[bool]
    """Whether a Job in the namespace watches the start of the run, says what it waits for, and fails it with the reason
    as soon as it can't start. Without it the run waits for `timeout_seconds`. Default true; there is none
    with a `publisher.command` but no `runtime_image`, in which it runs."""
    backend: NotRequired[AnyBackend]
    """Kind of object that runs the pods. Default `job`. With any other, the component's name has at most 40
    characters."""
    runtime_image: NotRequired[pulumi.Input[str]]
    """Image, with Python 3.11 or newer and MLflow's client, of the containers that watch the start of the run, check
    whether it is already published, judge the gate and register the model; the library brings the program. Default:
    MLflow's own image, or `image` if `publisher` has a command."""
    publisher: NotRequired[Publisher]
    """How to publish the model. Default: `modelops-publish`, which the library brings."""
