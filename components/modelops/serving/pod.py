"""The pod that serves a model: an init container downloads it, and the server is ready once it predicts correctly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import text_of
from modelops.kubernetes.labels import scrape, selector, standard_labels
from modelops.kubernetes.pods import (
    DefaultResources,
    claimed,
    container,
    core,
    http_probe,
    mount,
    pod_template,
    resource_requirements,
    scratch,
    tracking_credentials,
)
from modelops.kubernetes.runtime import VARIABLES, runtime_command, runtime_mount
from modelops.serving.args import (
    MetricNames,
    ModelServiceArgs,
    cors_origins,
    drain_seconds,
    fetch_variables,
    mlflow_variables,
    runtime_image,
    startup_seconds,
)

NAME = "model-service"
PORT = 8080
DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="128Mi", memory_limit="512Mi")
ENDPOINT_SECONDS = 5
"""How long a terminating pod waits before SIGTERM, while the nodes stop sending it requests."""
TRACK = "modelops.dev/track"
"""Pod label: the track that the pod belongs to."""
STABLE = "stable"
METRIC_NAMES = "modelops.dev/metric-names"
"""Pod label: whose names the server's metrics have, where they aren't this library's."""
LIVE = "modelops.dev/live"
"""Label of the pods behind the service's own address."""
CACHE = "/modelops/cache"
_MODEL_FOLDER = "/modelops/model"


def track_selector(service: str, role: str) -> dict[str, pulumi.Input[str]]:
    """The labels that select the pods of one track."""
    return {**selector(NAME, service), TRACK: role}


def live_selector(service: str) -> dict[str, pulumi.Input[str]]:
    """The labels that select the pods behind the service's own address, of any track."""
    return {**selector(NAME, service), LIVE: "true"}


def grace_seconds(args: ModelServiceArgs) -> pulumi.Output[int]:
    """The termination grace period: longer than wait and drain together."""
    return drain_seconds(args).apply(lambda drain: ENDPOINT_SECONDS + drain + 10)


@dataclass(frozen=True)
class PodIdentity:
    """The service and track that a pod belongs to, and what it gets from them."""

    service: str
    role: str
    account: pulumi.Input[str]
    live: bool = True
    cache_claim: pulumi.Input[str] | None = None
    """Claim of the model cache's volume."""
    variables: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Extra environment variables of the server."""
    runtime: core.VolumeArgs | None = None
    """The volume with the program that fetches; None if the arguments have another one."""

    def labels(self, version: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
        """The pod's labels."""
        labels = {**standard_labels(NAME, NAME, self.service, version), TRACK: self.role}
        return {**labels, LIVE: "true"} if self.live else labels


def template(args: ModelServiceArgs, identity: PodIdentity) -> core.PodTemplateSpecArgs:
    """The pod template of a track. It changes with the model's URI, so a new version rolls out."""
    cached = identity.cache_claim is not None
    return serving_template(
        args,
        identity,
        [serve(args, cached=cached, variables=identity.variables)],
        annotations=scrape(PORT),
        volumes=volumes(identity),
        init_containers=[fetch(args, identity)],
    )


def serving_template(
    args: ModelServiceArgs,
    identity: PodIdentity,
    containers: Sequence[core.ContainerArgs],
    **fields: Any,
) -> core.PodTemplateSpecArgs:
    """What all serving pods have in common, whatever the runtime. `fields` are those of `pod_template`."""
    names = MetricNames(args.get("metric_names", MetricNames.MODELOPS))
    foreign = {} if names is MetricNames.MODELOPS else {METRIC_NAMES: names.value}
    return pod_template(
        {**identity.labels(version_of(args)), **foreign},
        identity.account,
        containers,
        args,
        termination_grace_period_seconds=grace_seconds(args),
        topology_spread_constraints=[_spread(identity)],
        **fields,
    )


def volumes(identity: PodIdentity) -> list[core.VolumeArgs]:
    """The volumes of the model, scratch files, the program that fetches, and the cache, if there is one."""
    cache = [] if identity.cache_claim is None else [claimed("cache", identity.cache_claim)]
    runtime = [] if identity.runtime is None else [identity.runtime]
    return [scratch("model"), scratch("tmp"), *cache, *runtime]


def version_of(args: ModelServiceArgs) -> pulumi.Output[str]:
    """The alias, version or revision to serve, as a label value."""
    return pulumi.Output.from_input(args["model_uri"]).apply(model_version)


def name_of_model(args: ModelServiceArgs) -> pulumi.Input[str]:
    """The model's name in metrics, logs and the API."""
    return args.get("model_name") or pulumi.Output.from_input(args["model_uri"]).apply(model_name)


def model_version(uri: str) -> str:
    """The alias, version or revision at the end of a model URI: `run-1` in `models:/linear@run-1`."""
    name, at, alias = uri.partition(":/")[2].partition("@")
    return alias if at else name.rpartition("/")[2]


def model_name(uri: str) -> str:
    """The model's name in a URI: `linear` in `models:/linear@run-1`, `organization/model` in `hf://…`."""
    path = uri.partition(":/")[2].partition("@")[0]
    return path.removeprefix("/") if uri.startswith("hf:") else path.partition("/")[0]


def _spread(identity: PodIdentity) -> core.TopologySpreadConstraintArgs:
    """Spreads each revision over the nodes as far as possible, without blocking scheduling."""
    return core.TopologySpreadConstraintArgs(
        max_skew=1,
        topology_key="kubernetes.io/hostname",
        when_unsatisfiable="ScheduleAnyway",
        label_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=track_selector(identity.service, identity.role)),
        match_label_keys=["pod-template-hash"],
    )


def fetch(args: ModelServiceArgs, identity: PodIdentity) -> core.ContainerArgs:
    """The init container that downloads the model version."""
    cached = identity.cache_claim is not None
    own_command = args.get("fetch_command")
    variables: Mapping[str, pulumi.Input[str]] = {
        "MODELOPS_MODEL_DIR": _MODEL_FOLDER,
        "MODELOPS_MODEL_URI": args["model_uri"],
        "MLFLOW_TRACKING_URI": args["tracking_uri"],
        **({"MODELOPS_MODEL_CACHE_DIR": CACHE} if cached else {}),
        **fetch_variables(args),
        **({} if own_command else VARIABLES),
    }
    return container(
        "fetch",
        args.get("runtime_image", args["image"]) if own_command else runtime_image(args),
        variables=variables,
        secrets=tracking_credentials(args.get("tracking_secret")),
        command=own_command or runtime_command("fetch"),
        resources=resource_requirements(None, DEFAULT_RESOURCES),
        volume_mounts=[
            mount("model", _MODEL_FOLDER),
            mount("tmp", "/tmp"),
            *([mount("cache", CACHE)] if cached else []),
            *([] if own_command else [runtime_mount()]),
        ],
    )


def serve(
    args: ModelServiceArgs,
    *,
    cached: bool,
    drains: bool = True,
    variables: Mapping[str, pulumi.Input[str]] | None = None,
    **fields: Any,
) -> core.ContainerArgs:
    """The server. With `drains`, it keeps answering for a while after it is told to stop."""
    pause = core.LifecycleHandlerArgs(sleep=core.SleepActionArgs(seconds=ENDPOINT_SECONDS))
    return container(
        "serve",
        args["image"],
        variables={
            "MODELOPS_MODEL_DIR": _MODEL_FOLDER,
            "MODELOPS_PORT": str(PORT),
            "MODELOPS_MODEL_NAME": name_of_model(args),
            "MODELOPS_MODEL_VERSION": version_of(args),
            "MODELOPS_DRAIN_SECONDS": text_of(drain_seconds(args) if drains else 0),
            **({"MODELOPS_CORS_ORIGINS": cors_origins(args)} if args.get("cors_origins") else {}),
            **mlflow_variables(args),
            **(variables or {}),
        },
        command=args.get("serve_command"),
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
        resources=resource_requirements(args.get("resources"), DEFAULT_RESOURCES),
        startup_probe=http_probe("/healthz/ready", "http", period=1, failures=startup_seconds(args)),
        readiness_probe=http_probe("/healthz/ready", "http", period=5, failures=2),
        liveness_probe=http_probe("/healthz/live", "http", period=10, failures=3),
        lifecycle=core.LifecycleArgs(pre_stop=pause) if drains else None,
        volume_mounts=[
            mount("model", _MODEL_FOLDER, read_only=True),
            mount("tmp", "/tmp"),
            *([mount("cache", CACHE, read_only=True)] if cached else []),
        ],
        **fields,
    )
