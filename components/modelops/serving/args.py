"""ModelService's arguments and their defaults."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

import pulumi

from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.outputs import plain_or, whole
from modelops.core.types import AnyExpose, HelperArgs, PodArgs, Resources, ServiceMetadataArgs
from modelops.serving.release.args import BlueGreen, Canary, Shadow

DEFAULT_REPLICAS = 2
MAX_REPLICAS = 1000
DEFAULT_MIN_REPLICAS = 2
DEFAULT_TARGET_CPU_PERCENT = 70
DEFAULT_STABILIZATION_SECONDS = 300
DEFAULT_STARTUP_TIMEOUT_SECONDS = 120
DEFAULT_ENGINE_STARTUP_SECONDS = 1800
MAX_STARTUP_TIMEOUT_SECONDS = 14_400
DEFAULT_DRAIN_SECONDS = 10
DEFAULT_ENGINE_DRAIN_SECONDS = 300
MAX_DRAIN_SECONDS = 600
DEFAULT_ENDPOINT_SECONDS = 5
MAX_ENDPOINT_SECONDS = 300
"""As in Kubernetes itself: time to pull images, and for nodes to be added."""
MAX_PROGRESS_SECONDS = 14_400
DEFAULT_PORT = 80
DEFAULT_CACHE_SIZE = "10Gi"
DEFAULT_ENGINE_CACHE_SIZE = "200Gi"
DEFAULT_SHARED_MEMORY = "8Gi"
DEFAULT_TOLERANCE = 1e-6
DEFAULT_MAX_TOKENS = 128
DEFAULT_MAX_SURGE = 1
DEFAULT_MAX_UNAVAILABLE = 0
DEFAULT_IDLE_SECONDS = 300


class Runtime(Enum):
    """The program that serves."""

    MODELOPS = "modelops"
    """An image that implements the serving contract: this project's server, or your own."""
    VLLM = "vllm"
    """vLLM, for large language models on GPUs, with the OpenAI API."""


class MetricNames(Enum):
    """By which names a server exposes its requests and their durations."""

    MODELOPS = "modelops"
    """This library's own, `modelops_requests_total` and others."""
    FASTAPI_INSTRUMENTATOR = "fastapi-instrumentator"
    """Those of Prometheus FastAPI Instrumentator, `http_requests_total` and `http_request_duration_seconds`."""
    OPENTELEMETRY = "opentelemetry"
    """OpenTelemetry's for HTTP servers, `http_server_request_duration_seconds`. Its instrumentation for Python uses
    them with `OTEL_SEMCONV_STABILITY_OPT_IN=http`."""


if TYPE_CHECKING:
    AnyRuntime = Runtime | Literal["modelops", "vllm"]
    AnyMetricNames = MetricNames | Literal["modelops", "fastapi-instrumentator", "opentelemetry"]
else:  # Pulumi's schema has the enum alone.
    AnyRuntime = Runtime
    AnyMetricNames = MetricNames


class ScaleToZero(TypedDict):
    """What wakes a service that has no pods. Needs KEDA in the cluster."""

    prometheus_url: pulumi.Input[str]
    """Address of a Prometheus server that KEDA can reach."""
    query: pulumi.Input[str]
    """PromQL query for the demand, measured in front of the service (an ingress controller's requests, a queue's
    length), because a service without pods has no metrics."""
    threshold: pulumi.Input[float]
    """Demand that one pod can handle. Above 0."""
    idle_seconds: NotRequired[pulumi.Input[int]]
    """How long there must be no demand before the last pod is removed, in seconds. Default 300; 1 to 86400."""


class Autoscaling(TypedDict):
    """Bounds and targets of the autoscaler. With several targets, the one that needs the most pods wins."""

    max_replicas: pulumi.Input[int]
    """Upper bound of the replica count. At least `min_replicas`."""
    min_replicas: NotRequired[pulumi.Input[int]]
    """Lower bound of the replica count. Default 2; at least 1, or 0 with `scale_to_zero`, where 0 is the default."""
    target_cpu_percent: NotRequired[pulumi.Input[int]]
    """Target mean CPU usage of the server's container, in percent of its request. Default 70, or none if another target
    is set; 1 to 1000. Needs metrics-server in the cluster, as does the memory target."""
    target_memory_percent: NotRequired[pulumi.Input[int]]
    """Target mean memory usage of the server's container, in percent of its request. Default: none; 1 to 1000."""
    target_requests_per_second: NotRequired[pulumi.Input[float]]
    """Target requests per second for each pod, by the server's `modelops_requests_total`. Default: none; above 0. Needs
    an adapter that serves Prometheus metrics to the autoscaler; without one, `pulumi up` fails and names the metric."""
    target_latency_ms: NotRequired[pulumi.Input[float]]
    """Target 99th percentile latency of a pod, in milliseconds, by the server's `modelops_request_duration_seconds`.
    Default: none; above 0. Needs the adapter too. Not with the `vllm` runtime, whose requests take as long as their
    answers are."""
    target_queue_length: NotRequired[pulumi.Input[float]]
    """Target number of requests waiting in each pod's engine. Default: none; above 0. Only with the `vllm` runtime;
    needs the adapter too."""
    target_running_requests: NotRequired[pulumi.Input[float]]
    """Target number of requests that each pod's engine is answering. Default: none; above 0. As for the queue."""
    target_kv_cache_percent: NotRequired[pulumi.Input[float]]
    """Target share of each pod's KV cache in use, in percent. Default: none; above 0, at most 100. As for the queue."""
    target_tokens_per_second: NotRequired[pulumi.Input[float]]
    """Target number of tokens that each pod generates in a second. Default: none; above 0. As for the queue."""
    scale_down_stabilization_seconds: NotRequired[pulumi.Input[int]]
    """How long the load must stay lower before pods are removed, in seconds. Default 300; 0 to 3600."""
    scale_down_pods_per_minute: NotRequired[pulumi.Input[int]]
    """Maximum pods removed per minute. Default: half of them; at least 1."""
    scale_up_pods_per_minute: NotRequired[pulumi.Input[int]]
    """Maximum pods added per minute. Default: Kubernetes' own policy, double or add 4 every 15 s; at least 1."""
    scale_to_zero: NotRequired[ScaleToZero]
    """Let KEDA do the scaling, by the targets and by the demand, and remove the last pod when there is none. KEDA asks
    Prometheus itself, so that the targets need no adapter. Default: never."""


class Rollout(TypedDict):
    """How a release replaces pods. `max_surge` and `max_unavailable` are not both 0."""

    max_surge: NotRequired[pulumi.Input[int]]
    """Pods above `replicas` during a release. Default 1; 0 to 1000. 0 needs no spare GPU, but the service then runs
    `max_unavailable` pods short, and a single replica is down while its successor starts."""
    max_unavailable: NotRequired[pulumi.Input[int]]
    """Pods below `replicas` during a release. Default 0, or 1 if `max_surge` is 0; 0 to 1000."""
    progress_seconds: NotRequired[pulumi.Input[int]]
    """How long a release may go without another pod getting ready, in seconds, with the pulling of images and the
    adding of nodes; its smoke test has it too. Default 600, or as long as a pod may take to start and another one
    to stop, if that is more; 10 to 14400."""
    watch: NotRequired[bool]
    """Whether Jobs in the namespace watch the release and its smoke test, say what they wait for, and fail with the
    reason as soon as it can't succeed. Without them Pulumi waits for the Deployment or
    LeaderWorkerSet until `progress_seconds` and more have passed. Default true."""


class SmokePrompt(TypedDict):
    """A prompt, and what a language model must answer to it, within 2 minutes. At least one of `answer`, `required` and
    `forbidden`."""

    prompt: pulumi.Input[str]
    """What a user says, as the only message of a chat, at temperature 0."""
    answer: NotRequired[pulumi.Input[str]]
    """The exact answer. Default: any."""
    required: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Regular expressions (Python's) each of which the answer must match somewhere. Default: none."""
    forbidden: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Regular expressions none of which the answer may match anywhere. Default: none."""
    model: NotRequired[pulumi.Input[str]]
    """Name of the model that is asked, such as an adapter's. Default: the service's own."""
    max_tokens: NotRequired[pulumi.Input[int]]
    """Longest answer, in tokens. Default 128; at least 1."""


class SmokeTest(TypedDict):
    """What a new version must answer before any of its pods takes traffic."""

    inputs: NotRequired[pulumi.Input[Sequence[pulumi.Input[Any]]]]
    """The `inputs` to post to `/api/predict`. Required with the `modelops` runtime."""
    outputs: NotRequired[pulumi.Input[Sequence[pulumi.Input[Any]]]]
    """The `outputs` to expect: numbers in lists of the same shape. Required with the `modelops` runtime."""
    tolerance: NotRequired[pulumi.Input[float]]
    """How far each number may be off, if that is more than 1e-5 of its size. Default 1e-6; at least 0."""
    prompts: NotRequired[Sequence[SmokePrompt]]
    """Prompts that a language model must answer right. Required with the `vllm` runtime, and only for it."""
    image: NotRequired[pulumi.Input[str]]
    """Image with Python to run the test. Default: the service's `runtime_image`."""


class ServingCache(TypedDict):
    """A volume that keeps fetched models, so that a new pod need not download what another already has."""

    storage_size: NotRequired[pulumi.Input[str]]
    """Size of the volume. Default `10Gi`, `200Gi` with the `vllm` runtime."""
    storage_class: NotRequired[pulumi.Input[str]]
    """StorageClass of the volume. Default: the cluster's."""
    access_modes: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Access modes of the volume. Default `ReadWriteMany`; with `ReadWriteOnce`, pods on a second node never start."""


class GatewayListener(TypedDict):
    """An existing Gateway."""

    name: pulumi.Input[str]
    """Name of the Gateway."""
    namespace: NotRequired[pulumi.Input[str]]
    """Namespace of the Gateway, whose listeners must allow routes from the service's. Default: the service's."""
    listener: NotRequired[pulumi.Input[str]]
    """Name of the listener (`sectionName`). Default: every listener that accepts the host."""
    https: NotRequired[pulumi.Input[bool]]
    """Whether the listener speaks HTTPS, for `url`. Default true."""


class Route(TypedDict):
    """A host name in front of the Service. Exactly one of `ingress_class`, `gateway` and `gateway_class`."""

    host: pulumi.Input[str]
    """Host name that clients use."""
    ingress_class: NotRequired[pulumi.Input[str]]
    """Create an Ingress of this class."""
    gateway: NotRequired[GatewayListener]
    """Attach an HTTPRoute to an existing Gateway. Needs Gateway API in the cluster."""
    gateway_class: NotRequired[pulumi.Input[str]]
    """Create a Gateway of this class, and an HTTPRoute. Needs Gateway API in the cluster."""
    tls_secret: NotRequired[pulumi.Input[str]]
    """Secret in the namespace with certificate and key (`kubernetes.io/tls`). With `gateway_class` it turns plain HTTP
    off. Default: plain HTTP. Not with `gateway`, whose listener has its own."""
    annotations: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Annotations of the Ingress or HTTPRoute, for its controller. Default: none."""


class Adapter(TypedDict):
    """A LoRA adapter that an engine serves beside its model."""

    name: str
    """What clients name as `model`. Letters, digits, `.`, `_` and `-`, at most 63."""
    model_uri: pulumi.Input[str]
    """The adapter's version, in any form of the service's `model_uri`. The pods have it as a label."""


class Vllm(TypedDict):
    """Settings of vLLM. Each pod has `resources.gpus` GPUs."""

    adapters: NotRequired[Sequence[Adapter]]
    """Further LoRA adapters of the same base on the same engine. Default: none."""
    base_model_uri: NotRequired[pulumi.Input[str]]
    """The base of a `model_uri` that is an adapter. Default: the one that the adapter names. Required if that is on a
    volume or in an image, which a pod mounts, or if the adapter doesn't name its commit."""
    api_keys_secret: NotRequired[pulumi.Input[str]]
    """Secret in the namespace each of whose values is an API key: clients send one as `Authorization: Bearer …`. A
    change counts within about a minute, without a restart, so a key is replaced by adding the new one, and removing the
    old one once nobody uses it. Default: no key is needed."""
    log_texts: NotRequired[pulumi.Input[bool]]
    """Whether prompts and answers are in the pods' log, as lines of JSON, the first 4096 characters of each. Mail
    addresses, IBANs, IP addresses and numbers of seven and more digits are replaced by their kind; names of people are
    not found. Default false: they are in no log."""
    max_model_len: NotRequired[pulumi.Input[int]]
    """Maximum context length, prompt and answer together, in tokens. Default: the model's own; at least 1."""
    shared_memory: NotRequired[pulumi.Input[str]]
    """Size of `/dev/shm`, through which the processes of several GPUs communicate. Counts as memory. Default `8Gi`."""
    nodes: NotRequired[int]
    """Nodes that one copy of the model spans, each with `resources.gpus` GPUs: tensor parallel within a node, pipeline
    parallel across nodes. Default 1; 1 to 64. More than 1 needs LeaderWorkerSet in the cluster."""
    token_secret: NotRequired[pulumi.Input[str]]
    """Secret in the namespace whose key `token` is a Hugging Face token, for models that need one. Only the container
    that fetches gets it, not the engine. Default: none."""
    arguments: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Extra arguments for `vllm serve`, such as `--enable-auto-tool-choice`, `--structured-outputs-config` or
    `--runner`. The plan refuses flags that the library's own version of vLLM doesn't know, those that it sets itself,
    and those with a secret. Default: none."""


class Tracing(TypedDict):
    """Where the server sends OpenTelemetry spans, by OTLP over HTTP."""

    endpoint: pulumi.Input[str]
    """Address of the collector, reachable from pods, such as `http://collector.observability.svc:4318`."""
    sample_ratio: NotRequired[pulumi.Input[float]]
    """Share of the traces to keep, of those that begin here; 0 to 1. Traces that a caller began are kept or not as it
    says. Default 1."""
    secret: NotRequired[pulumi.Input[str]]
    """Secret in the namespace whose key `headers` goes with the spans, `name=value` pairs with commas between them.
    Default: none."""


class Mlflow(TypedDict):
    """How a model that plain MLflow logged is served."""

    predict_method: NotRequired[pulumi.Input[str]]
    """The method that predicts, such as `predict_proba`. Default: the one that the model was logged with."""
    onnx: NotRequired[pulumi.Input[bool]]
    """Whether the model is converted to ONNX as a pod starts. The conversion serves where it predicts the same, and the
    image has the packages that convert. Default false."""
    ignore_requirements: NotRequired[pulumi.Input[bool]]
    """Whether the model is served although the image lacks one of its requirements, or has it in another version. The
    server's log lists them. Default false: the release fails with the list, as the model is fetched if `runtime_image`
    is the same image, else as the server starts."""


class ModelServiceArgs(PodArgs, HelperArgs, ServiceMetadataArgs):
    """Arguments of ModelService."""

    model_uri: pulumi.Input[str]
    """The model version to serve, such as TrainingJob's `model_uri`: `models:/…`, `runs:/…`, `s3://…`, `gs://…`,
    `az://…`, `pvc://…`, `hf://…` or `oci://…`, each as its form says. With the `vllm` runtime it may be an adapter,
    whose base is found by itself. One that can move, such as `models:/linear@champion`, is looked up in the plan and
    pinned."""
    namespace: pulumi.Input[str]
    """Namespace to create everything in. It must exist."""
    image: NotRequired[pulumi.Input[str]]
    """Serving image, preferably by digest (`repository@sha256:…`). Required, except with the `vllm` runtime, where it
    defaults to vLLM's own image."""
    tracking_uri: NotRequired[pulumi.Input[str]]
    """Address of the MLflow server with the model, reachable from pods. Required for `models:/…` and `runs:/…`."""
    tracking_secret: NotRequired[pulumi.Input[str]]
    """Secret in the namespace with the keys `username` and `password` for the MLflow server, such as ModelRegistry's
    `reader_secret`. Only the container that fetches the model gets them. Default: none."""
    tracking_token: NotRequired[bool]
    """Whether the `tracking_secret` and the `serving_alias_secret` have a `token` instead, sent as a bearer token.
    Default false."""
    tracking_url: NotRequired[pulumi.Input[str]]
    """Address at which this program reaches that server, to look up an alias or `latest`: ModelRegistry's `url`. The
    credentials are those in the program's environment, as for MLflow's clients. Default: `tracking_uri`."""
    allow_drift: NotRequired[bool]
    """Whether a `model_uri` that can move goes to the pods as it is. Each new pod then serves what it stands for at
    that time, with the alias, branch or tag as its version. Default false: it is pinned, or refused."""
    model_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace whose entries become environment variables of the container that fetches the
    model (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `HF_TOKEN` …), for a model in an object store or at Hugging
    Face, and for an MLflow server that doesn't pass files on. Default: none."""
    model_endpoint_url: NotRequired[pulumi.Input[str]]
    """Address of an S3-compatible server, for a model that is there. Default: AWS."""
    serving_alias: NotRequired[pulumi.Input[str]]
    """Alias of the registered model to move to this version after the rollout, such as `serving`, which a training's
    relative gate compares with. Services that share a registry need an alias each. Default: no alias is moved."""
    serving_alias_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with `username` and `password` of an account that may move the alias, such as
    ModelRegistry's `writer_secret`. Default: none, for a server without accounts."""
    runtime_image: NotRequired[pulumi.Input[str]]
    """Image, with Python 3.11 or newer, of the containers that fetch the model, run the smoke test, move the alias and
    analyse a canary; the library brings the programs. Required for a model in an object store or at Hugging Face, whose
    clients it must have; not for Hugging Face with the `vllm` runtime, whose own image has the client. Default:
    Python's own image; `image` for a `fetch_command`, and for what fetches with the `vllm` runtime."""
    model_name: NotRequired[pulumi.Input[str]]
    """Name of the model in metrics and logs, and what clients of the `vllm` runtime name as `model`: required there if
    the tracks of a release have different ones. Default: the name in `model_uri`."""
    runtime: NotRequired[AnyRuntime]
    """The program that serves: `modelops` or `vllm`. Default `modelops`."""
    vllm: NotRequired[Vllm]
    """Settings of the `vllm` runtime. Default: vLLM's own."""
    replicas: NotRequired[pulumi.Input[int]]
    """Number of serving pods. Default 2; 1 to 1000. Not with `autoscaling`, which decides it."""
    autoscaling: NotRequired[Autoscaling]
    """Scale the number of pods with the load. Default: a fixed number."""
    rollout: NotRequired[Rollout]
    """How a release replaces pods. Default: one extra pod at a time, never one too few."""
    smoke_test: NotRequired[SmokeTest]
    """A prediction that must be right before a new version takes traffic. Default: only the model's own golden
    prediction, which every pod checks before it is ready. Not with `vllm.nodes` above 1."""
    cache: NotRequired[ServingCache]
    """Keep fetched models on a volume. Default: every new pod downloads its own copy."""
    expose: NotRequired[AnyExpose]
    """How the Service is reached: `LoadBalancer`, `ClusterIP` or `NodePort`. Default `ClusterIP`."""
    host: NotRequired[pulumi.Input[str]]
    """Host name that clients use, for `url`. Default: the load balancer's own address, `localhost` with `NodePort`, the
    Service's DNS name with `ClusterIP`. Not with `route`, which has its own."""
    port: NotRequired[pulumi.Input[int]]
    """Port of the Service; the pods listen on 8080. Default 80; 1 to 65535."""
    grpc_port: NotRequired[pulumi.Input[int]]
    """Port of the Service for the Open Inference Protocol over gRPC; the pods listen on 8081, told by
    `MODELOPS_GRPC_PORT`. The image must have gRPC. Default: none; 1 to 65535, and not `port`."""
    route: NotRequired[Route]
    """A host name and TLS in front of the Service, by Ingress or Gateway API. Default: none."""
    resources: NotRequired[Resources]
    """Resources of each serving container. Default: 100m CPU, 128Mi memory, limited to 512Mi; with the `vllm` runtime
    4 CPUs, 16Gi memory, limited to 64Gi, and 1 GPU; with 0 GPUs, `image` must have a vLLM for processors."""
    startup_timeout_seconds: NotRequired[pulumi.Input[int]]
    """How long a server may take to get ready, once its container runs, in seconds. A release whose servers take longer
    fails, and the old pods keep serving. Default 120, 1800 with the `vllm` runtime; 10 to 14400."""
    drain_seconds: NotRequired[pulumi.Input[int]]
    """How long a terminating pod keeps answering, each time with `Connection: close`, in seconds. Default 10, 300 with
    the `vllm` runtime, whose pods stop as soon as they have answered everything; 1 to 600. The server does it, told by
    `MODELOPS_DRAIN_SECONDS`."""
    endpoint_seconds: NotRequired[pulumi.Input[int]]
    """How long a terminating pod goes on as if nothing had happened, before it drains, in seconds: until the nodes stop
    sending it requests. A load balancer that addresses the pods themselves (AWS' IP targets, Google's network endpoint
    groups) takes as long as it needs to deregister one, often 30 and more. Default 5; 1 to 300."""
    cors_origins: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Sites whose pages may ask the model from a browser: origins such as `https://app.example.com`, or `*` for any. A
    server of your own gets them as `MODELOPS_CORS_ORIGINS`, separated by commas. Default: none."""
    tracing: NotRequired[Tracing]
    """Send OpenTelemetry spans of requests and predictions. The image must have OpenTelemetry. Default: none."""
    mlflow: NotRequired[Mlflow]
    """How a model that plain MLflow logged is served. Default: as it was logged."""
    fetch_command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Command, with arguments, that fetches the model into the model folder. Default `modelops-fetch`."""
    serve_command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    """Command, with arguments, that serves the model. Default: the image's own. A preview says what the other arguments
    need of a server of your own."""
    metric_names: NotRequired[AnyMetricNames]
    """The names of the server's metrics. MonitoringStack's Prometheus renames others to `modelops` as it scrapes them,
    so that dashboards, alerts, analysis and autoscaling know them. Not with the `vllm` runtime. Default `modelops`."""
    resource_claims: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Devices by dynamic resource allocation: name → ResourceClaimTemplate in the namespace, by which each pod that
    serves gets a claim of its own; `resources.gpus` counts others. Needs Kubernetes 1.34 or later. Default: none."""
    canary: NotRequired[Canary]
    """A second version that gets a share of the requests. Neither this nor blue/green nor a shadow is for `vllm.nodes`
    above 1. Default: none."""
    blue_green: NotRequired[BlueGreen]
    """Two full tracks that take turns. Not with `canary`. Default: one track, replaced pod by pod."""
    shadow: NotRequired[Shadow]
    """A version that gets copies of the requests, and whose answers are discarded. Default: none."""


def is_vllm(args: ModelServiceArgs) -> bool:
    """Whether vLLM serves."""
    return args.get("runtime") is Runtime.VLLM


def runtime_image(args: ModelServiceArgs) -> pulumi.Input[str]:
    """The image of the containers that run the library's own programs."""
    return args.get("runtime_image", UPSTREAM_IMAGES["python"])


def nodes(args: ModelServiceArgs) -> int:
    """How many nodes one copy of the model spans."""
    return args.get("vllm", {}).get("nodes", 1)


def is_watched(args: ModelServiceArgs) -> bool:
    """Whether Jobs watch the release."""
    return args.get("rollout", {}).get("watch", True)


def startup_seconds(args: ModelServiceArgs) -> pulumi.Output[int]:
    """How long a pod may take to start."""
    return whole(_startup_seconds(args))


def longest_startup(args: ModelServiceArgs) -> int:
    """The same, or as long as it ever may take if only an output says it: for how long Pulumi waits."""
    return plain_or(_startup_seconds(args), MAX_STARTUP_TIMEOUT_SECONDS)


def drain_seconds(args: ModelServiceArgs) -> pulumi.Output[int]:
    """How long a terminating pod keeps answering."""
    return whole(_drain_seconds(args))


def longest_drain(args: ModelServiceArgs) -> int:
    """The same, for how long Pulumi waits."""
    return plain_or(_drain_seconds(args), MAX_DRAIN_SECONDS)


def _drain_seconds(args: ModelServiceArgs) -> pulumi.Input[int]:
    return args.get("drain_seconds", DEFAULT_ENGINE_DRAIN_SECONDS if is_vllm(args) else DEFAULT_DRAIN_SECONDS)


def endpoint_seconds(args: ModelServiceArgs) -> pulumi.Output[int]:
    """How long a terminating pod waits until it drains."""
    return whole(_endpoint_seconds(args))


def longest_endpoint(args: ModelServiceArgs) -> int:
    """The same, for how long Pulumi waits."""
    return plain_or(_endpoint_seconds(args), MAX_ENDPOINT_SECONDS)


def _endpoint_seconds(args: ModelServiceArgs) -> pulumi.Input[int]:
    return args.get("endpoint_seconds", DEFAULT_ENDPOINT_SECONDS)


def _startup_seconds(args: ModelServiceArgs) -> pulumi.Input[int]:
    default = DEFAULT_ENGINE_STARTUP_SECONDS if is_vllm(args) else DEFAULT_STARTUP_TIMEOUT_SECONDS
    return args.get("startup_timeout_seconds", default)


def cors_origins(args: ModelServiceArgs) -> pulumi.Output[str]:
    """As the server takes them: `*` stands for all others."""
    given: pulumi.Output[Any] = pulumi.Output.from_input(args.get("cors_origins", ()))
    return given.apply(lambda origins: "*" if "*" in origins else ",".join(origins))


def mlflow_variables(args: ModelServiceArgs) -> dict[str, pulumi.Input[str]]:
    """What the server needs to know of a model that plain MLflow logged."""
    mlflow = args.get("mlflow", {})
    variables: dict[str, pulumi.Input[str]] = {}
    if "predict_method" in mlflow:
        variables["MODELOPS_PREDICT_METHOD"] = mlflow["predict_method"]
    if "onnx" in mlflow:
        variables["MODELOPS_ONNX"] = pulumi.Output.from_input(mlflow["onnx"]).apply(
            lambda on: "true" if on else "false"
        )
    if "ignore_requirements" in mlflow:
        variables["MODELOPS_REQUIREMENTS"] = _requirements(mlflow["ignore_requirements"])
    return variables


def fetch_variables(args: ModelServiceArgs) -> dict[str, pulumi.Input[str]]:
    """In the image that serves, the container that fetches sees whether it has what the model requires."""
    if "runtime_image" not in args or "image" not in args:
        return {}
    images = pulumi.Output.all(args["runtime_image"], args["image"])
    ignored = args.get("mlflow", {}).get("ignore_requirements", False)
    compared = pulumi.Output.all(images, _requirements(ignored))
    return {"MODELOPS_REQUIREMENTS": compared.apply(lambda found: found[1] if found[0][0] == found[0][1] else "")}


def _requirements(ignored: pulumi.Input[bool]) -> pulumi.Output[str]:
    return pulumi.Output.from_input(ignored).apply(lambda on: "warn" if on else "refuse")
