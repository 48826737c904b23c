"""ModelRegistry: an MLflow server that keeps runs, models and their files on one volume."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from modelops._images import UPSTREAM_IMAGES
from modelops._labels import labels, selector
from modelops._network import allow_ingress, cluster_host, net, service_url
from modelops._outputs import known_after
from modelops._pods import (
    Sizes,
    check_resources,
    claimed,
    container,
    core,
    http_probe,
    mount,
    pull_secrets,
    resource_requirements,
    restricted_pod,
    scratch,
)
from modelops._storage import volume_claim
from modelops._types import Expose, Resources
from modelops._validation import Problems, read_args

DEFAULT_STORAGE_SIZE = "5Gi"
PORT = 5000
SIZES = Sizes(cpu="100m", memory="640Mi", memory_limit="1536Mi")
"""One worker and its supervisor take 500 MiB idle (MLflow 3.17.2)."""
STARTUP_SECONDS = 300
"""Importing takes seconds, migrating a database of an older version may take minutes."""
_NAME = "mlflow"
_COMPONENT = "model-registry"
_FOLDER = "/mlflow"


class ModelRegistryArgs(TypedDict):
    """Arguments of ModelRegistry."""

    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    image: NotRequired[pulumi.Input[str]]
    """Image with the `mlflow` program. Default `ghcr.io/mlflow/mlflow:v3.17.2`."""
    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the volume for database and model files. Default `5Gi`."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volume. Default: the cluster's."""
    expose: NotRequired[Expose]
    """How the server is reached: `LoadBalancer`, `ClusterIP` or `NodePort`. Default `ClusterIP`."""
    host: NotRequired[pulumi.Input[str]]
    """Name under which clients outside reach the server. Default: the load balancer's own address, `localhost` with
    `NodePort`."""
    allowed_hosts: NotRequired[Sequence[pulumi.Input[str]]]
    """More `Host` headers to answer, with port where it isn't 80, `*` as a wildcard. The Service's DNS names,
    `localhost`, `host` and, when exposed, plain IP addresses are always among them. Default: no more."""
    resources: NotRequired[Resources]
    """Resources of the server. Default: 100m CPU, 640Mi memory, limited to 1536Mi."""
    image_pull_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with credentials for the image's registry. Default: none."""


class ModelRegistry(pulumi.ComponentResource):
    """Runs an MLflow server: tracking, model registry, and a proxy for model files, on SQLite and one volume.

    One pod at a time, replaced rather than rolled: the volume and the database take one writer.
    """

    tracking_uri: pulumi.Output[str]
    """Address inside the cluster: for TrainingJob and ModelService."""
    url: pulumi.Output[str]
    """Address outside the cluster when exposed, else `tracking_uri`."""

    def __init__(self, name: str, args: ModelRegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = _checked(name, args)
        super().__init__("modelops:index:ModelRegistry", name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        metadata = k8s.meta.v1.ObjectMetaArgs(
            name=name, namespace=args["namespace"], labels=labels(_NAME, _COMPONENT, name)
        )
        account = core.ServiceAccount(name, metadata=metadata, automount_service_account_token=False, opts=here)
        net.NetworkPolicy(name, metadata=metadata, spec=_network_rules(name), opts=here)
        claim = volume_claim(
            name,
            args["namespace"],
            labels(_NAME, _COMPONENT, name),
            args.get("storage_size", DEFAULT_STORAGE_SIZE),
            args.get("storage_class"),
            here,
        )
        deployment = k8s.apps.v1.Deployment(
            name,
            metadata=metadata,
            spec=_deployment_spec(name, args, known_after(name, account), known_after(name, claim)),
            opts=here,
        )
        service = _service(name, metadata, args, here, deployment)
        inside = cluster_host(name, args["namespace"])
        self.tracking_uri = known_after(pulumi.Output.concat("http://", inside, f":{PORT}"), service, deployment)
        self.url = service_url(
            service,
            expose=args.get("expose", Expose.CLUSTER_IP),
            port=PORT,
            inside=inside,
            host=args.get("host"),
            ready=[deployment],
        )
        self.register_outputs({"tracking_uri": self.tracking_uri, "url": self.url})


def _checked(name: str, args: ModelRegistryArgs) -> ModelRegistryArgs:
    problems = Problems("ModelRegistry", name)
    problems.dns_label("name", name)
    args = read_args(args, ModelRegistryArgs, problems)
    problems.dns_label("namespace", args.get("namespace"))
    problems.text("image", args.get("image"))
    problems.text("host", args.get("host"))
    problems.quantity("storage_size", args.get("storage_size"))
    for index, host in enumerate(args.get("allowed_hosts") or []):
        problems.text(f"allowed_hosts[{index}]", host)
    check_resources(problems, "resources", args.get("resources"))
    problems.raise_if_any()
    return args


def _network_rules(name: str) -> net.NetworkPolicySpecArgs:
    """Requests come in; the server itself connects to nothing."""
    return net.NetworkPolicySpecArgs(
        pod_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(_NAME, name)),
        policy_types=["Ingress", "Egress"],
        ingress=[allow_ingress(PORT)],
        egress=[],
    )


def _deployment_spec(
    name: str, args: ModelRegistryArgs, account: pulumi.Input[str], claim: pulumi.Input[str]
) -> k8s.apps.v1.DeploymentSpecArgs:
    return k8s.apps.v1.DeploymentSpecArgs(
        replicas=1,
        revision_history_limit=3,
        progress_deadline_seconds=STARTUP_SECONDS + 60,
        # Rolling would start a second pod that waits for ever for the volume of the first.
        strategy=k8s.apps.v1.DeploymentStrategyArgs(type="Recreate"),
        selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(_NAME, name)),
        template=core.PodTemplateSpecArgs(
            metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels(_NAME, _COMPONENT, name)),
            spec=core.PodSpecArgs(
                service_account_name=account,
                automount_service_account_token=False,
                enable_service_links=False,
                security_context=restricted_pod(),
                image_pull_secrets=pull_secrets(args.get("image_pull_secret")),
                volumes=[claimed("data", claim), scratch()],
                containers=[_server(name, args)],
            ),
        ),
    )


def _server(name: str, args: ModelRegistryArgs) -> core.ContainerArgs:
    return container(
        "mlflow",
        args.get("image", UPSTREAM_IMAGES["mlflow"]),
        variables={"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        args=_command(name, args),
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
        resources=resource_requirements(args.get("resources"), SIZES),
        startup_probe=http_probe("/health", "http", period=2, failures=STARTUP_SECONDS // 2),
        readiness_probe=http_probe("/health", "http", period=10, failures=3, timeout=5),
        liveness_probe=http_probe("/health", "http", period=20, failures=3, timeout=10),
        volume_mounts=[mount("data", _FOLDER), mount("tmp", "/tmp")],
    )


def _command(name: str, args: ModelRegistryArgs) -> list[pulumi.Input[str]]:
    return [
        "mlflow",
        "server",
        "--host=0.0.0.0",
        f"--port={PORT}",
        "--workers=1",
        f"--backend-store-uri=sqlite:///{_FOLDER}/mlflow.db",
        "--serve-artifacts",
        f"--artifacts-destination={_FOLDER}/artifacts",
        pulumi.Output.concat("--allowed-hosts=", _allowed_hosts(name, args)),
    ]


def _allowed_hosts(name: str, args: ModelRegistryArgs) -> pulumi.Output[str]:
    """The `Host` headers that MLflow answers; it refuses others against DNS rebinding.

    The address of a load balancer is not known before its Service is, so plain IP addresses are allowed where the
    server is exposed: a browser that was lured by a rebound name sends that name, never an address.
    """
    exposed = args.get("expose", Expose.CLUSTER_IP) is not Expose.CLUSTER_IP

    def hosts(known: dict[str, str | list[str] | None]) -> str:
        namespace = known["namespace"]
        inside = [name, f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"]
        found = [f"{host}:{PORT}" for host in inside] + ["localhost:*", "127.0.0.1:*"]
        if exposed:
            found.append("[0-9]*.[0-9]*.[0-9]*.*[0-9]:*")
        if host := known["host"]:
            found += [str(host), f"{host}:*"]
        return ",".join([*found, *(known["more"] or [])])

    return pulumi.Output.all(namespace=args["namespace"], host=args.get("host"), more=args.get("allowed_hosts")).apply(
        hosts
    )


def _service(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    args: ModelRegistryArgs,
    opts: pulumi.ResourceOptions,
    deployment: k8s.apps.v1.Deployment,
) -> core.Service:
    return core.Service(
        name,
        metadata=metadata,
        spec=core.ServiceSpecArgs(
            type=args.get("expose", Expose.CLUSTER_IP).value,
            selector=selector(_NAME, name),
            ports=[core.ServicePortArgs(name="http", port=PORT, target_port="http")],
        ),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[deployment])),
    )
