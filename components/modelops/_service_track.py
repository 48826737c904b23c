"""A track: one version of the model within a service, with pods, an autoscaler and a disruption budget of its own.

Every service has the track `stable`. Others stand beside it under the service's name with their own after it.
"""

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import _service_pod
from modelops._labels import labels
from modelops._service_args import (
    DEFAULT_DRAIN_SECONDS,
    DEFAULT_MIN_REPLICAS,
    DEFAULT_REPLICAS,
    DEFAULT_STARTUP_TIMEOUT_SECONDS,
    DEFAULT_TARGET_CPU_PERCENT,
    ModelServiceArgs,
)
from modelops._service_pod import NAME, STABLE, TRACK, track_selector


@dataclass(frozen=True)
class Track:
    """What a track is made from."""

    service: str
    """Name of the component."""
    args: ModelServiceArgs
    """The service's arguments as they hold for this track, checked."""
    role: str = STABLE
    """Value of the label `modelops.dev/track`."""
    live: bool = True
    """Whether the service's own address leads to its pods."""
    running: pulumi.Output[bool] | None = None
    """Whether it has pods at all, where something decides that; it does otherwise."""

    @property
    def name(self) -> str:
        """Name of the track's objects."""
        return self.service if self.role == STABLE else f"{self.service}-{self.role}"

    @property
    def labels(self) -> dict[str, pulumi.Input[str]]:
        """Labels of the track's objects."""
        return {**labels(NAME, NAME, self.service), TRACK: self.role}

    @property
    def selector(self) -> k8s.meta.v1.LabelSelectorArgs:
        """What picks the track's pods."""
        return k8s.meta.v1.LabelSelectorArgs(match_labels=track_selector(self.service, self.role))

    @property
    def metadata(self) -> k8s.meta.v1.ObjectMetaArgs:
        """Metadata of the track's objects."""
        return k8s.meta.v1.ObjectMetaArgs(name=self.name, namespace=self.args["namespace"], labels=self.labels)

    @property
    def deployment_metadata(self) -> k8s.meta.v1.ObjectMetaArgs:
        """Metadata of the Deployment. Taking all pods away overrules an autoscaler that owns their number."""
        forced: dict[str, pulumi.Input[str]] = {"pulumi.com/patchForce": "true"}
        return k8s.meta.v1.ObjectMetaArgs(
            name=self.name,
            namespace=self.args["namespace"],
            labels=self.labels,
            annotations=forced if self.running is not None and "autoscaling" in self.args else None,
        )


def deploy(track: Track, account: pulumi.Input[str], opts: pulumi.ResourceOptions) -> k8s.apps.v1.Deployment:
    """The track's objects. Its Deployment is there once every pod answers."""
    _disruption_budget(track, opts)
    deployment = k8s.apps.v1.Deployment(
        track.name,
        metadata=track.deployment_metadata,
        spec=_deployment_spec(track, account)
        if track.running is None
        else track.running.apply(lambda running: _deployment_spec(track, account, running)),
        opts=pulumi.ResourceOptions.merge(opts, _waiting(_rollout_seconds(track.args))),
    )
    _autoscaler(track, opts)
    return deployment


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


def _deployment_spec(track: Track, account: pulumi.Input[str], running: bool = True) -> k8s.apps.v1.DeploymentSpecArgs:
    args = track.args
    startup = args.get("startup_timeout_seconds", DEFAULT_STARTUP_TIMEOUT_SECONDS)
    return k8s.apps.v1.DeploymentSpecArgs(
        replicas=_replicas(args) if running else 0,
        revision_history_limit=3,
        progress_deadline_seconds=startup + _service_pod.grace_seconds(args),
        strategy=k8s.apps.v1.DeploymentStrategyArgs(
            type="RollingUpdate",
            rolling_update=k8s.apps.v1.RollingUpdateDeploymentArgs(max_unavailable=0, max_surge=1),
        ),
        selector=track.selector,
        template=_service_pod.template(track.service, args, account, role=track.role, live=track.live),
    )


def _replicas(args: ModelServiceArgs) -> int | None:
    """None leaves the count to the autoscaler."""
    return None if "autoscaling" in args else args.get("replicas", DEFAULT_REPLICAS)


def _rollout_seconds(args: ModelServiceArgs) -> int:
    """How long Pulumi waits: one slow pod may use its whole startup time, the others roll at a usual pace."""
    bound: Any = args["autoscaling"]["max_replicas"] if "autoscaling" in args else args.get("replicas")
    replicas = bound if isinstance(bound, int) else DEFAULT_REPLICAS
    startup = args.get("startup_timeout_seconds", DEFAULT_STARTUP_TIMEOUT_SECONDS)
    return startup + 30 + replicas * (30 + args.get("drain_seconds", DEFAULT_DRAIN_SECONDS))


def _waiting(seconds: int) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create=f"{seconds}s", update=f"{seconds}s"))


def _autoscaler(track: Track, opts: pulumi.ResourceOptions) -> None:
    if "autoscaling" not in track.args:
        return
    bounds = track.args["autoscaling"]
    cpu = k8s.autoscaling.v2.ResourceMetricSourceArgs(
        name="cpu",
        target=k8s.autoscaling.v2.MetricTargetArgs(
            type="Utilization", average_utilization=bounds.get("target_cpu_percent", DEFAULT_TARGET_CPU_PERCENT)
        ),
    )
    k8s.autoscaling.v2.HorizontalPodAutoscaler(
        track.name,
        metadata=track.metadata,
        spec=k8s.autoscaling.v2.HorizontalPodAutoscalerSpecArgs(
            scale_target_ref=k8s.autoscaling.v2.CrossVersionObjectReferenceArgs(
                api_version="apps/v1", kind="Deployment", name=track.name
            ),
            min_replicas=bounds.get("min_replicas", DEFAULT_MIN_REPLICAS),
            max_replicas=bounds["max_replicas"],
            metrics=[k8s.autoscaling.v2.MetricSpecArgs(type="Resource", resource=cpu)],
        ),
        opts=opts,
    )
