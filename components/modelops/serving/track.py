"""A track: one version of the model within a service, with its own pods, autoscaler and disruption budget.

Every service has the track `stable`, whose objects have the service's name; other tracks append their role to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, timeouts, whole
from modelops.kubernetes.custom_objects import CustomObject
from modelops.kubernetes.labels import standard_labels
from modelops.kubernetes.watch import UNAWAITED
from modelops.serving import pod, vllm
from modelops.serving.args import (
    DEFAULT_MAX_SURGE,
    DEFAULT_MAX_UNAVAILABLE,
    DEFAULT_MIN_REPLICAS,
    DEFAULT_REPLICAS,
    ModelServiceArgs,
    is_vllm,
    is_watched,
    nodes,
)
from modelops.serving.autoscaling import autoscale
from modelops.serving.deadlines import longest_rollout, progress_seconds, rollout_seconds
from modelops.serving.pod import NAME, STABLE, TRACK, PodIdentity, track_selector
from modelops.serving.smoke_test import smoke_test
from modelops.serving.watch import watch


@dataclass(frozen=True)
class Track:
    """What a track is built from."""

    service: str
    """Name of the component."""
    args: ModelServiceArgs
    """The service's checked arguments, as they apply to this track."""
    account: pulumi.Input[str]
    """Name of the pods' ServiceAccount."""
    cache_claim: pulumi.Input[str] | None = None
    """Claim of the model cache's volume, which all tracks share."""
    runtime: k8s.core.v1.VolumeArgs | None = None
    """The volume with the program that fetches the model, if the library's does."""
    role: str = STABLE
    """Value of the label `modelops.dev/track`."""
    live: bool = True
    """Whether its pods are behind the service's own address."""
    variables: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Extra environment variables of its servers."""
    annotations: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Annotations of its Deployment."""
    replicas: pulumi.Output[int | None] | None = None
    """How many pods it has, None being for an autoscaler to say. Without it, that is as the arguments say."""

    @property
    def name(self) -> str:
        """Name of the track's objects."""
        return self.service if self.role == STABLE else f"{self.service}-{self.role}"

    @property
    def identity(self) -> PodIdentity:
        """Identity of the track's pods."""
        return PodIdentity(
            self.service, self.role, self.account, self.live, self.cache_claim, self.variables, self.runtime
        )

    @property
    def selector(self) -> k8s.meta.v1.LabelSelectorArgs:
        """Selects the track's pods."""
        return k8s.meta.v1.LabelSelectorArgs(match_labels=track_selector(self.service, self.role))

    @property
    def metadata(self) -> k8s.meta.v1.ObjectMetaArgs:
        """Metadata of the track's objects."""
        return k8s.meta.v1.ObjectMetaArgs(
            name=self.name,
            namespace=self.args["namespace"],
            labels={**standard_labels(NAME, NAME, self.service), TRACK: self.role},
        )


def deploy(track: Track, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    """Creates the track's objects. Returns the object that is ready once every pod answers."""
    ready: pulumi.CustomResource
    if nodes(track.args) > 1:
        ready, target = _groups(track, opts), {"apiVersion": vllm.LWS, "kind": "LeaderWorkerSet"}
    else:
        _disruption_budget(track, opts)
        ready, target = _deployment(track, opts), {"apiVersion": "apps/v1", "kind": "Deployment"}
    if "autoscaling" in track.args:
        scaler_opts = merged(opts, depends_on=[ready])
        autoscale(track.metadata, {**target, "name": track.name}, track.args["autoscaling"], scaler_opts)
    return ready


def _deployment(track: Track, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    """The Deployment. Returns what is ready once its pods answer."""
    metadata, args = track.metadata, track.args
    annotations = {**(UNAWAITED if is_watched(args) else {}), **track.annotations}
    deployment_opts = merged(_workload_opts(track, opts), custom_timeouts=timeouts(longest_rollout(args)))
    spec: pulumi.Input[k8s.apps.v1.DeploymentSpecArgs]
    if track.replicas is None:
        spec = _deployment_spec(track, _first_replicas(args))
    else:
        spec = track.replicas.apply(partial(_deployment_spec, track))
        # The count may be an autoscaler's, or the analyst's, and still the plan's goes before it.
        annotations["pulumi.com/patchForce"] = "true"
    if "smoke_test" in args:
        smoke = smoke_test(track.name, args, track.identity, metadata, opts)
        deployment_opts = merged(deployment_opts, depends_on=[smoke])
    metadata.annotations = annotations or None
    deployment = k8s.apps.v1.Deployment(track.name, metadata=metadata, spec=spec, opts=deployment_opts)
    return _watched(track, deployment, opts)


def _groups(track: Track, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    """Copies of the model on several nodes each. No disruption budget: it counts pods, but losing one loses a group."""
    metadata = track.metadata
    metadata.annotations = UNAWAITED if is_watched(track.args) else {"pulumi.com/waitFor": "condition=Available"}
    groups = CustomObject(
        track.name,
        api_version=vllm.LWS,
        kind="LeaderWorkerSet",
        metadata=metadata,
        spec=vllm.group(track.args, track.identity, _first_replicas(track.args)),
        opts=merged(_workload_opts(track, opts), custom_timeouts=timeouts(longest_rollout(track.args))),
    )
    return _watched(track, groups, opts)


def _watched(
    track: Track, workload: k8s.apps.v1.Deployment | CustomObject, opts: pulumi.ResourceOptions
) -> pulumi.CustomResource:
    """What is ready once the workload's pods answer: its watch, or itself if there is none."""
    args = track.args
    if not is_watched(args):
        return workload
    return watch(workload, track.name, args, rollout_seconds(args), longest_rollout(args), opts)


def _disruption_budget(track: Track, opts: pulumi.ResourceOptions) -> None:
    """Node drains evict one pod at a time. A minimum would block them for good when there is only one."""
    k8s.policy.v1.PodDisruptionBudget(
        track.name,
        metadata=track.metadata,
        spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(
            max_unavailable=1, selector=track.selector, unhealthy_pod_eviction_policy="AlwaysAllow"
        ),
        opts=opts,
    )


def _workload_opts(track: Track, opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    """What an autoscaler makes of the replica count stays, also what it was when the autoscaler came."""
    autoscaled = "autoscaling" in track.args and track.replicas is None
    return merged(opts, ignore_changes=["spec.replicas"]) if autoscaled else opts


def _first_replicas(args: ModelServiceArgs) -> pulumi.Input[int]:
    """The replica count; with an autoscaler, the one to begin with: a release is judged by a pod at least."""
    if "autoscaling" not in args:
        return args.get("replicas", DEFAULT_REPLICAS)
    lowest = args["autoscaling"].get("min_replicas", 0 if "scale_to_zero" in args["autoscaling"] else None)
    return whole(DEFAULT_MIN_REPLICAS if lowest is None else lowest).apply(lambda count: max(1, count))


def _deployment_spec(track: Track, replicas: pulumi.Input[int] | None) -> k8s.apps.v1.DeploymentSpecArgs:
    args = track.args
    surge = args.get("rollout", {}).get("max_surge", DEFAULT_MAX_SURGE)
    replaced = pulumi.Output.from_input(surge).apply(lambda pods: DEFAULT_MAX_UNAVAILABLE if pods else 1)
    unavailable = args.get("rollout", {}).get("max_unavailable", replaced)
    template = vllm.template if is_vllm(args) else pod.template
    return k8s.apps.v1.DeploymentSpecArgs(
        replicas=replicas,
        # When a version comes back, a watcher that sees the Deployment first would take the old, empty ReplicaSet for
        # a finished rollout. Rolling back is done by `model_uri`, not by this history.
        revision_history_limit=0,
        progress_deadline_seconds=progress_seconds(args),
        strategy=k8s.apps.v1.DeploymentStrategyArgs(
            type="RollingUpdate",
            rolling_update=k8s.apps.v1.RollingUpdateDeploymentArgs(max_unavailable=unavailable, max_surge=surge),
        ),
        selector=track.selector,
        template=template(args, track.identity),
    )
