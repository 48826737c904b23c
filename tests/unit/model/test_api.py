"""The server's API: its OpenAPI document and the Open Inference Protocol."""

import asyncio
import json

import jsonschema
import pytest

from modelops_runtime.artifacts.runtimes import Array
from tests.unit.model.support import Answer, RunningServer, ask, served


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
    assert server.ask("GET", "/v2").json() == {"name": "modelops", "version": "2", "extensions": ["binary_tensor_data"]}
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
    "request_body",
    [
        {"inputs": [tensor()], "parameters": None, "id": None, "outputs": None, "model_name": None},
        {"inputs": [tensor(parameters=None)]},
        {"inputs": [tensor()], "outputs": [{"name": "output", "parameters": None}]},
        {"inputs": [tensor(parameters={"a": None})]},
    ],
)
def test_an_optional_field_may_be_null(server: RunningServer, request_body: dict[str, object]) -> None:
    """As clients send it that dump a model of Pydantic's, MLServer's own among them."""
    document = server.ask("GET", "/openapi.json").json()
    schema = {"$ref": "#/components/schemas/InferRequest", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(request_body)
    assert server.post(request_body, "/v2/models/line/infer").status == 200


class Failing:
    def predict(self, inputs: Array) -> Array:
        raise RuntimeError("secret")


def test_an_internal_error_has_the_form_of_its_api_and_no_details(capfd: pytest.CaptureFixture[str]) -> None:
    tensors = json.dumps({"inputs": [tensor()]}).encode()

    async def go() -> tuple[Answer, Answer]:
        app = served(Failing())
        ours = await ask(app, "POST", "/api/predict", b'{"inputs": [[1]]}')
        return ours, await ask(app, "POST", "/v2/models/line/infer", tensors)

    ours, open_protocol = asyncio.run(go())
    assert ours.status == open_protocol.status == 500
    assert ours.json() == {"error": {"field": "", "rule": "internal", "message": "internal error"}}
    assert open_protocol.json() == {"error": "internal error"}
    assert capfd.readouterr().out.count("RuntimeError: secret") == 2
