"""Large models: vLLM pods on GPUs, in groups if one copy of the model spans several nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pulumi

from modelops.core.images import VLLM_IMAGE
from modelops.core.model_sources import parse
from modelops.core.types import Resources
from modelops.kubernetes.labels import scrape
from modelops.kubernetes.pods import (
    DefaultResources,
    claimed,
    container,
    core,
    field_variable,
    http_probe,
    mount,
    resource_requirements,
    restricted_pod,
    scratch,
    secret_key,
)
from modelops.serving.args import DEFAULT_SHARED_MEMORY, ModelServiceArgs, drain_seconds, nodes, startup_seconds
from modelops.serving.pod import CACHE, ENDPOINT_SECONDS, PORT, PodIdentity, name_of_model, serving_template

DEFAULT_RESOURCES = DefaultResources(cpu="4", memory="16Gi", memory_limit="64Gi")
DEFAULT_GPUS = 1
USER, GROUP = 2000, 0
"""The image's user; group 0 can read its files."""
PROBE_SECONDS = 10
LWS = "leaderworkerset.x-k8s.io/v1"
INDEX_LABEL = "leaderworkerset.sigs.k8s.io/worker-index"
LEADER = "$(LWS_LEADER_ADDRESS)"
"""LeaderWorkerSet sets this variable in every container."""


def template(args: ModelServiceArgs, identity: PodIdentity, *, worker: bool = False) -> core.PodTemplateSpecArgs:
    """A pod that serves or, with `worker`, lends its GPUs to the pod that does."""
    cache = scratch("cache") if identity.cache_claim is None else claimed("cache", identity.cache_claim)
    memory = core.EmptyDirVolumeSourceArgs(
        medium="Memory", size_limit=args.get("vllm", {}).get("shared_memory", DEFAULT_SHARED_MEMORY)
    )
    return serving_template(
        args,
        identity,
        [_container(args, worker=True) if worker else _server(args)],
        annotations=None if worker else scrape(PORT),
        security=restricted_pod(USER, GROUP),
        volumes=[cache, scratch("tmp"), core.VolumeArgs(name="shared-memory", empty_dir=memory)],
    )


def group(args: ModelServiceArgs, identity: PodIdentity, replicas: pulumi.Input[int] | None) -> dict[str, Any]:
    """The spec of a LeaderWorkerSet, in which each replica is a leader, which serves, and its workers.

    Groups are replaced whole, and one at a time: there are no spare GPUs for another one.
    """
    return {
        **({} if replicas is None else {"replicas": replicas}),
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
            "workerTemplate": template(args, replace(identity, live=False), worker=True),
        },
    }


def _command(args: ModelServiceArgs, *, worker: bool) -> pulumi.Output[list[str]]:
    engine = args.get("vllm", {})

    def command(values: Mapping[str, Any]) -> list[str]:
        source = parse(values["uri"])
        words = ["vllm", "serve", source.name, "--revision", source.version]
        words += ["--served-model-name", str(values["name"]), "--host", "0.0.0.0", "--port", str(PORT)]
        words += ["--tensor-parallel-size", str(int(values["gpus"]))]
        if nodes(args) > 1:
            words += ["--pipeline-parallel-size", str(nodes(args)), "--nnodes", str(nodes(args))]
            words += ["--node-rank", "$(NODE_RANK)", "--master-addr", LEADER]
            words += ["--distributed-executor-backend", "mp", *(["--headless"] if worker else [])]
        if values["max_model_len"] is not None:
            words += ["--max-model-len", str(int(values["max_model_len"]))]
        return [*words, *(values["arguments"] or [])]

    return pulumi.Output.all(
        uri=args["model_uri"],
        name=name_of_model(args),
        gpus=args.get("resources", {}).get("gpus", DEFAULT_GPUS),
        max_model_len=engine.get("max_model_len"),
        arguments=engine.get("arguments"),
    ).apply(command)


def _container(args: ModelServiceArgs, *, worker: bool, **fields: Any) -> core.ContainerArgs:
    token = args.get("vllm", {}).get("token_secret")
    references = [] if token is None else [secret_key("HF_TOKEN", token, "token")]
    if nodes(args) > 1:
        references.append(field_variable("NODE_RANK", f"metadata.labels['{INDEX_LABEL}']"))
        references.append(field_variable("VLLM_HOST_IP", "status.podIP"))
    resources = cast(Resources, {"gpus": DEFAULT_GPUS, **args.get("resources", {})})
    return container(
        "serve",
        args.get("image", VLLM_IMAGE),
        variables={
            "HF_HOME": f"{CACHE}/huggingface",
            "VLLM_CACHE_ROOT": f"{CACHE}/vllm",
            "VLLM_NO_USAGE_STATS": "1",
        },
        secrets=references,
        command=_command(args, worker=worker),
        resources=resource_requirements(resources, DEFAULT_RESOURCES),
        volume_mounts=[mount("cache", CACHE), mount("tmp", "/tmp"), mount("shared-memory", "/dev/shm")],
        **fields,
    )


def _server(args: ModelServiceArgs) -> core.ContainerArgs:
    """vLLM drops its requests on SIGTERM, so the whole drain comes before that."""
    pause = core.SleepActionArgs(seconds=drain_seconds(args).apply(lambda drain: ENDPOINT_SECONDS + drain))
    startup_probes = startup_seconds(args).apply(lambda seconds: -(-seconds // PROBE_SECONDS))
    return _container(
        args,
        worker=False,
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
        startup_probe=http_probe("/health", "http", period=PROBE_SECONDS, failures=startup_probes, timeout=5),
        readiness_probe=http_probe("/health", "http", period=PROBE_SECONDS, failures=3, timeout=5),
        liveness_probe=http_probe("/health", "http", period=PROBE_SECONDS, failures=6, timeout=5),
        lifecycle=core.LifecycleArgs(pre_stop=core.LifecycleHandlerArgs(sleep=pause)),
    )
