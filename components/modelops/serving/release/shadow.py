"""A shadow: a track that gets copies of the requests; nothing waits for its answers, and nobody sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pulumi

from modelops.core.outputs import merged
from modelops.core.validation import Problems
from modelops.kubernetes.network import cluster_host
from modelops.kubernetes.pods import core
from modelops.serving.args import ModelServiceArgs
from modelops.serving.pod import PORT, track_selector
from modelops.serving.release import args as defaults
from modelops.serving.release.args import Mirroring
from modelops.serving.track import Track, deploy

SHADOW = "shadow"


def deploy_track(base: Track, opts: pulumi.ResourceOptions) -> core.Service:
    """The track, and the Service at which it gets its copies: at the pods' own port, as network policies see it."""
    args = base.args
    shadow = args["shadow"]
    changed: dict[str, Any] = {
        "model_uri": shadow["model_uri"],
        "image": shadow.get("image", args.get("image")),
        "replicas": shadow.get("replicas", defaults.DEFAULT_SHADOW_REPLICAS),
    }
    own = {key: value for key, value in args.items() if key != "autoscaling"}
    track = replace(base, args=cast(ModelServiceArgs, {**own, **changed}), role=SHADOW, live=False)
    pods = deploy(track, opts)
    return core.Service(
        track.name,
        metadata=track.metadata,
        spec=core.ServiceSpecArgs(
            selector=track_selector(base.service, SHADOW),
            ports=[core.ServicePortArgs(name="http", port=PORT, target_port="http")],
        ),
        opts=merged(opts, depends_on=[pods]),
    )


def variables(service: str, args: ModelServiceArgs) -> Mapping[str, pulumi.Input[str]]:
    """What tells the servers of the other tracks where to send their copies. They don't wait for the shadow."""
    if not mirrored_by(args, Mirroring.SERVER):
        return {}
    url = pulumi.Output.concat("http://", cluster_host(f"{service}-{SHADOW}", args["namespace"]), f":{PORT}")
    return {"MODELOPS_MIRROR_URL": url, "MODELOPS_MIRROR_PERCENT": str(percent(args))}


def percent(args: ModelServiceArgs) -> int:
    """How many of the requests are copied."""
    return args["shadow"].get("percent", defaults.DEFAULT_MIRROR_PERCENT)


def mirrored_by(args: ModelServiceArgs, by: Mirroring) -> bool:
    """Whether there is a shadow that gets its copies that way."""
    return "shadow" in args and args["shadow"].get("mirroring", Mirroring.SERVER) is by


def mirror_filter(args: ModelServiceArgs, service: core.Service) -> dict[str, Any]:
    """The HTTPRoute's filter that copies requests."""
    name = service.metadata.apply(lambda metadata: metadata["name"])
    return {
        "type": "RequestMirror",
        "requestMirror": {"backendRef": {"name": name, "port": PORT}, "percent": percent(args)},
    }


def check(problems: Problems, args: ModelServiceArgs) -> None:
    """Rules of `shadow`."""
    given: Any = args["shadow"]
    problems.model_uri("shadow.model_uri", given.get("model_uri"))
    problems.text("shadow.image", given.get("image"))
    problems.number("shadow.percent", given.get("percent"), 1, 100)
    problems.number("shadow.replicas", given.get("replicas"), 1, 1000)
    route: Any = args.get("route") or {}
    if mirrored_by(args, Mirroring.GATEWAY) and not {"gateway", "gateway_class"} & set(route):
        rule = "must be Server without a `route` at a Gateway, which would do the copying"
        problems.add("shadow.mirroring", Mirroring.GATEWAY, rule)
