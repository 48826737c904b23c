"""The pod that serves a model: an init container downloads it, and the server is ready once it predicts correctly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.model_sources import Source, parse
from modelops.core.outputs import text_of
from modelops.kubernetes.labels import scrape, selector, standard_labels
from modelops.kubernetes.pods import (
    DefaultResources,
    claimed,
    container,
    core,
    env_from_secret,
    http_probe,
    mount,
    pod_template,
    resource_requirements,
    scratch,
    secret_key,
    tracking_credentials,
)
from modelops.kubernetes.runtime import VARIABLES, runtime_command, runtime_mount
from modelops.serving.args import (
    MetricNames,
    ModelServiceArgs,
    Tracing,
    cors_origins,
    drain_seconds,
    endpoint_seconds,
    fetch_variables,
    is_vllm,
    mlflow_variables,
    runtime_image,
    startup_seconds,
)

T = TypeVar("T")

NAME = "model-service"
SERVER = "serve"
"""The container that serves, of every runtime."""
PORT = 8080
GRPC_PORT = 8081
PREDICT_PATH = "/api/predict"
CHAT_PATH = "/v1/chat/completions"
DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="128Mi", memory_limit="512Mi")
HOLD_RESOURCES = DefaultResources(cpu="5m", memory="32Mi", memory_limit="64Mi")
TRACK = "modelops.dev/track"
"""Pod label: the track that the pod belongs to."""
STABLE = "stable"
METRIC_NAMES = "modelops.dev/metric-names"
"""Pod label: whose names the server's metrics have, where they aren't this library's."""
LIVE = "modelops.dev/live"
"""Label of the pods behind the service's own address."""
CACHE = "/modelops/cache"
MODEL_FOLDER = "/modelops/model"


def track_selector(service: str, role: str) -> dict[str, pulumi.Input[str]]:
    """The labels that select the pods of one track."""
    return {**selector(NAME, service), TRACK: role}


def live_selector(service: str) -> dict[str, pulumi.Input[str]]:
    """The labels that select the pods behind the service's own address, of any track."""
    return {**selector(NAME, service), LIVE: "true"}


def grace_seconds(args: ModelServiceArgs) -> pulumi.Output[int]:
    """The termination grace period: longer than wait and drain together."""
    return pulumi.Output.all(endpoint_seconds(args), drain_seconds(args)).apply(lambda waits: sum(waits) + 10)


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
        [serve(args, cached=cached, traced_as=identity.service, variables=identity.variables)],
        annotations=scrape(PORT),
        volumes=volumes(args, identity),
        init_containers=[fetch(args, identity), *hold(args, identity)],
    )


def serving_template(
    args: ModelServiceArgs,
    identity: PodIdentity,
    containers: Sequence[core.ContainerArgs],
    labels: Mapping[str, pulumi.Input[str]] | None = None,
    **fields: Any,
) -> core.PodTemplateSpecArgs:
    """What all serving pods have in common, whatever the runtime. `fields` are those of `pod_template`."""
    names = "vllm" if is_vllm(args) else MetricNames(args.get("metric_names", MetricNames.MODELOPS)).value
    foreign = {} if names == MetricNames.MODELOPS.value else {METRIC_NAMES: names}
    return pod_template(
        {**identity.labels(version_of(args)), **foreign, **(labels or {})},
        identity.account,
        containers,
        args,
        termination_grace_period_seconds=grace_seconds(args),
        topology_spread_constraints=[_spread(identity)],
        **fields,
    )


def volumes(args: ModelServiceArgs, identity: PodIdentity) -> list[pulumi.Input[core.VolumeArgs]]:
    """The volumes of the model, scratch files, the program that fetches, and the cache, if there is one."""
    cache = [] if identity.cache_claim is None else [claimed("cache", identity.cache_claim)]
    runtime = [] if identity.runtime is None else [identity.runtime]
    return [model_volume(args["model_uri"]), scratch("tmp"), *cache, *runtime]


def version_of(args: ModelServiceArgs) -> pulumi.Output[str]:
    """The alias, version or revision to serve, as a label value."""
    return pulumi.Output.from_input(args["model_uri"]).apply(lambda uri: parse(uri).version)


def name_of_model(args: ModelServiceArgs) -> pulumi.Input[str]:
    """The model's name in metrics, logs and the API."""
    return args.get("model_name") or pulumi.Output.from_input(args["model_uri"]).apply(lambda uri: parse(uri).name)


def _with(uri: pulumi.Input[str], made: Callable[[Source], T]) -> pulumi.Input[T]:
    """What is made from a reference: now, if it is known."""
    if isinstance(uri, str):
        return made(parse(uri))
    later: pulumi.Output[str] = pulumi.Output.from_input(cast(Any, uri))
    return later.apply(lambda known: made(parse(known)))


def model_volume(uri: pulumi.Input[str], name: str = "model") -> pulumi.Input[core.VolumeArgs]:
    """The volume for a model's files: where they are already, or an empty one to fetch them into."""
    return _with(uri, partial(_model_volume, name))


def model_mount(
    uri: pulumi.Input[str], name: str = "model", folder: pulumi.Input[str] = MODEL_FOLDER, *, read_only: bool
) -> pulumi.Input[core.VolumeMountArgs]:
    """Its mount in a container."""
    return _with(uri, partial(_model_mount, name, folder, read_only))


def _model_volume(name: str, source: Source) -> core.VolumeArgs:
    if source.form == "pvc":
        claim = core.PersistentVolumeClaimVolumeSourceArgs(claim_name=source.place, read_only=True)
        return core.VolumeArgs(name=name, persistent_volume_claim=claim)
    if source.form == "oci":
        image = core.ImageVolumeSourceArgs(
            reference=source.uri.removeprefix("oci://"), pull_policy="IfNotPresent" if source.fixed else "Always"
        )
        return core.VolumeArgs(name=name, image=image)
    return scratch(name)


def _model_mount(name: str, folder: pulumi.Input[str], read_only: bool, source: Source) -> core.VolumeMountArgs:
    return core.VolumeMountArgs(
        name=name,
        mount_path=folder,
        read_only=read_only or source.mounted or None,
        sub_path=source.path if source.form == "pvc" else None,
    )


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
    """The init container that downloads the model version; one that is mounted, it checks."""
    cached = identity.cache_claim is not None
    own_command = args.get("fetch_command")
    variables: Mapping[str, pulumi.Input[str]] = {
        **source_variables(args, identity),
        **fetch_variables(args),
        **({} if own_command else VARIABLES),
    }
    return container(
        "fetch",
        args.get("runtime_image", args["image"]) if own_command else runtime_image(args),
        variables=variables,
        secrets=tracking_credentials(args.get("tracking_secret"), token=args.get("tracking_token")),
        env_from=source_secrets(args),
        command=own_command or runtime_command("fetch"),
        resources=resource_requirements(args.get("helper_resources"), DEFAULT_RESOURCES),
        volume_mounts=[
            model_mount(args["model_uri"], read_only=False),
            mount("tmp", "/tmp"),
            *([mount("cache", CACHE)] if cached else []),
            *([] if own_command else [runtime_mount()]),
        ],
    )


def source_variables(args: ModelServiceArgs, identity: PodIdentity) -> dict[str, pulumi.Input[str]]:
    """What a program that fetches needs to know of the model and of where it is."""
    return {
        "MODELOPS_MODEL_DIR": MODEL_FOLDER,
        "MODELOPS_MODEL_URI": fetched_uri(args["model_uri"]),
        **({"MLFLOW_TRACKING_URI": args["tracking_uri"]} if "tracking_uri" in args else {}),
        **({"AWS_ENDPOINT_URL": args["model_endpoint_url"]} if "model_endpoint_url" in args else {}),
        **({} if identity.cache_claim is None else {"MODELOPS_MODEL_CACHE_DIR": CACHE}),
    }


def source_secrets(args: ModelServiceArgs) -> list[core.EnvFromSourceArgs] | None:
    """The variables of its container that come from `model_secret`."""
    return [env_from_secret(args["model_secret"])] if "model_secret" in args else None


def hold(
    args: ModelServiceArgs, identity: PodIdentity, image: pulumi.Input[str] | None = None
) -> list[core.ContainerArgs]:
    """The sidecar that keeps the pod's model in the cache. The server, which may be anybody's, only reads there."""
    if identity.cache_claim is None or "fetch_command" in args:
        return []
    return [
        container(
            "hold",
            image or runtime_image(args),
            variables={"MODELOPS_MODEL_CACHE_DIR": CACHE, **VARIABLES},
            command=runtime_command("hold"),
            resources=resource_requirements(args.get("helper_resources"), HOLD_RESOURCES),
            restart_policy="Always",
            volume_mounts=[mount("cache", CACHE), mount("tmp", "/tmp"), runtime_mount()],
        )
    ]


def fetched_uri(uri: pulumi.Input[str], folder: pulumi.Input[str] = MODEL_FOLDER) -> pulumi.Input[str]:
    """What the program that fetches is told: where the model is mounted, if it is."""
    if isinstance(uri, str) and isinstance(folder, str):
        return f"file://{folder}" if parse(uri).mounted else uri
    values = pulumi.Output.all(uri, folder)
    return values.apply(lambda known: f"file://{known[1]}" if parse(known[0]).mounted else str(known[0]))


def serve(
    args: ModelServiceArgs,
    *,
    cached: bool,
    drains: bool = True,
    traced_as: str | None = None,
    variables: Mapping[str, pulumi.Input[str]] | None = None,
    **fields: Any,
) -> core.ContainerArgs:
    """The server. With `drains`, it keeps answering for a while after it is told to stop.

    `traced_as` is the name in its spans, if the arguments want any.
    """
    pause = core.LifecycleHandlerArgs(sleep=core.SleepActionArgs(seconds=endpoint_seconds(args)))
    ports = [core.ContainerPortArgs(name="http", container_port=PORT)]
    if "grpc_port" in args:
        ports.append(core.ContainerPortArgs(name="grpc", container_port=GRPC_PORT))
    tracing = args.get("tracing") if traced_as is not None else None
    return container(
        SERVER,
        args["image"],
        variables={
            "MODELOPS_MODEL_DIR": MODEL_FOLDER,
            "MODELOPS_PORT": str(PORT),
            "MODELOPS_MODEL_NAME": name_of_model(args),
            "MODELOPS_MODEL_VERSION": version_of(args),
            "MODELOPS_DRAIN_SECONDS": text_of(drain_seconds(args) if drains else 0),
            **({"MODELOPS_CORS_ORIGINS": cors_origins(args)} if args.get("cors_origins") else {}),
            **({"MODELOPS_GRPC_PORT": str(GRPC_PORT)} if "grpc_port" in args else {}),
            **({} if tracing is None else {**_tracing(tracing), "OTEL_SERVICE_NAME": str(traced_as)}),
            **mlflow_variables(args),
            **(variables or {}),
        },
        secrets=_tracing_secrets(tracing),
        command=args.get("serve_command"),
        ports=ports,
        resources=resource_requirements(args.get("resources"), DEFAULT_RESOURCES, args.get("resource_claims")),
        startup_probe=http_probe("/healthz/ready", "http", period=1, failures=startup_seconds(args)),
        readiness_probe=http_probe("/healthz/ready", "http", period=5, failures=2),
        liveness_probe=http_probe("/healthz/live", "http", period=10, failures=3),
        lifecycle=core.LifecycleArgs(pre_stop=pause) if drains else None,
        volume_mounts=[
            model_mount(args["model_uri"], read_only=True),
            mount("tmp", "/tmp"),
            *([mount("cache", CACHE, read_only=True)] if cached else []),
        ],
        **fields,
    )


def _tracing(tracing: Tracing) -> dict[str, pulumi.Input[str]]:
    """OpenTelemetry's own variables, and the one that switches it on."""
    variables = {"MODELOPS_TRACING": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": tracing["endpoint"]}
    if "sample_ratio" in tracing:
        ratio: pulumi.Output[float] = pulumi.Output.from_input(tracing["sample_ratio"])
        variables["OTEL_TRACES_SAMPLER"] = "parentbased_traceidratio"
        variables["OTEL_TRACES_SAMPLER_ARG"] = ratio.apply(lambda number: f"{number:g}")
    return variables


def _tracing_secrets(tracing: Tracing | None) -> list[core.EnvVarArgs]:
    if tracing is None or "secret" not in tracing:
        return []
    return [secret_key("OTEL_EXPORTER_OTLP_HEADERS", tracing["secret"], "headers")]
