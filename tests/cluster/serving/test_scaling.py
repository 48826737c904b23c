"""The autoscaler follows real load, and says so when it can't."""

from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelService
from tests.cluster.serving import adapter
from tests.cluster.serving.canary_support import prometheus_program
from tests.cluster.serving.support import Serving
from tests.cluster.support import eventually, kubectl, platform_facts
from tests.load import load

pytestmark = [pytest.mark.serving, pytest.mark.long]

MINUTES = 60


def test_the_autoscaler_follows_the_load_up_and_down(serving: Serving, figure: Callable[[str], None]) -> None:
    stack = serving.new_stack()
    bounds = {
        "min_replicas": 1,
        "max_replicas": 3,
        "target_cpu_percent": 60,
        "scale_down_stabilization_seconds": 0,
        "scale_down_pods_per_minute": 10,
    }
    shape = {"exposed": True, "autoscaling": bounds, "resources": {"cpu": "20m", "memory": "96Mi"}}
    stack.up(serving.program("scaled", **shape))
    assert len(serving.pods("scaled")) == 1
    with load(stack.outputs()["predict_url"], callers=8, kept=4, pause_seconds=0) as result:
        most = eventually(lambda: (found := len(serving.pods("scaled"))) >= 2 and found, 5 * MINUTES)
        # The count is the autoscaler's: an update leaves it alone.
        stack.unchanged(serving.program("scaled", **shape))
    eventually(lambda: len(serving.pods("scaled")) == 1, 6 * MINUTES)
    figure(f"autoscaler: 1 → {most} → 1 pods, {result.answered} requests answered, {len(result.failed)} failed")
    stack.destroy()


def test_an_autoscaler_that_comes_takes_no_pod_away(serving: Serving) -> None:
    stack = serving.new_stack()
    stack.up(serving.program("grown", replicas=3))
    before = {pod["metadata"]["uid"] for pod in serving.pods("grown")}
    bounds = {"min_replicas": 1, "max_replicas": 4, "scale_down_stabilization_seconds": 3600}
    stack.up(serving.program("grown", replicas=None, autoscaling=bounds))
    assert {pod["metadata"]["uid"] for pod in serving.pods("grown")} == before and len(before) == 3
    stack.unchanged(serving.program("grown", replicas=None, autoscaling=bounds))
    stack.destroy()


def test_the_autoscaler_follows_requests_per_second_and_latency_through_an_adapter(
    serving: Serving, platform_env: dict[str, str], figure: Callable[[str], None]
) -> None:
    prometheus, stack = serving.new_stack(), serving.new_stack()
    prometheus.up(prometheus_program("scaling", serving, platform_facts()))
    bounds = {
        "min_replicas": 1,
        "max_replicas": 3,
        "target_requests_per_second": 20,
        "target_latency_ms": 60_000,
        "scale_down_stabilization_seconds": 0,
        "scale_down_pods_per_minute": 10,
    }
    without = serving.program("measured", exposed=True)
    shape = {"exposed": True, "autoscaling": bounds}
    try:
        with adapter.installed(prometheus.outputs()["prometheus_url"]):
            stack.up(without)
            with load(stack.outputs()["predict_url"], callers=6, kept=3, pause_seconds=0.1) as result:
                # Both metrics are what `up` waits for.
                stack.up(serving.program("measured", **shape))
                most = eventually(lambda: (found := len(serving.pods("measured"))) >= 2 and found, 5 * MINUTES)
                rate = adapter.known(serving.namespace, "modelops_requests_per_second")
                latency = adapter.known(serving.namespace, "modelops_latency_p99_seconds")
                stack.unchanged(serving.program("measured", **shape))
            eventually(lambda: len(serving.pods("measured")) == 1, 6 * MINUTES)
            figure(
                f"autoscaler by requests per second: 1 → {most} → 1 pods at {rate:.0f} a second and pod, "
                f"p99 {1000 * latency:.1f} ms, {result.answered} answered, {len(result.failed)} failed"
            )
            assert latency < 60
            stack.destroy()
    finally:
        prometheus.destroy()


def impatient(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """The wait for the first figures, cut short."""
    if args.type_ != "kubernetes:autoscaling/v2:HorizontalPodAutoscaler":
        return None
    args.opts.custom_timeouts = pulumi.CustomTimeouts(create="15s", update="15s")
    return pulumi.ResourceTransformationResult(args.props, args.opts)


def test_a_metric_that_no_adapter_serves_is_named(serving: Serving) -> None:
    if "custom.metrics.k8s.io" in kubectl("get", "apiservices", "--output", "name"):
        pytest.skip("this cluster has an adapter")
    stack = serving.new_stack()
    args = serving.args(replicas=None, autoscaling={"max_replicas": 2, "target_requests_per_second": 10})

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        opts = pulumi.ResourceOptions(provider=provider, transformations=[impatient])
        return {"url": ModelService("blind", args, opts).url}  # type: ignore[arg-type]

    failed = stack.up(build, succeed=False)
    assert "modelops_requests_per_second" in failed.text, failed.text
    assert "HorizontalPodAutoscaler" in failed.text
    stack.destroy()
