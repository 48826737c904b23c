"""The arguments of DataPipeline."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

import pulumi

from modelops.core.types import Resources
from modelops.training.args import Toleration


class Engine(Enum):
    """Who does what looks at more than one row."""

    MEMORY = "memory"
    """The first worker, with all rows in its memory."""
    DASK = "dask"
    """All workers, by Dask, a piece in memory at a time."""


if TYPE_CHECKING:
    AnyEngine = Engine | Literal["memory", "dask"]
else:  # Pulumi's schema has the enum alone.
    AnyEngine = Engine


class DataVolume(TypedDict):
    """A volume at `/data` of every worker, for the destination, and for sources that are files. One of
    `storage_size` and `claim`."""

    storage_size: NotRequired[pulumi.Input[str]]
    """Size of a volume to claim (`10Gi`)."""
    storage_class: NotRequired[pulumi.Input[str]]
    """Storage class of that volume; say one that encrypts. Default: the cluster's default class."""
    access_modes: NotRequired[Sequence[pulumi.Input[str]]]
    """Access modes of that volume. Default `ReadWriteOnce`, with several shards `ReadWriteMany`."""
    retain_volume: NotRequired[bool]
    """Whether the volume stays in the cluster when the component is removed. Default false: it goes with it."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace to use instead. It stays as it is."""


class DataPipelineArgs(TypedDict):
    """Arguments of DataPipeline."""

    image: pulumi.Input[str]
    """Image with the pipeline's program by digest (`repository@sha256:…`), the target `prepare`. Part of the
    version."""
    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    sources: Sequence[Mapping[str, Any]]
    """Where the raw data is: `{"uri": "s3://raw/*.csv", "format": "csv", "types": {"age": "number"}}`. Part of the
    version."""
    steps: Sequence[Mapping[str, Any]]
    """What is done to it, in this order, each as `{"<step>": {<fields>}}`; one of them is `split`. The steps are in
    docs/data-steps.md. Part of the version."""
    target: NotRequired[str]
    """The column that a model learns to predict. Default: none. Part of the version."""
    destination: NotRequired[pulumi.Input[str]]
    """Where the versions come: a folder under `/data` of `volume`, or an `s3://` address. Default `/data/prepared`."""
    volume: NotRequired[DataVolume]
    """Volume at `/data`. Default: none, then `destination` must be an address."""
    input_version: NotRequired[pulumi.Input[str]]
    """Says which content the sources have (an ETag, a snapshot's name, a date): a plan can't read them, and prepares
    anew when this changes. Default: none. Part of the version."""
    shards: NotRequired[int]
    """How many pods share the work on single rows. Default 1; 1 to 100. Not part of the version: the result is the
    same. The types of all columns of CSV and JSON lines must then be declared."""
    engine: NotRequired[AnyEngine]
    """Who does what looks at more than one row. Default `memory`. With `dask`, rows need to fit in no one's memory; it
    has no interpolation, needs declared types as several shards do, and writes each part as several files. Not part of
    the version: the rows are the same."""
    schedule: NotRequired[str]
    """When to run, as cron has it (`0 3 * * *`): a CronJob. Then a version is named by the content of its inputs, and
    `latest.json` at the destination names the newest. Default: once, a Job."""
    time_zone: NotRequired[str]
    """Time zone of the schedule (`Europe/Rome`). Default `Etc/UTC`."""
    salt_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entry `salt` (16 bytes or more) is the key of hashes and pseudonyms.
    Required with the steps `hash` and `pseudonymise`. Default: none."""
    data_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    `AWS_ENDPOINT_URL`, `MODELOPS_SQL_PASSWORD` …). Default: none."""
    tracking_uri: NotRequired[pulumi.Input[str]]
    """Address of an MLflow server, ModelRegistry's `tracking_uri`: each new version tells it of rows read and left,
    violations and missing values, and its exporter makes metrics of them. Default: none."""
    tracking_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `username` and `password` of the MLflow server. Default: none."""
    command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """The program and its arguments. Default `modelops-prepare`. Part of the version."""
    environment: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Further variables (`AWS_ENDPOINT_URL` …). Default: none."""
    resources: NotRequired[Resources]
    """Resources of each worker. Default: 500m CPU, 1Gi memory, limited to 4Gi. The first worker has all rows in
    memory, unless `engine` is `dask`."""
    node_selector: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Labels that a node must have. Default: any node."""
    tolerations: NotRequired[Sequence[Toleration]]
    """Taints that the pods accept. Default: none."""
    retries: NotRequired[int]
    """How often a failed worker is tried again. Default 0; 0 to 10. What is wrong with the declaration or the data
    (exit codes 2, 10, 11 and 13 to 15) is never retried; a pod that the cluster disrupts, or that was told to stop,
    is replaced in any case and doesn't count."""
    timeout_seconds: NotRequired[int]
    """How long a run may take, retries included, in seconds. Default 3600; 30 to 2592000 (thirty days)."""
    ttl_seconds_after_finished: NotRequired[int]
    """After how many seconds Kubernetes removes a finished Job with its pods and logs. Default: it stays; 60 to
    2592000."""
    image_pull_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with credentials for the image's registry. Default: none."""
