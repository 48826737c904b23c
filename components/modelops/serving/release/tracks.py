"""Which tracks a service has: one alone, with a canary, blue and green, with a shadow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged
from modelops.kubernetes.pods import name_of
from modelops.serving.pod import live_selector, track_selector
from modelops.serving.release import blue_green, canary, shadow
from modelops.serving.release.args import Mirroring
from modelops.serving.routing import Backend
from modelops.serving.track import Track, deploy


@dataclass(frozen=True)
class Release:
    """The tracks of a service."""

    answering: Sequence[pulumi.Resource]
    """Workloads whose pods get requests, or may."""
    selector: Mapping[str, pulumi.Input[str]]
    """The labels that select the pods behind the service's own address."""
    version: pulumi.Input[str]
    """URI of the model that serves, a canary's share aside."""
    canary_status: pulumi.Output[Mapping[str, Any]] | None = None
    """The analysis' verdict and figures; None without a canary."""
    canary: Backend | None = None
    """Where a route sends the canary's share."""
    stable_weight: pulumi.Input[int] = 100
    filters: Sequence[Mapping[str, Any]] = ()
    """Filters of the HTTPRoute."""

    def backends(self, service: pulumi.Input[str]) -> list[Backend]:
        """The backends of a route; `service` is the Service at the service's own address."""
        stable = Backend(service, self.stable_weight)
        return [stable] if self.canary is None else [stable, self.canary]


def deploy_tracks(base: Track, opts: pulumi.ResourceOptions) -> Release:
    """Deploys the tracks that the service's arguments ask for; without any such argument it is `base` alone."""
    filters: list[Mapping[str, Any]] = []
    if "shadow" in base.args:
        track = shadow.deploy_track(base, opts)
        if shadow.mirrored_by(base.args, Mirroring.GATEWAY):
            filters.append(shadow.mirror_filter(base.args, track))
    return replace(_deploy_live(_with_mirror(base), opts), filters=filters)


def _with_mirror(base: Track) -> Track:
    """The track, whose servers send copies to the shadow, if there is one."""
    return replace(base, variables=shadow.variables(base.service, base.args))


def _deploy_live(base: Track, opts: pulumi.ResourceOptions) -> Release:
    if "blue_green" in base.args:
        live = blue_green.live_track(base)
        return Release([deploy(live, opts)], track_selector(base.service, live.role), base.args["model_uri"])
    selector = live_selector(base.service)
    if "canary" not in base.args:
        return Release([deploy(base, opts)], selector, base.args["model_uri"])
    tracks = canary.deploy_tracks(base, opts)
    status = tracks.plan.apply(lambda plan: plan.status())
    version = tracks.plan.apply(lambda plan: plan.stable.model_uri)
    release = Release([tracks.stable, tracks.canary], selector, version, status)
    if tracks.service is None:
        return release
    stable, share = tracks.weights()
    return replace(release, stable_weight=stable, canary=Backend(name_of(tracks.service), share, tracks.mark))


def deploy_standby(base: Track, service: k8s.core.v1.Service, opts: pulumi.ResourceOptions) -> None:
    """Deploys the track that gets no requests, if any. It changes only after the Service has switched away from it."""
    track = blue_green.standby_track(_with_mirror(base)) if "blue_green" in base.args else None
    if track is not None:
        deploy(track, merged(opts, depends_on=[service]))
