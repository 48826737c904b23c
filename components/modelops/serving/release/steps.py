"""The steps of a canary: its shares of the requests one after the other, and the object that keeps the present one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import is_output, short_hash, whole
from modelops.core.validation import Problems
from modelops.serving.args import ModelServiceArgs
from modelops.serving.release.args import Canary, Split

MARK = "modelops.dev/canary"
"""Annotation of the object that keeps the share: for which canary. The analyst of another one leaves it alone."""
LONGEST_INTERVAL_SECONDS = 20
"""A look at the figures takes as long again for the scrape: a bad canary is out of traffic within a minute."""
_KEEPER: Mapping[Split, str] = {
    Split.REPLICAS: "Deployment",
    Split.GATEWAY: "HTTPRoute",
    Split.NGINX_INGRESS: "Ingress",
}
_PARTS = {
    "Deployment": ("apps", "deployments/scale"),
    "HTTPRoute": ("gateway.networking.k8s.io", "httproutes"),
    "Ingress": ("networking.k8s.io", "ingresses"),
}


def split_of(canary: Canary) -> Split:
    """What gives a canary its share."""
    return Split(canary.get("split", Split.REPLICAS))


def weights(canary: Canary) -> list[int]:
    """The shares that a canary has one after the other, in percent."""
    return [step["weight_percent"] for step in canary["steps"]] if "steps" in canary else [canary["weight_percent"]]


def mark(args: ModelServiceArgs) -> dict[str, pulumi.Input[str]]:
    """The annotations of the object that keeps the share."""
    canary = args["canary"]
    if "steps" not in canary:
        return {}
    served = pulumi.Output.all(canary["model_uri"], canary.get("image", ""))
    # The analyst writes there too. Where it has just done so, an update that was planned before is no conflict, and the
    # analyst puts it right.
    return {MARK: served.apply(lambda values: short_hash(*values)), "pulumi.com/patchForce": "true"}


def settings(service: str, args: ModelServiceArgs, replicas: Mapping[int, int]) -> dict[str, Any]:
    """What the analyst must know to take the steps. `replicas` are the canary's pods by share, where they make it."""
    canary = args["canary"]
    traffic = {"kind": _KEEPER[split_of(canary)], "deployment": f"{service}-canary", "canary": mark(args)[MARK]}
    return {"steps": [_step(step, replicas) for step in canary["steps"]], "traffic": traffic}


def _step(step: Mapping[str, Any], replicas: Mapping[int, int]) -> dict[str, Any]:
    weight = step["weight_percent"]
    pause = {"pause_seconds": whole(step["pause_seconds"])} if "pause_seconds" in step else {}
    return {"weight_percent": weight, **pause, **({"replicas": replicas[weight]} if weight in replicas else {})}


def rules(service: str, args: ModelServiceArgs) -> list[k8s.rbac.v1.PolicyRuleArgs]:
    """What the analyst's account may do: look at the canary's pods as a number, and change the one object."""
    rule, name, keeper = k8s.rbac.v1.PolicyRuleArgs, f"{service}-canary", _KEEPER[split_of(args["canary"])]
    group, resource = _PARTS[keeper]
    verbs = ["patch"] if keeper == "Deployment" else ["get", "patch"]
    kept = service if keeper == "HTTPRoute" else name
    return [
        rule(api_groups=["apps"], resources=["deployments"], resource_names=[name], verbs=["get"]),
        rule(api_groups=[group], resources=[resource], resource_names=[kept], verbs=verbs),
    ]


def check(problems: Problems, args: ModelServiceArgs) -> None:
    """Rules of `canary.steps`, and of `weight_percent` in their place."""
    canary: Any = args["canary"]
    if "steps" not in canary:
        if "weight_percent" not in canary:
            problems.missing("canary.weight_percent", "it or `steps` is required")
        problems.number("canary.weight_percent", canary.get("weight_percent"), 1, 99)
        return
    if "weight_percent" in canary:
        problems.add(
            "canary.weight_percent", canary["weight_percent"], "must not be given with steps, which have theirs"
        )
    given = canary["steps"] if isinstance(canary["steps"], Sequence) else []
    if not given:
        problems.add("canary.steps", canary["steps"], "must be one step or more")
    _check_each(problems, [step for step in given if isinstance(step, Mapping)])
    _check_analysis(problems, canary.get("analysis"))
    if "autoscaling" in args and split_of(canary) is Split.REPLICAS:
        rule = "must not be given with autoscaling, unless a route's weights split the requests"
        problems.add("canary.steps", "given", rule)


def _check_each(problems: Problems, given: Sequence[Mapping[str, Any]]) -> None:
    before = 0
    for index, step in enumerate(given):
        field, weight = f"canary.steps[{index}]", step.get("weight_percent")
        problems.number(f"{field}.weight_percent", weight, 1, 100)
        problems.number(f"{field}.pause_seconds", step.get("pause_seconds"), 0, 2_592_000)
        if isinstance(weight, int):
            if 1 <= weight <= before:
                problems.add(f"{field}.weight_percent", weight, f"must be more than in the step before ({before})")
            before = weight


def _check_analysis(problems: Problems, analysis: Any) -> None:
    if not isinstance(analysis, Mapping):
        problems.missing("canary.analysis", "steps are taken by its bounds")
        return
    if "min_seconds" in analysis:
        rule = "must not be given with steps, whose pauses say how long"
        problems.add("canary.analysis.min_seconds", analysis["min_seconds"], rule)
    interval = analysis.get("interval_seconds")
    if not is_output(interval) and isinstance(interval, int) and interval > LONGEST_INTERVAL_SECONDS:
        rule = f"must be at most {LONGEST_INTERVAL_SECONDS} with steps: a bad canary is to be gone within a minute"
        problems.add("canary.analysis.interval_seconds", interval, rule)
