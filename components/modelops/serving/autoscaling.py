"""Scales a track: a HorizontalPodAutoscaler, or KEDA's ScaledObject if it may scale to zero."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import yaml

from modelops.core.assets import asset
from modelops.core.outputs import merged, text_of, timeouts
from modelops.kubernetes.custom_objects import CustomObject
from modelops.serving.args import (
    DEFAULT_IDLE_SECONDS,
    DEFAULT_MIN_REPLICAS,
    DEFAULT_STABILIZATION_SECONDS,
    DEFAULT_TARGET_CPU_PERCENT,
    Autoscaling,
)
from modelops.serving.pod import SERVER, TRACK

REQUESTS = "modelops_requests_per_second"
LATENCY = "modelops_latency_p99_seconds"
QUEUE = "vllm_requests_waiting"
RUNNING = "vllm_requests_running"
KV_CACHE = "vllm_kv_cache_percent"
TOKENS = "vllm_tokens_per_second"
"""Pod metrics that the adapter must serve; `assets/prometheus-adapter.yaml` configures prometheus-adapter for them."""
POD_TARGETS: Mapping[str, tuple[str, int]] = {
    "target_requests_per_second": (REQUESTS, 1),
    "target_latency_ms": (LATENCY, 1000),
    "target_queue_length": (QUEUE, 1),
    "target_running_requests": (RUNNING, 1),
    "target_kv_cache_percent": (KV_CACHE, 1),
    "target_tokens_per_second": (TOKENS, 1),
}
"""By argument: the metric, and how many of the argument's units are one of the metric's."""
ENGINE_TARGETS = frozenset(field for field, (metric, _) in POD_TARGETS.items() if metric.startswith("vllm_"))
"""Those that a language model's engine alone has."""
_INSTANCE = "app.kubernetes.io/instance"
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


def _pod_targets(bounds: Mapping[str, Any]) -> dict[str, pulumi.Output[float]]:
    """By metric: the aim, in the metric's unit."""

    def scaled(value: pulumi.Input[float], divisor: int) -> pulumi.Output[float]:
        return pulumi.Output.from_input(value).apply(lambda number: number / divisor)

    given = {field: bounds[field] for field in POD_TARGETS if field in bounds}
    return {POD_TARGETS[field][0]: scaled(value, POD_TARGETS[field][1]) for field, value in given.items()}


def _quantity(number: float) -> str:
    """The API server's canonical form, so that the next update shows no difference."""
    count = max(1, round(number * 1000))
    return f"{count}m" if count % 1000 else str(count // 1000)


@cache
def adapter_queries() -> Mapping[str, str]:
    """By metric: what prometheus-adapter asks, with `<<.LabelMatchers>>` and `<<.GroupBy>>` for the labels."""
    rules = yaml.safe_load(asset("serving/assets/prometheus-adapter.yaml"))["rules"]
    return {rule["name"]["as"]: rule["metricsQuery"] for rule in rules}


def _resource_metric(name: str, percent: pulumi.Input[int]) -> v2.MetricSpecArgs:
    """Of the server alone: sidecars that others inject may have no request, and then the pod as a whole has no
    utilization."""
    target = v2.MetricTargetArgs(type="Utilization", average_utilization=percent)
    source = v2.ContainerResourceMetricSourceArgs(name=name, container=SERVER, target=target)
    return v2.MetricSpecArgs(type="ContainerResource", container_resource=source)


def _pods_metric(name: str, value: pulumi.Output[float]) -> v2.MetricSpecArgs:
    source = v2.PodsMetricSourceArgs(
        metric=v2.MetricIdentifierArgs(name=name),
        target=v2.MetricTargetArgs(type="AverageValue", average_value=value.apply(_quantity)),
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
    for name, aim in _pod_targets(bounds).items():
        triggers.append(_keda_trigger(name, aim, metadata, wake["prometheus_url"]))
    for name, percent in _resource_targets(bounds).items():
        aim_of_server = {"value": text_of(percent), "containerName": SERVER}
        triggers.append({"type": name, "metricType": "Utilization", "metadata": aim_of_server})
    CustomObject(
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


def _keda_trigger(
    name: str, aim: pulumi.Output[float], metadata: k8s.meta.v1.ObjectMetaArgs, prometheus_url: pulumi.Input[str]
) -> dict[str, Any]:
    """The adapter's metric for KEDA, which divides the sum over the pods by their number."""

    def query(known: Any) -> str:
        labels = known["labels"]
        wanted = {"namespace": known["namespace"], "service": labels[_INSTANCE], "track": labels[TRACK]}
        matchers = ",".join(f'{label}="{value}"' for label, value in wanted.items())
        asked = adapter_queries()[name].replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", "pod")
        return f"sum({asked})"

    found = pulumi.Output.all(namespace=metadata.namespace, labels=metadata.labels).apply(query)
    threshold = aim.apply(lambda value: f"{value:g}")
    return {
        "type": "prometheus",
        "metadata": {"serverAddress": prometheus_url, "query": found, "threshold": threshold},
    }
