"""TrainingJob: one training run as an immutable Kubernetes Job that ends with a published model version."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from modelops import _training_pod
from modelops._labels import labels, selector
from modelops._network import net
from modelops._outputs import known_after
from modelops._pods import check_resources, core, name_of
from modelops._run_id import canonical_json, image_digest, run_id
from modelops._types import Resources
from modelops._validation import Problems, read_args

DEFAULT_COMMAND = ("python", "-m", "model.train")
DEFAULT_PUBLISH_COMMAND = ("python", "-m", "model.publish")
DEFAULT_RETRIES = 0
DEFAULT_TIMEOUT_SECONDS = 3600
MARGIN_SECONDS = 60
"""How much longer Pulumi waits than Kubernetes lets the Job run, so that the error is Kubernetes' own."""
_NAME = "training-job"
_LONGEST_NAME = 50
# Immutable in Kubernetes, and not among the fields on which the official provider replaces a Job.
_REPLACE_ON = ["spec.completionMode", "spec.podFailurePolicy", "spec.backoffLimitPerIndex"]


class Framework(Enum):
    """The machine-learning framework that the training image uses."""

    TENSORFLOW = "tensorflow"
    """TensorFlow, Keras included."""
    PYTORCH = "pytorch"
    """PyTorch."""
    MXNET = "mxnet"
    """Apache MXNet."""


class GateBounds(TypedDict):
    """Bounds of one metric. At least one of the two."""

    min: NotRequired[pulumi.Input[float]]
    """Smallest value that passes, itself included. Default: no lower bound."""
    max: NotRequired[pulumi.Input[float]]
    """Largest value that passes, itself included. Default: no upper bound."""


class Publisher(TypedDict):
    """What checks the gate and registers the model after the training."""

    image: NotRequired[pulumi.Input[str]]
    """Image with the publishing program. Default: the training image."""
    command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """The publishing program and its arguments. Default `python -m model.publish`."""


class TrainingJobArgs(TypedDict):
    """Arguments of TrainingJob."""

    image: pulumi.Input[str]
    """Training image by digest (`repository@sha256:…`), with `/bin/sh`. Part of the run's identity."""
    model_name: pulumi.Input[str]
    """Name under which the model is registered: letters, digits, `.`, `_` and `-`, at most 63 characters."""
    framework: Framework
    """Framework that the image uses. Part of the run's identity."""
    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    tracking_uri: pulumi.Input[str]
    """Address of the MLflow server that takes metrics and model, as pods see it."""
    command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """The training program and its arguments. Default `python -m model.train`. Part of the run's identity."""
    parameters: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[Any]]]]
    """Hyperparameters by name, anything that JSON can say. Default: none. Part of the run's identity."""
    gate: NotRequired[Mapping[str, GateBounds]]
    """Bounds by metric name; a model outside of them is not registered and the Job fails. Default: no gate."""
    data_uri: NotRequired[pulumi.Input[str]]
    """Where the training data is. Default: the image's own sample data. Part of the run's identity."""
    data_version: NotRequired[pulumi.Input[str]]
    """Version of the data, to train anew when it changes. Default: none. Part of the run's identity."""
    experiment_name: NotRequired[pulumi.Input[str]]
    """MLflow experiment that the run is logged to. Default: the model's name."""
    resources: NotRequired[Resources]
    """Resources of the training container. Default: 500m CPU, 1Gi memory, limited to 2Gi."""
    retries: NotRequired[int]
    """How often a failed training is tried again. Default 0; 0 to 10. Wrong configuration (exit code 2) and a missed
    gate (3) are never retried; a pod that the cluster disrupts is replaced in any case and doesn't count."""
    timeout_seconds: NotRequired[int]
    """How long the Job may take, retries included, in seconds. Default 3600; 30 to 604800 (a week)."""
    publisher: NotRequired[Publisher]
    """What publishes the model. Default: `python -m model.publish` in the training image."""
    image_pull_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with credentials for the image's registry. Default: none."""


class TrainingJob(pulumi.ComponentResource):
    """Trains a model once for each distinct set of inputs, checks its gate and registers it as a version in MLflow.

    Unchanged inputs run nothing. A changed input makes a new Job, named `<name>-<8 random digits>` and labelled with
    the run's identity, and the old one is removed only once the new one is done. A failed Job is run again, as a new
    one, by the next `pulumi up`.
    """

    run_id: pulumi.Output[str]
    """Identity of the run: twelve hex digits that change with image, command, parameters, data or framework."""
    model_uri: pulumi.Output[str]
    """`models:/<model_name>@run-<run_id>`, the registered version. What uses it waits until the training is done."""
    model_version: pulumi.Output[str]
    """`run-<run_id>`, the registered version's alias."""
    job_name: pulumi.Output[str]
    """Name of the Kubernetes Job."""

    def __init__(self, name: str, args: TrainingJobArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = _checked(name, args)
        super().__init__("modelops:index:TrainingJob", name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        self.run_id = _run_id(args)
        self.model_version = pulumi.Output.concat("run-", self.run_id)
        metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=_labels(name, None))
        account = core.ServiceAccount(name, metadata=metadata, automount_service_account_token=False, opts=here)
        net.NetworkPolicy(name, metadata=metadata, spec=_isolation(name), opts=here)
        job = k8s.batch.v1.Job(
            name,
            # No name of its own making: Pulumi removes what failed replacements left only at the end of an update
            # that goes through, so a name made from the run's identity would meet its older self when a change is
            # taken back, and the update would fail for ever.
            metadata=k8s.meta.v1.ObjectMetaArgs(
                namespace=args["namespace"],
                labels=_labels(name, self.model_version),
                annotations={"pulumi.com/replaceUnready": "true"},
            ),
            spec=_job_spec(name, args, self.run_id, known_after(name, account)),
            opts=pulumi.ResourceOptions.merge(here, _job_options(args)),
        )
        self.job_name = name_of(job)
        self.model_version = known_after(self.model_version, job)
        self.model_uri = pulumi.Output.concat("models:/", args["model_name"], "@", self.model_version)
        self.register_outputs(
            {
                "run_id": self.run_id,
                "model_uri": self.model_uri,
                "model_version": self.model_version,
                "job_name": self.job_name,
            }
        )


def _checked(name: str, args: TrainingJobArgs) -> TrainingJobArgs:
    problems = Problems("TrainingJob", name)
    problems.dns_label("name", name, maximum=_LONGEST_NAME)
    args = read_args(args, TrainingJobArgs, problems)
    problems.text("image", args.get("image"))
    _check_image(problems, args.get("image"))
    problems.mlflow_name("model_name", args.get("model_name"))
    problems.dns_label("namespace", args.get("namespace"))
    problems.url("tracking_uri", args.get("tracking_uri"))
    problems.number("retries", args.get("retries"), 0, 10)
    problems.number("timeout_seconds", args.get("timeout_seconds"), 30, 604_800)
    check_resources(problems, "resources", args.get("resources"))
    _check_gate(problems, args.get("gate") or {})
    _check_parameters(problems, args.get("parameters"))
    if args.get("command") == []:
        problems.add("command", [], "must name a program")
    problems.raise_if_any()
    return args


def _check_image(problems: Problems, image: object) -> None:
    if isinstance(image, str) and "@sha256:" not in image:
        rule = "must be named by digest (repository@sha256:…): a tag can move, and the run id would lie"
        problems.add("image", image, rule)


def _check_gate(problems: Problems, gate: Mapping[str, GateBounds]) -> None:
    for metric, bounds in gate.items():
        low, high = bounds.get("min"), bounds.get("max")
        if low is None and high is None:
            problems.add(f"gate.{metric}", dict(bounds), "must have min, max or both")
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            problems.add(f"gate.{metric}.max", high, f"must be at least min ({low})")


def _check_parameters(problems: Problems, parameters: object) -> None:
    if not isinstance(parameters, Mapping):
        return
    for key, value in parameters.items():
        if isinstance(value, pulumi.Output):
            continue
        try:
            canonical_json(value)
        except (TypeError, ValueError):
            problems.add(f"parameters.{key}", value, "must be something that JSON can say")


def _run_id(args: TrainingJobArgs) -> pulumi.Output[str]:
    return pulumi.Output.all(
        image=args["image"],
        command=args.get("command") or list(DEFAULT_COMMAND),
        parameters=args.get("parameters") or {},
        data_uri=args.get("data_uri", ""),
        data_version=args.get("data_version", ""),
    ).apply(
        lambda known: run_id(
            image_digest=image_digest(known["image"]),
            command=known["command"],
            parameters=known["parameters"],
            data_uri=known["data_uri"],
            data_version=known["data_version"],
            framework=args["framework"].value,
            workers=1,
        )
    )


def _labels(name: str, version: pulumi.Input[str] | None) -> dict[str, pulumi.Input[str]]:
    return labels(_NAME, _NAME, name, version)


def _isolation(name: str) -> net.NetworkPolicySpecArgs:
    """Nobody connects to a training pod; where it connects to depends on its data, and stays open."""
    return net.NetworkPolicySpecArgs(
        pod_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(_NAME, name)), policy_types=["Ingress"]
    )


def _job_options(args: TrainingJobArgs) -> pulumi.ResourceOptions:
    seconds = f"{args.get('timeout_seconds', DEFAULT_TIMEOUT_SECONDS) + MARGIN_SECONDS}s"
    return pulumi.ResourceOptions(
        replace_on_changes=_REPLACE_ON, custom_timeouts=pulumi.CustomTimeouts(create=seconds, update=seconds)
    )


def _job_spec(
    name: str, args: TrainingJobArgs, run: pulumi.Output[str], account: pulumi.Output[str]
) -> k8s.batch.v1.JobSpecArgs:
    publisher = args.get("publisher") or {}
    pod = _training_pod.Pod(
        run_id=run,
        model_name=args["model_name"],
        framework=args["framework"].value,
        image=args["image"],
        command=args.get("command") or list(DEFAULT_COMMAND),
        publish_image=publisher.get("image", args["image"]),
        publish_command=publisher.get("command") or list(DEFAULT_PUBLISH_COMMAND),
        parameters=args.get("parameters") or {},
        gate=args.get("gate") or {},
        data_uri=args.get("data_uri", ""),
        data_version=args.get("data_version", ""),
        tracking_uri=args["tracking_uri"],
        experiment_name=args.get("experiment_name", args["model_name"]),
        resources=args.get("resources"),
        service_account=account,
        image_pull_secret=args.get("image_pull_secret"),
    )
    retries = args.get("retries", DEFAULT_RETRIES)
    return k8s.batch.v1.JobSpecArgs(
        backoff_limit=retries,
        active_deadline_seconds=args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS),
        pod_failure_policy=_training_pod.failure_policy(retries),
        template=core.PodTemplateSpecArgs(
            metadata=k8s.meta.v1.ObjectMetaArgs(labels=_labels(name, pulumi.Output.concat("run-", run))),
            spec=_training_pod.pod_spec(pod),
        ),
    )
