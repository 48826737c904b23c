"""Large models: pods of vLLM on GPUs, and groups of them where one copy of the model spans several nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pulumi

from modelops.core.images import VLLM_IMAGE
from modelops.core.types import Resources
from modelops.kubernetes.labels import scrape
from modelops.kubernetes.pods import (
    DefaultResources,
    claimed,
    container,
    core,
    http_probe,
    mount,
    resource_requirements,
    restricted_pod,
    scratch,
    secret_key,
)
from modelops.serving.args import (
    DEFAULT_REPLICAS,
    DEFAULT_SHARED_MEMORY,
    ModelServiceArgs,
    drain_seconds,
    nodes,
    startup_seconds,
)
from modelops.serving.pod import (
    CACHE,
    ENDPOINT_SECONDS,
    PORT,
    PodIdentity,
    name_of_model,
    serving_template,
)

DEFAULT_RESOURCES = DefaultResources(cpu="4", memory="16Gi", memory_limit="64Gi")
DEFAULT_GPUS = 1
USER, GROUP = 2000, 0
"""The image's own user; its files are readable for group 0."""
PROBE_SECONDS = 10
LWS = "leaderworkerset.x-k8s.io/v1"
INDEX_LABEL = "leaderworkerset.sigs.k8s.io/worker-index"
LEADER = "$(LWS_LEADER_ADDRESS)"
"""Set by LeaderWorkerSet in every container."""


def template(args: ModelServiceArgs, identity: PodIdentity, *, worker: bool = False) -> core.PodTemplateSpecArgs:
    """A pod that serves, or with `worker` one that lends its GPUs to the pod that does."""
    cache = scratch("cache") if identity.cache_claim is None else claimed("cache", identity.cache_claim)
    memory = core.EmptyDirVolumeSourceArgs(
        medium="Memory", size_limit=args.get("vllm", {}).get("shared_memory", DEFAULT_SHARED_MEMORY)
    )
    return serving_template(
        args,
        identity,
        [_worker(args) if worker else _server(args)],
        annotations=None if worker else scrape(PORT),
        security=restricted_pod(USER, GROUP),
        volumes=[cache, scratch("tmp"), core.VolumeArgs(name="shared-memory", empty_dir=memory)],
    )


def group(args: ModelServiceArgs, identity: PodIdentity, replicas: int | None) -> dict[str, Any]:
    """The spec of a LeaderWorkerSet: each replica is a leader that serves and the workers that it spans.

    A group is replaced as a whole, and one at a time: its GPUs are not there twice.
    """
    helper = PodIdentity(identity.service, identity.role, identity.account, False, identity.cache_claim)
    spec: dict[str, Any] = {
        "startupPolicy": "LeaderCreated",
        "rolloutStrategy": {
            "type": "RollingUpdate",
            "rollingUpdateConfiguration": {
                "maxUnavailable": args.get("rollout", {}).get("max_unavailable", 1),
                "maxSurge": 0,
            },
        },
        "leaderWorkerTemplate": {
            "size": nodes(args),
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": template(args, identity),
            "workerTemplate": template(args, helper, worker=True),
        },
    }
    return spec if "autoscaling" in args else {"replicas": replicas or DEFAULT_REPLICAS, **spec}


def _resources(args: ModelServiceArgs) -> core.ResourceRequirementsArgs:
    given = cast(Resources, {"gpus": DEFAULT_GPUS, **args.get("resources", {})})
    return resource_requirements(given, DEFAULT_RESOURCES)


def _command(args: ModelServiceArgs, *, worker: bool) -> pulumi.Output[list[str]]:
    engine = args.get("vllm", {})

    def words(known: Mapping[str, Any]) -> list[str]:
        model, at, revision = str(known["uri"]).removeprefix("hf://").partition("@")
        found = ["vllm", "serve", model, *(["--revision", revision] if at else [])]
        found += ["--served-model-name", str(known["name"]), "--host", "0.0.0.0", "--port", str(PORT)]
        found += ["--tensor-parallel-size", str(int(known["gpus"]))]
        if nodes(args) > 1:
            found += ["--pipeline-parallel-size", str(nodes(args)), "--nnodes", str(nodes(args))]
            found += ["--node-rank", "$(NODE_RANK)", "--master-addr", LEADER]
            found += ["--distributed-executor-backend", "mp", *(["--headless"] if worker else [])]
        if known["longest"] is not None:
            found += ["--max-model-len", str(int(known["longest"]))]
        return [*found, *(known["more"] or [])]

    return pulumi.Output.all(
        uri=args["model_uri"],
        name=name_of_model(args),
        gpus=args.get("resources", {}).get("gpus", DEFAULT_GPUS),
        longest=engine.get("max_model_len"),
        more=engine.get("arguments"),
    ).apply(words)


def _container(args: ModelServiceArgs, *, worker: bool, **fields: Any) -> core.ContainerArgs:
    token = args.get("vllm", {}).get("token_secret")
    given: list[core.EnvVarArgs] = [] if token is None else [secret_key("HF_TOKEN", token, "token")]
    if nodes(args) > 1:
        place = core.ObjectFieldSelectorArgs(field_path=f"metadata.labels['{INDEX_LABEL}']")
        given.append(core.EnvVarArgs(name="NODE_RANK", value_from=core.EnvVarSourceArgs(field_ref=place)))
        address = core.ObjectFieldSelectorArgs(field_path="status.podIP")
        given.append(core.EnvVarArgs(name="VLLM_HOST_IP", value_from=core.EnvVarSourceArgs(field_ref=address)))
    return container(
        "serve",
        args.get("image", VLLM_IMAGE),
        variables={
            "HF_HOME": f"{CACHE}/huggingface",
            "VLLM_CACHE_ROOT": f"{CACHE}/vllm",
            "VLLM_NO_USAGE_STATS": "1",
        },
        secrets=given,
        command=_command(args, worker=worker),
        resources=_resources(args),
        volume_mounts=[mount("cache", CACHE), mount("tmp", "/tmp"), mount("shared-memory", "/dev/shm")],
        **fields,
    )


def _worker(args: ModelServiceArgs) -> core.ContainerArgs:
    return _container(args, worker=True)


def _server(args: ModelServiceArgs) -> core.ContainerArgs:
    """vLLM ends its requests when it is told to stop, so the whole drain comes before that."""
    pause = core.SleepActionArgs(seconds=ENDPOINT_SECONDS + drain_seconds(args))
    tries = -(-startup_seconds(args) // PROBE_SECONDS)
    return _container(
        args,
        worker=False,
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
        startup_probe=http_probe("/health", "http", period=PROBE_SECONDS, failures=tries, timeout=5),
        readiness_probe=http_probe("/health", "http", period=PROBE_SECONDS, failures=3, timeout=5),
        liveness_probe=http_probe("/health", "http", period=PROBE_SECONDS, failures=6, timeout=5),
        lifecycle=core.LifecycleArgs(pre_stop=core.LifecycleHandlerArgs(sleep=pause)),
    )
