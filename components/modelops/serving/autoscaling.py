"""Scales a track: a HorizontalPodAutoscaler, or KEDA's ScaledObject if it may scale to zero."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, text_of, timeouts
from modelops.serving.args import (
    DEFAULT_IDLE_SECONDS,
    DEFAULT_MIN_REPLICAS,
    DEFAULT_STABILIZATION_SECONDS,
    DEFAULT_TARGET_CPU_PERCENT,
    Autoscaling,
)

REQUESTS = "modelops_requests_per_second"
LATENCY = "modelops_latency_p99_seconds"
QUEUE = "vllm_requests_waiting"
"""Pod metrics that the adapter must serve; `assets/prometheus-adapter.yaml` configures prometheus-adapter for them."""
METRICS_SECONDS = 180
"""How long the first values may take: the adapter's and the autoscaler's intervals add up."""
v2 = k8s.autoscaling.v2


def autoscale(
    metadata: k8s.meta.v1.ObjectMetaArgs, target: Mapping[str, str], bounds: Autoscaling, opts: pulumi.ResourceOptions
) -> None:
    """Scales `target` (apiVersion, kind, name), which has the same name as the scaler."""
    if "scale_to_zero" in bounds:
        _keda(metadata, target, bounds, opts)
    else:
        _horizontal(metadata, target, bounds, opts)


def _horizontal(
    metadata: k8s.meta.v1.ObjectMetaArgs, target: Mapping[str, str], bounds: Autoscaling, opts: pulumi.ResourceOptions
) -> None:
    custom = _pod_targets(bounds)
    resources = _resource_targets(bounds) or ({} if custom else {"cpu": DEFAULT_TARGET_CPU_PERCENT})
    v2.HorizontalPodAutoscaler(
        target["name"],
        metadata=_waiting_for(metadata, list(custom)),
        spec=v2.HorizontalPodAutoscalerSpecArgs(
            scale_target_ref=v2.CrossVersionObjectReferenceArgs(
                api_version=target["apiVersion"], kind=target["kind"], name=target["name"]
            ),
            min_replicas=bounds.get("min_replicas", DEFAULT_MIN_REPLICAS),
            max_replicas=bounds["max_replicas"],
            metrics=[
                *(_resource_metric(name, percent) for name, percent in resources.items()),
                *(_pods_metric(name, value) for name, value in custom.items()),
            ],
            behavior=_behavior(bounds),
        ),
        opts=merged(opts, custom_timeouts=timeouts(METRICS_SECONDS)) if custom else opts,
    )


def _waiting_for(metadata: k8s.meta.v1.ObjectMetaArgs, metrics: list[str]) -> k8s.meta.v1.ObjectMetaArgs:
    """Waits until the autoscaler has read all of the adapter's metrics: a missing one must not go unnoticed.

    CPU and memory need no wait: on a new pod they are late, but never missing.
    """
    conditions = [f'jsonpath={{.status.currentMetrics[?(@.pods.metric.name=="{name}")].type}}=Pods' for name in metrics]
    return k8s.meta.v1.ObjectMetaArgs(
        name=metadata.name,
        namespace=metadata.namespace,
        labels=metadata.labels,
        annotations={"pulumi.com/waitFor": json.dumps(conditions)} if conditions else None,
    )


def _resource_targets(bounds: Mapping[str, Any]) -> dict[str, pulumi.Input[int]]:
    targets = {name: bounds.get(f"target_{name}_percent") for name in ("cpu", "memory")}
    return {name: percent for name, percent in targets.items() if percent is not None}


def _pod_targets(bounds: Autoscaling) -> dict[str, pulumi.Output[str]]:
    targets = {}
    if "target_requests_per_second" in bounds:
        targets[REQUESTS] = _quantity(bounds["target_requests_per_second"])
    if "target_latency_ms" in bounds:
        targets[LATENCY] = _quantity(bounds["target_latency_ms"], thousandths=1)
    if "target_queue_length" in bounds:
        targets[QUEUE] = _quantity(bounds["target_queue_length"])
    return targets


def _quantity(value: pulumi.Input[float], thousandths: int = 1000) -> pulumi.Output[str]:
    """The API server's canonical form, so that the next update shows no difference."""

    def canonical(number: float) -> str:
        count = max(1, round(number * thousandths))
        return f"{count}m" if count % 1000 else str(count // 1000)

    return pulumi.Output.from_input(value).apply(canonical)


def _resource_metric(name: str, percent: pulumi.Input[int]) -> v2.MetricSpecArgs:
    target = v2.MetricTargetArgs(type="Utilization", average_utilization=percent)
    return v2.MetricSpecArgs(type="Resource", resource=v2.ResourceMetricSourceArgs(name=name, target=target))


def _pods_metric(name: str, value: pulumi.Output[str]) -> v2.MetricSpecArgs:
    source = v2.PodsMetricSourceArgs(
        metric=v2.MetricIdentifierArgs(name=name),
        target=v2.MetricTargetArgs(type="AverageValue", average_value=value),
    )
    return v2.MetricSpecArgs(type="Pods", pods=source)


def _behavior(bounds: Autoscaling) -> v2.HorizontalPodAutoscalerBehaviorArgs:
    """Up at once, down late and slowly: scaling down by mistake costs requests, scaling up by mistake only a pod."""
    return v2.HorizontalPodAutoscalerBehaviorArgs(
        scale_down=v2.HPAScalingRulesArgs(
            stabilization_window_seconds=bounds.get("scale_down_stabilization_seconds", DEFAULT_STABILIZATION_SECONDS),
            policies=[_policy(bounds.get("scale_down_pods_per_minute"))],
        ),
        scale_up=v2.HPAScalingRulesArgs(policies=[_policy(bounds["scale_up_pods_per_minute"])])
        if "scale_up_pods_per_minute" in bounds
        else None,
    )


def _policy(pods: pulumi.Input[int] | None) -> v2.HPAScalingPolicyArgs:
    if pods is None:
        return v2.HPAScalingPolicyArgs(type="Percent", value=50, period_seconds=60)
    return v2.HPAScalingPolicyArgs(type="Pods", value=pods, period_seconds=60)


def _keda(
    metadata: k8s.meta.v1.ObjectMetaArgs, target: Mapping[str, str], bounds: Autoscaling, opts: pulumi.ResourceOptions
) -> None:
    """KEDA creates the HorizontalPodAutoscaler itself; it removes the last pod and starts the first one."""
    wake = bounds["scale_to_zero"]
    threshold = pulumi.Output.from_input(wake["threshold"]).apply(lambda value: f"{value:g}")
    triggers: list[Any] = [
        {
            "type": "prometheus",
            "metadata": {"serverAddress": wake["prometheus_url"], "query": wake["query"], "threshold": threshold},
        }
    ]
    for name, percent in _resource_targets(bounds).items():
        triggers.append({"type": name, "metricType": "Utilization", "metadata": {"value": text_of(percent)}})
    k8s.apiextensions.CustomResource(
        target["name"],
        api_version="keda.sh/v1alpha1",
        kind="ScaledObject",
        metadata=metadata,
        spec={
            "scaleTargetRef": dict(target),
            "minReplicaCount": bounds.get("min_replicas", 0),
            "maxReplicaCount": bounds["max_replicas"],
            "cooldownPeriod": wake.get("idle_seconds", DEFAULT_IDLE_SECONDS),
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(bounds)}},
            "triggers": triggers,
        },
        opts=opts,
    )
