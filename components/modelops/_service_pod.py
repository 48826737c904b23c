"""The pod that serves a model: an init container fetches the version, the server answers once it predicted rightly."""

import pulumi
import pulumi_kubernetes as k8s

from modelops._labels import labels, scrape, selector
from modelops._pods import (
    Sizes,
    container,
    core,
    http_probe,
    mount,
    pull_secrets,
    resource_requirements,
    restricted_pod,
    scratch,
    tracking_credentials,
)
from modelops._service_args import DEFAULT_DRAIN_SECONDS, DEFAULT_STARTUP_TIMEOUT_SECONDS, ModelServiceArgs

NAME = "model-service"
PORT = 8080
SIZES = Sizes(cpu="100m", memory="128Mi", memory_limit="512Mi")
ENDPOINT_SECONDS = 5
"""How long a leaving pod waits before it is told to stop, for the nodes to stop sending it requests."""
TRACK = "modelops.dev/track"
"""Label of a pod: which of the service's tracks it belongs to."""
STABLE = "stable"
LIVE = "modelops.dev/live"
"""Label of the pods that answer at the service's own address."""
_FOLDER = "/modelops/model"


def track_selector(service: str, role: str) -> dict[str, pulumi.Input[str]]:
    """The labels that pick the pods of one track."""
    return {**selector(NAME, service), TRACK: role}


def live_selector(service: str) -> dict[str, pulumi.Input[str]]:
    """The labels that pick the pods which answer at the service's own address, of whatever track."""
    return {**selector(NAME, service), LIVE: "true"}


def grace_seconds(args: ModelServiceArgs) -> int:
    """From the decision to stop a pod until it is killed: longer than wait and drain together."""
    return ENDPOINT_SECONDS + args.get("drain_seconds", DEFAULT_DRAIN_SECONDS) + 10


def template(
    service: str, args: ModelServiceArgs, account: pulumi.Input[str], *, role: str, live: bool
) -> core.PodTemplateSpecArgs:
    """The pod template of a track. It changes with the model's URI, and so a new version rolls out."""
    version = pulumi.Output.from_input(args["model_uri"]).apply(model_version)
    found = {**labels(NAME, NAME, service, version), TRACK: role, **({LIVE: "true"} if live else {})}
    return core.PodTemplateSpecArgs(
        metadata=k8s.meta.v1.ObjectMetaArgs(labels=found, annotations=scrape(PORT)),
        spec=core.PodSpecArgs(
            service_account_name=account,
            automount_service_account_token=False,
            enable_service_links=False,
            termination_grace_period_seconds=grace_seconds(args),
            security_context=restricted_pod(),
            image_pull_secrets=pull_secrets(args.get("image_pull_secret")),
            topology_spread_constraints=[_spread(service, role)],
            volumes=[scratch("model"), scratch("tmp")],
            init_containers=[_fetch(args)],
            containers=[_serve(args, version)],
        ),
    )


def model_version(uri: str) -> str:
    """The alias or version that a model URI ends with, as a label takes it."""
    name, at, alias = uri.removeprefix("models:/").partition("@")
    return alias if at else name.rpartition("/")[2]


def model_name(uri: str) -> str:
    """The registered model's name in a model URI."""
    return uri.removeprefix("models:/").partition("@")[0].partition("/")[0]


def _spread(service: str, role: str) -> core.TopologySpreadConstraintArgs:
    """Over nodes as far as it goes, each revision by itself, without refusing to schedule."""
    return core.TopologySpreadConstraintArgs(
        max_skew=1,
        topology_key="kubernetes.io/hostname",
        when_unsatisfiable="ScheduleAnyway",
        label_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=track_selector(service, role)),
        match_label_keys=["pod-template-hash"],
    )


def _fetch(args: ModelServiceArgs) -> core.ContainerArgs:
    return container(
        "fetch",
        args["image"],
        variables={
            "MODELOPS_MODEL_DIR": _FOLDER,
            "MODELOPS_MODEL_URI": args["model_uri"],
            "MLFLOW_TRACKING_URI": args["tracking_uri"],
        },
        secrets=tracking_credentials(args.get("tracking_secret")),
        command=args.get("fetch_command") or ["python", "-m", "model.fetch"],
        resources=resource_requirements(None, SIZES),
        volume_mounts=[mount("model", _FOLDER), mount("tmp", "/tmp")],
    )


def _serve(args: ModelServiceArgs, version: pulumi.Output[str]) -> core.ContainerArgs:
    startup = args.get("startup_timeout_seconds", DEFAULT_STARTUP_TIMEOUT_SECONDS)
    return container(
        "serve",
        args["image"],
        variables={
            "MODELOPS_MODEL_DIR": _FOLDER,
            "MODELOPS_PORT": str(PORT),
            "MODELOPS_MODEL_NAME": args.get("model_name")
            or pulumi.Output.from_input(args["model_uri"]).apply(model_name),
            "MODELOPS_MODEL_VERSION": version,
            "MODELOPS_DRAIN_SECONDS": str(args.get("drain_seconds", DEFAULT_DRAIN_SECONDS)),
        },
        command=args.get("serve_command") or ["python", "-m", "model.serve"],
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
        resources=resource_requirements(args.get("resources"), SIZES),
        startup_probe=http_probe("/healthz/ready", "http", period=1, failures=startup),
        readiness_probe=http_probe("/healthz/ready", "http", period=5, failures=2),
        liveness_probe=http_probe("/healthz/live", "http", period=10, failures=3),
        lifecycle=core.LifecycleArgs(
            pre_stop=core.LifecycleHandlerArgs(sleep=core.SleepActionArgs(seconds=ENDPOINT_SECONDS))
        ),
        volume_mounts=[mount("model", _FOLDER, read_only=True), mount("tmp", "/tmp")],
    )
