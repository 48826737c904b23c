"""A canary: a second track with a share of the requests, and what its analysis makes of both tracks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import pulumi

from modelops.core.outputs import merged
from modelops.core.validation import Problems
from modelops.kubernetes.pods import core
from modelops.serving.args import DEFAULT_MIN_REPLICAS, DEFAULT_PORT, DEFAULT_REPLICAS, ModelServiceArgs
from modelops.serving.pod import STABLE, track_selector
from modelops.serving.release import analysis, replica_split
from modelops.serving.release import args as defaults
from modelops.serving.release.args import Split
from modelops.serving.release.replica_split import Count
from modelops.serving.release.verdict import Plan, Version, plan
from modelops.serving.track import Track, deploy

CANARY = "canary"


@dataclass(frozen=True)
class Tracks:
    """The tracks of a service with a canary."""

    stable: pulumi.Resource
    canary: pulumi.Resource
    plan: pulumi.Output[Plan]
    service: core.Service | None
    """The canary's own Service, where a route splits the requests."""

    def weights(self, percent: int) -> tuple[pulumi.Output[int], pulumi.Output[int]]:
        """Of the stable track and of the canary, in a route."""
        canary = self.plan.apply(lambda plan: percent if plan.takes_traffic else 0)
        return canary.apply(lambda weight: 100 - weight), canary


def deploy_tracks(base: Track, opts: pulumi.ResourceOptions) -> Tracks:
    """Both tracks. The canary changes after the stable one: a promoted version serves there before it goes here."""
    service, args = base.service, base.args
    canary = args["canary"]
    record = analysis.record(service, args["namespace"], opts) if "analysis" in canary else None
    planned = _planned(args, record)
    stable = deploy(replace(base, args=_stable_args(args, planned)), opts)
    track = replace(
        base,
        args=_canary_args(args),
        role=CANARY,
        live=not by_route(args),
        running=planned.apply(lambda found: found.takes_traffic),
    )
    after = merged(opts, depends_on=[stable])
    own = _own_service(track, opts) if by_route(args) else None
    if own is not None:
        after = merged(after, depends_on=[own])
    second = deploy(track, after)
    if record is not None:
        analysis.deploy(service, args, record.place, second, opts)
    return Tracks(stable, second, planned, own)


def by_route(args: ModelServiceArgs) -> bool:
    """Whether a route's weights split the requests, not the number of pods."""
    return "canary" in args and args["canary"].get("split", Split.REPLICAS) is not Split.REPLICAS


def _own_service(track: Track, opts: pulumi.ResourceOptions) -> core.Service:
    """Where the route sends the canary's share. It leads to the stable pods as soon as the canary is to go.

    So the canary's pods can end before the route has moved, and no request finds nobody.
    """
    assert track.running is not None
    metadata = track.metadata
    metadata.annotations = {"pulumi.com/skipAwait": "true"}
    return core.Service(
        track.name,
        metadata=metadata,
        spec=core.ServiceSpecArgs(
            selector=track.running.apply(lambda running: track_selector(track.service, CANARY if running else STABLE)),
            ports=[core.ServicePortArgs(name="http", port=track.args.get("port", DEFAULT_PORT), target_port="http")],
        ),
        opts=opts,
    )


def _planned(args: ModelServiceArgs, record: analysis.Record | None) -> pulumi.Output[Plan]:
    canary = args["canary"]
    known = pulumi.Output.all(
        declared=args["model_uri"],
        canary=canary["model_uri"],
        image=canary.get("image"),
        data=record.data if record is not None else None,
    )
    return known.apply(
        lambda given: plan(Version(given["declared"]), Version(given["canary"], given["image"]), given["data"])
    )


def _stable_args(args: ModelServiceArgs, planned: pulumi.Output[Plan]) -> ModelServiceArgs:
    """With the version that the plan says: the canary's, once it was promoted."""
    image = pulumi.Output.all(planned, args["image"]).apply(lambda found: found[0].stable.image or found[1])
    changed: dict[str, Any] = {"model_uri": planned.apply(lambda found: found.stable.model_uri), "image": image}
    return cast(ModelServiceArgs, {**args, **changed})


def _canary_args(args: ModelServiceArgs) -> ModelServiceArgs:
    canary = args["canary"]
    changed: dict[str, Any] = {"model_uri": canary["model_uri"], "image": canary.get("image", args["image"])}
    count = _canary_count(args)
    if "autoscaling" in args:
        changed["autoscaling"] = {**args["autoscaling"], "min_replicas": count.low, "max_replicas": count.high}
    else:
        changed["replicas"] = count.low
    return cast(ModelServiceArgs, {**args, **changed})


def _canary_count(args: ModelServiceArgs) -> Count:
    """As many pods as make the share, or as it takes to bear it."""
    stable, percent = _stable_count(args), args["canary"]["weight_percent"]
    if not by_route(args):
        return replica_split.canary_count(stable, percent)
    if "autoscaling" in args:
        return Count(1, stable.high)
    return Count.fixed(math.ceil(stable.low * percent / 100))


def _stable_count(args: ModelServiceArgs) -> Count:
    if "autoscaling" not in args:
        return Count.fixed(args.get("replicas", DEFAULT_REPLICAS))
    bounds: Any = args["autoscaling"]
    return Count(bounds.get("min_replicas", DEFAULT_MIN_REPLICAS), bounds["max_replicas"])


def check(problems: Problems, args: ModelServiceArgs) -> None:
    """Rules of `canary`."""
    given: Any = args["canary"]
    problems.model_uri("canary.model_uri", given.get("model_uri"))
    problems.text("canary.image", given.get("image"))
    problems.number("canary.weight_percent", given.get("weight_percent"), 1, 99)
    problems.number("canary.tolerance_points", given.get("tolerance_points"), 0.1, 50)
    _check_split(problems, args)
    if isinstance(given.get("analysis"), dict):
        _check_analysis(problems, given["analysis"])


def _check_split(problems: Problems, args: ModelServiceArgs) -> None:
    split = args["canary"].get("split", Split.REPLICAS)
    route: Any = args.get("route") or {}
    if split is Split.GATEWAY and not {"gateway", "gateway_class"} & set(route):
        problems.add(
            "canary.split", split, "must be Replicas without a `route` at a Gateway, which would keep the weights"
        )
    elif split is Split.NGINX_INGRESS and "ingress_class" not in route:
        problems.add("canary.split", split, "must be Replicas without a `route` by an Ingress, which keeps the weights")
    elif split is Split.REPLICAS:
        _check_weight(problems, args)


def _check_weight(problems: Problems, args: ModelServiceArgs) -> None:
    """A share that replica counts can't keep is refused when it is planned, never given up in silence."""
    percent = args["canary"].get("weight_percent")
    if not isinstance(percent, int) or not 1 <= percent <= 99:
        return
    bounds: Any = args.get("autoscaling") or {}
    if any(isinstance(bounds.get(key), pulumi.Output) for key in ("min_replicas", "max_replicas")):
        rule = "must be bounded by plain numbers in `autoscaling`: they decide what share the canary has"
        problems.add("canary.weight_percent", percent, rule)
        return
    try:
        stable = _stable_count(args)
        usable = 1 <= stable.low <= stable.high
    except (KeyError, TypeError, AttributeError):
        return  # said already, where the numbers themselves are checked
    if not usable:
        return
    tolerance = args["canary"].get("tolerance_points", defaults.DEFAULT_TOLERANCE_POINTS)
    why = replica_split.why_not(stable, replica_split.canary_count(stable, percent), percent, tolerance)
    if why is not None:
        problems.add("canary.weight_percent", percent, why)


def _check_analysis(problems: Problems, given: Any) -> None:
    field = "canary.analysis"
    problems.url(f"{field}.prometheus_url", given.get("prometheus_url"))
    problems.text(f"{field}.image", given.get("image"))
    bounds = {
        "max_extra_error_percent": (0, 100),
        "max_p99_ratio": (1, 100),
        "max_prediction_drift": (0, 100),
        "max_restarts": (0, 1000),
        "min_requests": (1, 10_000_000),
        "min_seconds": (0, 2_592_000),
        "interval_seconds": (1, 3600),
    }
    for key, (low, high) in bounds.items():
        problems.number(f"{field}.{key}", given.get(key), low, high)
