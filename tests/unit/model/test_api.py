"""The server's API: its OpenAPI document and the Open Inference Protocol."""

import jsonschema
import pytest

from tests.unit.model.support import RunningServer


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
