"""A canary: a second track with a share of the requests, and what its analysis makes of both tracks."""

from dataclasses import dataclass, replace
from typing import Any, cast

import pulumi

from modelops import _analysis, _weights
from modelops import _release_args as defaults
from modelops._service_args import DEFAULT_MIN_REPLICAS, DEFAULT_REPLICAS, ModelServiceArgs
from modelops._service_track import Track, deploy
from modelops._validation import Problems
from modelops._verdict import Plan, Version, plan
from modelops._weights import Count

CANARY = "canary"


@dataclass(frozen=True)
class Tracks:
    """The tracks of a service with a canary."""

    stable: pulumi.Resource
    canary: pulumi.Resource
    plan: pulumi.Output[Plan]


def deploy_tracks(base: Track, opts: pulumi.ResourceOptions) -> Tracks:
    """Both tracks. The canary changes after the stable one: a promoted version serves there before it goes here."""
    service, args = base.service, base.args
    canary = args["canary"]
    record = _analysis.record(service, args["namespace"], opts) if "analysis" in canary else None
    planned = _planned(args, record)
    stable = deploy(replace(base, args=_stable_args(args, planned)), opts)
    track = replace(
        base,
        args=_canary_args(args),
        role=CANARY,
        running=planned.apply(lambda found: found.takes_traffic),
    )
    after = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[stable]))
    second = deploy(track, after)
    if record is not None:
        _analysis.deploy(service, args, record.place, second, opts)
    return Tracks(stable, second, planned)


def _planned(args: ModelServiceArgs, record: _analysis.Record | None) -> pulumi.Output[Plan]:
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
    count = _weights.canary_count(_stable_count(args), canary["weight_percent"])
    if "autoscaling" in args:
        changed["autoscaling"] = {**args["autoscaling"], "min_replicas": count.low, "max_replicas": count.high}
    else:
        changed["replicas"] = count.low
    return cast(ModelServiceArgs, {**args, **changed})


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
    problems.number("canary.weight_percent", given.get("weight_percent"), 1, _weights.MOST_PERCENT)
    problems.number("canary.tolerance_points", given.get("tolerance_points"), 0.1, 50)
    _check_weight(problems, args)
    if isinstance(given.get("analysis"), dict):
        _check_analysis(problems, given["analysis"])


def _check_weight(problems: Problems, args: ModelServiceArgs) -> None:
    """A share that replica counts can't keep is refused when it is planned, never given up in silence."""
    percent = args["canary"].get("weight_percent")
    if not isinstance(percent, int) or not 1 <= percent <= _weights.MOST_PERCENT:
        return
    bounds: Any = args.get("autoscaling") or {}
    if any(isinstance(bounds.get(key), pulumi.Output) for key in ("min_replicas", "max_replicas")):
        rule = "must be bounded by plain numbers in `autoscaling`: they decide what share the canary has"
        problems.add("canary.weight_percent", percent, rule)
        return
    try:
        stable = _stable_count(args)
        usable = 1 <= stable.low <= stable.high
    except (KeyError, TypeError):
        return  # said already, where the numbers themselves are checked
    if not usable:
        return
    tolerance = args["canary"].get("tolerance_points", defaults.DEFAULT_TOLERANCE_POINTS)
    why = _weights.why_not(stable, _weights.canary_count(stable, percent), percent, tolerance)
    if why is not None:
        problems.add("canary.weight_percent", percent, why)


def _check_analysis(problems: Problems, analysis: Any) -> None:
    field = "canary.analysis"
    problems.url(f"{field}.prometheus_url", analysis.get("prometheus_url"))
    problems.text(f"{field}.image", analysis.get("image"))
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
        problems.number(f"{field}.{key}", analysis.get(key), low, high)
