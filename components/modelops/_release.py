"""How a service's versions stand beside each other: alone, with a canary, or as blue and green."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import _blue_green, _canary
from modelops._service_pod import live_selector, track_selector
from modelops._service_track import Track, deploy


@dataclass(frozen=True)
class Release:
    """The tracks of a service."""

    answering: Sequence[pulumi.Resource]
    """Those whose pods get requests, or may."""
    selector: Mapping[str, pulumi.Input[str]]
    """The labels that pick the pods that answer at the service's own address."""
    canary_status: pulumi.Output[Mapping[str, Any]] | None = None
    """The analysis' verdict and figures; none without a canary."""


def bring_out(base: Track, opts: pulumi.ResourceOptions) -> Release:
    """The service's tracks as its arguments want them; `base` is the track that it has without them."""
    if "blue_green" in base.args:
        live = _blue_green.live_track(base)
        return Release([deploy(live, opts)], track_selector(base.service, live.role))
    selector = live_selector(base.service)
    if "canary" not in base.args:
        return Release([deploy(base, opts)], selector)
    tracks = _canary.deploy_tracks(base, opts)
    return Release([tracks.stable, tracks.canary], selector, tracks.plan.apply(lambda plan: plan.status()))


def stand_by(base: Track, switched: k8s.core.v1.Service, opts: pulumi.ResourceOptions) -> None:
    """The track that gets no requests. It changes only after the Service leads elsewhere."""
    track = _blue_green.standby_track(base) if "blue_green" in base.args else None
    if track is not None:
        deploy(track, pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[switched])))
