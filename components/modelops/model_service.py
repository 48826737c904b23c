"""ModelService: one model version behind one address, replaced without a failed request."""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from modelops import _service_pod
from modelops._labels import labels, selector
from modelops._network import allow_egress, allow_ingress, cluster_host, net, port_of, service_url
from modelops._outputs import known_after
from modelops._pods import check_resources, core
from modelops._service_pod import NAME, PORT
from modelops._types import Expose, Resources
from modelops._validation import Problems, read_args

DEFAULT_REPLICAS = 2
DEFAULT_MIN_REPLICAS = 2
DEFAULT_TARGET_CPU_PERCENT = 70
DEFAULT_STARTUP_TIMEOUT_SECONDS = 120
DEFAULT_DRAIN_SECONDS = 10
DEFAULT_PORT = 80
PREDICT_PATH = "/api/predict"


class Autoscaling(TypedDict):
    """Bounds and aim of the horizontal autoscaler."""

    max_replicas: pulumi.Input[int]
    """Upper bound of the replica count. At least `min_replicas`."""
    min_replicas: NotRequired[pulumi.Input[int]]
    """Lower bound of the replica count. Default 2; at least 1."""
    target_cpu_percent: NotRequired[pulumi.Input[int]]
    """Mean CPU use that the autoscaler aims for, in percent of the request. Default 70; 1 to 100."""


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


class ModelService(pulumi.ComponentResource):
    """Serves a model version over HTTP on every replica, behind one Service.

    A new version rolls out pod by pod: a pod takes requests only after it answered a known prediction correctly, and
    an old one leaves only after that. A version that doesn't start fails the update within minutes while the old
    pods keep serving.
    """

    url: pulumi.Output[str]
    """Address of the service, without a trailing slash."""
    predict_url: pulumi.Output[str]
    """Address that answers predictions: `POST {"inputs": [[0.5]]}`."""

    def __init__(self, name: str, args: ModelServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = _checked(name, args)
        super().__init__("modelops:index:ModelService", name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels(NAME, NAME, name))
        account = core.ServiceAccount(name, metadata=metadata, automount_service_account_token=False, opts=here)
        net.NetworkPolicy(name, metadata=metadata, spec=_network_rules(name, args), opts=here)
        _disruption_budget(name, metadata, here)
        deployment = k8s.apps.v1.Deployment(
            name,
            metadata=metadata,
            spec=_deployment_spec(name, args, known_after(name, account)),
            opts=pulumi.ResourceOptions.merge(here, _waiting(_rollout_seconds(args))),
        )
        _autoscaler(name, metadata, args, here)
        service = _service(name, metadata, args, here, deployment)
        expose, port = args.get("expose", Expose.CLUSTER_IP), args.get("port", DEFAULT_PORT)
        inside = cluster_host(name, args["namespace"])
        self.url = service_url(
            service, expose=expose, port=port, inside=inside, host=args.get("host"), ready=[deployment]
        )
        self.predict_url = pulumi.Output.concat(self.url, PREDICT_PATH)
        self.register_outputs({"url": self.url, "predict_url": self.predict_url})


def _checked(name: str, args: ModelServiceArgs) -> ModelServiceArgs:
    problems = Problems("ModelService", name)
    problems.dns_label("name", name)
    args = read_args(args, ModelServiceArgs, problems)
    problems.text("image", args.get("image"))
    _check_model_uri(problems, args.get("model_uri"))
    problems.url("tracking_uri", args.get("tracking_uri"))
    problems.dns_label("namespace", args.get("namespace"))
    problems.number("replicas", args.get("replicas"), 1, 1000)
    problems.number("port", args.get("port"), 1, 65_535)
    problems.text("host", args.get("host"))
    problems.number("startup_timeout_seconds", args.get("startup_timeout_seconds"), 10, 3600)
    problems.number("drain_seconds", args.get("drain_seconds"), 1, 600)
    check_resources(problems, "resources", args.get("resources"))
    if "autoscaling" in args:
        _check_autoscaling(problems, args)
    problems.raise_if_any()
    return args


def _check_model_uri(problems: Problems, uri: object) -> None:
    if isinstance(uri, str) and not (uri.startswith("models:/") and len(uri) > len("models:/")):
        problems.add("model_uri", uri, "must be models:/<name>@<alias> or models:/<name>/<version>")


def _check_autoscaling(problems: Problems, args: ModelServiceArgs) -> None:
    bounds = args["autoscaling"]
    low, high = bounds.get("min_replicas", DEFAULT_MIN_REPLICAS), bounds.get("max_replicas")
    problems.number("autoscaling.min_replicas", low, 1, 1000)
    problems.number("autoscaling.max_replicas", high, 1, 1000)
    problems.number("autoscaling.target_cpu_percent", bounds.get("target_cpu_percent"), 1, 100)
    if isinstance(low, int) and isinstance(high, int) and high < low:
        problems.add("autoscaling.max_replicas", high, f"must be at least min_replicas ({low})")
    if "replicas" in args:
        problems.add("replicas", args["replicas"], "must not be given with autoscaling, which decides it")


def _network_rules(name: str, args: ModelServiceArgs) -> net.NetworkPolicySpecArgs:
    """Requests come in on one port; pods go out for names and for the model, nothing else."""
    registry_port = pulumi.Output.from_input(args["tracking_uri"]).apply(port_of)
    return net.NetworkPolicySpecArgs(
        pod_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(NAME, name)),
        policy_types=["Ingress", "Egress"],
        ingress=[allow_ingress(PORT)],
        egress=[allow_egress(registry_port)],
    )


def _disruption_budget(name: str, metadata: k8s.meta.v1.ObjectMetaArgs, opts: pulumi.ResourceOptions) -> None:
    """Drains take one pod at a time. A minimum would block them for good where there is only one."""
    k8s.policy.v1.PodDisruptionBudget(
        name,
        metadata=metadata,
        spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(
            max_unavailable=1,
            selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(NAME, name)),
            unhealthy_pod_eviction_policy="AlwaysAllow",
        ),
        opts=opts,
    )


def _deployment_spec(name: str, args: ModelServiceArgs, account: pulumi.Input[str]) -> k8s.apps.v1.DeploymentSpecArgs:
    startup = args.get("startup_timeout_seconds", DEFAULT_STARTUP_TIMEOUT_SECONDS)
    pod = _service_pod.Pod(
        name=name,
        image=args["image"],
        model_uri=args["model_uri"],
        tracking_uri=args["tracking_uri"],
        model_name=args.get("model_name"),
        fetch_command=args.get("fetch_command") or ["python", "-m", "model.fetch"],
        serve_command=args.get("serve_command") or ["python", "-m", "model.serve"],
        resources=args.get("resources"),
        startup_seconds=startup,
        drain_seconds=args.get("drain_seconds", DEFAULT_DRAIN_SECONDS),
        service_account=account,
        image_pull_secret=args.get("image_pull_secret"),
    )
    return k8s.apps.v1.DeploymentSpecArgs(
        replicas=None if "autoscaling" in args else args.get("replicas", DEFAULT_REPLICAS),
        revision_history_limit=3,
        progress_deadline_seconds=startup + pod.grace_seconds,
        strategy=k8s.apps.v1.DeploymentStrategyArgs(
            type="RollingUpdate",
            rolling_update=k8s.apps.v1.RollingUpdateDeploymentArgs(max_unavailable=0, max_surge=1),
        ),
        selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(NAME, name)),
        template=_service_pod.template(pod),
    )


def _rollout_seconds(args: ModelServiceArgs) -> int:
    """How long Pulumi waits: one slow pod may use its whole startup time, the others roll at a usual pace."""
    bound: Any = args["autoscaling"]["max_replicas"] if "autoscaling" in args else args.get("replicas")
    replicas = bound if isinstance(bound, int) else DEFAULT_REPLICAS
    startup = args.get("startup_timeout_seconds", DEFAULT_STARTUP_TIMEOUT_SECONDS)
    return startup + 30 + replicas * (30 + args.get("drain_seconds", DEFAULT_DRAIN_SECONDS))


def _waiting(seconds: int) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create=f"{seconds}s", update=f"{seconds}s"))


def _autoscaler(
    name: str, metadata: k8s.meta.v1.ObjectMetaArgs, args: ModelServiceArgs, opts: pulumi.ResourceOptions
) -> None:
    if "autoscaling" not in args:
        return
    bounds = args["autoscaling"]
    cpu = k8s.autoscaling.v2.ResourceMetricSourceArgs(
        name="cpu",
        target=k8s.autoscaling.v2.MetricTargetArgs(
            type="Utilization", average_utilization=bounds.get("target_cpu_percent", DEFAULT_TARGET_CPU_PERCENT)
        ),
    )
    k8s.autoscaling.v2.HorizontalPodAutoscaler(
        name,
        metadata=metadata,
        spec=k8s.autoscaling.v2.HorizontalPodAutoscalerSpecArgs(
            scale_target_ref=k8s.autoscaling.v2.CrossVersionObjectReferenceArgs(
                api_version="apps/v1", kind="Deployment", name=name
            ),
            min_replicas=bounds.get("min_replicas", DEFAULT_MIN_REPLICAS),
            max_replicas=bounds["max_replicas"],
            metrics=[k8s.autoscaling.v2.MetricSpecArgs(type="Resource", resource=cpu)],
        ),
        opts=opts,
    )


def _service(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    args: ModelServiceArgs,
    opts: pulumi.ResourceOptions,
    deployment: k8s.apps.v1.Deployment,
) -> k8s.core.v1.Service:
    """After the Deployment: Pulumi waits until pods answer behind a Service, and those may wait for a training."""
    return core.Service(
        name,
        metadata=metadata,
        spec=core.ServiceSpecArgs(
            type=args.get("expose", Expose.CLUSTER_IP).value,
            selector=selector(NAME, name),
            ports=[core.ServicePortArgs(name="http", port=args.get("port", DEFAULT_PORT), target_port="http")],
        ),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[deployment])),
    )
