"""A shadow: a track that gets copies of the requests. Nothing waits for its answers, and nobody sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pulumi

from modelops.core.outputs import merged, text_of
from modelops.core.validation import Problems
from modelops.kubernetes.network import cluster_host, http_service
from modelops.kubernetes.pods import core, name_of
from modelops.serving.args import ModelServiceArgs
from modelops.serving.pinning import check_source
from modelops.serving.pod import PORT, track_selector
from modelops.serving.release import args as defaults
from modelops.serving.release.args import Mirroring
from modelops.serving.track import Track, deploy

SHADOW = "shadow"


def deploy_track(base: Track, opts: pulumi.ResourceOptions) -> core.Service:
    """Deploys the track and the Service for its copies, on the pods' own port, which network policies match."""
    shadow = base.args["shadow"]
    args: ModelServiceArgs = {
        **base.args,
        "model_uri": shadow["model_uri"],
        "image": shadow.get("image", base.args["image"]),
        "replicas": shadow.get("replicas", defaults.DEFAULT_SHADOW_REPLICAS),
    }
    args.pop("autoscaling", None)
    track = replace(base, args=args, role=SHADOW, live=False)
    pods = deploy(track, opts)
    selector, after = track_selector(base.service, SHADOW), merged(opts, depends_on=[pods])
    return http_service(track.name, track.metadata, selector, PORT, args, after)


def variables(service: str, args: ModelServiceArgs) -> Mapping[str, pulumi.Input[str]]:
    """Variables that tell the other tracks' servers where to send copies. They don't wait for the shadow."""
    if not mirrored_by(args, Mirroring.SERVER):
        return {}
    url = pulumi.Output.concat("http://", cluster_host(f"{service}-{SHADOW}", args["namespace"]), f":{PORT}")
    return {"MODELOPS_MIRROR_URL": url, "MODELOPS_MIRROR_PERCENT": text_of(percent(args))}


def percent(args: ModelServiceArgs) -> pulumi.Input[int]:
    """The share of the requests to copy, in percent."""
    return args["shadow"].get("percent", defaults.DEFAULT_MIRROR_PERCENT)


def mirrored_by(args: ModelServiceArgs, mirroring: Mirroring) -> bool:
    """Whether there is a shadow that gets its copies this way."""
    return "shadow" in args and args["shadow"].get("mirroring", Mirroring.SERVER) is mirroring


def mirror_filter(args: ModelServiceArgs, service: core.Service) -> dict[str, Any]:
    """The HTTPRoute's filter that copies requests."""
    backend = {"name": name_of(service), "port": PORT}
    return {"type": "RequestMirror", "requestMirror": {"backendRef": backend, "percent": percent(args)}}


def check(problems: Problems, args: ModelServiceArgs) -> None:
    """Rules of `shadow`."""
    shadow = args["shadow"]
    check_source(problems, "shadow.model_uri", shadow.get("model_uri"), args)
    problems.text("shadow.image", shadow.get("image"))
    problems.number("shadow.percent", shadow.get("percent"), 1, 100)
    problems.number("shadow.replicas", shadow.get("replicas"), 1, 1000)
    if mirrored_by(args, Mirroring.GATEWAY) and not {"gateway", "gateway_class"} & args.get("route", {}).keys():
        rule = "must be Server without a `route` at a Gateway, which copies the requests"
        problems.add("shadow.mirroring", Mirroring.GATEWAY, rule)
