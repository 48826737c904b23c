"""The arguments of DataPipeline."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

import pulumi

from modelops.core.types import HelperArgs, PodArgs, Resources


class Engine(Enum):
    """What runs the steps that need more than one row at a time."""

    MEMORY = "memory"
    """The first worker, with all rows in its memory."""
    DASK = "dask"
    """All workers, with Dask, one partition in memory at a time."""


if TYPE_CHECKING:
    AnyEngine = Engine | Literal["memory", "dask"]
else:  # Pulumi's schema has the enum alone.
    AnyEngine = Engine


class DataVolume(TypedDict):
    """A volume at `/data` in every worker, for the destination and for sources that are files. Exactly one of
    `storage_size` and `claim`."""

    storage_size: NotRequired[pulumi.Input[str]]
    """Size of a volume to claim (`10Gi`)."""
    storage_class: NotRequired[pulumi.Input[str]]
    """Storage class of that volume; choose one that encrypts. Default: the cluster's default class."""
    access_modes: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Access modes of that volume. Default `ReadWriteOnce`, or `ReadWriteMany` with several shards."""
    retain_volume: NotRequired[bool]
    """Whether the volume stays in the cluster when the component is removed. Default false: it is deleted."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of an existing PersistentVolumeClaim in the namespace to use instead. It is never changed or deleted."""


class DataPipelineArgs(PodArgs, HelperArgs):
    """Arguments of DataPipeline."""

    image: pulumi.Input[str]
    """Image with the pipeline's program, the target `prepare`, by digest (`repository@sha256:…`). Part of the
    version."""
    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    sources: pulumi.Input[Sequence[pulumi.Input[Mapping[str, pulumi.Input[Any]]]]]
    """Where to read raw data: `{"uri": "s3://raw/*.csv", "format": "csv", "types": {"age": "number"}}`. `gs://`, `az://`
    and `abfss://` are read as well. Part of the version."""
    steps: pulumi.Input[Sequence[pulumi.Input[Mapping[str, pulumi.Input[Any]]]]]
    """Steps to apply, in this order, each as `{"<step>": {<fields>}}`; one of them is `split`. docs/data-steps.md lists
    them. Part of the version."""
    target: NotRequired[pulumi.Input[str]]
    """Column that a model learns to predict. Default: none. Part of the version."""
    destination: NotRequired[pulumi.Input[str]]
    """Where to write versions: a folder under `/data` on `volume`, or an `s3://`, `gs://`, `az://` or `abfss://`
    address. Default `/data/prepared`."""
    volume: NotRequired[DataVolume]
    """Volume at `/data`. Default: none; `destination` must then be an address in an object store."""
    input_version: NotRequired[pulumi.Input[str]]
    """Identifies the content of the sources (an ETag, a snapshot's name, a date). A plan can't read them, so a change
    of this prepares the data again. Default: none. Part of the version."""
    shards: NotRequired[int]
    """Number of pods that share the row-by-row work. Default 1; 1 to 100. With several, each reads all rows of a CSV
    source once more where the type of a column isn't declared, and of JSON Lines always. Not part of the version: the
    result is the same."""
    engine: NotRequired[AnyEngine]
    """What runs the steps that need more than one row at a time. Default `memory`. With `dask`, no pod has to hold all
    rows in memory; it can't interpolate or find near duplicates, and writes each split as several files. Not part of
    the version: the rows are the same."""
    schedule: NotRequired[pulumi.Input[str]]
    """Cron schedule (`0 3 * * *`) of a CronJob. Versions are then named by the content of their inputs, and
    `latest.json` at the destination names the newest. Default: none, one Job."""
    time_zone: NotRequired[pulumi.Input[str]]
    """Time zone of the schedule (`Europe/Rome`). Default `Etc/UTC`."""
    salt_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entry `salt` (at least 16 bytes) is the key for hashes and pseudonyms.
    Required with the steps `hash` and `pseudonymise`. Default: none."""
    data_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become environment variables: `AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`; `GOOGLE_SERVICE_ACCOUNT_KEY`, the account's JSON;
    `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCESS_KEY`; `MODELOPS_SQL_PASSWORD` … Default: none."""
    tracking_uri: NotRequired[pulumi.Input[str]]
    """Address of an MLflow server: ModelRegistry's `tracking_uri`. Each new version reports its rows read and kept,
    violations and missing values there, and the registry's exporter turns them into metrics. Default: none."""
    tracking_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `username` and `password` of the MLflow server. Default: none."""
    tracking_token: NotRequired[bool]
    """Whether the `tracking_secret` has a `token` instead, sent as a bearer token. Default false."""
    command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """The program and its arguments. Default `modelops-prepare`. Part of the version."""
    resources: NotRequired[Resources]
    """Resources of each worker. Default: 500m CPU, 1Gi memory, limited to 4Gi. The first worker holds all rows in
    memory, unless `engine` is `dask`."""
    retries: NotRequired[pulumi.Input[int]]
    """How often a failed worker is retried. Default 0; 0 to 10. Errors in the declaration or the data (exit codes 2,
    10, 11 and 13 to 15) are never retried. A pod that the cluster disrupts or stops is always replaced and doesn't
    count."""
    timeout_seconds: NotRequired[pulumi.Input[int]]
    """Time limit of a run, retries included, in seconds. Default 3600; 30 to 2592000 (thirty days)."""
    watch: NotRequired[bool]
    """Whether a Job in the namespace watches the start of the run, says what it waits for, and fails it with the reason
    as soon as it can't start. Without it the run waits for `timeout_seconds`. Default true; there is none with a
    `schedule`, whose runs nobody waits for."""
    scheduling_timeout_seconds: NotRequired[pulumi.Input[int]]
    """How long a pod may wait for a node that takes it, or for its volumes, before the watch fails the run. Default
    600, but at most half of `timeout_seconds`; 0 to 2592000, where 0 is for as long as the run may take."""
    runtime_image: NotRequired[pulumi.Input[str]]
    """Image with Python 3.11 or newer in which the watch runs. Default: Python's own image."""
    ttl_seconds_after_finished: NotRequired[pulumi.Input[int]]
    """Seconds until Kubernetes removes a finished Job with its pods and logs. Default: never; 60 to 2592000."""
