"""ModelPromotion: copies a model version, or an image with one, from one registry to another, unchanged."""

from collections.abc import Mapping
from typing import NotRequired

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.component import arguments_in_one, child_options
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.naming import objects_name
from modelops.core.outputs import register_declared_outputs, with_dependencies
from modelops.core.types import HelperArgs, PodArgs, Resources
from modelops.core.validation import Problems, read_args
from modelops.kubernetes.access import service_account
from modelops.kubernetes.jobs import egress_only_policy
from modelops.kubernetes.labels import standard_labels
from modelops.kubernetes.network import api_server_ports
from modelops.kubernetes.placement import check_pods
from modelops.kubernetes.pods import (
    ACCOUNT_FOLDER,
    api_access,
    check_resources,
    container,
    core,
    mount,
    resource_requirements,
    scratch,
    tracking_credentials,
)
from modelops.kubernetes.registry_job import registry_job
from modelops.kubernetes.run_report import RunReport
from modelops.kubernetes.runtime import VARIABLES, runtime_command, runtime_mount, runtime_volume
from modelops.kubernetes.watch import WATCH_RESOURCES
from modelops.registry.image_copy import (
    DEFAULT_RESOURCES,
    DEFAULT_TIMEOUT_SECONDS,
    MAX_TIMEOUT_SECONDS,
    NAME,
    check_image,
    copy_image,
)
from modelops.training.args import GateBounds
from modelops.training.checks import check_gate
from modelops.training.gates import announce_gate, gate_variables

__all__ = ["GateBounds", "ModelPromotion", "ModelPromotionArgs"]

LONGEST_NAME = 50
_MODEL_FOLDER = "/modelops"
_OF_VERSION = ("model_name", "run_id", "source_uri", "tracking_uri")
_OF_IMAGE = ("repository", "repository_secret")


class ModelPromotionArgs(PodArgs, HelperArgs):
    """Arguments of ModelPromotion."""

    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    image: NotRequired[pulumi.Input[str]]
    """Image, with Python 3.11 or newer, of the container that copies; the library brings the program. Default: Python's
    own image."""
    model_name: NotRequired[pulumi.Input[str]]
    """Name of the registered model, the same in both registries. Required, as are `run_id`, `source_uri` and
    `tracking_uri`, except with `model_uri`."""
    run_id: NotRequired[pulumi.Input[str]]
    """The run whose version to promote: TrainingJob's `run_id` in the other environment."""
    source_uri: NotRequired[pulumi.Input[str]]
    """Address of the MLflow server to copy from, reachable from pods."""
    tracking_uri: NotRequired[pulumi.Input[str]]
    """Address of the MLflow server to copy to, reachable from pods."""
    model_uri: NotRequired[pulumi.Input[str]]
    """An image with a model's files to copy instead, by digest: `oci://repository@sha256:…`. Default: none."""
    repository: NotRequired[pulumi.Input[str]]
    """Repository to copy that image to, without a tag. Required with `model_uri`."""
    repository_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace, of the type `kubernetes.io/dockerconfigjson`, with logins to both image
    registries. Only with `model_uri`. Default: none."""
    source_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `username` and `password` of an account that may read at `source_uri`.
    Default: none, for a server without accounts."""
    source_token: NotRequired[bool]
    """Whether the `source_secret` has a `token` instead, sent as a bearer token. Default false."""
    tracking_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `username` and `password` of an account that may write at `tracking_uri`.
    Default: none, for a server without accounts."""
    tracking_token: NotRequired[bool]
    """Whether the `tracking_secret` has a `token` instead, sent as a bearer token. Default false."""
    tracking_url: NotRequired[pulumi.Input[str]]
    """Address at which people reach the server at `tracking_uri`, for `run_url`. Default: `tracking_uri`."""
    gate: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[GateBounds]]]]
    """Bounds of the run's final metrics, by name; `min_delta` and `max_delta` compare with the version now serving
    here. If one isn't met, nothing is copied and the update fails. A changed gate judges a copied version again.
    Default: none."""
    serving_alias: NotRequired[pulumi.Input[str]]
    """Alias of the version here that the gate's relative bounds compare with: the `serving_alias` that ModelService
    moves after each rollout. Required with `min_delta` or `max_delta`. Default: none."""
    first_version: NotRequired[pulumi.Input[bool]]
    """Whether the gate's relative bounds pass while no version here has the `serving_alias`, for a model's first
    version. Default false: the update fails."""
    experiment_name: NotRequired[pulumi.Input[str]]
    """MLflow experiment for the copied run. Default: the model's name."""
    resources: NotRequired[Resources]
    """Resources of the copying pod. Default: 50m CPU, 64Mi memory, limited to 256Mi."""
    timeout_seconds: NotRequired[pulumi.Input[int]]
    """How long the copy may take, in seconds. Default 900; 30 to 86400."""


class ModelPromotion(pulumi.ComponentResource):
    """Copies a version that another environment trained into this environment's registry, unchanged.

    Files are identical to the byte, as are alias, metrics, parameters and tags: what was tested there is what serves
    here. Nothing is trained. A version that is already here must pass the gate again, but isn't copied again. An image
    with a model's files is copied by digest, and has no gate, run or metrics.
    """

    run_id: pulumi.Output[str]
    """The run's identity, the same as in the other environment. Empty for an image."""
    model_uri: pulumi.Output[str]
    """`models:/<model_name>@run-<run_id>`, or `oci://<repository>@sha256:…` for an image. Resources that use it wait
    until the version is here."""
    model_version: pulumi.Output[str]
    """`run-<run_id>`, the version's alias in both registries; the first 12 digits of an image's digest."""
    metrics: pulumi.Output[Mapping[str, float]]
    """Metrics of the run, by name. Only known once the version is here."""
    run_url: pulumi.Output[str]
    """Address of the run's page in this environment's MLflow. Only known once the version is here. Empty for an
    image."""

    @arguments_in_one
    def __init__(self, name: str, args: ModelPromotionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = _checked(name, args)
        super().__init__("modelops:index:ModelPromotion", name, None, opts)
        name = objects_name(name, opts)
        child_opts = child_options(self)
        if "model_uri" in args:
            self._copy_image(name, args, child_opts)
        else:
            self._copy_version(name, args, child_opts)
        register_declared_outputs(self)

    def _copy_image(self, name: str, args: ModelPromotionArgs, opts: pulumi.ResourceOptions) -> None:
        self.model_uri, self.model_version = copy_image(name, args, opts)
        self.run_id = self.run_url = pulumi.Output.from_input("")
        self.metrics = pulumi.Output.from_input({})

    def _copy_version(self, name: str, args: ModelPromotionArgs, child_opts: pulumi.ResourceOptions) -> None:
        announce_gate(args, self)
        namespace = args["namespace"]
        labels = standard_labels(NAME, NAME, name)
        metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=namespace, labels=labels)
        account = service_account(name, metadata, child_opts, args)
        servers = (args["source_uri"], args["tracking_uri"])
        egress_only_policy(name, NAME, name, args, child_opts, *servers, *api_server_ports(args))
        report = RunReport(name, namespace, labels, name, child_opts)
        runtime = runtime_volume(name, namespace, labels, ("transfer",), child_opts)
        job = registry_job(
            name,
            NAME,
            name,
            namespace,
            _transfer_container(args, report),
            [scratch("tmp"), scratch("model"), api_access("account"), runtime],
            child_opts,
            account=with_dependencies(name, account),
            first=account,
            args=args,
            deadline_seconds=args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS),
            longest=MAX_TIMEOUT_SECONDS,
        )
        self.run_id = pulumi.Output.from_input(args["run_id"])
        self.model_version = with_dependencies(pulumi.Output.concat("run-", self.run_id), job)
        self.model_uri = pulumi.Output.concat("models:/", args["model_name"], "@", self.model_version)
        tracking_url = args.get("tracking_url", args["tracking_uri"])
        self.metrics, self.run_url = report.outputs(job, None, self.run_id, tracking_url)


def _transfer_container(args: ModelPromotionArgs, report: RunReport) -> "core.ContainerArgs":
    variables = {
        "MODELOPS_MODEL_NAME": args["model_name"],
        "MODELOPS_RUN_ID": args["run_id"],
        **gate_variables(args),
        "MODELOPS_SOURCE_URI": args["source_uri"],
        "MODELOPS_MODEL_DIR": f"{_MODEL_FOLDER}/model",
        "MLFLOW_TRACKING_URI": args["tracking_uri"],
        "MLFLOW_EXPERIMENT_NAME": args.get("experiment_name", args["model_name"]),
        **report.variables,
        **VARIABLES,
    }
    return container(
        "transfer",
        args.get("image", UPSTREAM_IMAGES["python"]),
        variables=variables,
        secrets=[
            *tracking_credentials(args.get("tracking_secret"), token=args.get("tracking_token")),
            *tracking_credentials(args.get("source_secret"), "MODELOPS_SOURCE", token=args.get("source_token")),
        ],
        command=runtime_command("transfer"),
        resources=resource_requirements(args.get("resources"), DEFAULT_RESOURCES),
        volume_mounts=[
            mount("tmp", "/tmp"),
            mount("model", _MODEL_FOLDER),
            mount("account", ACCOUNT_FOLDER, read_only=True),
            runtime_mount(),
        ],
    )


def _checked(name: str, args: ModelPromotionArgs) -> ModelPromotionArgs:
    """The arguments, normalized. Raises ArgumentsError with every problem."""
    problems = Problems("ModelPromotion", name)
    problems.dns_label("name", name, maximum=LONGEST_NAME)
    args = read_args(args, ModelPromotionArgs, problems)
    problems.dns_label("namespace", args.get("namespace"))
    problems.mlflow_name("model_name", args.get("model_name"))
    for field in ("image", "run_id", "source_secret", "tracking_secret", "repository_secret"):
        problems.text(field, args.get(field))
    if "model_uri" in args:
        _check_image(problems, args)
    else:
        _check_version(problems, args)
    for field in ("source_uri", "tracking_uri", "tracking_url"):
        problems.url(field, args.get(field))
    problems.number("timeout_seconds", args.get("timeout_seconds"), 30, MAX_TIMEOUT_SECONDS)
    check_resources(problems, "resources", args.get("resources"), DEFAULT_RESOURCES)
    check_resources(problems, "helper_resources", args.get("helper_resources"), WATCH_RESOURCES)
    check_pods(problems, args)
    check_gate(problems, args)
    problems.raise_if_any()
    return args


def _check_version(problems: Problems, args: ModelPromotionArgs) -> None:
    for field in _OF_VERSION:
        if field not in args:
            problems.missing(field, "it is required without model_uri")
    for field in _OF_IMAGE:
        if field in args:
            problems.add(field, args.get(field), "must only be given with model_uri")


def _check_image(problems: Problems, args: ModelPromotionArgs) -> None:
    check_image(problems, args)
    if "repository" not in args:
        problems.missing("repository", "it is required with model_uri")
    others = ("source_secret", "tracking_secret", "tracking_url", "gate", "serving_alias", "first_version")
    for field in (*_OF_VERSION, *others, "experiment_name"):
        if field in args:
            problems.add(field, args.get(field), "must not be given with model_uri, whose image is all that is copied")
