"""A track: one version of the model within a service, with pods, an autoscaler and a disruption budget of its own.

Every service has the track `stable`. Others stand beside it under the service's name with their own after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, timeouts
from modelops.kubernetes.labels import standard_labels
from modelops.serving import pod, vllm
from modelops.serving.args import (
    DEFAULT_MAX_SURGE,
    DEFAULT_MAX_UNAVAILABLE,
    DEFAULT_REPLICAS,
    ModelServiceArgs,
    drain_seconds,
    is_vllm,
    nodes,
    startup_seconds,
)
from modelops.serving.autoscaling import autoscale
from modelops.serving.pod import NAME, STABLE, TRACK, PodIdentity, track_selector
from modelops.serving.smoke_test import smoke_test


@dataclass(frozen=True)
class Track:
    """What a track is made from."""

    service: str
    """Name of the component."""
    args: ModelServiceArgs
    """The service's arguments as they hold for this track, checked."""
    account: pulumi.Input[str]
    """Name of the pods' ServiceAccount."""
    cache_claim: pulumi.Input[str] | None = None
    """The claim of the volume with fetched models, which all tracks share."""
    role: str = STABLE
    """Value of the label `modelops.dev/track`."""
    live: bool = True
    """Whether the service's own address leads to its pods."""
    variables: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Further environment variables of its servers."""
    running: pulumi.Output[bool] | None = None
    """Whether it has pods at all, where something decides that; it does otherwise."""

    @property
    def name(self) -> str:
        """Name of the track's objects."""
        return self.service if self.role == STABLE else f"{self.service}-{self.role}"

    @property
    def identity(self) -> PodIdentity:
        """Whose the pods are."""
        return PodIdentity(self.service, self.role, self.account, self.live, self.cache_claim, self.variables)

    @property
    def selector(self) -> k8s.meta.v1.LabelSelectorArgs:
        """What picks the track's pods."""
        return k8s.meta.v1.LabelSelectorArgs(match_labels=track_selector(self.service, self.role))

    @property
    def metadata(self) -> k8s.meta.v1.ObjectMetaArgs:
        """Metadata of the track's objects."""
        return k8s.meta.v1.ObjectMetaArgs(
            name=self.name,
            namespace=self.args["namespace"],
            labels={**standard_labels(NAME, NAME, self.service), TRACK: self.role},
        )

    @property
    def deployment_metadata(self) -> k8s.meta.v1.ObjectMetaArgs:
        """Metadata of the Deployment. Taking all pods away overrules an autoscaler that owns their number."""
        forced: dict[str, pulumi.Input[str]] = {"pulumi.com/patchForce": "true"}
        return k8s.meta.v1.ObjectMetaArgs(
            name=self.name,
            namespace=self.args["namespace"],
            labels=self.metadata.labels,
            annotations=forced if self.running is not None and "autoscaling" in self.args else None,
        )


def deploy(track: Track, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    """The track's objects. What comes back is there once every pod answers."""
    if "smoke_test" in track.args:
        smoke = smoke_test(track.name, track.args, track.identity, track.metadata, opts)
        after = merged(opts, depends_on=[smoke])
    else:
        after = opts
    pods: pulumi.CustomResource
    if nodes(track.args) > 1:
        pods, target = _groups(track, after), {"apiVersion": vllm.LWS, "kind": "LeaderWorkerSet"}
    else:
        _disruption_budget(track, opts)
        pods, target = _deployment(track, after), {"apiVersion": "apps/v1", "kind": "Deployment"}
    if "autoscaling" in track.args:
        scaled = merged(opts, depends_on=[pods])
        autoscale(track.metadata, {**target, "name": track.name}, track.args["autoscaling"], scaled)
    return pods


def _deployment(track: Track, opts: pulumi.ResourceOptions) -> k8s.apps.v1.Deployment:
    return k8s.apps.v1.Deployment(
        track.name,
        metadata=track.deployment_metadata,
        spec=_deployment_spec(track)
        if track.running is None
        else track.running.apply(partial(_deployment_spec, track)),
        opts=merged(opts, custom_timeouts=timeouts(_rollout_seconds(track.args))),
    )


def _groups(track: Track, opts: pulumi.ResourceOptions) -> k8s.apiextensions.CustomResource:
    """Copies of the model that span several nodes. No disruption budget: it would count pods, and groups are lost."""
    metadata = track.metadata
    metadata.annotations = {"pulumi.com/waitFor": "condition=Available"}
    return k8s.apiextensions.CustomResource(
        track.name,
        api_version=vllm.LWS,
        kind="LeaderWorkerSet",
        metadata=metadata,
        spec=vllm.group(track.args, track.identity, _fixed_replicas(track.args)),
        opts=merged(opts, custom_timeouts=timeouts(_rollout_seconds(track.args))),
    )


def _disruption_budget(track: Track, opts: pulumi.ResourceOptions) -> None:
    """Drains take one pod at a time. A minimum would block them for good where there is only one."""
    k8s.policy.v1.PodDisruptionBudget(
        track.name,
        metadata=track.metadata,
        spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(
            max_unavailable=1, selector=track.selector, unhealthy_pod_eviction_policy="AlwaysAllow"
        ),
        opts=opts,
    )


def _fixed_replicas(args: ModelServiceArgs) -> int | None:
    """The replica count, where no autoscaler owns it."""
    return None if "autoscaling" in args else args.get("replicas", DEFAULT_REPLICAS)


def _deployment_spec(track: Track, running: bool = True) -> k8s.apps.v1.DeploymentSpecArgs:
    args = track.args
    surge = args.get("rollout", {}).get("max_surge", DEFAULT_MAX_SURGE)
    away = args.get("rollout", {}).get("max_unavailable", DEFAULT_MAX_UNAVAILABLE if surge else 1)
    build = vllm.template if is_vllm(args) else pod.template
    return k8s.apps.v1.DeploymentSpecArgs(
        replicas=_fixed_replicas(args) if running else 0,
        # The kept, empty replica set of a version that comes back would be taken for a finished rollout by a watcher
        # that sees the Deployment first. Earlier versions come back by `model_uri`, not by this history.
        revision_history_limit=0,
        progress_deadline_seconds=startup_seconds(args) + pod.grace_seconds(args),
        strategy=k8s.apps.v1.DeploymentStrategyArgs(
            type="RollingUpdate",
            rolling_update=k8s.apps.v1.RollingUpdateDeploymentArgs(max_unavailable=away, max_surge=surge),
        ),
        selector=track.selector,
        template=build(args, track.identity),
    )


def _rollout_seconds(args: ModelServiceArgs) -> int:
    """How long Pulumi waits: one slow pod may use its whole startup time, the others roll at a usual pace."""
    bound: Any = args["autoscaling"]["max_replicas"] if "autoscaling" in args else args.get("replicas")
    replicas = bound if isinstance(bound, int) else DEFAULT_REPLICAS
    each = startup_seconds(args) if is_vllm(args) else 30 + drain_seconds(args)
    return startup_seconds(args) + 30 + replicas * each
