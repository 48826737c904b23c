"""Each example as a team runs it: a program outside the checkout, the library installed from its wheel, the real engine
and cluster."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.examples import Example, example, installed
from tests.cluster.provider.harness import Stack
from tests.cluster.serving.support import Serving, image_args
from tests.cluster.support import eventually, kubectl, objects, platform_facts, post

__all__ = ["example", "installed"]

pytestmark = [pytest.mark.teams, pytest.mark.long]


def common(serving: Serving, alias: str = "double") -> dict[str, str]:
    args = serving.args(alias)
    return {key: args[key] for key in ("namespace", "image", "model_uri", "tracking_uri")}


def predicts(url: str, value: float) -> Any:
    """The answer for 0.5, once it is that value."""

    def answered() -> bool:
        status, answer = post(url, {"inputs": [[0.5]]})
        return status == 200 and abs(answer["outputs"][0] - value) < 0.2

    return eventually(answered)


def test_the_smallest_service(serving: Serving, example: Callable[[str], Example]) -> None:
    assert predicts(example("service").up(**common(serving))["predict_url"], 2.0)


def test_blue_and_green_take_turns(serving: Serving, example: Callable[[str], Example]) -> None:
    tracks = example("blue-green")
    assert predicts(tracks.up(**common(serving), live="blue")["predict_url"], 2.0)
    new = {"live": "green", "model_uri": serving.uri("triple"), "standby": serving.uri("double")}
    assert predicts(tracks.up(**new)["predict_url"], 2.5)


def test_a_team_with_a_cluster_and_monitoring_of_its_own(serving: Serving, example: Callable[[str], Example]) -> None:
    context = kubectl("config", "current-context").strip()
    url = example("existing-cluster").up(**common(serving), context=context, team="payments")["url"]
    assert url == f"http://demo.{serving.namespace}.svc"
    [pod] = serving.pods("demo")
    assert pod["metadata"]["labels"]["team"] == "payments"
    assert pod["metadata"]["annotations"]["prometheus.io/scrape"] == "true"


def test_a_large_model_is_taken_by_the_api_server(namespace: str, example: Callable[[str], Example]) -> None:
    """There is no GPU here: the pod is taken and waits for one."""
    chat = example("large-model")
    chat.configure(namespace=namespace, cpu="100m", memory="128Mi", cache_size="1Gi")
    up = subprocess.Popen(
        chat.command("up", "--yes", "--skip-preview"),
        cwd=chat.folder,
        env=chat.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    def unschedulable() -> str | None:
        for pod in objects("pods", namespace):
            for condition in pod["status"].get("conditions", []):
                if "nvidia.com/gpu" in condition.get("message", ""):
                    return str(condition["message"])
        return None

    try:
        assert "Insufficient nvidia.com/gpu" in eventually(unschedulable, timeout_seconds=120)
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=120)


def test_training_and_service(
    namespace: str, platform_env: dict[str, str], tmp_path: Path, example: Callable[[str], Example]
) -> None:
    import pulumi_kubernetes as k8s

    from modelops import ModelImage

    facts = platform_facts()

    def images(provider: k8s.Provider) -> dict[str, Any]:
        return {target: ModelImage(target, image_args(facts, target)).ref for target in ("train", "serve")}  # type: ignore[arg-type]

    built = Stack(tmp_path / "images", namespace=namespace)
    built.up(images)
    refs = built.outputs()
    found = example("training").up(namespace=namespace, train_image=refs["train"], image=refs["serve"])
    assert predicts(found["predict_url"], 2.0)
    assert found["metrics"]["mse"] < 0.1
