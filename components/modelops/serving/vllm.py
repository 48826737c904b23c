"""Large models: vLLM pods on GPUs, in groups if one copy of the model spans several nodes.

An init container fetches the model, its base and its adapters, and writes the arguments that depend on what it found.
In the engine's process the library's front checks API keys, and before the engine stops a hook drains the pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pulumi

from modelops.core.model_sources import parse
from modelops.core.outputs import text_of
from modelops.core.run_id import canonical_json
from modelops.kubernetes.labels import scrape
from modelops.kubernetes.network import every_address
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
    tracking_credentials,
)
from modelops.kubernetes.runtime import VARIABLES, runtime_command, runtime_mount
from modelops.kubernetes.template_hash import template_hash
from modelops.serving.args import (
    DEFAULT_SHARED_MEMORY,
    ModelServiceArgs,
    drain_seconds,
    endpoint_seconds,
    nodes,
    startup_seconds,
)
from modelops.serving.pod import (
    CACHE,
    PORT,
    SERVER,
    PodIdentity,
    fetched_uri,
    hold,
    model_mount,
    model_volume,
    name_of_model,
    serving_template,
    source_secrets,
    source_variables,
    version_of,
)

DEFAULT_RESOURCES = DefaultResources(cpu="4", memory="16Gi", memory_limit="64Gi")
FETCH_RESOURCES = DefaultResources(cpu="100m", memory="256Mi", memory_limit="2Gi")
DEFAULT_GPUS = 1
USER, GROUP = 2000, 0
"""The image's user; group 0 can read its files."""
PROBE_SECONDS = 10
STOP_SECONDS = 5
"""How long vLLM may take to answer what it has, once it is told to stop: after the drain, that is little."""
COMMANDS = ("language_models.assemble", "serving.vllm.drain", "serving.vllm.front")
"""The library's programs in these pods."""
MOST_BYTES = 2**40
"""Largest file of a model."""
ENGINE = "/modelops/engine"
"""The folder with vLLM's arguments, the base and the adapters."""
_KEYS = "/modelops/api-keys"
_FRONT = "modelops_runtime.serving.vllm.front.Front"
_ADAPTER = "adapter.modelops.dev/"
"""How the pod labels begin that have the adapters' versions."""
LWS = "leaderworkerset.x-k8s.io/v1"
RELEASE = "modelops.dev/release"
"""The pods' label that says of which template they are: the watch knows them by it."""
INDEX_LABEL = "leaderworkerset.sigs.k8s.io/worker-index"
LEADER = "$(LWS_LEADER_ADDRESS)"
"""LeaderWorkerSet sets this variable in every container."""


def template(args: ModelServiceArgs, identity: PodIdentity, *, worker: bool = False) -> core.PodTemplateSpecArgs:
    """A pod that serves or, with `worker`, lends its GPUs to the pod that does."""
    return serving_template(
        args,
        identity,
        [_container(args, identity, worker=True) if worker else server(args, identity)],
        annotations=None if worker else scrape(PORT),
        security=restricted_pod(USER, GROUP),
        volumes=volumes(args, identity),
        init_containers=init_containers(args, identity),
        labels={_ADAPTER + each.name: each.version for each in _parts(args) if each.name},
    )


def init_containers(args: ModelServiceArgs, identity: PodIdentity) -> list[core.ContainerArgs]:
    """What runs before the engine, and what holds the models in the cache."""
    return [_assemble(args, identity), *hold(args, identity, _helper_image(args))]


def volumes(args: ModelServiceArgs, identity: PodIdentity) -> list[pulumi.Input[core.VolumeArgs]]:
    """The volumes of the models, of the engine's own files, of the library's programs and of the API keys."""
    memory = core.EmptyDirVolumeSourceArgs(
        medium="Memory", size_limit=args.get("vllm", {}).get("shared_memory", DEFAULT_SHARED_MEMORY)
    )
    found: list[pulumi.Input[core.VolumeArgs]] = [
        model_volume(args["model_uri"]),
        scratch("engine"),
        *(model_volume(part.uri, part.volume) for part in _parts(args)),
        scratch("cache") if identity.cache_claim is None else claimed("cache", identity.cache_claim),
        scratch("tmp"),
        core.VolumeArgs(name="shared-memory", empty_dir=memory),
    ]
    if identity.runtime is not None:
        found.append(identity.runtime)
    if "api_keys_secret" in args.get("vllm", {}):
        source = core.SecretVolumeSourceArgs(secret_name=args["vllm"]["api_keys_secret"])
        found.append(core.VolumeArgs(name="api-keys", secret=source))
    return found


@dataclass(frozen=True)
class _Part:
    """The base or an adapter, in a folder of its own below the engine's."""

    uri: pulumi.Input[str]
    name: str = ""
    """The adapter's; empty for the base."""
    place: int = 0

    @property
    def volume(self) -> str:
        return f"adapter-{self.place}" if self.name else "base"

    @property
    def version(self) -> pulumi.Output[str]:
        return pulumi.Output.from_input(self.uri).apply(lambda uri: parse(uri).version)

    @property
    def folder(self) -> pulumi.Input[str]:
        """With the version in it, which the list of models thus shows."""
        if not self.name:
            return f"{ENGINE}/base"
        return pulumi.Output.concat(ENGINE, "/adapters/", self.name, "/", self.version)


def _parts(args: ModelServiceArgs) -> list[_Part]:
    engine = args.get("vllm", {})
    base = [_Part(engine["base_model_uri"])] if "base_model_uri" in engine else []
    adapters = engine.get("adapters", [])
    return [*base, *(_Part(each["model_uri"], each["name"], at) for at, each in enumerate(adapters))]


def _helper_image(args: ModelServiceArgs) -> pulumi.Input[str]:
    """The image of what fetches: the engine's is on the node anyway, and can read from Hugging Face."""
    return args.get("runtime_image", args["image"])


def _assemble(args: ModelServiceArgs, identity: PodIdentity) -> core.ContainerArgs:
    parts = _parts(args)
    adapters = {
        part.name: {"uri": fetched_uri(part.uri, part.folder), "version": part.version} for part in parts if part.name
    }
    base = next((part for part in parts if not part.name), None)
    return container(
        "fetch",
        _helper_image(args),
        variables={
            **source_variables(args, identity),
            "MODELOPS_MODEL_SOURCE": args["model_uri"],
            "MODELOPS_MODEL_NAME": name_of_model(args),
            "MODELOPS_MODEL_MAX_BYTES": str(MOST_BYTES),
            "MODELOPS_ENGINE_DIR": ENGINE,
            **({"MODELOPS_ADAPTERS": pulumi.Output.from_input(adapters).apply(canonical_json)} if adapters else {}),
            **({} if base is None else {"MODELOPS_BASE_URI": fetched_uri(base.uri, base.folder)}),
            **VARIABLES,
        },
        secrets=[*tracking_credentials(args.get("tracking_secret"), token=args.get("tracking_token")), *_token(args)],
        env_from=source_secrets(args),
        command=runtime_command("assemble"),
        resources=resource_requirements(args.get("helper_resources"), FETCH_RESOURCES),
        volume_mounts=[*_mounts(args, read_only=False), mount("cache", CACHE), mount("tmp", "/tmp"), runtime_mount()],
    )


def _mounts(args: ModelServiceArgs, *, read_only: bool) -> list[pulumi.Input[core.VolumeMountArgs]]:
    """The models' folders."""
    return [
        model_mount(args["model_uri"], read_only=read_only),
        mount("engine", ENGINE, read_only=read_only),
        *(model_mount(part.uri, part.volume, part.folder, read_only=read_only) for part in _parts(args)),
    ]


def keys(args: ModelServiceArgs) -> core.VolumeMountArgs | None:
    """The mount of the API keys, if there are any."""
    return mount("api-keys", _KEYS, read_only=True) if "api_keys_secret" in args.get("vllm", {}) else None


def _token(args: ModelServiceArgs) -> list[core.EnvVarArgs]:
    token = args.get("vllm", {}).get("token_secret")
    return [] if token is None else [secret_key("HF_TOKEN", token, "token")]


def group(args: ModelServiceArgs, identity: PodIdentity, replicas: pulumi.Input[int] | None) -> dict[str, Any]:
    """The spec of a LeaderWorkerSet, in which each replica is a leader, which serves, and its workers.

    Groups are replaced whole, and one at a time: there are no spare GPUs for another one.
    """
    leader = template(args, identity)
    worker = template(args, replace(identity, live=False), worker=True)
    release = template_hash(leader, worker)
    for pod in (leader, worker):
        pod.metadata.labels = {**pod.metadata.labels, RELEASE: release}  # type: ignore[dict-item, union-attr]
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
            "leaderTemplate": leader,
            "workerTemplate": worker,
        },
    }


def _command(args: ModelServiceArgs, *, worker: bool) -> pulumi.Output[list[str]]:
    engine = args.get("vllm", {})

    def command(values: Mapping[str, Any]) -> list[str]:
        words = ["vllm", "serve", "--config", f"{ENGINE}/vllm.yaml", "--host", every_address(args), "--port", str(PORT)]
        words += ["--middleware", _FRONT, "--shutdown-timeout", str(STOP_SECONDS)]
        words += ["--tensor-parallel-size", str(int(values["gpus"]) or 1)]
        if nodes(args) > 1:
            words += ["--pipeline-parallel-size", str(nodes(args)), "--nnodes", str(nodes(args))]
            words += ["--node-rank", "$(NODE_RANK)", "--master-addr", LEADER]
            words += ["--distributed-executor-backend", "mp", *(["--headless"] if worker else [])]
        if values["max_model_len"] is not None:
            words += ["--max-model-len", str(int(values["max_model_len"]))]
        return [*words, *(values["arguments"] or [])]

    return pulumi.Output.all(
        gpus=gpus(args),
        max_model_len=engine.get("max_model_len"),
        arguments=engine.get("arguments"),
    ).apply(command)


def gpus(args: ModelServiceArgs) -> pulumi.Input[int]:
    """The GPUs of a pod that are counted; those of claims are not."""
    return args.get("resources", {}).get("gpus", 0 if "resource_claims" in args else DEFAULT_GPUS)


def _container(args: ModelServiceArgs, identity: PodIdentity, *, worker: bool, **fields: Any) -> core.ContainerArgs:
    references = [
        field_variable("NODE_RANK", f"metadata.labels['{INDEX_LABEL}']"),
        field_variable("VLLM_HOST_IP", "status.podIP"),
    ]
    found = keys(args)
    return container(
        SERVER,
        args["image"],
        variables={
            "HF_HOME": f"{CACHE}/huggingface",
            "VLLM_CACHE_ROOT": f"{CACHE}/vllm",
            "VLLM_NO_USAGE_STATS": "1",
            "MODELOPS_PORT": str(PORT),
            "MODELOPS_ENDPOINT_SECONDS": text_of(endpoint_seconds(args)),
            "MODELOPS_DRAIN_SECONDS": text_of(drain_seconds(args)),
            **({} if found is None else {"MODELOPS_API_KEYS_DIR": found.mount_path}),
            **_logged(args),
            **VARIABLES,
            **identity.variables,
        },
        secrets=references if nodes(args) > 1 else (),
        command=_command(args, worker=worker),
        resources=resource_requirements(args.get("resources"), DEFAULT_RESOURCES, args.get("resource_claims")),
        volume_mounts=[
            *_mounts(args, read_only=True),
            mount("cache", CACHE),
            mount("tmp", "/tmp"),
            mount("shared-memory", "/dev/shm"),
            runtime_mount(),
            *([] if found is None else [found]),
        ],
        **fields,
    )


def _logged(args: ModelServiceArgs) -> dict[str, pulumi.Input[str]]:
    if "log_texts" not in args.get("vllm", {}):
        return {}
    wanted = pulumi.Output.from_input(args["vllm"]["log_texts"])
    return {
        "MODELOPS_LOG_TEXTS": wanted.apply(lambda on: "true" if on else "false"),
        "MODELOPS_MODEL_VERSION": version_of(args),
    }


def server(args: ModelServiceArgs, identity: PodIdentity, *, drains: bool = True, **fields: Any) -> core.ContainerArgs:
    """The engine. vLLM fails every request once it is told to stop, so the drain comes before that."""
    hook = core.LifecycleHandlerArgs(exec_=core.ExecActionArgs(command=runtime_command("drain")))
    startup_probes = startup_seconds(args).apply(lambda seconds: -(-seconds // PROBE_SECONDS))
    return _container(
        args,
        identity,
        worker=False,
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
        startup_probe=http_probe("/health", "http", period=PROBE_SECONDS, failures=startup_probes, timeout=5),
        readiness_probe=http_probe("/health", "http", period=PROBE_SECONDS, failures=3, timeout=5),
        liveness_probe=http_probe("/health", "http", period=PROBE_SECONDS, failures=6, timeout=5),
        lifecycle=core.LifecycleArgs(pre_stop=hook) if drains else None,
        **fields,
    )
