"""The server as its images have it, on the cluster: protocols, page, metrics, logs, and each runtime's image."""

import json
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelImage, ModelService
from tests.browser import browser
from tests.cluster.provider.harness import Stack
from tests.cluster.serving.support import Serving, image_args, publish_folder
from tests.cluster.support import eventually, get_json, kubectl, platform_facts, post
from tests.models import write_keras_model, write_onnx_model

pytestmark = [pytest.mark.serving, pytest.mark.long]


@pytest.fixture(scope="module")
def url(serving: Serving) -> Iterator[str]:
    stack = serving.new_stack()
    stack.up(serving.program("server", replicas=1, exposed=True))
    yield str(stack.outputs()["url"])
    stack.destroy(succeed=None)


def series(url: str) -> dict[str, float]:
    """What the service's one pod exposes."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


def test_the_open_inference_protocol_answers(url: str) -> None:
    assert get_json(f"{url}/v2/health/ready")["ready"] is True
    model = get_json(f"{url}/v2/models/line")
    assert model["versions"] == ["run-double"]
    tensor = {**model["inputs"][0], "shape": [2, 1], "data": [0.5, 3]}
    status, answer = post(f"{url}/v2/models/line/versions/double/infer", {"id": "7", "inputs": [tensor]})
    assert (status, answer["id"], answer["outputs"][0]["data"]) == (200, "7", [2.0, 7.0])


def test_the_document_is_that_of_the_model(url: str) -> None:
    document = get_json(f"{url}/openapi.json")
    assert document["info"] | {"description": ""} == {"title": "line", "version": "run-double", "description": ""}
    assert "/v2/models/line/infer" in document["paths"]


def test_a_person_tries_a_prediction_in_a_browser(url: str) -> None:
    with browser() as window:
        window.open(f"{url}/")
        window.wait("h1", "line")
        window.type("#inputs", "[[0.5]]")
        window.click("#predict")
        window.wait("#outputs", "2")
        assert window.text("#problem") == ""
        assert window.console() == []


def test_predictions_are_counted_by_value(url: str) -> None:
    before = series(url)['modelops_prediction_value_count{output="0"}']
    post(f"{url}/api/predict", {"inputs": [[1.0], [2.0], [100.0]]})
    after = series(url)
    assert after['modelops_prediction_value_count{output="0"}'] == before + 3
    assert after['modelops_model_info{model="line",version="run-double"}'] == 1


def test_a_request_s_log_line_says_all_but_its_inputs(serving: Serving, url: str) -> None:
    request = urllib.request.Request(
        f"{url}/api/predict",
        b'{"inputs": [[31337.25]]}',
        {"Content-Type": "application/json", "X-Request-Id": "cluster-test-1"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["X-Request-Id"] == "cluster-test-1"
    (pod,) = serving.pods("server")

    def line() -> dict[str, Any] | None:
        logs = kubectl("logs", "--namespace", serving.namespace, pod["metadata"]["name"], "--tail", "200")
        lines = [json.loads(text) for text in logs.splitlines() if text.startswith("{")]
        return next((found for found in lines if found.get("request_id") == "cluster-test-1"), None)

    logged = eventually(line)
    assert logged["latency_ms"] > 0
    assert (logged["status"], logged["model"], logged["model_version"]) == (200, "line", "run-double")
    assert "31337" not in json.dumps(logged)


@pytest.mark.parametrize(
    ("target", "write", "request_body", "outputs"),
    [
        ("serve-onnx", write_onnx_model, {"inputs": [[1, 1, 1]]}, [[7.0, 14.0]]),
        pytest.param("serve-framework", write_keras_model, {"inputs": [[0.5]]}, [2.0], marks=pytest.mark.long),
    ],
)
def test_each_runtime_s_image_serves_its_models(
    serving: Serving,
    platform_env: dict[str, str],
    target: str,
    write: Callable[[Path, str], object],
    request_body: object,
    outputs: object,
) -> None:
    name = f"other-{target}"
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), name)
        uri = publish_folder(serving.registry_url, name, "run-one", Path(folder))
    stack: Stack = serving.new_stack()

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        image = ModelImage(target, image_args(platform_facts(), target))  # type: ignore[arg-type]
        args = serving.args(image=image.ref, model_uri=uri, replicas=1, exposed=True)
        args["resources"] = {"cpu": "20m", "memory": "128Mi", "memory_limit": "1536Mi"}
        args["startup_timeout_seconds"] = 600
        service = ModelService(target, args, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]
        return {"predict_url": service.predict_url}

    stack.up(program)
    try:
        assert post(stack.outputs()["predict_url"], request_body, timeout=60) == (200, {"outputs": outputs})
    finally:
        stack.destroy(succeed=None)
