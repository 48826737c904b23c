"""ModelService: how many pods serve."""

import json
from typing import Any

import pytest
import yaml

from modelops.core.assets import asset
from modelops.serving.autoscaling import LATENCY, POD_TARGETS, REQUESTS
from tests.unit.components.harness import Resource
from tests.unit.components.service import ARGS, serve


def scaler(**bounds: Any) -> Resource:
    return serve({**ARGS, "autoscaling": {"max_replicas": 4, **bounds}}).one("HorizontalPodAutoscaler")


def targets(**bounds: Any) -> dict[str, Any]:
    """What the autoscaler aims for, by the metric's name."""
    found = {}
    for metric in scaler(**bounds).inputs["spec"]["metrics"]:
        if metric["type"] == "ContainerResource":
            of_server = metric["containerResource"]
            assert of_server["container"] == "serve"
            found[of_server["name"]] = of_server["target"]["averageUtilization"]
        else:
            found[metric["pods"]["metric"]["name"]] = metric["pods"]["target"]["averageValue"]
    return found


def test_cpu_is_the_aim_where_none_is_given() -> None:
    assert targets() == {"cpu": 70}


def test_every_aim_that_is_given_and_no_other() -> None:
    assert targets(target_memory_percent=80) == {"memory": 80}
    assert targets(target_requests_per_second=50) == {REQUESTS: "50"}
    assert targets(target_cpu_percent=60, target_latency_ms=20, target_requests_per_second=2.5) == {
        "cpu": 60,
        REQUESTS: "2500m",
        LATENCY: "20m",
    }


def test_metrics_of_an_adapter_are_waited_for_by_name() -> None:
    annotations = scaler(target_requests_per_second=50, target_cpu_percent=50).inputs["metadata"]["annotations"]
    [expression] = json.loads(annotations["pulumi.com/waitFor"])
    assert REQUESTS in expression
    assert "annotations" not in scaler().inputs["metadata"]


def test_pods_come_at_once_and_go_late_by_default() -> None:
    assert scaler().inputs["spec"]["behavior"] == {
        "scaleDown": {
            "stabilizationWindowSeconds": 300,
            "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
        }
    }


def test_the_pace_can_be_set() -> None:
    behavior = scaler(
        scale_down_stabilization_seconds=0, scale_down_pods_per_minute=3, scale_up_pods_per_minute=9
    ).inputs["spec"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 3, "periodSeconds": 60}]
    assert behavior["scaleUp"]["policies"] == [{"type": "Pods", "value": 9, "periodSeconds": 60}]


ZERO = {"prometheus_url": "http://prometheus:9090", "query": "sum(rate(asked[1m]))", "threshold": 5}


def test_keda_takes_the_last_pod_away() -> None:
    bounds = {"max_replicas": 4, "target_cpu_percent": 80, "scale_to_zero": {**ZERO, "idle_seconds": 60}}
    program = serve({**ARGS, "autoscaling": bounds})
    scaled = program.one("ScaledObject").inputs
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "demo"}
    counts = [scaled["spec"][key] for key in ("minReplicaCount", "maxReplicaCount", "cooldownPeriod")]
    assert counts == [0, 4, 60]
    assert [trigger["type"] for trigger in scaled["spec"]["triggers"]] == ["prometheus", "cpu"]
    assert scaled["spec"]["triggers"][0]["metadata"] == {
        "serverAddress": "http://prometheus:9090",
        "query": "sum(rate(asked[1m]))",
        "threshold": "5",
    }
    assert program.of("HorizontalPodAutoscaler") == []
    deployment = program.one("Deployment")
    # One pod shows whether the release is any good.
    assert deployment.inputs["spec"]["replicas"] == 1
    assert "spec.replicas" in deployment.options["ignore_changes"]


def test_a_service_that_may_have_no_pods_is_not_waited_for() -> None:
    program = serve({**ARGS, "autoscaling": {"max_replicas": 4, "scale_to_zero": ZERO}})
    annotations = program.one("core/v1:Service").inputs["metadata"]["annotations"]
    assert annotations == {"pulumi.com/skipAwait": "true"}
    assert "annotations" not in serve(ARGS).one("core/v1:Service").inputs["metadata"]


def test_keda_aims_at_what_the_adapter_would_measure() -> None:
    bounds = {"max_replicas": 4, "min_replicas": 1, "target_latency_ms": 20, "scale_to_zero": ZERO}
    [_, latency] = serve({**ARGS, "autoscaling": bounds}).one("ScaledObject").inputs["spec"]["triggers"]
    assert latency["metadata"]["threshold"] == "0.02"
    query = latency["metadata"]["query"]
    assert query.startswith("sum(histogram_quantile(0.99,") and "<<" not in query
    assert 'namespace="ml",service="demo",track="stable"' in query


@pytest.mark.parametrize("name", [metric for metric, _ in POD_TARGETS.values()])
def test_the_adapters_rules_make_each_metric(name: str) -> None:
    rules = yaml.safe_load(asset("serving/assets/prometheus-adapter.yaml"))["rules"]
    assert [rule["name"]["as"] for rule in rules].count(name) == 1
    for rule in rules:
        assert {"pod", "namespace"} <= {each["resource"] for each in rule["resources"]["overrides"].values()}
