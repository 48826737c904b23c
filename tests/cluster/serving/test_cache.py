"""A model that one pod has fetched is there for the next."""

import pytest

from tests.cluster.serving.support import Serving
from tests.cluster.support import eventually, kubectl, post

pytestmark = pytest.mark.serving


def fetched(serving: Serving, pod: str) -> str:
    """What the pod's fetching container said."""
    return kubectl("logs", "--namespace", serving.namespace, pod, "--container", "fetch")


def test_a_new_pod_downloads_nothing_that_another_one_has(serving: Serving) -> None:
    stack = serving.new_stack()
    stack.up(serving.program("cached", replicas=1, exposed=True, cache={"storage_size": "1Gi"}))
    [first] = [pod["metadata"]["name"] for pod in serving.pods("cached")]
    assert "in the cache already" not in fetched(serving, first)

    kubectl("delete", "pod", "--namespace", serving.namespace, first, "--wait=false")
    second = eventually(
        lambda: [pod["metadata"]["name"] for pod in serving.pods("cached") if pod["metadata"]["name"] != first]
    )[0]
    kubectl("wait", "--for=condition=Ready", f"pod/{second}", "--namespace", serving.namespace, "--timeout=180s")
    assert "in the cache already" in fetched(serving, second)
    assert post(stack.outputs()["predict_url"], {"inputs": [[0.5]]}) == (200, {"outputs": [2.0]})
    stack.destroy()
