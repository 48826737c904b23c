"""A real KEDA takes the last pod away and brings it back, by what a real Prometheus says."""

from collections.abc import Callable

import pytest

from tests.cluster.serving import keda
from tests.cluster.serving.canary_support import prometheus_program
from tests.cluster.serving.support import Serving
from tests.cluster.support import eventually, objects, platform_facts
from tests.load import load

pytestmark = [pytest.mark.serving, pytest.mark.long]

MINUTES = 60


def test_a_service_without_requests_has_no_pods_until_its_query_says_so(
    serving: Serving, platform_env: dict[str, str], figure: Callable[[str], None]
) -> None:
    """The query is another service's requests, as a gateway's counter would be: nothing here holds requests back."""
    prometheus, asked, stack = serving.new_stack(), serving.new_stack(), serving.new_stack()
    prometheus.up(prometheus_program("asleep", serving, platform_facts()))
    asked.up(serving.program("asked", exposed=True))
    wake = {
        "prometheus_url": prometheus.outputs()["prometheus_url"],
        "query": f'sum(rate(modelops_predictions_total{{namespace="{serving.namespace}",service="asked"}}[30s]))',
        "threshold": 2,
        "idle_seconds": 5,
    }
    bounds = {"max_replicas": 3, "target_requests_per_second": 1000, "scale_to_zero": wake}
    program = serving.program("sleepy", replicas=None, autoscaling=bounds)
    try:
        with keda.installed():
            stack.up(program)
            eventually(lambda: not serving.pods("sleepy"), 3 * MINUTES)
            # What KEDA and its webhooks filled in is no change, and nobody waits for a pod that isn't wanted.
            stack.unchanged(program)
            stack.up(serving.program("sleepy", alias="triple", replicas=None, autoscaling=bounds))
            assert not serving.pods("sleepy")
            with load(asked.outputs()["predict_url"], callers=2, kept=1, pause_seconds=0.1) as result:
                most = eventually(lambda: (found := len(serving.pods("sleepy"))) >= 2 and found, 4 * MINUTES)
                [scaler] = objects("horizontalpodautoscalers", serving.namespace)
                assert len([each for each in scaler["status"]["currentMetrics"] if "external" in each]) == 2
            eventually(lambda: not serving.pods("sleepy"), 8 * MINUTES)
            [scaled] = objects("scaledobjects", serving.namespace)
            assert {"type": "Ready", "status": "True"}.items() <= scaled["status"]["conditions"][0].items()
            figure(f"KEDA: 0 → {most} → 0 pods, {result.answered} requests answered, {len(result.failed)} failed")
            stack.destroy()
    finally:
        asked.destroy()
        prometheus.destroy()
