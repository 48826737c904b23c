"""How many pods a track has: a HorizontalPodAutoscaler, or KEDA's ScaledObject where the last pod may go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, timeouts
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
"""Metrics of pods, as the adapter has to serve them; `assets/adapter/rules.yaml` makes prometheus-adapter do so."""
METRICS_SECONDS = 180
"""How long the first figures may take: the adapter's and the autoscaler's rounds add up."""
v2 = k8s.autoscaling.v2


def autoscale(
    metadata: k8s.meta.v1.ObjectMetaArgs,
    target: Mapping[str, str],
    bounds: Autoscaling,
    opts: pulumi.ResourceOptions,
) -> None:
    """Scales `target` (apiVersion, kind, name), which bears the same name as the scaler."""
    if "scale_to_zero" in bounds:
        _keda(metadata, target, bounds, opts)
    else:
        _horizontal(metadata, target, bounds, opts)


def _horizontal(
    metadata: k8s.meta.v1.ObjectMetaArgs, target: Mapping[str, str], bounds: Autoscaling, opts: pulumi.ResourceOptions
) -> None:
    custom = _pod_metrics(bounds)
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
                *(_resource_metric(name, percent) for name, percent in _resource_targets(bounds).items()),
                *(_pods_metric(name, value) for name, value in custom.items()),
            ],
            behavior=_behavior(bounds),
        ),
        opts=merged(opts, custom_timeouts=timeouts(METRICS_SECONDS)) if custom else opts,
    )


def _waiting_for(metadata: k8s.meta.v1.ObjectMetaArgs, names: list[str]) -> k8s.meta.v1.ObjectMetaArgs:
    """Until the autoscaler has read every metric of an adapter: a missing one must not go unnoticed.

    Metrics of the cluster's own (CPU, memory) are not waited for: they are late on a new pod, never missing.
    """
    if not names:
        return metadata
    there = [f'jsonpath={{.status.currentMetrics[?(@.pods.metric.name=="{name}")].type}}=Pods' for name in names]
    return k8s.meta.v1.ObjectMetaArgs(
        name=metadata.name,
        namespace=metadata.namespace,
        labels=metadata.labels,
        annotations={"pulumi.com/waitFor": json.dumps(there)},
    )


def _resource_targets(bounds: Autoscaling) -> dict[str, pulumi.Input[int]]:
    found: dict[str, pulumi.Input[int]] = {}
    if "target_cpu_percent" in bounds:
        found["cpu"] = bounds["target_cpu_percent"]
    if "target_memory_percent" in bounds:
        found["memory"] = bounds["target_memory_percent"]
    if not found and not _pod_metrics(bounds):
        found["cpu"] = DEFAULT_TARGET_CPU_PERCENT
    return found


def _pod_metrics(bounds: Autoscaling) -> dict[str, pulumi.Output[str]]:
    found = {}
    if "target_requests_per_second" in bounds:
        found[REQUESTS] = _quantity(bounds["target_requests_per_second"])
    if "target_latency_ms" in bounds:
        found[LATENCY] = _quantity(bounds["target_latency_ms"], thousandths=1)
    if "target_queue_length" in bounds:
        found[QUEUE] = _quantity(bounds["target_queue_length"])
    return found


def _quantity(value: pulumi.Input[float], thousandths: int = 1000) -> pulumi.Output[str]:
    """In the API server's own spelling, so that it reads as unchanged the next time."""

    def written(number: float) -> str:
        count = max(1, round(number * thousandths))
        return f"{count}m" if count % 1000 else str(count // 1000)

    return pulumi.Output.from_input(value).apply(written)


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
    """Up at once, down late and slowly: a wrong step down costs requests, a wrong step up costs a pod."""
    return v2.HorizontalPodAutoscalerBehaviorArgs(
        scale_down=v2.HPAScalingRulesArgs(
            stabilization_window_seconds=bounds.get("scale_down_stabilization_seconds", DEFAULT_STABILIZATION_SECONDS),
            policies=[_step(bounds.get("scale_down_pods_per_minute"))],
        ),
        scale_up=v2.HPAScalingRulesArgs(policies=[_step(bounds["scale_up_pods_per_minute"])])
        if "scale_up_pods_per_minute" in bounds
        else None,
    )


def _step(pods: pulumi.Input[int] | None) -> v2.HPAScalingPolicyArgs:
    if pods is None:
        return v2.HPAScalingPolicyArgs(type="Percent", value=50, period_seconds=60)
    return v2.HPAScalingPolicyArgs(type="Pods", value=pods, period_seconds=60)


def _keda(
    metadata: k8s.meta.v1.ObjectMetaArgs, target: Mapping[str, str], bounds: Autoscaling, opts: pulumi.ResourceOptions
) -> None:
    """KEDA makes the HorizontalPodAutoscaler itself, and takes the last pod away and brings the first one back."""
    wake = bounds["scale_to_zero"]
    threshold = pulumi.Output.from_input(wake["threshold"]).apply(lambda value: f"{value:g}")
    triggers: list[Any] = [
        {
            "type": "prometheus",
            "metadata": {"serverAddress": wake["prometheus_url"], "query": wake["query"], "threshold": threshold},
        }
    ]
    for name in ("cpu", "memory"):
        if (percent := bounds.get(f"target_{name}_percent")) is not None:
            value = pulumi.Output.from_input(percent).apply(str)
            triggers.append({"type": name, "metricType": "Utilization", "metadata": {"value": value}})
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
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _keda_behavior(bounds)}},
            "triggers": triggers,
        },
        opts=opts,
    )


def _keda_behavior(bounds: Autoscaling) -> dict[str, Any]:
    def policy(pods: pulumi.Input[int] | None) -> dict[str, Any]:
        return {"type": "Percent" if pods is None else "Pods", "value": pods or 50, "periodSeconds": 60}

    found: dict[str, Any] = {
        "scaleDown": {
            "stabilizationWindowSeconds": bounds.get("scale_down_stabilization_seconds", DEFAULT_STABILIZATION_SECONDS),
            "policies": [policy(bounds.get("scale_down_pods_per_minute"))],
        }
    }
    if "scale_up_pods_per_minute" in bounds:
        found["scaleUp"] = {"policies": [policy(bounds["scale_up_pods_per_minute"])]}
    return found
