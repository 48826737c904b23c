"""The pod that serves a model: an init container fetches the version, the server answers once it predicted rightly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

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
from modelops.serving.args import ModelServiceArgs, drain_seconds, startup_seconds

NAME = "model-service"
PORT = 8080
DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="128Mi", memory_limit="512Mi")
ENDPOINT_SECONDS = 5
"""How long a leaving pod waits before it is told to stop, for the nodes to stop sending it requests."""
TRACK = "modelops.dev/track"
"""Label of a pod: which of the service's tracks it belongs to."""
STABLE = "stable"
LIVE = "modelops.dev/live"
"""Label of the pods that answer at the service's own address."""
CACHE = "/modelops/cache"
_FOLDER = "/modelops/model"


def track_selector(service: str, role: str) -> dict[str, pulumi.Input[str]]:
    """The labels that pick the pods of one track."""
    return {**selector(NAME, service), TRACK: role}


def live_selector(service: str) -> dict[str, pulumi.Input[str]]:
    """The labels that pick the pods which answer at the service's own address, of whatever track."""
    return {**selector(NAME, service), LIVE: "true"}


def grace_seconds(args: ModelServiceArgs) -> int:
    """From the decision to stop a pod until it is killed: longer than wait and drain together."""
    return ENDPOINT_SECONDS + drain_seconds(args) + 10


@dataclass(frozen=True)
class PodIdentity:
    """Whose pod it is."""

    service: str
    role: str
    account: pulumi.Input[str]
    live: bool = True
    cache_claim: pulumi.Input[str] | None = None
    """The claim of the volume with fetched models."""
    variables: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Further environment variables of its server."""

    def labels(self, version: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
        """The pod's labels."""
        found = {**standard_labels(NAME, NAME, self.service, version), TRACK: self.role}
        return {**found, LIVE: "true"} if self.live else found


def template(args: ModelServiceArgs, identity: PodIdentity) -> core.PodTemplateSpecArgs:
    """The pod template of a track. It changes with the model's URI, and so a new version rolls out."""
    version = version_of(args)
    cached = identity.cache_claim is not None
    return serving_template(
        args,
        identity,
        [serve(args, version, cached=cached, variables=identity.variables)],
        annotations=scrape(PORT),
        volumes=volumes(identity),
        init_containers=[fetch(args, cached=cached)],
    )


def serving_template(
    args: ModelServiceArgs,
    identity: PodIdentity,
    containers: Sequence[core.ContainerArgs],
    **fields: Any,
) -> core.PodTemplateSpecArgs:
    """What every serving pod has, whichever program serves. `fields` are those of `pod_template`."""
    return pod_template(
        identity.labels(version_of(args)),
        identity.account,
        containers,
        args,
        termination_grace_period_seconds=grace_seconds(args),
        topology_spread_constraints=[_spread(identity)],
        **fields,
    )


def volumes(identity: PodIdentity) -> list[core.VolumeArgs]:
    """Where the model and scratch files are."""
    found = [scratch("model"), scratch("tmp")]
    return found if identity.cache_claim is None else [*found, claimed("cache", identity.cache_claim)]


def version_of(args: ModelServiceArgs) -> pulumi.Output[str]:
    """The alias, version or revision that is served, as a label takes it."""
    return pulumi.Output.from_input(args["model_uri"]).apply(model_version)


def name_of_model(args: ModelServiceArgs) -> pulumi.Input[str]:
    """The model's name in metrics, logs and the API."""
    return args.get("model_name") or pulumi.Output.from_input(args["model_uri"]).apply(model_name)


def model_version(uri: str) -> str:
    """The alias, version or revision that a model URI ends with: `run-1` of `models:/linear@run-1`."""
    name, at, alias = uri.partition(":/")[2].partition("@")
    return alias if at else name.rpartition("/")[2]


def model_name(uri: str) -> str:
    """The model's name in its URI: `linear` of `models:/linear@run-1`, `organization/model` of `hf://…`."""
    path = uri.partition(":/")[2].partition("@")[0]
    return path.removeprefix("/") if uri.startswith("hf:") else path.partition("/")[0]


def _spread(identity: PodIdentity) -> core.TopologySpreadConstraintArgs:
    """Over nodes as far as it goes, each revision by itself, without refusing to schedule."""
    return core.TopologySpreadConstraintArgs(
        max_skew=1,
        topology_key="kubernetes.io/hostname",
        when_unsatisfiable="ScheduleAnyway",
        label_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=track_selector(identity.service, identity.role)),
        match_label_keys=["pod-template-hash"],
    )


def fetch(args: ModelServiceArgs, *, cached: bool) -> core.ContainerArgs:
    """The init container that gets the model version."""
    credentials = args.get("tracking_secret")
    variables: Mapping[str, pulumi.Input[str]] = {
        "MODELOPS_MODEL_DIR": _FOLDER,
        "MODELOPS_MODEL_URI": args["model_uri"],
        "MLFLOW_TRACKING_URI": args["tracking_uri"],
        **({"MODELOPS_MODEL_CACHE_DIR": CACHE} if cached else {}),
    }
    return container(
        "fetch",
        args.get("runtime_image", args["image"]),
        variables=variables,
        secrets=tracking_credentials(credentials),
        command=args.get("fetch_command") or ["python", "-m", "modelops_runtime", "fetch"],
        resources=resource_requirements(None, DEFAULT_RESOURCES),
        volume_mounts=[mount("model", _FOLDER), mount("tmp", "/tmp"), *([mount("cache", CACHE)] if cached else [])],
    )


def serve(
    args: ModelServiceArgs,
    version: pulumi.Input[str],
    *,
    cached: bool,
    drains: bool = True,
    variables: Mapping[str, pulumi.Input[str]] | None = None,
    **fields: Any,
) -> core.ContainerArgs:
    """The server. `drains`: whether it waits for requests that are still on their way when it is told to stop."""
    pause = core.LifecycleHandlerArgs(sleep=core.SleepActionArgs(seconds=ENDPOINT_SECONDS))
    return container(
        "serve",
        args["image"],
        variables={
            "MODELOPS_MODEL_DIR": _FOLDER,
            "MODELOPS_PORT": str(PORT),
            "MODELOPS_MODEL_NAME": name_of_model(args),
            "MODELOPS_MODEL_VERSION": version,
            "MODELOPS_DRAIN_SECONDS": str(drain_seconds(args) if drains else 0),
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
            mount("model", _FOLDER, read_only=True),
            mount("tmp", "/tmp"),
            *([mount("cache", CACHE, read_only=True)] if cached else []),
        ],
        **fields,
    )
