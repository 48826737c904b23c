"""Metrics, logs, the OpenAPI document, Open Inference Protocol."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import pytest

from tests.unit.model.support import RunningServer, start_server

REQUESTS = 'modelops_requests_total{code="%s",path="%s"}'


def test_requests_and_predictions_are_counted(model_dir: Path, tmp_path: Path) -> None:
    with start_server(model_dir, tmp_path / "log") as server:
        server.post({"inputs": [[1], [2], [3]]})
        server.post({"inputs": []})
        server.ask("GET", "/nowhere/1")
        server.ask("GET", "/nowhere/2")
        metrics = server.metrics()
    assert metrics[REQUESTS % (200, "/api/predict")] == 1
    assert metrics[REQUESTS % (422, "/api/predict")] == 1
    assert metrics[REQUESTS % (404, "other")] == 2
    assert metrics["modelops_predictions_total"] == 3
    assert metrics["modelops_in_flight"] == 1  # the one that reads them
    assert metrics["modelops_ready"] == 1
    assert metrics['modelops_model_info{model="line",version="run-abc123def456"}'] == 1
    assert metrics['modelops_request_duration_seconds_count{path="/api/predict"}'] == 2
    assert metrics['modelops_request_duration_seconds_bucket{le="+Inf",path="/api/predict"}'] == 2
    assert metrics["process_resident_memory_bytes"] > 0


def test_strangers_can_t_make_series(server: RunningServer) -> None:
    for number in range(20):
        server.ask("GET", f"/{number}")
        server.ask("BREW", "/api/predict")
    series = [name for name in server.metrics() if name.startswith("modelops_requests_total")]
    assert not any("/7" in name or "BREW" in name for name in series)


def test_one_json_line_a_request_without_its_inputs(model_dir: Path, tmp_path: Path) -> None:
    with start_server(model_dir, tmp_path / "log") as server:
        server.ask(
            "POST", "/api/predict?secret=1", b'{"inputs":[[123.25]]}', {**server.headers, "X-Request-Id": "trace-1"}
        )
        server.post({"inputs": [["hush"]]})
        first, second = server.requests(2)
    text = (tmp_path / "log").read_text()
    assert first["latency_ms"] > 0
    assert first["ts"].endswith("Z")
    del first["latency_ms"], first["ts"]
    assert first == {
        "level": "info",
        "event": "request",
        "request_id": "trace-1",
        "method": "POST",
        "path": "/api/predict",
        "status": 200,
        "model": "line",
        "model_version": "run-abc123def456",
    }
    assert second["status"] == 422
    for secret in ("123.25", "secret", "hush"):
        assert secret not in text


def test_the_openapi_document_fits_what_is_served(server: RunningServer) -> None:
    answer = server.ask("GET", "/openapi.json")
    document = answer.json()
    assert document["openapi"] == "3.1.0"
    operation = document["paths"]["/api/predict"]["post"]
    request = operation["requestBody"]["content"]["application/json"]
    jsonschema.validate(request["example"], request["schema"])
    response = operation["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(server.post(request["example"]).json(), response)
    refusal = server.post({"inputs": []})
    jsonschema.validate(refusal.json(), document["components"]["schemas"]["Refusal"])
    assert str(refusal.status) in operation["responses"]
    bad_ones: list[object] = [{}, {"inputs": []}, {"inputs": [[1, 2]]}, {"inputs": [["x"]]}, {"inputs": [[1]], "x": 1}]
    for bad in bad_ones:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, request["schema"])
    for path, methods in document["paths"].items():
        if "get" in methods:
            assert server.ask("GET", path).status == 200, path


def tensor(**changes: object) -> dict[str, object]:
    return {"name": "input", "shape": [2, 1], "datatype": "FP32", "data": [0.5, 1], **changes}


def test_open_inference_protocol_predicts(server: RunningServer) -> None:
    path = "/v2/models/line/infer"
    output = {"name": "output", "shape": [2, 1], "datatype": "FP32", "data": [2.0, 3.0]}
    expected = {"model_name": "line", "model_version": "run-abc123def456", "outputs": [output]}
    assert server.post({"inputs": [tensor()]}, path).json() == expected
    assert server.post({"inputs": [tensor(data=[[0.5], [1]])]}, path).json() == expected
    assert server.post({"inputs": [tensor()], "id": "7", "parameters": {"a": 1}}, path).json() == {
        **expected,
        "id": "7",
    }
    versioned = "/v2/models/line/versions/run-abc123def456/infer"
    assert server.post({"inputs": [tensor()]}, versioned).json() == expected


def test_open_inference_protocol_describes(server: RunningServer) -> None:
    assert server.ask("GET", "/v2/health/live").status == 200
    assert server.ask("GET", "/v2/health/ready").status == 200
    assert server.ask("GET", "/v2/models/line/ready").status == 200
    assert server.ask("GET", "/v2").json() == {"name": "modelops", "version": "2", "extensions": []}
    model = server.ask("GET", "/v2/models/line").json()
    assert model["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 1]}]
    assert server.ask("GET", "/v2/models/other").status == 404


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [tensor(), tensor()],
        [tensor(name="x")],
        [tensor(datatype="INT64")],
        [tensor(shape=[2])],
        [tensor(shape=[3, 1])],
        [tensor(shape=[-1, 1])],
        [tensor(shape=[2**40, 1])],
        [tensor(shape=[])],
        [tensor(data=[])],
        [tensor(data=["0.5", 1])],
        [tensor(data=[[0.5]])],
        [tensor(data=[[0.5], [1, 2]])],
        [tensor(data=[[[0.5]], [[1]]])],
        [tensor(data=[0.5, None])],
        [tensor(data=[0.5, 1e39])],
        [tensor(extra=1)],
        [{"name": "input"}],
        "x",
    ],
)
def test_open_inference_protocol_refuses_in_its_own_form(server: RunningServer, inputs: object) -> None:
    answer = server.post({"inputs": inputs}, "/v2/models/line/infer")
    assert answer.status == 422
    assert isinstance(answer.json()["error"], str)
    assert answer.json()["error"].startswith("inputs"), answer.json()


@pytest.mark.parametrize(
    ("request_body", "field"),
    [
        ({"inputs": [tensor()], "parameters": None}, "parameters"),
        ({"inputs": [tensor()], "id": None}, "id"),
        ({"inputs": [tensor()], "outputs": None}, "outputs"),
        ({"inputs": [tensor(parameters=None)]}, "inputs[0].parameters"),
        ({"inputs": [tensor()], "outputs": [{"name": "output", "parameters": None}]}, "outputs[0].parameters"),
        ({"inputs": [tensor(parameters={"a": None})]}, "inputs[0].parameters[...]"),
    ],
)
def test_an_optional_field_may_be_left_out_but_not_be_null(
    server: RunningServer, request_body: dict[str, object], field: str
) -> None:
    """As the Open Inference Protocol and `/openapi.json` have it."""
    document = server.ask("GET", "/openapi.json").json()
    schema = {"$ref": "#/components/schemas/InferRequest", "components": document["components"]}
    assert not jsonschema.Draft202012Validator(schema).is_valid(request_body)
    answer = server.post(request_body, "/v2/models/line/infer")
    assert answer.status == 422, answer.body
    assert answer.json()["error"].startswith(f"{field} must be "), answer.json()


def test_inputs_are_logged_when_asked_for(model_dir: Path, tmp_path: Path) -> None:
    with start_server(model_dir, tmp_path / "log", MODELOPS_LOG_INPUTS="true") as server:
        server.post(b'{"inputs": [[0.5]]}')
        server.post({"inputs": [[row] for row in range(1000)]})
        server.ask("GET", "/healthz/live")
        small, large, other = server.requests(3)
    assert small["inputs"] == '{"inputs": [[0.5]]}'
    assert len(large["inputs"]) == 4096
    assert "inputs" not in other


def test_batches_and_a_thread_of_its_own_change_no_answer(model_dir: Path, tmp_path: Path) -> None:
    with start_server(model_dir, tmp_path / "log", MODELOPS_BATCH_ROWS=8) as server:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: server.post({"inputs": [[number], [1]]}).json(), range(100)))
        assert answers == [{"outputs": [2.0 * number + 1, 3.0]} for number in range(100)]
        refused = server.post({"inputs": [[3e38]]})
        assert (refused.status, refused.json()["error"]["rule"]) == (422, "finite")


def test_every_log_line_is_json(server: RunningServer) -> None:
    server.ask("GET", "/%0a%22")
    for line in server.log_file.read_text().splitlines():
        assert {"ts", "level", "event", "model", "model_version"} <= json.loads(line).keys()
