"""How a service's versions stand beside each other: alone, with a canary, or as blue and green."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import _blue_green, _canary
from modelops._service_args import ModelServiceArgs
from modelops._service_pod import live_selector, track_selector
from modelops._service_track import Track, deploy


@dataclass(frozen=True)
class Release:
    """The tracks of a service."""

    answering: Sequence[k8s.apps.v1.Deployment]
    """Those whose pods get requests, or may."""
    selector: Mapping[str, pulumi.Input[str]]
    """The labels that pick the pods that answer at the service's own address."""
    canary_status: pulumi.Output[Mapping[str, Any]] | None = None
    """The analysis' verdict and figures; none without a canary."""


def bring_out(
    service: str, args: ModelServiceArgs, account: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> Release:
    """The service's tracks as the arguments want them."""
    if "blue_green" in args:
        live = _blue_green.live_track(service, args)
        return Release([deploy(live, account, opts)], track_selector(service, live.role))
    selector = live_selector(service)
    if "canary" not in args:
        return Release([deploy(Track(service, args), account, opts)], selector)
    tracks = _canary.deploy_tracks(service, args, account, opts)
    return Release([tracks.stable, tracks.canary], selector, tracks.plan.apply(lambda plan: plan.status()))


def stand_by(
    service: str,
    args: ModelServiceArgs,
    account: pulumi.Input[str],
    switched: k8s.core.v1.Service,
    opts: pulumi.ResourceOptions,
) -> None:
    """The track that gets no requests. It changes only after the Service leads elsewhere."""
    track = _blue_green.standby_track(service, args) if "blue_green" in args else None
    if track is not None:
        deploy(track, account, pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[switched])))
