"""What holds for the arguments of every component, found by walking their types."""

import inspect
import itertools
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
import pytest

import modelops
from modelops.core import plain as plain_arguments
from modelops.core.validation import _unwrap
from modelops.kubernetes.certificates import VERSION_ANNOTATION
from tests.package.test_consumer import BUILT, DAG, MINIMAL, PIPELINE, PROMOTION, SERVING, TRAINING
from tests.unit.components.harness import IMAGE, SHARED, Program, run


def fields(spec: type[Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type[Any], Any, bool]]:
    """Path, type that it is a field of, type without wrappers and whether it is plain, of each field."""
    for name, annotation in inspect.get_annotations(spec).items():
        plain, kind = _unwrap(annotation)
        yield (*path, name), spec, kind, plain
        if typing.is_typeddict(kind):
            yield from fields(kind, (*path, name))


FIELDS = [(component, *field) for component in MINIMAL for field in fields(getattr(modelops, f"{component}Args"))]


def changed(args: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """`args` with another value at `path`."""
    key, *rest = path
    return {**args, key: changed(args.get(key, {}), tuple(rest), value) if rest else value}


_NUMBERS = (int, float, bool)
PLAIN = [
    pytest.param(component, path, kind, id=f"{component} {'.'.join(path)}")
    for component, path, _, kind, plain in FIELDS
    if plain
]


@pytest.mark.parametrize(("component", "path", "kind"), PLAIN)
def test_an_argument_that_takes_no_output_says_why(component: str, path: tuple[str, ...], kind: Any) -> None:
    reason = plain_arguments.why_plain(path[-1], kind)
    assert reason != "the plan depends on it", "say why in modelops.core.plain"

    def program() -> None:
        later = pulumi.Output.from_input("later")
        with pytest.raises(modelops.ArgumentsError) as caught:
            getattr(modelops, component)("demo", changed(MINIMAL[component], path, later))
        assert f"{'.'.join(path)} is not known yet, must be a plain value: {reason}" in str(caught.value)

    run(program)


def test_a_reason_for_a_plain_argument_is_of_one_that_exists() -> None:
    assert plain_arguments._REASONS.keys() <= {path[-1] for _, path, _, _, plain in FIELDS if plain}


PLACED: dict[str, Any] = {
    "resources": {"cpu_limit": "8", "memory": "1Gi", "memory_limit": "2Gi", "gpus": 2, "devices": {"rdma/hca": 1}},
    "node_selector": {"disk": "ssd"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "toleration_seconds": 30}],
}
SPREAD: dict[str, Any] = {
    **PLACED,
    "affinity": {"podAffinity": {}},
    "priority_class": "high",
    "runtime_class": "nvidia",
    "resource_claims": {"gpu": "one-gpu"},
}
GATE: dict[str, Any] = {"mse": {"max": 1.5, "min_delta": -1}}
GATED: dict[str, Any] = {"gate": GATE, "serving_alias": "live", "first_version": True}
TRAINED: dict[str, Any] = {
    **TRAINING,
    **SPREAD,
    **GATED,
    "parameters": {"epochs": 3},
    "checkpoints": {
        "storage_size": "1Gi",
        "access_modes": ["ReadWriteMany"],
        "interval_steps": 5,
        "interval_seconds": 30,
        "keep_after_publish": False,
    },
    "publisher": {"registry_wait_seconds": 9},
    "retries": 2,
    "timeout_seconds": 600,
    "scheduling_timeout_seconds": 60,
    "ttl_seconds_after_finished": 90,
    "queue": "batch",
}
PREPARED: dict[str, Any] = {
    **PIPELINE,
    **PLACED,
    "sources": [{"uri": "s3://raw/a.csv", "types": {"a": "number"}}],
    "steps": [{"split": {"seed": 1}}, {"scale": {"columns": ["a"]}}],
    "target": "y",
    "volume": {"storage_size": "1Gi", "access_modes": ["ReadWriteMany"]},
    "retries": 1,
    "timeout_seconds": 600,
    "scheduling_timeout_seconds": 60,
    "ttl_seconds_after_finished": 90,
}
SERVED: dict[str, Any] = {
    **SERVING,
    **SPREAD,
    "replicas": 3,
    "port": 8443,
    "grpc_port": 9000,
    "tracing": {"endpoint": "http://collector:4318", "sample_ratio": 0.25, "secret": "spans"},
    "startup_timeout_seconds": 61,
    "drain_seconds": 7,
    "endpoint_seconds": 30,
    "rollout": {"max_surge": 0, "max_unavailable": 2, "progress_seconds": 900},
    "smoke_test": {"inputs": [[1, 2.5]], "outputs": [3], "tolerance": 0.5},
    "cache": {"access_modes": ["ReadWriteOnce"]},
    "shadow": {"model_uri": "models:/linear@run-1", "percent": 20, "replicas": 2},
    "route": {"host": "models.example.com", "gateway": {"name": "public", "https": False}},
    "mlflow": {"predict_method": "predict_proba", "onnx": True, "ignore_requirements": False},
    "serve_command": ["serve"],
}
ANALYSED: dict[str, Any] = {
    **SERVING,
    "autoscaling": {
        "max_replicas": 4,
        "target_cpu_percent": 50,
        "scale_to_zero": {"prometheus_url": "http://prometheus", "query": "up", "threshold": 2, "idle_seconds": 9},
    },
    "canary": {
        "model_uri": "models:/linear@run-1",
        "weight_percent": 25,
        "split": "NginxIngress",
        "analysis": {
            "prometheus_url": "http://prometheus",
            "max_extra_error_percent": 1.5,
            "max_p99_ratio": 2.5,
            "max_prediction_drift": 0.5,
            "max_restarts": 1,
            "min_requests": 10,
            "min_seconds": 60,
            "interval_seconds": 30,
        },
    },
    "route": {"host": "models.example.com", "ingress_class": "nginx"},
}
STEPPED: dict[str, Any] = {
    **SERVING,
    "canary": {
        "model_uri": "models:/linear@run-1",
        "split": "Gateway",
        "steps": [{"weight_percent": 5, "pause_seconds": 600}, {"weight_percent": 50}],
        "analysis": {"prometheus_url": "http://prometheus", "interval_seconds": 10},
    },
    "route": {"host": "models.example.com", "gateway": {"name": "public"}},
}
SCALED: dict[str, Any] = {
    **SERVING,
    "autoscaling": {
        "max_replicas": 9,
        "min_replicas": 3,
        "target_cpu_percent": 50,
        "target_memory_percent": 60,
        "target_requests_per_second": 20,
        "target_latency_ms": 5,
        "scale_down_stabilization_seconds": 60,
        "scale_down_pods_per_minute": 1,
        "scale_up_pods_per_minute": 2,
    },
    "rollout": {"max_surge": 2},
}
ENGINE: dict[str, Any] = {
    "namespace": "ml",
    "runtime": "vllm",
    "model_uri": f"hf://team/model@{40 * 'a'}",
    "vllm": {"max_model_len": 100, "arguments": ["--seed", "1"], "nodes": 2},
    "startup_timeout_seconds": 601,
    "drain_seconds": 20,
    "autoscaling": {
        "max_replicas": 3,
        "target_queue_length": 4,
        "target_running_requests": 8,
        "target_kv_cache_percent": 80,
        "target_tokens_per_second": 500,
    },
}
TALKING: dict[str, Any] = {
    "namespace": "ml",
    "runtime": "vllm",
    "model_uri": "models:/chat/3",
    "tracking_uri": "http://registry:5000",
    "model_name": "chat",
    "resources": {"gpus": 2},
    "vllm": {
        "adapters": [
            {"name": "polite", "model_uri": "models:/polite/7"},
            {"name": "terse", "model_uri": "pvc://c/t/2"},
        ],
        "base_model_uri": "pvc://models/llama/1",
        "api_keys_secret": "keys",
        "log_texts": True,
    },
    "smoke_test": {"prompts": [{"prompt": "hi", "required": ["yes"], "max_tokens": 8, "model": "polite"}]},
    "canary": {
        "model_uri": "models:/chat/4",
        "weight_percent": 33,
        "analysis": {
            "prometheus_url": "http://prometheus",
            "max_first_token_ratio": 2.5,
            "max_token_interval_ratio": 3.5,
            "max_answer_length_ratio": 4.5,
        },
    },
}
STORED: dict[str, Any] = {
    "namespace": "ml",
    "database": {"secret": "database", "port": 5433},
    "artifacts": {"uri": "s3://models"},
    "auth": {"admin_password": "a long password", "admin_username": "boss"},
    "backup": {"keep_count": 3},
    "allowed_hosts": ["models.example.com"],
    "network": {"cluster_domain": "corp.example"},
}
SCHEDULED: dict[str, Any] = {
    **DAG,
    "data": {**DAG["data"], "target": "y"},
    "training": {**DAG["training"], **GATED},
    "schedule": "@daily",
    "start": "2026-02-01",
    "catchup": True,
    "retries": 2,
    "retry_seconds": 5,
    "timeout_seconds": 600,
    "alertmanager_url": "https://alertmanager",
    "alertmanager_ca_certificate": "PEM",
    "runbook_url": "https://docs.example.com/airflow.html",
}
LOGGED: dict[str, Any] = {
    "namespace": "watch",
    "watched_namespaces": ["ml", "data"],
    "runbook_url": "https://docs.example.com/runbook.html",
    "network": {"cluster_domain": "corp.example"},
    "prometheus": {"retention_days": 5},
    "grafana": {
        "enabled": True,
        "admin_password": "long enough",
        "prices": {"cpu": 0.05, "memory": 0.01, "gpu": 3, "currency": "EUR"},
    },
    "alertmanager": {"receivers": {"slack": {"url": "https://slack"}}, "heartbeat_url": "https://beats"},
    "elk": {
        "enabled": True,
        "password": "long enough",
        "elasticsearch": {
            "nodes": 3,
            "zones": ["a", "b", "c"],
            "retention_days": 7,
            "snapshots": {"bucket": "logs", "access_key": "a", "secret_key": "b", "retention_days": 9},
        },
    },
}
RICH: dict[str, tuple[str, dict[str, Any]]] = {
    "AirflowPipeline": ("AirflowPipeline", SCHEDULED),
    "DataPipeline": ("DataPipeline", PREPARED),
    "DataPipeline on a schedule": ("DataPipeline", {**PIPELINE, "schedule": "@daily", "time_zone": "Europe/Rome"}),
    "ModelImage": (
        "ModelImage",
        {**BUILT, "platforms": ["linux/amd64"], "compression": "gzip", "push": False, "cache": True},
    ),
    "ModelImage by Docker": (
        "ModelImage",
        {**BUILT, "builder": "docker", "push": False, "credentials": {"username": "u", "password": "p"}},
    ),
    "ModelPromotion": (
        "ModelPromotion",
        {**PROMOTION, "gate": GATE, "serving_alias": "live", "first_version": True, "timeout_seconds": 60},
    ),
    "ModelPromotion of an image": (
        "ModelPromotion",
        {
            "namespace": "ml",
            "model_uri": f"oci://registry.staging.example.com/team/linear@sha256:{64 * 'a'}",
            "repository": "registry.example.com:5000/team/linear",
            "repository_secret": "logins",
            "timeout_seconds": 60,
        },
    ),
    "ModelRegistry": ("ModelRegistry", STORED),
    "ModelService": ("ModelService", SERVED),
    "ModelService with a canary": ("ModelService", ANALYSED),
    "ModelService with a canary's steps": ("ModelService", STEPPED),
    "ModelService that scales": ("ModelService", SCALED),
    "ModelService by an engine": ("ModelService", ENGINE),
    "ModelService by an engine, with a canary": ("ModelService", TALKING),
    "ModelService from a store": (
        "ModelService",
        {
            "namespace": "ml",
            "image": IMAGE,
            "model_uri": "s3://models/linear/3",
            "model_secret": "store",
            "runtime_image": IMAGE,
            "model_endpoint_url": "http://minio:9000",
            "tracking_url": "http://mlflow.example.com",
        },
    ),
    "MonitoringStack": ("MonitoringStack", LOGGED),
    "TrainingJob": ("TrainingJob", TRAINED),
    "TrainingJob of a JobSet": ("TrainingJob", {**TRAINED, "backend": "jobset"}),
    "TrainingJob with a sweep": (
        "TrainingJob",
        {**TRAINING, "sweep": {"lr": [0.1, 1]}, "sweep_metric": "mse", "sweep_goal": "max", "sweep_parallelism": 1},
    ),
}
"""Arguments with which every argument that takes an output is used."""


def later(value: Any, annotation: Any, late: Any, level: int, depth: int = 0) -> Any:
    """The value with what may be an output in it as one, made by `late`.

    A list or mapping is an output as a whole at level 0, each of its entries is at level 1, only numbers and texts are
    at level 2.
    """
    plain, kind = _unwrap(annotation)
    is_container = isinstance(value, Mapping | list)
    if typing.is_typeddict(kind):
        kinds = inspect.get_annotations(kind)
        value = {key: later(entry, kinds[key], late, level) for key, entry in value.items()}
    elif isinstance(value, Mapping) and kind is not Any:
        inner = typing.get_args(kind)[1]
        value = {key: later(entry, inner, late, level, depth + 1) for key, entry in value.items()}
    elif isinstance(value, list) and kind is not Any:
        value = [later(entry, typing.get_args(kind)[0], late, level, depth + 1) for entry in value]
    return value if plain or (is_container and depth < level) else late(value)


def made(component: str, args: Mapping[str, Any], late: Any = None, level: int = 0, **how: Any) -> Program:
    kind = getattr(modelops, f"{component}Args")
    return run(lambda: getattr(modelops, component)("demo", later(args, kind, late, level) if late else args), **how)


def from_wire(value: Any) -> pulumi.Output[Any]:
    """An output whose numbers are as Pulumi's wire has them: without whole ones."""
    return pulumi.Output.from_input(float(value) if type(value) is int else value)


def objects(program: Program) -> list[tuple[str, str, Any]]:
    """What the program made. Secrets differ: their values are random, and so is what tells of certificates."""
    return sorted(
        (found.type, found.name, without_certificate(found.inputs))
        for found in program.resources
        if not found.type.endswith(":Secret") and not found.name.endswith("-certificate-expiry")
    )


def without_certificate(inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return {key: without_certificate(value) for key, value in inputs.items() if key != VERSION_ANNOTATION}
    return [without_certificate(value) for value in inputs] if isinstance(inputs, list) else inputs


def test_every_number_that_may_be_an_output_is_tried_as_one() -> None:
    def tried(args: Any, spec: Any) -> Iterator[tuple[str, str]]:
        kinds = inspect.get_annotations(spec)
        for key, value in args.items():
            yield spec.__name__, key
            if typing.is_typeddict(kind := _unwrap(kinds[key])[1]):
                yield from tried(value, kind)

    numbers = {(spec.__name__, path[-1]) for _, path, spec, kind, plain in FIELDS if not plain and kind in _NUMBERS}
    assert (
        numbers - {each for name, args in RICH.values() for each in tried(args, getattr(modelops, f"{name}Args"))}
        == set()
    )


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("name", RICH)
def test_outputs_make_the_same_objects_as_plain_values(name: str, level: int) -> None:
    component, args = RICH[name]
    assert objects(made(component, args, from_wire, level)) == objects(made(component, args))


@pytest.mark.parametrize("name", RICH)
def test_pulumi_waits_as_long_as_an_output_may_ask_for(name: str) -> None:
    """How long it waits must be known in the plan."""

    def seconds(program: Program) -> dict[tuple[str, str], float]:
        waits = {(found.type, found.name): found.options["create_timeout"] for found in program.resources}
        return {key: float(wait.removesuffix("s")) for key, wait in waits.items() if wait.endswith("s")}

    component, args = RICH[name]
    planned, late = seconds(made(component, args)), seconds(made(component, args, from_wire))
    assert late.keys() == planned.keys()
    assert [key for key in late if late[key] < planned[key]] == []


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("name", RICH)
def test_a_preview_plans_with_values_that_it_does_not_know(name: str, level: int) -> None:
    component, args = RICH[name]
    planned = made(component, args, lambda _: pulumi.Output.from_input(pulumi.UNKNOWN), level, preview=True)
    # What the components of a namespace share is made once the namespace is known.
    now, later = (
        [found[:2] for found in objects(program) if not found[1].startswith(SHARED)]
        for program in (planned, made(component, args))
    )
    assert now == later


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.combinations(sorted(MINIMAL.keys() - {"ModelImage", "MonitoringStack"}), 2))
)
def test_two_components_of_one_name_in_a_namespace_are_refused(first: str, second: str) -> None:
    def program(other: str) -> None:
        getattr(modelops, first)("demo", MINIMAL[first])
        getattr(modelops, second)("demo", {**MINIMAL[second], "namespace": other})

    with pytest.raises(modelops.ArgumentsError, match=f"the {first} 'demo' makes objects of the same names in"):
        run(lambda: program(MINIMAL[first]["namespace"]))
    run(lambda: program("other"))
