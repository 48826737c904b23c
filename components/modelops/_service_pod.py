"""The pod that serves a model: an init container fetches the version, the server answers once it predicted rightly."""

from collections.abc import Sequence
from dataclasses import dataclass

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
)
from modelops._types import Resources

NAME = "model-service"
PORT = 8080
SIZES = Sizes(cpu="100m", memory="128Mi", memory_limit="512Mi")
ENDPOINT_SECONDS = 5
"""How long a leaving pod waits before it is told to stop, for the nodes to stop sending it requests."""
_FOLDER = "/modelops/model"


@dataclass(frozen=True)
class Pod:
    """What a serving pod is made from; the fields are those of ModelServiceArgs with their defaults filled in."""

    name: str
    image: pulumi.Input[str]
    model_uri: pulumi.Input[str]
    tracking_uri: pulumi.Input[str]
    model_name: pulumi.Input[str] | None
    fetch_command: pulumi.Input[Sequence[pulumi.Input[str]]]
    serve_command: pulumi.Input[Sequence[pulumi.Input[str]]]
    resources: Resources | None
    startup_seconds: int
    drain_seconds: int
    service_account: pulumi.Input[str]
    image_pull_secret: pulumi.Input[str] | None

    @property
    def grace_seconds(self) -> int:
        """From the decision to stop a pod until it is killed: longer than wait and drain together."""
        return ENDPOINT_SECONDS + self.drain_seconds + 10


def template(pod: Pod) -> core.PodTemplateSpecArgs:
    """The Deployment's pod template. It changes with the model's URI, and so a new version rolls out."""
    version = pulumi.Output.from_input(pod.model_uri).apply(model_version)
    return core.PodTemplateSpecArgs(
        metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels(NAME, NAME, pod.name, version), annotations=scrape(PORT)),
        spec=core.PodSpecArgs(
            service_account_name=pod.service_account,
            automount_service_account_token=False,
            enable_service_links=False,
            termination_grace_period_seconds=pod.grace_seconds,
            security_context=restricted_pod(),
            image_pull_secrets=pull_secrets(pod.image_pull_secret),
            topology_spread_constraints=[_spread(pod.name)],
            volumes=[scratch("model"), scratch("tmp")],
            init_containers=[_fetch(pod)],
            containers=[_serve(pod, version)],
        ),
    )


def model_version(uri: str) -> str:
    """The alias or version that a model URI ends with, as a label takes it."""
    name, at, alias = uri.removeprefix("models:/").partition("@")
    return alias if at else name.rpartition("/")[2]


def model_name(uri: str) -> str:
    """The registered model's name in a model URI."""
    return uri.removeprefix("models:/").partition("@")[0].partition("/")[0]


def _spread(name: str) -> core.TopologySpreadConstraintArgs:
    """Over nodes as far as it goes, each revision by itself, without refusing to schedule."""
    return core.TopologySpreadConstraintArgs(
        max_skew=1,
        topology_key="kubernetes.io/hostname",
        when_unsatisfiable="ScheduleAnyway",
        label_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(NAME, name)),
        match_label_keys=["pod-template-hash"],
    )


def _fetch(pod: Pod) -> core.ContainerArgs:
    return container(
        "fetch",
        pod.image,
        variables={
            "MODELOPS_MODEL_DIR": _FOLDER,
            "MODELOPS_MODEL_URI": pod.model_uri,
            "MLFLOW_TRACKING_URI": pod.tracking_uri,
        },
        command=pod.fetch_command,
        resources=resource_requirements(None, SIZES),
        volume_mounts=[mount("model", _FOLDER), mount("tmp", "/tmp")],
    )


def _serve(pod: Pod, version: pulumi.Output[str]) -> core.ContainerArgs:
    return container(
        "serve",
        pod.image,
        variables={
            "MODELOPS_MODEL_DIR": _FOLDER,
            "MODELOPS_PORT": str(PORT),
            "MODELOPS_MODEL_NAME": pod.model_name or pulumi.Output.from_input(pod.model_uri).apply(model_name),
            "MODELOPS_MODEL_VERSION": version,
            "MODELOPS_DRAIN_SECONDS": str(pod.drain_seconds),
        },
        command=pod.serve_command,
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
        resources=resource_requirements(pod.resources, SIZES),
        startup_probe=http_probe("/healthz/ready", "http", period=1, failures=pod.startup_seconds),
        readiness_probe=http_probe("/healthz/ready", "http", period=5, failures=2),
        liveness_probe=http_probe("/healthz/live", "http", period=10, failures=3),
        lifecycle=core.LifecycleArgs(
            pre_stop=core.LifecycleHandlerArgs(sleep=core.SleepActionArgs(seconds=ENDPOINT_SECONDS))
        ),
        volume_mounts=[mount("model", _FOLDER, read_only=True), mount("tmp", "/tmp")],
    )
