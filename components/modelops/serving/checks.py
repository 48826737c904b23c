"""The rules of ModelService's arguments."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from modelops.core.images import VLLM_IMAGE
from modelops.core.model_sources import parse
from modelops.core.outputs import is_output, plain_or
from modelops.core.types import Resources
from modelops.core.validation import Problems, read_args
from modelops.kubernetes.metadata import check_metadata
from modelops.kubernetes.placement import RESERVED_ANNOTATIONS, check_pods
from modelops.kubernetes.pods import check_resources
from modelops.kubernetes.volumes import check_access_modes
from modelops.serving import flags, pod, vllm
from modelops.serving.args import (
    DEFAULT_MIN_REPLICAS,
    DEFAULT_PORT,
    MAX_DRAIN_SECONDS,
    MAX_ENDPOINT_SECONDS,
    MAX_PROGRESS_SECONDS,
    MAX_REPLICAS,
    MAX_STARTUP_TIMEOUT_SECONDS,
    ModelServiceArgs,
    is_vllm,
)
from modelops.serving.autoscaling import ENGINE_TARGETS, POD_TARGETS
from modelops.serving.pinning import check_source, tracks
from modelops.serving.release import blue_green, canary, shadow

LONGEST_NAME = 48
"""Leaves room for the suffixes that Kubernetes adds to a track's Deployment and to the smoke test's Job."""
_MODELOPS_ONLY = (
    "cors_origins",
    "grpc_port",
    "tracing",
    "mlflow",
    "fetch_command",
    "serve_command",
    "metric_names",
)


def checked(name: str, args: ModelServiceArgs) -> ModelServiceArgs:
    """The arguments, normalized. Raises ArgumentsError with every problem."""
    problems = Problems("ModelService", name)
    problems.dns_label("name", name, maximum=LONGEST_NAME)
    args = read_args(args, ModelServiceArgs, problems)
    _check_scalars(problems, args)
    check_source(problems, "model_uri", args.get("model_uri"), args)
    if is_vllm(args):
        _check_vllm(problems, args)
    else:
        _check_modelops(problems, args)
    if "autoscaling" in args:
        _check_autoscaling(problems, args)
    if "rollout" in args:
        _check_rollout(problems, args["rollout"])
    if "smoke_test" in args:
        (_check_prompts if is_vllm(args) else _check_smoke_test)(problems, args["smoke_test"])
    if "route" in args:
        _check_route(problems, args)
    if "canary" in args:
        canary.check(problems, args)
    if "blue_green" in args:
        blue_green.check(problems, args)
    if "shadow" in args:
        shadow.check(problems, args)
    problems.raise_if_any()
    if not is_vllm(args):
        return args
    resources = cast(Resources, {**args.get("resources", {}), "gpus": vllm.gpus(args)})
    return {**args, "image": args.get("image", VLLM_IMAGE), "resources": resources}


def _check_scalars(problems: Problems, args: ModelServiceArgs) -> None:
    problems.text("image", args.get("image"))
    for field in ("tracking_uri", "tracking_url", "model_endpoint_url"):
        problems.url(field, args.get(field))
    problems.dns_label("namespace", args.get("namespace"))
    secrets = ("tracking_secret", "model_secret", "serving_alias_secret")
    for field in (*secrets, "runtime_image", "host"):
        problems.text(field, args.get(field))
    problems.mlflow_name("serving_alias", args.get("serving_alias"))
    if "serving_alias_secret" in args and "serving_alias" not in args:
        problems.add("serving_alias_secret", args["serving_alias_secret"], "must not be given without serving_alias")
    problems.number("replicas", args.get("replicas"), 1, MAX_REPLICAS)
    problems.number("port", args.get("port"), 1, 65_535)
    problems.number("grpc_port", args.get("grpc_port"), 1, 65_535)
    if "grpc_port" in args and plain_or(args["grpc_port"], 0) == plain_or(args.get("port", DEFAULT_PORT), -1):
        problems.add("grpc_port", args["grpc_port"], "must not be port")
    tracing = args.get("tracing", {})
    if "tracing" in args:
        problems.url("tracing.endpoint", tracing.get("endpoint"))
        problems.number("tracing.sample_ratio", tracing.get("sample_ratio"), 0, 1)
        problems.text("tracing.secret", tracing.get("secret"))
    problems.number("startup_timeout_seconds", args.get("startup_timeout_seconds"), 10, MAX_STARTUP_TIMEOUT_SECONDS)
    problems.number("drain_seconds", args.get("drain_seconds"), 1, MAX_DRAIN_SECONDS)
    problems.number("endpoint_seconds", args.get("endpoint_seconds"), 1, MAX_ENDPOINT_SECONDS)
    origins: Sequence[object] = plain_or(args.get("cors_origins", ()), ())
    for place, origin in enumerate(origins):
        if isinstance(origin, str) and origin != "*" and not re.fullmatch(r"https?://[^\s/,]+", origin):
            rule = "must be an origin without a path, https://app.example.com, or *"
            problems.add(f"cors_origins[{place}]", origin, rule)
    problems.text("mlflow.predict_method", args.get("mlflow", {}).get("predict_method"))
    defaults = vllm.DEFAULT_RESOURCES if is_vllm(args) else pod.DEFAULT_RESOURCES
    helpers = vllm.FETCH_RESOURCES if is_vllm(args) else pod.DEFAULT_RESOURCES
    check_resources(problems, "resources", args.get("resources"), defaults)
    check_resources(problems, "helper_resources", args.get("helper_resources"), helpers)
    check_pods(problems, args)
    cache = args.get("cache") or {}
    problems.quantities("cache", cache, ("storage_size",))
    check_access_modes(problems, "cache", cache)


def _check_modelops(problems: Problems, args: ModelServiceArgs) -> None:
    if "vllm" in args:
        problems.add("vllm", args["vllm"], "must not be given with the modelops runtime")
    if "image" not in args:
        problems.missing("image", "it is required with the modelops runtime")


def _check_vllm(problems: Problems, args: ModelServiceArgs) -> None:
    engine = args.get("vllm", {})
    for field in _MODELOPS_ONLY:
        if field in args:
            problems.add(field, args.get(field), "must not be given with the vllm runtime")
    for field in ("canary", "blue_green", "shadow", "smoke_test"):
        if field in args and (engine.get("nodes") or 1) > 1:
            problems.add(field, "given", "must not be given with vllm.nodes above 1, whose workers don't serve")
    problems.number("vllm.max_model_len", engine.get("max_model_len"), minimum=1)
    problems.number("vllm.nodes", engine.get("nodes"), 1, 64)
    problems.quantity("vllm.shared_memory", engine.get("shared_memory"))
    problems.text("vllm.token_secret", engine.get("token_secret"))
    problems.text("vllm.api_keys_secret", engine.get("api_keys_secret"))
    check_source(problems, "vllm.base_model_uri", engine.get("base_model_uri"), args)
    _check_names(problems, args)
    flags.check(problems, "vllm.arguments", engine.get("arguments"))
    surge = args.get("rollout", {}).get("max_surge")
    if surge and (engine.get("nodes") or 1) > 1:
        problems.add("rollout.max_surge", surge, "must be 0 when vllm.nodes is above 1")


def _check_names(problems: Problems, args: ModelServiceArgs) -> None:
    """Clients say which model they want by its name, whichever track answers."""
    own = args.get("model_name") or _name_in(args.get("model_uri"))
    taken = {own}
    for place, adapter in enumerate(args.get("vllm", {}).get("adapters", ())):
        field, name = f"vllm.adapters[{place}]", adapter.get("name")
        problems.mlflow_name(f"{field}.name", name)
        check_source(problems, f"{field}.model_uri", adapter.get("model_uri"), args)
        if name is not None and name in taken:
            problems.add(f"{field}.name", name, "must be another one than the model's and the other adapters'")
        taken.add(name)
    for field, uri in tracks(args).items() if "model_name" not in args else ():
        if None not in (own, _name_in(uri)) and own != _name_in(uri):
            problems.missing("model_name", f"clients would have to know that {field} is another model than {own!r}")


def _name_in(uri: object) -> str | None:
    """The model's name in a reference, if that can be read now."""
    try:
        return parse(uri).name if isinstance(uri, str) else None
    except ValueError:
        return None


def _check_autoscaling(problems: Problems, args: ModelServiceArgs) -> None:
    bounds = args["autoscaling"]
    to_zero = "scale_to_zero" in bounds
    low, high = bounds.get("min_replicas", 0 if to_zero else DEFAULT_MIN_REPLICAS), bounds.get("max_replicas")
    problems.number("autoscaling.min_replicas", low, 0 if to_zero else 1, MAX_REPLICAS)
    problems.number("autoscaling.max_replicas", high, 1, MAX_REPLICAS)
    for field in ("target_cpu_percent", "target_memory_percent"):
        problems.number(f"autoscaling.{field}", bounds.get(field), 1, 1000)
    for field in POD_TARGETS:
        _check_positive(problems, f"autoscaling.{field}", bounds.get(field))
    if (share := bounds.get("target_kv_cache_percent", 0)) and not is_output(share) and plain_or(share, 0) > 100:
        problems.add("autoscaling.target_kv_cache_percent", share, "must be at most 100")
    problems.number(
        "autoscaling.scale_down_stabilization_seconds", bounds.get("scale_down_stabilization_seconds"), 0, 3600
    )
    for field in ("scale_down_pods_per_minute", "scale_up_pods_per_minute"):
        problems.number(f"autoscaling.{field}", bounds.get(field), minimum=1)
    if isinstance(low, int) and isinstance(high, int) and high < low:
        problems.add("autoscaling.max_replicas", high, f"must be at least min_replicas ({low})")
    if "replicas" in args:
        problems.add("replicas", args["replicas"], "must not be given with autoscaling, which decides it")
    _check_measured(problems, args)
    if to_zero:
        _check_scale_to_zero(problems, bounds)


def _check_measured(problems: Problems, args: ModelServiceArgs) -> None:
    """An aim that the runtime has no metric for would never be met, nor missed."""
    bounds: Mapping[str, Any] = args["autoscaling"]
    for field in sorted(ENGINE_TARGETS & bounds.keys()) if not is_vllm(args) else ():
        problems.add(f"autoscaling.{field}", bounds[field], "must not be given without the vllm runtime")
    if is_vllm(args) and "target_latency_ms" in bounds:
        rule = "must not be given with the vllm runtime, whose requests take as long as their answers are: take "
        rule += " or ".join(f"`{field}`" for field in ("target_queue_length", "target_running_requests"))
        problems.add("autoscaling.target_latency_ms", bounds["target_latency_ms"], rule)


def _check_scale_to_zero(problems: Problems, bounds: Mapping[str, Any]) -> None:
    wake = bounds["scale_to_zero"]
    problems.url("autoscaling.scale_to_zero.prometheus_url", wake.get("prometheus_url"))
    problems.number("autoscaling.scale_to_zero.idle_seconds", wake.get("idle_seconds"), 1, 86_400)
    _check_positive(problems, "autoscaling.scale_to_zero.threshold", wake.get("threshold"))
    if wake.get("query") == "":
        problems.add("autoscaling.scale_to_zero.query", "", "must not be empty")


def _check_positive(problems: Problems, field: str, value: object) -> None:
    if isinstance(value, int | float) and value <= 0:
        problems.add(field, value, "must be above 0")


def _check_rollout(problems: Problems, rollout: Mapping[str, Any]) -> None:
    surge, unavailable = rollout.get("max_surge"), rollout.get("max_unavailable")
    problems.number("rollout.max_surge", surge, 0, 1000)
    problems.number("rollout.progress_seconds", rollout.get("progress_seconds"), 10, MAX_PROGRESS_SECONDS)
    problems.number("rollout.max_unavailable", unavailable, 0, 1000)
    if surge == 0 and unavailable == 0:
        problems.add("rollout.max_unavailable", 0, "must be at least 1 when max_surge is 0: nothing could be replaced")


def _check_prompts(problems: Problems, test: Mapping[str, Any]) -> None:
    for field in ("inputs", "outputs", "tolerance"):
        if field in test:
            problems.add(
                f"smoke_test.{field}", test[field], "must not be given with the vllm runtime, which has prompts"
            )
    if not test.get("prompts"):
        problems.missing("smoke_test.prompts", "it is required with the vllm runtime")
    for place, prompt in enumerate(test.get("prompts", ())):
        field = f"smoke_test.prompts[{place}]"
        problems.number(f"{field}.max_tokens", prompt.get("max_tokens"), minimum=1)
        if not {"answer", "required", "forbidden"} & prompt.keys():
            problems.add(field, prompt.get("prompt"), "must have answer, required or forbidden: any answer is right")
        for kind in ("required", "forbidden"):
            patterns: Sequence[object] = plain_or(prompt.get(kind, ()), ())
            for pattern in patterns:
                _check_pattern(problems, f"{field}.{kind}", pattern)


def _check_pattern(problems: Problems, field: str, pattern: object) -> None:
    try:
        re.compile(pattern if isinstance(pattern, str) else "")
    except re.error as error:
        problems.add(field, pattern, f"must be a regular expression: {error}")


def _check_smoke_test(problems: Problems, test: Mapping[str, Any]) -> None:
    if "prompts" in test:
        problems.add("smoke_test.prompts", "given", "must not be given without the vllm runtime")
    for field in ("inputs", "outputs"):
        if field not in test:
            problems.missing(f"smoke_test.{field}", "it is required with the modelops runtime")
    for field in ("inputs", "outputs"):
        values = test.get(field)
        if isinstance(values, Sequence) and not values:
            problems.add(f"smoke_test.{field}", [], "must not be empty")
        elif isinstance(values, Sequence) and not _is_numbers(values):
            problems.add(f"smoke_test.{field}", values, "must be numbers, or lists of them")
    problems.number("smoke_test.tolerance", test.get("tolerance"), minimum=0)


def _is_numbers(value: object) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(_is_numbers(entry) for entry in value)
    return isinstance(value, int | float) or is_output(value)


def _check_route(problems: Problems, args: ModelServiceArgs) -> None:
    route = args["route"]
    kinds = [field for field in ("ingress_class", "gateway", "gateway_class") if field in route]
    if len(kinds) != 1:
        rule = "must have exactly one of ingress_class, gateway and gateway_class"
        problems.add("route", " and ".join(kinds) or "none of them", rule)
    for field in ("host", "ingress_class", "gateway_class", "tls_secret"):
        problems.text(f"route.{field}", route.get(field))
    if "gateway" in route and "tls_secret" in route:
        rule = "must not be given with gateway, whose listener has its own"
        problems.add("route.tls_secret", route["tls_secret"], rule)
    problems.host_name("route.host", route.get("host"))
    check_metadata(problems, "route.annotations", route.get("annotations"), RESERVED_ANNOTATIONS)
    if "host" in args:
        problems.add("host", args["host"], "must not be given with route, which has its own")
