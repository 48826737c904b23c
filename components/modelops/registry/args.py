"""The arguments of ModelRegistry."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi

from modelops.core.types import AnyExpose, HelperArgs, PodArgs, Resources, ServiceMetadataArgs
from modelops.core.validation import Problems, read_args
from modelops.kubernetes import postgres
from modelops.kubernetes.placement import check_pods
from modelops.kubernetes.pods import DefaultResources, check_resources
from modelops.kubernetes.volumes import check_claim

DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="640Mi", memory_limit="1536Mi")
"""One worker and its supervisor take 500 MiB when idle (MLflow 3.17.2)."""
METRICS_RESOURCES = DefaultResources(cpu="10m", memory="32Mi", memory_limit="64Mi")
BACKUP_RESOURCES = DefaultResources(cpu="50m", memory="256Mi", memory_limit="1Gi")
DEFAULT_STORAGE_SIZE = "5Gi"
DEFAULT_ADMIN = "admin"
DEFAULT_DATABASE_PORT = 5432
DEFAULT_KEEP = 7
DEFAULT_SCHEDULE = "0 3 * * *"
_STORE = r"(s3|gs)://[^/@\s]+(/\S*)?|wasbs://[^/@\s]+@[^/.@\s]+\.blob\.core\.[^/@\s]+(/\S*)?"
"""The addresses of object stores that MLflow's image knows."""


class RegistryDatabase(TypedDict):
    """PostgreSQL instead of SQLite: a server that the component runs or, with `secret`, an existing one."""

    secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose key `url` holds the address of a database that is empty or MLflow's:
    `postgresql://user:password@host:5432/name`. Default: the component runs a PostgreSQL server."""
    port: NotRequired[pulumi.Input[int]]
    """Port of the server in `secret`, for the network policy. Default 5432; 1 to 65535."""
    image: NotRequired[pulumi.Input[str]]
    """Image of the component's own server and of the back-up programs. Default
    `docker.io/library/postgres:15.20-bookworm`. Another major version can't read the volume: see the component's
    page."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the server's volume. Default `5Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the server's volume, when it is made. Default: the cluster's."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace to use instead. Default: a new one, which outlives the server; a
    registry of the same name takes it up again."""
    resources: NotRequired[Resources]
    """Resources of the server. Default: 100m CPU, 128Mi memory, limited to 512Mi."""


class ArtifactStore(TypedDict):
    """An object store for model files, instead of a volume. Clients reach it only through MLflow."""

    uri: pulumi.Input[str]
    """Where the files go: `s3://bucket/prefix`, `gs://bucket/prefix` or, on Azure,
    `wasbs://container@account.blob.core.windows.net/prefix`. The bucket or container must exist."""
    endpoint_url: NotRequired[pulumi.Input[str]]
    """Address of an S3-compatible server. Only with `s3://`. Default: AWS."""
    region: NotRequired[pulumi.Input[str]]
    """The bucket's region. Only with `s3://`. Default `us-east-1`."""
    secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become environment variables of the server: `AWS_ACCESS_KEY_ID`
    and `AWS_SECRET_ACCESS_KEY`; for Google `GOOGLE_SERVICE_ACCOUNT_KEY`, the account's JSON; for Azure
    `AZURE_STORAGE_ACCESS_KEY` or `AZURE_STORAGE_CONNECTION_STRING`. Default: none, for nodes or pods that have an
    identity of the cloud, such as an IAM role."""


class RegistryAuth(TypedDict):
    """Accounts: an admin for people, and two with generated passwords for pods, one of which is read-only."""

    admin_password: pulumi.Input[str]
    """Password of the admin, who may do everything; at least 12 characters. The next `pulumi up` applies a new one."""
    admin_username: NotRequired[pulumi.Input[str]]
    """Name of the admin. Default `admin`."""


class RegistryBackup(TypedDict):
    """A volume, and a CronJob that copies the database and new files to it."""

    schedule: NotRequired[pulumi.Input[str]]
    """Cron schedule, in UTC. Default `0 3 * * *`: every night at three."""
    keep_count: NotRequired[pulumi.Input[int]]
    """How many dumps of the database to keep. Default 7; 1 to 1000."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the volume, which holds all model files and `keep_count` dumps. Default `5Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volume, preferably on other storage than the registry's own. Default: the cluster's."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace to use instead, such as one that an earlier stack left; it isn't
    changed. Default: a new one."""


class ModelRegistryArgs(PodArgs, HelperArgs, ServiceMetadataArgs):
    """Arguments of ModelRegistry."""

    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    database: NotRequired[RegistryDatabase]
    """PostgreSQL; `{}` for a server that the component runs. Default: SQLite on the volume."""
    artifacts: NotRequired[ArtifactStore]
    """Object store for model files. Default: the volume."""
    auth: NotRequired[RegistryAuth]
    """Accounts and passwords. Default: none, so anyone who reaches the server may do everything."""
    backup: NotRequired[RegistryBackup]
    """Back-ups; `{}` for the defaults. Default: none."""
    replicas: NotRequired[int]
    """Number of the server's pods. Several need `database` and `artifacts`, as SQLite and a volume belong to one; they
    roll out one by one, and the loss of a node or of a pod fails no request. Default 1; 1 to 20."""
    image: NotRequired[pulumi.Input[str]]
    """Image with the `mlflow` program. Default `ghcr.io/mlflow/mlflow:v3.17.2`, or with `database`, `artifacts` or
    `auth` `ghcr.io/mlflow/mlflow:v3.17.2-full`, which has what they need."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the volume for SQLite and model files. Default `5Gi`. With both `database` and `artifacts` there is no
    volume. A larger one grows the volume where its class allows that."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volume, when it is made. Default: the cluster's."""
    retain_volume: NotRequired[bool]
    """Whether to keep the volume, with every run and model on it, when the stack is destroyed. Default true."""
    claim: NotRequired[pulumi.Input[str]]
    """Name of a PersistentVolumeClaim in the namespace to use instead, such as one that an earlier stack left. Default:
    a new one."""
    expose: NotRequired[AnyExpose]
    """How the server is reached: `LoadBalancer`, `ClusterIP` or `NodePort`. Default `ClusterIP`."""
    host: NotRequired[pulumi.Input[str]]
    """Host name that clients outside the cluster use. Default: the load balancer's own address, `localhost` with
    `NodePort`."""
    allowed_hosts: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Additional `Host` headers to accept, with the port unless it is 80; `*` is a wildcard. The Service's DNS names,
    `localhost`, `host` and, if exposed, plain IP addresses are always accepted. Default: none."""
    resources: NotRequired[Resources]
    """Resources of the server. Default: 100m CPU, 640Mi memory, limited to 1536Mi."""


def checked(name: str, args: ModelRegistryArgs) -> ModelRegistryArgs:
    """The arguments, normalized. Raises ArgumentsError with every problem."""
    problems = Problems("ModelRegistry", name)
    problems.dns_label("name", name, maximum=50)
    args = read_args(args, ModelRegistryArgs, problems)
    problems.dns_label("namespace", args.get("namespace"))
    problems.text("image", args.get("image"))
    problems.text("host", args.get("host"))
    problems.quantity("storage_size", args.get("storage_size"))
    hosts = args.get("allowed_hosts")
    for index, host in enumerate(hosts if isinstance(hosts, Sequence) else []):
        problems.text(f"allowed_hosts[{index}]", host)
    check_resources(problems, "resources", args.get("resources"), DEFAULT_RESOURCES)
    _check_database(problems, args.get("database") or {})
    _check_artifacts(problems, args.get("artifacts") or {})
    _check_auth(problems, args.get("auth") or {})
    backup = args.get("backup") or {}
    problems.cron("backup.schedule", backup.get("schedule"))
    problems.number("backup.keep_count", backup.get("keep_count"), 1, 1000)
    problems.quantity("backup.storage_size", backup.get("storage_size"))
    helpers = BACKUP_RESOURCES if "backup" in args else METRICS_RESOURCES
    check_resources(problems, "helper_resources", args.get("helper_resources"), helpers)
    check_pods(problems, args)
    _check_replicas(problems, args)
    check_claim(problems, "", args)
    check_claim(problems, "backup", backup)
    problems.raise_if_any()
    return args


def _check_replicas(problems: Problems, args: ModelRegistryArgs) -> None:
    replicas = args.get("replicas", 1)
    problems.number("replicas", replicas, 1, 20)
    missing = [field for field in ("database", "artifacts") if field not in args]
    if isinstance(replicas, int) and replicas > 1 and missing:
        rule = f"must be 1 without {' and '.join(missing)}: SQLite and a volume belong to one pod"
        problems.add("replicas", replicas, rule)


def _check_database(problems: Problems, database: RegistryDatabase) -> None:
    problems.text("database.secret", database.get("secret"))
    problems.text("database.image", database.get("image"))
    problems.number("database.port", database.get("port"), 1, 65_535)
    problems.quantity("database.storage_size", database.get("storage_size"))
    check_claim(problems, "database", database)
    check_resources(problems, "database.resources", database.get("resources"), postgres.DEFAULT_RESOURCES)
    if "secret" in database:
        for field in ("storage_size", "storage_class", "claim", "resources"):
            if field in database:
                rule = "must not be given with secret, whose server runs elsewhere"
                problems.add(f"database.{field}", database.get(field), rule)
    elif "port" in database:
        problems.add("database.port", database["port"], "must only be given with secret")


def _check_artifacts(problems: Problems, store: Mapping[str, Any]) -> None:
    uri = store.get("uri")
    if isinstance(uri, str) and not re.fullmatch(_STORE, uri):
        rule = (
            "must be s3://bucket/prefix, gs://bucket/prefix or wasbs://container@account.blob.core.windows.net/prefix"
        )
        problems.add("artifacts.uri", uri, rule)
    for field in ("endpoint_url", "region"):
        if isinstance(uri, str) and field in store and not uri.startswith("s3://"):
            problems.add(f"artifacts.{field}", store[field], "must only be given with s3://")
    problems.url("artifacts.endpoint_url", store.get("endpoint_url"))
    problems.text("artifacts.secret", store.get("secret"))


def _check_auth(problems: Problems, auth: Mapping[str, Any]) -> None:
    name = auth.get("admin_username", DEFAULT_ADMIN)
    problems.text("auth.admin_username", name)
    if name in ("writer", "reader"):
        problems.add("auth.admin_username", name, "must not be the name of one of the component's accounts")
    password = auth.get("admin_password")
    if isinstance(password, str) and len(password) < 12:
        problems.add("auth.admin_password", "(not shown)", "must have at least 12 characters")


def needs_full_image(args: ModelRegistryArgs) -> bool:
    """Whether MLflow needs what only the full image has: database drivers, SDKs, the accounts' web forms."""
    return bool({"database", "artifacts", "auth"} & args.keys())


def needs_volume(args: ModelRegistryArgs) -> bool:
    """Whether the server keeps anything on its own volume."""
    return not {"database", "artifacts"} <= args.keys()
