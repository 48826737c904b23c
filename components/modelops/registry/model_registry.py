"""ModelRegistry: an MLflow server that keeps runs, models and their files."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.assets import asset
from modelops.core.component import arguments_in_one, child_options
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.naming import objects_name
from modelops.core.outputs import merged, register_declared_outputs, timeouts, with_dependencies
from modelops.core.types import Expose
from modelops.kubernetes.access import service_account
from modelops.kubernetes.labels import scrape, selector, standard_labels
from modelops.kubernetes.network import (
    allow_egress,
    allow_ingress,
    cluster_domain,
    cluster_host,
    http_service,
    network_policy,
    service_names,
    service_url,
)
from modelops.kubernetes.pods import (
    claimed,
    container,
    core,
    http_probe,
    mount,
    name_of,
    pod_template,
    resource_requirements,
    rolling,
    scratch,
    single_replica,
    tracking_credentials,
)
from modelops.kubernetes.volumes import retained_claim
from modelops.registry import accounts, backup
from modelops.registry.accounts import CONFIG, Accounts
from modelops.registry.args import (
    DEFAULT_RESOURCES,
    DEFAULT_STORAGE_SIZE,
    METRICS_RESOURCES,
    ModelRegistryArgs,
    checked,
    needs_full_image,
    needs_volume,
)
from modelops.registry.database import Database, database
from modelops.registry.storage import FOLDER, Storage, storage

__all__ = ["ModelRegistry", "ModelRegistryArgs"]

PORT = 5000
METRICS_PORT = 9105
STARTUP_SECONDS = 300
"""Imports take seconds, and creating the tables of an empty database a few more."""
PREPARE_SECONDS = 900
"""Migrating the database of an older version may take minutes."""
DRAIN_SECONDS = 10
"""How long one of several pods goes on after it has left the Service."""
_IPV4, _IPV6 = "[0-9]*.[0-9]*.[0-9]*.*[0-9]:*", "[[][0-9a-f]*:*]:*"
_AWS = ("*.elb.amazonaws.com:*", "*.elb.*.amazonaws.com:*")
_NAME = "mlflow"
_COMPONENT = "model-registry"


class ModelRegistry(pulumi.ComponentResource):
    """Runs an MLflow server: tracking, model registry, and a proxy for model files.

    By default it uses SQLite on one volume and has no accounts; `database`, `artifacts`, `auth` and `backup` make it
    fit for production. One pod stops before its successor starts; several `replicas` are replaced one by one.
    """

    tracking_uri: pulumi.Output[str]
    """Address inside the cluster, for TrainingJob and ModelService."""
    url: pulumi.Output[str]
    """Address outside the cluster if exposed, else `tracking_uri`."""
    writer_secret: pulumi.Output[str] | None
    """Name of the Secret with `username` and `password` of the account for trainings. None without `auth`."""
    reader_secret: pulumi.Output[str] | None
    """Name of the Secret with `username` and `password` of the account for services. None without `auth`."""

    @arguments_in_one
    def __init__(self, name: str, args: ModelRegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = checked(name, args)
        super().__init__("modelops:index:ModelRegistry", name, None, opts)
        name = objects_name(name, opts)
        child_opts = child_options(self)
        labels = standard_labels(_NAME, _COMPONENT, name)
        metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels)
        account = service_account(name, metadata, child_opts, args)
        store, files = database(name, args, child_opts), storage(args)
        users = accounts.accounts(name, _COMPONENT, args, child_opts)
        ports = [*store.ports, *files.ports]
        network_policy(
            name,
            metadata,
            selector(_NAME, name),
            child_opts,
            ingress=[allow_ingress(PORT), allow_ingress(METRICS_PORT)],
            egress=allow_egress(args, *ports) if ports else [],
        )
        claim = None
        if needs_volume(args):
            size = args.get("storage_size", DEFAULT_STORAGE_SIZE)
            claim = retained_claim(name, args["namespace"], labels, size, args, child_opts)
        server = _Server(name, args, with_dependencies(name, account), claim, store, files, users)
        deployment = k8s.apps.v1.Deployment(
            name,
            metadata=metadata,
            spec=server.deployment_spec(),
            opts=merged(child_opts, custom_timeouts=timeouts(PREPARE_SECONDS + STARTUP_SECONDS + 120)),
        )
        if "backup" in args:
            source = backup.Source(name, server.image, store, files, claim, ports, selector(_NAME, name))
            backup.backups(source, args, child_opts)
        if args.get("replicas", 1) > 1:
            k8s.policy.v1.PodDisruptionBudget(
                name,
                metadata=metadata,
                spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(
                    max_unavailable=1, selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(_NAME, name))
                ),
                opts=child_opts,
            )
        after, expose = merged(child_opts, depends_on=[deployment]), args.get("expose", Expose.CLUSTER_IP)
        service = http_service(name, metadata, selector(_NAME, name), PORT, args, after, expose)
        inside = cluster_host(name, args["namespace"])
        self.tracking_uri = with_dependencies(pulumi.Output.concat("http://", inside, f":{PORT}"), service, deployment)
        self.url = service_url(
            service,
            expose=Expose(args.get("expose", Expose.CLUSTER_IP)),
            port=PORT,
            inside=inside,
            host=args.get("host"),
            ready=[deployment],
        )
        self.writer_secret = name_of(users.writer) if users else None
        self.reader_secret = name_of(users.reader) if users else None
        register_declared_outputs(self)


class _Server:
    """The server's pod."""

    def __init__(
        self,
        name: str,
        args: ModelRegistryArgs,
        account: pulumi.Input[str],
        claim: pulumi.Input[str] | None,
        database: Database,
        files: Storage,
        users: Accounts | None,
    ) -> None:
        self._name, self._args = name, args
        self._account, self._claim = account, claim
        self._database, self._files, self._accounts = database, files, users
        upstream = UPSTREAM_IMAGES["mlflow_full" if needs_full_image(args) else "mlflow"]
        self._rolls = args.get("replicas", 1) > 1
        self.image: pulumi.Input[str] = args.get("image", upstream)

    def deployment_spec(self) -> "k8s.apps.v1.DeploymentSpecArgs":
        """The pod, or several that are replaced one by one."""
        template = pod_template(
            standard_labels(_NAME, _COMPONENT, self._name),
            self._account,
            [self._server(), self._metrics()],
            self._args,
            annotations=scrape(METRICS_PORT),
            volumes=self._volumes(),
            init_containers=[self._prepare()],
            termination_grace_period_seconds=DRAIN_SECONDS + 60 if self._rolls else None,
        )
        deadline = PREPARE_SECONDS + STARTUP_SECONDS + 60
        if self._rolls:
            return rolling(selector(_NAME, self._name), template, self._args.get("replicas", 1), deadline)
        return single_replica(selector(_NAME, self._name), template, deadline)

    def _volumes(self) -> "list[core.VolumeArgs]":
        volumes = [] if self._claim is None else [claimed("data", self._claim)]
        if self._accounts:
            # In memory: the file has the database's password.
            memory = core.EmptyDirVolumeSourceArgs(medium="Memory", size_limit="1Mi")
            volumes.append(core.VolumeArgs(name="config", empty_dir=memory))
        return [*volumes, *self._files.volumes, scratch()]

    def _mounts(self) -> "list[core.VolumeMountArgs]":
        mounts = [] if self._claim is None else [mount("data", FOLDER)]
        if self._accounts:
            mounts.append(mount("config", CONFIG.rpartition("/")[0]))
        return [*mounts, mount("tmp", "/tmp")]

    def _prepare(self) -> "core.ContainerArgs":
        """Checks that the image can use the object store, migrates the database and sets the accounts' passwords."""
        return container(
            "prepare",
            self.image,
            variables={"MLFLOW_DISABLE_TELEMETRY": "true", **self._files.checks},
            secrets=[self._database.variable, *(self._accounts.for_prepare if self._accounts else [])],
            env_from=self._files.env_from,
            command=["python3", "-c", asset("registry/assets/prepare.py")],
            resources=resource_requirements(self._args.get("resources"), DEFAULT_RESOURCES),
            volume_mounts=self._mounts(),
        )

    def _server(self) -> "core.ContainerArgs":
        return container(
            "mlflow",
            self.image,
            variables={"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            secrets=[
                self._database.variable,
                *self._files.variables,
                *(self._accounts.for_server if self._accounts else []),
            ],
            env_from=self._files.env_from,
            args=self._command(),
            ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
            resources=resource_requirements(self._args.get("resources"), DEFAULT_RESOURCES),
            startup_probe=http_probe("/health", "http", period=2, failures=STARTUP_SECONDS // 2),
            readiness_probe=http_probe("/health", "http", period=10, failures=3, timeout=5),
            liveness_probe=http_probe("/health", "http", period=20, failures=3, timeout=10),
            # Until no proxy sends it requests any more; uvicorn then answers those that it has.
            lifecycle=core.LifecycleArgs(
                pre_stop=core.LifecycleHandlerArgs(sleep=core.SleepActionArgs(seconds=DRAIN_SECONDS))
            )
            if self._rolls
            else None,
            volume_mounts=[*self._mounts(), *self._files.mounts],
        )

    def _metrics(self) -> "core.ContainerArgs":
        """Exports metrics of the server and its newest runs; MLflow itself has none."""
        return container(
            "metrics",
            self.image,
            variables={"MODELOPS_METRICS_PORT": str(METRICS_PORT)},
            secrets=tracking_credentials(name_of(self._accounts.reader) if self._accounts else None),
            command=["python3", "-c", asset("registry/assets/metrics.py")],
            ports=[core.ContainerPortArgs(name="metrics", container_port=METRICS_PORT)],
            resources=resource_requirements(self._args.get("helper_resources"), METRICS_RESOURCES),
            startup_probe=http_probe("/healthz", "metrics", period=2, failures=60),
            readiness_probe=http_probe("/healthz", "metrics", period=20, failures=3, timeout=5),
            volume_mounts=[mount("tmp", "/tmp")],
        )

    def _command(self) -> list[pulumi.Input[str]]:
        """The database's address is in the environment instead, since it has a password."""
        return [
            "mlflow",
            "server",
            "--host=",  # every address, of IPv4 and IPv6
            f"--port={PORT}",
            "--workers=1",
            "--serve-artifacts",
            pulumi.Output.concat("--artifacts-destination=", self._files.uri),
            *(["--app-name=basic-auth"] if self._accounts else []),
            pulumi.Output.concat("--allowed-hosts=", _allowed_hosts(self._name, self._args)),
        ]


def _allowed_hosts(name: str, args: ModelRegistryArgs) -> pulumi.Output[str]:
    """The `Host` headers that MLflow accepts; it rejects others to prevent DNS rebinding.

    A load balancer's address is only known once its Service exists, so any plain IP address is accepted if the server
    is exposed, and any name that AWS gives: a browser tricked by a rebound name sends that name, never one of these.
    """
    exposed = Expose(args.get("expose", Expose.CLUSTER_IP)) is not Expose.CLUSTER_IP

    def joined(values: list[Any]) -> str:
        namespace, domain, host, more = values
        hosts = [f"{inner}:{PORT}" for inner in service_names(name, namespace, domain)] + [
            "localhost:*",
            "127.0.0.1:*",
            "[[]::1]:*",
        ]
        if exposed:
            hosts += [_IPV4, _IPV6, *_AWS]
        if host:
            hosts += [host, f"{host}:*"]
        return ",".join([*hosts, *(more or [])])

    given = (args["namespace"], cluster_domain(args), args.get("host"), args.get("allowed_hosts"))
    return pulumi.Output.all(*given).apply(joined)
