"""How a service's versions stand beside each other: alone, or with a canary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import _canary
from modelops._service_args import ModelServiceArgs
from modelops._service_pod import live_selector
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
    selector = live_selector(service)
    if "canary" not in args:
        return Release([deploy(Track(service, args), account, opts)], selector)
    tracks = _canary.deploy_tracks(service, args, account, opts)
    return Release([tracks.stable, tracks.canary], selector, tracks.plan.apply(lambda plan: plan.status()))
