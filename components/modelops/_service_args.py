"""ModelService's arguments and their defaults."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import pulumi

from modelops._types import Expose, Resources

DEFAULT_REPLICAS = 2
DEFAULT_MIN_REPLICAS = 2
DEFAULT_TARGET_CPU_PERCENT = 70
DEFAULT_STARTUP_TIMEOUT_SECONDS = 120
DEFAULT_DRAIN_SECONDS = 10
DEFAULT_PORT = 80


class Autoscaling(TypedDict):
    """Bounds and aim of the horizontal autoscaler."""

    max_replicas: pulumi.Input[int]
    """Upper bound of the replica count. At least `min_replicas`."""
    min_replicas: NotRequired[pulumi.Input[int]]
    """Lower bound of the replica count. Default 2; at least 1."""
    target_cpu_percent: NotRequired[pulumi.Input[int]]
    """Mean CPU use that the autoscaler aims for, in percent of the request. Default 70; 1 to 100."""


class ServingAlias(TypedDict):
    """An alias of the registered model that stands for the version which serves, moved when a rollout is done."""

    alias: NotRequired[pulumi.Input[str]]
    """The alias. Default `serving`, which a training's relative gate compares with; services that share a registry take
    one each."""
    tracking_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `username` and `password` of an account that may write: ModelRegistry's
    `writer_secret`. Default: none."""


class ModelServiceArgs(TypedDict):
    """Arguments of ModelService."""

    image: pulumi.Input[str]
    """Serving image, best by digest (`repository@sha256:…`)."""
    model_uri: pulumi.Input[str]
    """The model version to serve, `models:/<name>@<alias>`: TrainingJob's `model_uri`."""
    tracking_uri: pulumi.Input[str]
    """Address of the MLflow server that has the model, as pods see it."""
    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    tracking_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `username` and `password` for MLflow: ModelRegistry's `reader_secret`.
    Only what fetches the model gets them, not the server. Default: none."""
    serving_alias: NotRequired[ServingAlias]
    """Tells the registry which version serves, `{}` for the alias `serving`. Default: it isn't told."""
    model_name: NotRequired[pulumi.Input[str]]
    """Name of the model in metrics and logs. Default: the name in `model_uri`."""
    replicas: NotRequired[int]
    """How many pods serve. Default 2; 1 to 1000. Not with `autoscaling`, which decides it then."""
    autoscaling: NotRequired[Autoscaling]
    """Let the CPU use decide the replica count. Default: a fixed count. Needs metrics-server in the cluster."""
    expose: NotRequired[Expose]
    """How the Service is reached: `LoadBalancer`, `ClusterIP` or `NodePort`. Default `ClusterIP`."""
    host: NotRequired[pulumi.Input[str]]
    """Name under which clients reach the Service, for `url`. Default: the load balancer's own address, `localhost`
    with `NodePort`, the Service's DNS name with `ClusterIP`."""
    port: NotRequired[int]
    """Port of the Service; the pods listen on 8080. Default 80; 1 to 65535."""
    resources: NotRequired[Resources]
    """Resources of each serving container. Default: 100m CPU, 128Mi memory, limited to 512Mi."""
    startup_timeout_seconds: NotRequired[int]
    """How long a pod may take until it answers, fetching the model included, in seconds. A release whose pods take
    longer has failed; the old ones keep serving. Default 120; 10 to 3600."""
    drain_seconds: NotRequired[int]
    """How long a pod that goes away keeps answering, in seconds. Default 10; 1 to 600."""
    fetch_command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Program that fetches the model into the model folder, with its arguments. Default `python -m model.fetch`."""
    serve_command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Program that serves the model, with its arguments. Default `python -m model.serve`."""
    image_pull_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with credentials for the image's registry. Default: none."""
