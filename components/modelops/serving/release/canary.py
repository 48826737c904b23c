"""A canary: a second track with a share of the requests, and what its analysis decides for both tracks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pulumi

from modelops.core.outputs import is_output, merged
from modelops.core.validation import Problems
from modelops.kubernetes.network import http_service
from modelops.kubernetes.pods import core
from modelops.serving.args import DEFAULT_MIN_REPLICAS, DEFAULT_PORT, DEFAULT_REPLICAS, ModelServiceArgs, is_vllm
from modelops.serving.pinning import check_source
from modelops.serving.pod import STABLE, track_selector
from modelops.serving.release import analysis, replica_split, steps, verdict
from modelops.serving.release import args as defaults
from modelops.serving.release.args import Split
from modelops.serving.release.replica_split import Count
from modelops.serving.release.verdict import Plan, Version
from modelops.serving.routing import grpc_ports
from modelops.serving.track import Track, deploy

CANARY = "canary"
_SERVER_BOUNDS: Sequence[str] = ("max_p99_ratio", "max_prediction_drift")
_ENGINE_BOUNDS: Sequence[str] = ("max_first_token_ratio", "max_token_interval_ratio", "max_answer_length_ratio")


@dataclass(frozen=True)
class Tracks:
    """The tracks of a service with a canary."""

    stable: pulumi.Resource
    canary: pulumi.Resource
    plan: pulumi.Output[Plan]
    service: core.Service | None
    """The canary's own Service, if a route splits the requests."""

    mark: Mapping[str, pulumi.Input[str]]
    """Annotations of the route's object with the weights."""

    def weights(self) -> tuple[pulumi.Output[int], pulumi.Output[int]]:
        """The weights of the stable track and the canary in a route."""
        canary = self.plan.apply(lambda plan: plan.weight_percent)
        return canary.apply(lambda weight: 100 - weight), canary


def deploy_tracks(base: Track, opts: pulumi.ResourceOptions) -> Tracks:
    """Deploys both tracks, the stable one first: it serves a promoted version before the canary stops serving it."""
    args = base.args
    record = analysis.record(base.service, args["namespace"], opts) if "analysis" in args["canary"] else None
    plan = _plan(args, record)
    _say(plan, opts.parent)
    stable = deploy(replace(base, args=_stable_args(args, plan)), opts)
    track = replace(
        base,
        args=_canary_args(args),
        role=CANARY,
        live=not _by_route(args),
        replicas=plan.apply(lambda plan: _replicas(args, plan.weight_percent) if plan.takes_traffic else 0),
        annotations={} if _by_route(args) else steps.mark(args),
    )
    service = _canary_service(track, plan, opts) if _by_route(args) else None
    canary = deploy(track, merged(opts, depends_on=[stable] if service is None else [stable, service]))
    if record is not None:
        counts = {} if _by_route(args) else {weight: _canary_count(args, weight).low for weight in _weights(args)}
        analysis.deploy(base.service, args, record.config_map, canary, counts, opts)
    return Tracks(stable, canary, plan, service, steps.mark(args))


def _say(plan: pulumi.Output[Plan], service: pulumi.Resource | None) -> None:
    """Says what the analyst has done, which this plan takes over."""

    def say(plan: Plan) -> None:
        if plan.verdict == verdict.ROLL_BACK:
            pulumi.log.warn(
                f"the canary {plan.canary.model_uri} gets no requests and has no pods: {plan.reason}. "
                "Name another version, or remove `canary`",
                service,
            )

    plan.apply(say)


def _by_route(args: ModelServiceArgs) -> bool:
    """Whether a route's weights split the requests, rather than the number of pods."""
    return steps.split_of(args["canary"]) is not Split.REPLICAS


def _weights(args: ModelServiceArgs) -> list[int]:
    return steps.weights(args["canary"])


def _canary_service(track: Track, plan: pulumi.Output[Plan], opts: pulumi.ResourceOptions) -> core.Service:
    """The Service to which the route sends the canary's share.

    It leads to the stable pods as soon as the canary is to stop. So no request fails if the canary's pods terminate
    before the route has changed.
    """
    metadata = track.metadata
    metadata.annotations = {"pulumi.com/skipAwait": "true"}
    pods = plan.apply(lambda plan: track_selector(track.service, CANARY if plan.takes_traffic else STABLE))
    port = track.args.get("port", DEFAULT_PORT)
    return http_service(track.name, metadata, pods, port, track.args, opts, more_ports=grpc_ports(track.args))


def _plan(args: ModelServiceArgs, record: analysis.Record | None) -> pulumi.Output[Plan]:
    canary = args["canary"]
    record_data = record.data if record is not None else None
    return pulumi.Output.all(args["model_uri"], canary["model_uri"], canary.get("image"), record_data).apply(
        lambda values: verdict.plan(Version(values[0]), Version(values[1], values[2]), values[3], _weights(args))
    )


def _stable_args(args: ModelServiceArgs, plan: pulumi.Output[Plan]) -> ModelServiceArgs:
    """The arguments with the plan's stable version: the canary's, once it is promoted."""
    image = pulumi.Output.all(plan, args["image"]).apply(lambda values: values[0].stable.image or values[1])
    return {**args, "model_uri": plan.apply(lambda plan: plan.stable.model_uri), "image": image}


def _canary_args(args: ModelServiceArgs) -> ModelServiceArgs:
    canary, count = args["canary"], _canary_count(args, max(_weights(args)))
    args = {**args, "model_uri": canary["model_uri"], "image": canary.get("image", args["image"])}
    if "autoscaling" in args:
        return {**args, "autoscaling": {**args["autoscaling"], "min_replicas": count.low, "max_replicas": count.high}}
    return {**args, "replicas": count.low}


def _replicas(args: ModelServiceArgs, percent: int) -> int | None:
    """The canary's pods, unless an autoscaler counts them."""
    return None if "autoscaling" in args else _canary_count(args, percent).low


def _canary_count(args: ModelServiceArgs, percent: int) -> Count:
    """As many pods as give the canary that share, or as many as its largest share needs."""
    stable = _stable_count(args)
    if not _by_route(args):
        return replica_split.canary_count(stable, percent)
    if "autoscaling" in args:
        return Count(1, stable.high)
    return Count.fixed(math.ceil(stable.low * max(_weights(args)) / 100))


def _stable_count(args: ModelServiceArgs) -> Count:
    if "autoscaling" not in args:
        return Count.fixed(cast(int, args.get("replicas", DEFAULT_REPLICAS)))
    bounds: Any = args["autoscaling"]
    return Count(bounds.get("min_replicas", DEFAULT_MIN_REPLICAS), bounds["max_replicas"])


def check(problems: Problems, args: ModelServiceArgs) -> None:
    """Rules of `canary`."""
    canary = args["canary"]
    check_source(problems, "canary.model_uri", canary.get("model_uri"), args)
    problems.text("canary.image", canary.get("image"))
    steps.check(problems, args)
    problems.number("canary.tolerance_points", canary.get("tolerance_points"), 0.1, 50)
    if is_output(args.get("replicas")):
        rule = "must be a plain value with canary: the canary's pods are counted from it"
        problems.add("replicas", args.get("replicas"), rule)
    _check_split(problems, args)
    if isinstance(canary.get("analysis"), dict):
        _check_analysis(problems, canary["analysis"])
        _check_bounds(problems, canary["analysis"], engine=is_vllm(args))


def _check_bounds(problems: Problems, settings: Mapping[str, Any], *, engine: bool) -> None:
    """A runtime's figures have bounds of their own."""
    own, foreign = (_ENGINE_BOUNDS, _SERVER_BOUNDS) if engine else (_SERVER_BOUNDS, _ENGINE_BOUNDS)
    runtime = "vllm" if engine else "modelops"
    for key in foreign:
        if key in settings:
            rule = f"must not be given with the {runtime} runtime, which has {', '.join(own)}"
            problems.add(f"canary.analysis.{key}", settings[key], rule)


def _check_split(problems: Problems, args: ModelServiceArgs) -> None:
    split = args["canary"].get("split", Split.REPLICAS)
    route: Any = args.get("route") or {}
    if split is Split.GATEWAY and not {"gateway", "gateway_class"} & set(route):
        problems.add("canary.split", split, "must be Replicas without a `route` at a Gateway, which keeps the weights")
    elif split is Split.NGINX_INGRESS and "ingress_class" not in route:
        problems.add("canary.split", split, "must be Replicas without a `route` by an Ingress, which keeps the weights")
    elif split is Split.REPLICAS:
        for field, percent in _given_weights(args["canary"]).items():
            _check_weight(problems, args, field, percent)


def _given_weights(canary: Mapping[str, Any]) -> dict[str, Any]:
    """By field: the shares that the canary is to have."""
    given = canary.get("steps")
    found = [step for step in given if isinstance(step, Mapping)] if isinstance(given, Sequence) else []
    of_steps = {f"canary.steps[{index}].weight_percent": step.get("weight_percent") for index, step in enumerate(found)}
    return of_steps if "steps" in canary else {"canary.weight_percent": canary.get("weight_percent")}


def _check_weight(problems: Problems, args: ModelServiceArgs, field: str, percent: Any) -> None:
    """A share that replica counts can't keep is an error, rather than silently another share."""
    if not isinstance(percent, int) or not 1 <= percent <= 100:
        return
    bounds: Any = args.get("autoscaling") or {}
    if any(isinstance(bounds.get(key), pulumi.Output) for key in ("min_replicas", "max_replicas")):
        rule = "must be bounded by plain numbers in `autoscaling`: they determine the canary's share"
        problems.add(field, percent, rule)
        return
    try:
        stable = _stable_count(args)
        usable = 1 <= stable.low <= stable.high
    except (KeyError, TypeError, AttributeError):
        return  # Reported where the numbers themselves are checked.
    if not usable:
        return
    tolerance = args["canary"].get("tolerance_points") or defaults.DEFAULT_TOLERANCE_POINTS
    broken = replica_split.broken_rule(stable, replica_split.canary_count(stable, percent), percent, tolerance)
    if broken is not None:
        problems.add(field, percent, broken)


def _check_analysis(problems: Problems, settings: Mapping[str, Any]) -> None:
    problems.url("canary.analysis.prometheus_url", settings.get("prometheus_url"))
    problems.text("canary.analysis.image", settings.get("image"))
    bounds = {
        "max_extra_error_percent": (0, 100),
        "max_p99_ratio": (1, 100),
        "max_prediction_drift": (0, 100),
        **dict.fromkeys(_ENGINE_BOUNDS, (1, 100)),
        "max_restarts": (0, 1000),
        "min_requests": (1, 10_000_000),
        "min_seconds": (0, 2_592_000),
        "interval_seconds": (1, 3600),
    }
    for key, (low, high) in bounds.items():
        problems.number(f"canary.analysis.{key}", settings.get(key), low, high)
