"""Who answers for a service."""

from tests.cluster.serving.support import Serving
from tests.cluster.support import eventually, post


def ready(serving: Serving, name: str) -> list[str]:
    """The pods that are ready and stay."""
    return [
        pod["metadata"]["name"]
        for pod in serving.pods(name)
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
    ]


def answers_steadily(url: str) -> None:
    """Waits until the load balancer has what it needs: a hundred answers on end."""

    def steady() -> bool:
        return all(post(url, {"inputs": [[0.5]]}) == (200, {"outputs": [2.0]}) for _ in range(100))

    assert eventually(steady, 120)
