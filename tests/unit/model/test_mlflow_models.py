"""Models as plain MLflow logs them: what is taken, what is refused, what the documents say."""

import asyncio
import base64
import json
import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from modelops_runtime.contract import ContractError, Environment, ServeContract
from modelops_runtime.registry import check
from modelops_runtime.serving.app import App
from modelops_runtime.serving.logs import Log
from modelops_runtime.serving.metrics import Metrics
from modelops_runtime.serving.mlflow.model import MlflowModel, load_mlflow_model
from tests.conftest import REPOSITORY
from tests.unit.model.support import Answer, ask, run_here, start_server

mlflow = pytest.importorskip("mlflow")
pandas = pytest.importorskip("pandas")

QUIET = pytest.mark.filterwarnings("ignore")
pytestmark = QUIET
Notes = list[tuple[str, str]]


class Doubled(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Code of a team: a table of several columns, and a parameter."""

    def predict(self, context: Any, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        factor = (params or {}).get("factor", 2)
        price = model_input["price"] * factor
        return pandas.DataFrame({"price": price, "label": [f"{name}!" for name in model_input["name"]]})


class Kinds(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Says what it was given, column by column."""

    def predict(self, context: Any, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        return [
            ", ".join(f"{name} {model_input[name].dtype} {model_input[name][row]!r}" for name in model_input)
            for row in range(len(model_input))
        ]


class Returns(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def __init__(self, what: str) -> None:
        self.what = what

    def predict(self, context: Any, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        x = model_input["x"].to_numpy()
        return {
            "series": lambda: pandas.Series(x),
            "list": lambda: x.tolist(),
            "texts": lambda: [f"<{value}>" for value in x],
            "dict": lambda: {"low": x - 1, "both": np.stack([x, x], axis=1)},
            "tuple": lambda: (x, x + 1),
            "dicts": lambda: [{"value": value, "parts": np.array([value])} for value in x],
            "truth": lambda: x > 0,
            "ragged": lambda: {"first": x, "summary": np.array([x.sum()])},
            "sometimes": lambda: x if len(x) == 1 else {"some": ["text"] * len(x)},
            "nan": lambda: x * np.nan,
            "missing text": lambda: pandas.DataFrame({"text": ["a", None][: len(x)]}),
            "missing date": lambda: pandas.to_datetime(pandas.Series(["2026-01-02", None])),
            "binary": lambda: [b"\x00\xff"] * len(x),
            "embeddings": lambda: [np.array([value, value, 0]) for value in x],
            "square embeddings": lambda: [np.array([value, value]) for value in x],
            "outputs": lambda: [np.stack([x, x], axis=1)] * 2,
            "objects with nan": lambda: [{"value": value, "more": [math.nan]} for value in x],
            "twice": lambda: pandas.DataFrame([[1, 2]] * len(x), columns=["a", "a"]),
            "no columns": lambda: pandas.DataFrame(),
            "generator": lambda: (value for value in x),
            "truth and number": lambda: [True, 2],
            "halves": lambda: x.astype(int) if len(x) == 1 else x / 2,
            "dates": lambda: pandas.to_datetime(pandas.Series(["2026-01-02"] * len(x))),
            "fails": lambda: (_ for _ in ()).throw(ValueError("no such flower")),
            "breaks": lambda: (_ for _ in ()).throw(RuntimeError("secret")),
        }[self.what]()


def saved(folder: Path, model: Any, example: Any = None, **more: Any) -> Path:
    mlflow.pyfunc.save_model(folder, python_model=model, input_example=example, pip_requirements=["mlflow"], **more)
    return folder


def signature(inputs: Any, outputs: Any = None, params: Any = None) -> Any:
    from mlflow.models import ModelSignature

    return ModelSignature(inputs, outputs, params)


def table(*columns: tuple[Any, ...]) -> Any:
    from mlflow.types import ColSpec, Schema

    return Schema([ColSpec(kind, name, required=not optional) for kind, name, *optional in columns])


def loaded(folder: Path, notes: Notes | None = None, **variables: object) -> MlflowModel:
    env = Environment({"MODELOPS_MODEL_DIR": str(folder), **{name: str(value) for name, value in variables.items()}})
    settings = ServeContract.read(env)
    env.check()
    return load_mlflow_model(
        settings, lambda event, reason: (notes if notes is not None else []).append((event, reason))
    )


class Client:
    """The application in this process."""

    def __init__(self, folder: Path, **variables: object) -> None:
        self.notes: Notes = []
        self.model = loaded(folder, self.notes, MODELOPS_MODEL_NAME="flowers", **variables)
        settings = ServeContract.read(Environment({name: str(value) for name, value in variables.items()}))
        self.metrics = Metrics()
        self.metrics.serving(self.model)
        self.app = App(settings, Log("1"), self.metrics)
        self.app.serve(self.model)

    def post(self, content: object, path: str = "/api/predict") -> Answer:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return asyncio.run(ask(self.app, "POST", path, body))

    def get(self, path: str) -> Any:
        return asyncio.run(ask(self.app, "GET", path)).json()

    def infer(self, *tensors: Mapping[str, object], **more: object) -> Answer:
        return self.post({"inputs": tensors, **more}, "/v2/models/flowers/infer")


@pytest.fixture(scope="session")
def flowers() -> tuple[Any, Any]:
    from sklearn.datasets import load_iris

    rows, classes = load_iris(return_X_y=True, as_frame=True)
    return rows, classes


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory, flowers: tuple[Any, Any]) -> Path:
    """A classifier on named columns of numbers."""
    from sklearn.linear_model import LogisticRegression

    folder = tmp_path_factory.mktemp("mlflow") / "iris"
    model = LogisticRegression(max_iter=1000).fit(*flowers)
    requirements = ["scikit-learn", "cloudpickle"]
    mlflow.sklearn.save_model(
        model,
        folder,
        input_example=flowers[0][:3],
        pip_requirements=requirements,
        serialization_format="cloudpickle",
    )
    return folder


@pytest.fixture(scope="session")
def client(iris: Path) -> Client:
    return Client(iris)


COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
SETOSA, VIRGINICA = [5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]


def by_name(row: list[float]) -> dict[str, float]:
    return dict(zip(COLUMNS, row, strict=True))


SENT = {
    "records": {"inputs": [by_name(SETOSA), by_name(VIRGINICA)]},
    "rows": {"inputs": [SETOSA, VIRGINICA]},
    "columns": {"inputs": {name: [SETOSA[n], VIRGINICA[n]] for n, name in enumerate(COLUMNS)}},
    "split": {"dataframe_split": {"columns": COLUMNS, "data": [SETOSA, VIRGINICA]}},
    "split with an index": {"dataframe_split": {"columns": COLUMNS, "index": [0, 1], "data": [SETOSA, VIRGINICA]}},
    "split in another order": {"dataframe_split": {"columns": COLUMNS[::-1], "data": [SETOSA[::-1], VIRGINICA[::-1]]}},
    "dataframe records": {"dataframe_records": [by_name(SETOSA), by_name(VIRGINICA)]},
    "instances": {"instances": [SETOSA, VIRGINICA]},
    "whole numbers": {"inputs": [[5, 3, 1, 0], [6, 3, 6, 2]]},
}


@pytest.mark.parametrize("sent", SENT)
def test_rows_are_taken_in_each_form_that_clients_of_mlflow_send(client: Client, sent: str) -> None:
    assert client.post(SENT[sent]).json() == {"outputs": [0, 2]}
    assert client.post(SENT[sent], "/invocations").json() == {"predictions": [0, 2]}
    document = client.get("/openapi.json")
    schema = document["paths"]["/api/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(schema).validate(SENT[sent])


def test_scikit_learn_itself_is_asked_where_it_predicts_the_same(client: Client) -> None:
    assert client.model.way == "sklearn.LogisticRegression"
    assert client.model.platform == "sklearn"
    assert client.notes == []


@pytest.mark.parametrize(
    ("sent", "field", "rule"),
    [
        ({}, "inputs", "required"),
        ({"inputs": []}, "inputs", "min_rows"),
        ({"inputs": [SETOSA] * 1025}, "inputs", "max_rows"),
        ({"inputs": [SETOSA[:3]]}, "inputs[0]", "length"),
        ({"inputs": [SETOSA, [*SETOSA, 1]]}, "inputs[1]", "length"),
        ({"inputs": [SETOSA, "x"]}, "inputs[1]", "type"),
        ({"inputs": [[1, 2, "3", 4]]}, "inputs[0][2]", "type"),
        ({"inputs": [[1, 2, True, 4]]}, "inputs[0][2]", "type"),
        ({"inputs": [{**by_name(SETOSA), "age": 3}]}, "inputs[0].age", "known_field"),
        ({"inputs": [by_name(SETOSA), {"sepal length (cm)": 1}]}, "inputs[1].sepal width (cm)", "required"),
        ({"inputs": [{**by_name(SETOSA), COLUMNS[1]: "x"}]}, "inputs[0].sepal width (cm)", "type"),
        ({"inputs": {name: [1] for name in COLUMNS[:3]}}, "inputs.petal width (cm)", "required"),
        ({"inputs": {**{name: [1] for name in COLUMNS}, COLUMNS[3]: [1, 2]}}, f"inputs.{COLUMNS[0]}", "length"),
        ({"inputs": {**{name: [1] for name in COLUMNS}, COLUMNS[3]: 1}}, f"inputs.{COLUMNS[3]}", "type"),
        ({"dataframe_split": {"columns": COLUMNS, "data": [[1, 2, 3]]}}, "dataframe_split.data[0]", "length"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1]]}}, "dataframe_split.a", "known_field"),
        ({"dataframe_split": {"columns": COLUMNS}}, "dataframe_split.data", "required"),
        ({"inputs": [SETOSA], "instances": [SETOSA]}, "instances", "known_field"),
        ({"inputs": [SETOSA], "x": 1}, "x", "known_field"),
        ({"inputs": [SETOSA], "params": {"a": 1}}, "params.a", "known_field"),
        ({"inputs": 3}, "inputs", "type"),
        (b'{"inputs": [[1e999, 1, 1, 1]]}', "inputs[0][0]", "finite"),
        (b'{"inputs": [[1, 1, 1, 1]], "inputs": [[2, 2, 2, 2]]}', "inputs", "unique"),
    ],
)
def test_what_breaks_the_signature_is_refused_with_its_place(
    client: Client, sent: object, field: str, rule: str
) -> None:
    answer = client.post(sent)
    error = answer.json()["error"]
    assert (answer.status, error["field"], error["rule"]) == (422, field, rule)
    assert error["message"].startswith((field, "every", "send", "inputs"))


def test_what_is_no_json_is_refused(client: Client) -> None:
    assert client.post(b"x").status == 400
    assert client.post(b'{"inputs": [[1,').status == 400


def test_a_missing_value_that_the_model_cant_take_is_named(client: Client) -> None:
    answer = client.post({"inputs": [SETOSA, [1, None, 3, 4]]})
    error = answer.json()["error"]
    assert (answer.status, error["field"], error["rule"]) == (422, "inputs[1][1]", "missing")


def test_a_missing_value_is_taken_by_a_model_that_takes_it(tmp_path: Path, flowers: tuple[Any, Any]) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=5).fit(*flowers)
    mlflow.sklearn.save_model(
        model, tmp_path / "m", input_example=flowers[0][:2], pip_requirements=[], serialization_format="cloudpickle"
    )
    client = Client(tmp_path / "m")
    assert client.post({"inputs": [[6.3, None, 6.0, 2.5]]}).json() == {"outputs": [2]}


def test_the_openapi_document_is_exact(client: Client) -> None:
    document = client.get("/openapi.json")
    operation = document["paths"]["/api/predict"]["post"]
    request = operation["requestBody"]["content"]["application/json"]
    validator = jsonschema.Draft202012Validator(request["schema"])
    validator.validate(request["example"])
    assert request["example"] == {"inputs": [by_name(SETOSA), by_name([4.9, 3.0, 1.4, 0.2])]}
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(client.post(request["example"]).json(), answer)
    assert answer["properties"]["outputs"]["items"]["type"] == "integer"
    mlflows = document["paths"]["/invocations"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(client.post(request["example"], "/invocations").json(), mlflows)
    for bad in ({}, {"inputs": []}, {"inputs": [SETOSA[:3]]}, {"inputs": [{"x": 1}]}, {"inputs": [["x"] * 4]}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(bad)


def test_the_protocol_has_a_tensor_a_column(client: Client) -> None:
    metadata = client.get("/v2/models/flowers")
    assert metadata["platform"] == "sklearn"
    assert metadata["inputs"] == [{"name": name, "datatype": "FP64", "shape": [-1, 1]} for name in COLUMNS]
    assert metadata["outputs"] == [{"name": "output", "datatype": "INT64", "shape": [-1]}]
    tensors = [
        {"name": name, "shape": [2, 1], "datatype": "FP64", "data": [SETOSA[n], VIRGINICA[n]]}
        for n, name in enumerate(COLUMNS)
    ]
    output = {"name": "output", "shape": [2], "datatype": "INT64", "data": [0, 2]}
    assert client.infer(*tensors[::-1], parameters={"content_type": "pd"}).json()["outputs"] == [output]
    assert "4 tensors, one a column" in client.infer(*tensors[:3]).json()["error"]
    document = client.get("/openapi.json")
    schema = {"$ref": "#/components/schemas/InferRequest", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate({"inputs": tensors})
    infer = document["paths"]["/v2/models/flowers/infer"]["post"]["requestBody"]["content"]["application/json"]
    assert client.infer(*infer["example"]["inputs"]).status == 200


def test_predictions_are_counted_and_their_values_observed(iris: Path) -> None:
    client = Client(iris)
    client.post({"inputs": [SETOSA, VIRGINICA, VIRGINICA]})
    lines = client.metrics.response().body.decode().splitlines()
    assert "modelops_predictions_total 3.0" in lines
    assert 'modelops_prediction_value_sum{output="0"} 4.0' in lines


def test_probabilities_are_predicted_where_they_are_asked_for(iris: Path) -> None:
    client = Client(iris, MODELOPS_PREDICT_METHOD="predict_proba")
    (row,) = client.post({"inputs": [VIRGINICA]}).json()["outputs"]
    assert len(row) == 3 and row[2] > 0.9
    assert client.get("/v2/models/flowers")["outputs"] == [{"name": "output", "datatype": "FP64", "shape": [-1, 3]}]


def test_a_method_that_the_model_has_not_is_refused(iris: Path) -> None:
    with pytest.raises(
        ContractError, match=r"'transform', which the model \(sklearn\) has not: it has predict, predict_"
    ):
        loaded(iris, MODELOPS_PREDICT_METHOD="transform")


def test_a_pipeline_that_selects_columns_by_name_gets_a_table(tmp_path: Path) -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = pandas.DataFrame({"age": [20.0, 30.0, 40.0, 50.0] * 5, "city": ["Lima", "Rome"] * 10})
    encoder = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough")
    model = make_pipeline(encoder, LogisticRegression()).fit(rows, [0, 1] * 10)
    mlflow.sklearn.save_model(
        model, tmp_path / "m", input_example=rows[:2], pip_requirements=[], serialization_format="cloudpickle"
    )
    client = Client(tmp_path / "m")
    assert client.model.way == "pyfunc"
    assert client.post({"inputs": [{"city": "Rome", "age": 30}, {"age": 20, "city": "Lima"}]}).json() == {
        "outputs": [1, 0]
    }
    unknown = client.post({"inputs": [[20, "Oslo"]]})
    assert (unknown.status, unknown.json()["error"]["rule"]) == (422, "predictable")
    assert "Oslo" in unknown.json()["error"]["message"]
    city = {"name": "city", "shape": [1, 1], "datatype": "BYTES", "data": ["Rome"]}
    age = {"name": "age", "shape": [1], "datatype": "INT64", "data": [30]}
    assert client.infer(city, age).json()["outputs"][0]["data"] == [1]
    inputs = client.get("/v2/models/flowers")["inputs"]
    assert inputs[1] == {
        "name": "city",
        "datatype": "BYTES",
        "shape": [-1, 1],
        "parameters": {"content_type": "str"},
    }


def test_a_teams_own_code_has_parameters_and_several_outputs(tmp_path: Path) -> None:
    from mlflow.types import ParamSchema, ParamSpec

    params = ParamSchema([ParamSpec("factor", "long", 2), ParamSpec("names", "string", ["a"], (-1,))])
    columns = table(("double", "price"), ("string", "name"))
    example = pandas.DataFrame({"price": [1.5], "name": ["pen"]})
    folder = saved(tmp_path / "m", Doubled(), example, signature=signature(columns, None, params))
    client = Client(folder)
    rows = {"inputs": [{"price": 2, "name": "cup"}]}
    assert client.post(rows).json() == {"outputs": [{"price": 4.0, "label": "cup!"}]}
    assert client.post({**rows, "params": {"factor": 10}}).json()["outputs"][0]["price"] == 20
    assert client.post({**rows, "params": {"factor": 3.0, "names": ["x", "y"]}}).json()["outputs"][0]["price"] == 6
    for bad, field in ({"factor": "x"}, "params.factor"), ({"names": "x"}, "params.names"), ({"y": 1}, "params.y"):
        refused = client.post({**rows, "params": bad})
        assert (refused.status, refused.json()["error"]["field"]) == (422, field)
    schema = client.get("/openapi.json")["paths"]["/api/predict"]["post"]
    request = schema["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(request).validate({**rows, "params": {"factor": 3}})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(request).validate({**rows, "params": {"factor": "x"}})
    tensors = [
        {"name": "price", "shape": [2, 1], "datatype": "FP32", "data": [1, 2]},
        {"name": "name", "shape": [2, 1], "datatype": "BYTES", "data": ["a", "b"]},
    ]
    both = client.infer(*tensors, parameters={"factor": 5}).json()["outputs"]
    assert both == [
        {"name": "price", "shape": [2], "datatype": "FP64", "data": [5.0, 10.0]},
        {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["a!", "b!"]},
    ]
    one = client.infer(*tensors, outputs=[{"name": "label"}]).json()["outputs"]
    assert [output["name"] for output in one] == ["label"]
    assert client.infer(*tensors, outputs=[{"name": "x"}]).status == 422
    binary = client.infer(*tensors, outputs=[{"name": "label", "parameters": {"binary_data": True}}])
    assert binary.body.endswith(b"\x02\x00\x00\x00a!\x02\x00\x00\x00b!")
    lines = client.metrics.response().body.decode()
    assert 'modelops_prediction_value_count{output="price"}' in lines and 'output="label"' not in lines


KINDS = (
    ("boolean", "flag"),
    ("integer", "small"),
    ("long", "large"),
    ("float", "single"),
    ("double", "number"),
    ("string", "text"),
    ("binary", "blob"),
    ("datetime", "when"),
    ("double", "rarely", True),
)
ROW = {
    "flag": True,
    "small": 7,
    "large": 2**40,
    "single": 0.5,
    "number": 0.25,
    "text": "a: ü",
    "blob": base64.b64encode(b"\x00\xff").decode(),
    "when": "2026-01-02T03:04:05+01:00",
}


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(saved(tmp_path_factory.mktemp("mlflow") / "kinds", Kinds(), signature=signature(table(*KINDS))))


def test_each_type_of_column_comes_as_what_mlflow_makes_of_it(kinds: Client) -> None:
    (said,) = kinds.post({"inputs": [ROW]}).json()["outputs"]
    for part in (
        "flag bool np.True_",
        "small int32 np.int32(7)",
        f"large int64 np.int64({2**40})",
        "single float32 np.float32(0.5)",
        "number float64 np.float64(0.25)",
        "'a: ü'",
        "blob object b'\\x00\\xff'",
        "when datetime64[ns] Timestamp('2026-01-02 02:04:05')",
    ):
        assert part in said
    assert "rarely" not in said
    assert "rarely float64 np.float64(nan)" in kinds.post({"inputs": [ROW, {**ROW, "rarely": 1}]}).json()["outputs"][0]
    document = kinds.get("/openapi.json")["paths"]["/api/predict"]["post"]["requestBody"]["content"]
    jsonschema.Draft202012Validator(document["application/json"]["schema"]).validate({"inputs": [ROW]})
    assert kinds.post(document["application/json"]["example"]).status == 200


def test_each_type_of_column_comes_by_tensors_too(kinds: Client) -> None:
    datatypes = dict(zip(ROW, ("BOOL", "INT32", "INT64", "FP32", "FP64", "BYTES", "BYTES", "BYTES"), strict=True))
    tensors = [{"name": n, "shape": [1, 1], "datatype": datatypes[n], "data": [ROW[n]]} for n in ROW]
    (said,) = kinds.infer(*tensors).json()["outputs"][0]["data"]
    assert said == kinds.post({"inputs": [ROW]}).json()["outputs"][0]


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("flag", 1, "type"),
        ("flag", None, "type"),
        ("small", 2**31, "finite"),
        ("small", 1.5, "type"),
        ("large", None, "type"),
        ("large", 2**63, "finite"),
        ("single", 1e39, "finite"),
        ("number", "1", "type"),
        ("text", 1, "type"),
        ("blob", "é", "type"),
        ("blob", "abc", "type"),
        ("when", "yesterday", "type"),
        ("when", 5, "type"),
        ("when", "0001-01-01", "finite"),
        ("rarely", "x", "type"),
    ],
)
def test_a_value_of_another_type_is_refused(kinds: Client, name: str, value: object, rule: str) -> None:
    answer = kinds.post({"inputs": [ROW, {**ROW, name: value}]})
    error = answer.json()["error"]
    assert (answer.status, error["field"], error["rule"]) == (422, f"inputs[1].{name}", rule)


@pytest.mark.parametrize(
    ("name", "value"), [("small", 7.0), ("text", None), ("when", None), ("number", None), ("blob", None)]
)
def test_a_value_may_be_missing_or_a_whole_number_written_with_a_point(kinds: Client, name: str, value: object) -> None:
    assert kinds.post({"inputs": [{**ROW, name: value}]}).status == 200


class Says(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Says of each row what it was given."""

    def predict(self, context: Any, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        if hasattr(model_input, "to_dict"):
            return [repr(row) for row in model_input.to_dict("records")]
        return [repr(model_input)]


class Lists(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, context: Any, model_input: list[list[str]], params: Any = None) -> Any:
        return [" ".join(words) for words in model_input]


def takes(client: Client, sent: object) -> Any:
    """What the answer has, which is 200 just where the document says so; the refused field otherwise."""
    document = client.get("/openapi.json")["paths"]["/api/predict"]["post"]["requestBody"]["content"]
    valid = jsonschema.Draft202012Validator(document["application/json"]["schema"]).is_valid(sent)
    answer = client.post(sent)
    assert (answer.status, valid) in ((200, True), (422, False)), answer.body
    return answer.json()["outputs"] if valid else answer.json()["error"]["field"]


def test_a_row_without_any_column_is_refused(tmp_path: Path) -> None:
    columns = table(("double", "x", True), ("string", "y", True))
    client = Client(saved(tmp_path / "m", Says(), signature=signature(columns)))
    assert takes(client, {"inputs": [{}]}) == "inputs[0]"
    assert takes(client, {"inputs": [{"x": 1}, {}]}) == "inputs[1]"
    assert takes(client, {"inputs": {}}) == "inputs"
    assert takes(client, {"dataframe_records": [{}]}) == "dataframe_records[0]"
    assert takes(client, {"dataframe_split": {"columns": [], "data": [[]]}}) == "dataframe_split"
    assert takes(client, {"inputs": {"y": ["a"]}}) == ["{'y': 'a'}"]
    assert client.infer().status == 422


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "", "a.b/c", "ü ñ", "$ref"])
def test_a_column_may_have_any_name(tmp_path: Path, name: str) -> None:
    client = Client(saved(tmp_path / "m", Says(), signature=signature(table(("double", name), ("string", "t")))))
    said = [repr({name: 1.0, "t": "a"})]
    assert takes(client, {"inputs": [{name: 1, "t": "a"}]}) == said
    assert takes(client, {"inputs": [[1, "a"]]}) == said
    assert takes(client, {"inputs": {name: [1], "t": ["a"]}}) == said
    assert takes(client, {"inputs": [{name: "x", "t": "a"}]}) == f"inputs[0].{name}"


def test_a_table_whose_columns_have_no_names_has_numbers_for_them(tmp_path: Path) -> None:
    client = Client(saved(tmp_path / "m", Says(), pandas.DataFrame([[1.0, "a"], [3.0, "b"]])))
    said = [repr({0: 2.0, 1: "c"})]
    assert takes(client, {"inputs": [[2, "c"]]}) == said
    assert takes(client, {"inputs": [{"0": 2, "1": "c"}]}) == said
    assert takes(client, {"dataframe_split": {"data": [[2, "c"]]}}) == said
    assert takes(client, {"dataframe_split": {"columns": [1, 0], "data": [["c", 2]]}}) == said


def test_a_signature_with_a_name_twice_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", Says(), signature=signature(table(("double", "a"), ("double", "a"))))
    with pytest.raises(ContractError, match="has the column 'a' twice"):
        loaded(folder)


@pytest.mark.parametrize(
    ("example", "sent", "said"),
    [
        ({"a": 1, "b": "x"}, [{"a": 2, "b": "y"}], repr({"a": 2, "b": "y"})),
        ({"a": [1.5, 2.5], "b": "x"}, [{"a": [2], "b": "y"}], repr({"a": [2.0], "b": "y"})),
        ("text", ["y"], repr({0: "y"})),
    ],
)
def test_an_example_may_be_a_row_of_its_own(tmp_path: Path, example: Any, sent: Any, said: str) -> None:
    client = Client(saved(tmp_path / "m", Says(), example))
    assert client.notes == []
    assert takes(client, {"inputs": sent}) == [said]


def test_an_example_may_lack_values(tmp_path: Path) -> None:
    times = pandas.to_datetime(["2026-01-02T03:04:05.123456789", None])
    example = pandas.DataFrame({"x": [math.nan, 1.0], "text": [None, "a"], "when": times})
    client = Client(saved(tmp_path / "m", Kinds(), example))
    assert client.notes == []
    document = client.get("/openapi.json")["paths"]["/api/predict"]["post"]["requestBody"]["content"]
    shown = document["application/json"]["example"]
    assert [row["x"] for row in shown["inputs"]] == [None, 1.0]
    assert "x float64 np.float64(nan)" in takes(client, shown)[0]
    numbers = Client(saved(tmp_path / "n", Returns("sometimes"), pandas.DataFrame({"x": [math.nan, 1.0]})))
    assert numbers.infer(*numbers.model.infer_example["inputs"]).status == 200


def test_no_parameters_are_taken_by_a_model_without_any(client: Client) -> None:
    for params in {}, None:
        assert takes(client, {"inputs": [SETOSA], "params": params}) == [0]
    assert takes(client, {"inputs": [SETOSA], "params": {"a": 1}}) == "params.a"
    assert takes(client, {"dataframe_records": [SETOSA]}) == [0]


def test_values_in_an_object_are_checked(tmp_path: Path) -> None:
    from mlflow.types import DataType, Schema
    from mlflow.types.schema import Array, ColSpec, Object, Property

    message = Object([Property("role", DataType.string), Property("tokens", DataType.long, required=False)])
    columns = Schema([ColSpec(Array(message), "messages"), ColSpec(DataType.double, "t")])
    client = Client(saved(tmp_path / "m", Says(), signature=signature(columns)))

    def message_of(**fields: object) -> dict[str, Any]:
        return {"inputs": [{"messages": [fields], "t": 1}]}

    for fields in {"role": "user"}, {"role": "user", "tokens": 3}, {"role": "user", "tokens": None}:
        assert takes(client, message_of(**fields)) == [repr({"messages": [fields], "t": 1.0})]
    at = "inputs[0].messages[0]"
    assert takes(client, message_of(tokens=3)) == f"{at}.role"
    assert takes(client, message_of(role=1)) == f"{at}.role"
    assert takes(client, message_of(role="user", tokens="x")) == f"{at}.tokens"
    assert takes(client, message_of(role="user", more=1)) == f"{at}.more"


def test_a_list_in_a_list_is_a_value_where_the_only_column_has_lists_and_no_name(tmp_path: Path) -> None:
    client = Client(saved(tmp_path / "m", Lists(), [["a", "b"], ["c"]]))
    assert takes(client, {"inputs": [["a", "b"], ["c"]]}) == ["a b", "c"]
    assert takes(client, {"inputs": [[["a"]]]}) == "inputs[0][0]"
    without = Client(saved(tmp_path / "o", Lists()))
    assert without.notes == []
    document = without.get("/openapi.json")["paths"]["/api/predict"]["post"]["requestBody"]["content"]
    assert takes(without, document["application/json"]["example"]) == [""]
    named = Client(saved(tmp_path / "n", Says(), pandas.DataFrame({"v": [[1.0, 2.0], [3.0]]})))
    assert takes(named, {"inputs": [[[1, 2]]]}) == [repr({"v": [1.0, 2.0]})]
    assert takes(named, {"inputs": [[1, 2]]}) == "inputs[0]"


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_a_time_that_no_calendar_has_in_utc_is_refused(kinds: Client, when: str) -> None:
    error = kinds.post({"inputs": [{**ROW, "when": when}]}).json()["error"]
    assert (error["field"], error["rule"]) == ("inputs[0].when", "finite")


def test_a_time_keeps_its_nanoseconds(kinds: Client) -> None:
    (said,) = kinds.post({"inputs": [{**ROW, "when": "1969-01-02T03:04:05.12345678+01:00"}]}).json()["outputs"]
    assert "Timestamp('1969-01-02 02:04:05.123456780')" in said


@pytest.mark.parametrize("name", ["input", "image"])
def test_a_tensor_with_a_name_comes_by_it(tmp_path: Path, name: str) -> None:
    client = Client(saved(tmp_path / "m", Says(), {name: np.ones((2, 3))}))
    said = [repr({name: np.array([[1.0, 2.0, 3.0]])})]
    assert takes(client, {"inputs": {name: [[1, 2, 3]]}}) == said
    assert takes(client, {"inputs": [{name: [1, 2, 3]}]}) == said


@pytest.mark.parametrize("dtype", ["str", "object"])
def test_a_tensor_of_text_has_the_type_that_mlflow_gives_it(tmp_path: Path, dtype: str) -> None:
    from mlflow.types import Schema, TensorSpec

    class Kind(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return [str(model_input.dtype)]

    shapes = Schema([TensorSpec(np.dtype(dtype), (-1,))])
    folder = saved(tmp_path / "m", Kind(), signature=signature(shapes))
    mlflow_s = mlflow.pyfunc.load_model(str(folder)).predict(np.array(["abc"], dtype))
    assert takes(Client(folder), {"inputs": ["abc"]}) == mlflow_s


def test_a_time_as_a_parameter_is_python_s_own(tmp_path: Path) -> None:
    import datetime

    from mlflow.types import ParamSchema, ParamSpec

    class Params(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return [repr(params["since"])]

    schema = ParamSchema(
        [ParamSpec("since", "datetime", np.datetime64("2026-01-02T03:04:05")), ParamSpec("n", "double", [1.0], (-1,))]
    )
    client = Client(saved(tmp_path / "m", Params(), signature=signature(table(("double", "x")), None, schema)))
    default, given = datetime.datetime(2026, 1, 2, 3, 4, 5), datetime.datetime(2026, 2, 3, 3, 5)
    assert takes(client, {"inputs": [1]}) == [repr(default)]
    assert takes(client, {"inputs": [1], "params": {"since": "2026-02-03T04:05+01:00"}}) == [repr(given)]
    assert takes(client, {"inputs": [1], "params": {"n": [1, None]}}) == "params.n[1]"


@pytest.mark.parametrize(
    ("what", "ours"),
    [
        ("series", [1.0, 2.0]),
        ("list", [1.0, 2.0]),
        ("texts", ["<1.0>", "<2.0>"]),
        ("dict", {"low": [0.0, 1.0], "both": [[1.0, 1.0], [2.0, 2.0]]}),
        ("tuple", {"output_0": [1.0, 2.0], "output_1": [2.0, 3.0]}),
        ("dicts", [{"value": 1.0, "parts": [1.0]}, {"value": 2.0, "parts": [2.0]}]),
        ("truth", [True, True]),
        ("ragged", {"first": [1.0, 2.0], "summary": [3.0]}),
        ("missing text", [{"text": "a"}, {"text": None}]),
        ("dates", ["2026-01-02"] * 2),
        ("missing date", ["2026-01-02", None]),
        ("embeddings", [[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]]),
        ("square embeddings", [[1.0, 1.0], [2.0, 2.0]]),
        ("outputs", {"output_0": [[1.0, 1.0], [2.0, 2.0]], "output_1": [[1.0, 1.0], [2.0, 2.0]]}),
        ("generator", [1.0, 2.0]),
        ("truth and number", [True, 2]),
        ("binary", ["AP8="] * 2),
    ],
)
def test_whatever_a_model_returns_is_json(tmp_path: Path, what: str, ours: object) -> None:
    client = Client(saved(tmp_path / "m", Returns(what), signature=signature(table(("double", "x")))))
    assert client.post({"inputs": [{"x": 1}, {"x": 2}]}).json() == {"outputs": ours}
    assert client.post({"inputs": [1, 2]}).json() == {"outputs": ours}
    document = client.get("/openapi.json")["paths"]["/api/predict"]["post"]["responses"]["200"]["content"]
    jsonschema.validate({"outputs": ours}, document["application/json"]["schema"])
    infer = client.infer({"name": "x", "shape": [2], "datatype": "FP64", "data": [1, 2]})
    assert infer.json()["outputs"][0]["shape"][0] == 2


def test_one_row_has_the_form_of_several(tmp_path: Path) -> None:
    client = Client(saved(tmp_path / "m", Returns("embeddings"), signature=signature(table(("double", "x")))))
    assert client.post({"inputs": [1]}).json() == {"outputs": [[1.0, 1.0, 0.0]]}
    assert client.get("/v2/models/flowers")["outputs"] == [{"name": "output", "datatype": "FP64", "shape": [-1, 3]}]


def test_a_table_without_columns_has_no_rows(tmp_path: Path) -> None:
    client = Client(saved(tmp_path / "m", Returns("no columns"), signature=signature(table(("double", "x")))))
    assert client.post({"inputs": [1]}).json() == {"outputs": []}


@pytest.mark.parametrize(("what", "data"), [("dates", "2026-01-02"), ("binary", "AP8=")])
def test_the_protocol_has_text_without_json_s_quotes(tmp_path: Path, what: str, data: str) -> None:
    client = Client(saved(tmp_path / "m", Returns(what), signature=signature(table(("double", "x")))))
    (output,) = client.infer({"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}).json()["outputs"]
    assert (output["datatype"], output["data"]) == ("BYTES", [data])


def test_the_protocol_says_the_datatype_of_what_it_answers(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", Returns("halves"), signature=signature(table(("double", "x"))))
    client = Client(folder)
    (output,) = client.infer({"name": "x", "shape": [2], "datatype": "FP64", "data": [1, 2]}).json()["outputs"]
    assert (output["datatype"], output["data"]) == ("FP64", [0.5, 1.0])


def test_a_model_whose_outputs_are_not_known_answers_by_the_protocol_too(tmp_path: Path) -> None:
    class Divides(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return [1 / value for value in model_input["x"].tolist()]

    client = Client(saved(tmp_path / "m", Divides(), signature=signature(table(("double", "x")))))
    assert [event for event, _reason in client.notes] == ["example"]
    (output,) = client.infer({"name": "x", "shape": [1], "datatype": "FP64", "data": [2]}).json()["outputs"]
    assert output == {"name": "output", "shape": [1], "datatype": "FP64", "data": [0.5]}


def test_one_array_is_answered_without_the_name_that_the_signature_has_for_it(
    tmp_path: Path, flowers: tuple[Any, Any]
) -> None:
    from mlflow.models import infer_signature
    from sklearn.tree import DecisionTreeClassifier

    rows, classes = flowers
    model = DecisionTreeClassifier().fit(rows, classes)
    mlflow.sklearn.save_model(
        model,
        tmp_path / "m",
        signature=infer_signature(rows, pandas.DataFrame({"kind": classes})),
        input_example=rows[:2],
        pip_requirements=[],
        serialization_format="cloudpickle",
    )
    client = Client(tmp_path / "m")
    assert client.post({"inputs": [SETOSA]}).json() == {"outputs": [0]}
    assert client.post({"inputs": [SETOSA]}, "/invocations").json() == {"predictions": [0]}
    assert client.get("/v2/models/flowers")["outputs"] == [{"name": "kind", "datatype": "INT64", "shape": [-1]}]


def test_requests_are_not_predicted_together_where_an_output_is_no_row_s(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", Returns("ragged"), signature=signature(table(("double", "x"))))
    client = Client(folder, MODELOPS_BATCH_ROWS=64)

    async def go() -> list[Answer]:
        bodies = [json.dumps({"inputs": rows}).encode() for rows in ([1], [2, 3], [4])]
        return list(await asyncio.gather(*[ask(client.app, "POST", "/api/predict", body) for body in bodies]))

    assert [answer.json()["outputs"]["summary"] for answer in asyncio.run(go())] == [[1.0], [5.0], [4.0]]


def test_a_prediction_of_another_kind_than_the_example_s_is_answered_and_not_observed(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", Returns("sometimes"), pandas.DataFrame({"x": [1.0]}))
    client = Client(folder)
    assert client.post({"inputs": [1, 2]}).json() == {"outputs": {"some": ["text", "text"]}}
    assert "modelops_predictions_total 2.0" in client.metrics.response().body.decode().splitlines()


@pytest.mark.parametrize(
    ("what", "status", "message"),
    [
        ("nan", 422, "not a finite number"),
        ("objects with nan", 422, "a number that is not finite"),
        ("twice", 500, "internal error"),
        ("fails", 422, "can't predict these inputs: no such flower"),
        ("breaks", 500, "internal error"),
    ],
)
def test_a_prediction_that_fails_is_refused(tmp_path: Path, what: str, status: int, message: str) -> None:
    client = Client(saved(tmp_path / "m", Returns(what), signature=signature(table(("double", "x")))))
    assert [event for event, _reason in client.notes] == ["example"]
    answer = client.post({"inputs": [1]})
    assert answer.status == status and message in answer.json()["error"]["message"]


def test_one_caller_s_bad_row_does_not_fail_the_others_of_a_batch(iris: Path) -> None:
    client = Client(iris, MODELOPS_BATCH_ROWS=64)
    bodies = [{"inputs": [SETOSA]}, {"inputs": [[1, None, 3, 4]]}, {"inputs": [VIRGINICA, SETOSA]}]

    async def go() -> list[Answer]:
        asked = [ask(client.app, "POST", "/api/predict", json.dumps(body).encode()) for body in bodies * 3]
        return list(await asyncio.gather(*asked))

    answers = asyncio.run(go())
    assert [answer.status for answer in answers] == [200, 422, 200] * 3
    assert [answers[0].json(), answers[2].json(), answers[8].json()] == [
        {"outputs": [0]},
        {"outputs": [2, 0]},
        {"outputs": [2, 0]},
    ]


def test_a_model_that_cant_predict_its_own_example_is_not_served(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", Returns("list"), pandas.DataFrame({"x": [1.0]}))
    example = folder / "serving_input_example.json"
    example.write_text(json.dumps({"dataframe_split": {"columns": ["y"], "data": [[1.0]]}}))
    with pytest.raises(ContractError, match="input example breaks its own signature"):
        loaded(folder)
    folder = saved(tmp_path / "n", Returns("fails"), signature=signature(table(("double", "x"))))
    (folder / "serving_input_example.json").write_text(json.dumps({"inputs": [1.0]}))
    with pytest.raises(ContractError, match="can't predict its own input example: ValueError: no such flower"):
        loaded(folder)


def test_a_model_without_signature_and_example_is_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", Returns("list"))
    with pytest.raises(ContractError, match=r"neither a signature nor an input example.*infer_signature"):
        loaded(folder)


def test_a_signature_is_inferred_from_the_example(iris: Path, tmp_path: Path) -> None:
    import shutil

    import yaml

    folder = shutil.copytree(iris, tmp_path / "m")
    content = yaml.safe_load((folder / "MLmodel").read_text())
    del content["signature"]
    (folder / "MLmodel").write_text(yaml.safe_dump(content))
    assert Client(folder).post({"inputs": [by_name(VIRGINICA)]}).json() == {"outputs": [2]}


@pytest.mark.parametrize("text", ["{", "a: 1", "flavors: {spark: {}}", "- x"])
def test_a_broken_mlmodel_is_refused_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(ContractError, match=r"^MLmodel "):
        loaded(tmp_path)


def test_tensors_of_any_size_are_taken(tmp_path: Path) -> None:
    from mlflow.types import Schema, TensorSpec

    class Sums(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return {name: array.sum(axis=tuple(range(1, array.ndim))) for name, array in model_input.items()}

    shapes = Schema([TensorSpec(np.dtype("float32"), (-1, -1, 2), "image"), TensorSpec(np.dtype("int64"), (-1,), "n")])
    client = Client(saved(tmp_path / "m", Sums(), signature=signature(shapes)))
    for sent in (
        {"inputs": {"image": [[[1, 2], [3, 4]]], "n": [5]}},
        {"instances": [{"image": [[1, 2], [3, 4]], "n": 5}]},
    ):
        assert client.post(sent).json() == {"outputs": {"image": [10.0], "n": [5]}}
    image = {"name": "image", "shape": [1, 3, 2], "datatype": "FP32", "data": [1] * 6}
    count = {"name": "n", "shape": [1], "datatype": "INT64", "data": [5]}
    outputs = client.infer(count, image).json()["outputs"]
    assert [(output["name"], output["data"]) for output in outputs] == [("image", [6.0]), ("n", [5])]
    metadata = client.get("/v2/models/flowers")
    assert metadata["inputs"][0] == {"name": "image", "datatype": "FP32", "shape": [-1, -1, 2]}
    for bad, field in (
        ({"inputs": {"image": [[[1, 2]]]}}, "inputs.n"),
        ({"inputs": {"image": [[[1, 2, 3]]], "n": [5]}}, "inputs.image[0][0]"),
        ({"inputs": {"image": [[[1, 2]]], "n": [5, 6]}}, "inputs"),
        ({"inputs": {"image": [[[1, 2]]], "n": [5.5]}}, "inputs.n[0]"),
        ({"inputs": {"image": [[1, 2]], "n": [5]}}, "inputs.image[0][0]"),
        ({"dataframe_split": {}}, "dataframe_split"),
        ({"inputs": {"x": [1]}}, "inputs.x"),
    ):
        answer = client.post(bad)
        assert (answer.status, answer.json()["error"]["field"]) == (422, field), answer.body


def test_an_onnx_model_needs_no_mlflow_and_no_signature(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    floats = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in ("a", "b")]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in ("sum", "product")]
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "b"], ["product"])]
    graph = helper.make_graph(nodes, "two", floats, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    mlflow.onnx.save_model(model, tmp_path / "m", pip_requirements=[])
    client = Client(tmp_path / "m")
    assert client.model.platform == "onnx"
    answer = client.post({"inputs": {"a": [[1, 2]], "b": [[3, 4]]}})
    assert answer.json() == {"outputs": {"sum": [[4.0, 6.0]], "product": [[3.0, 8.0]]}}


@pytest.mark.tensorflow
def test_a_keras_model_is_one_graph(tmp_path: Path) -> None:
    import keras
    from mlflow.models import infer_signature

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "relu"), keras.layers.Dense(1)])
    rows = np.array([[1, 2, 3], [4, 5, 6]], "float32")
    expected = model.predict(rows, verbose=0)
    mlflow.tensorflow.save_model(
        model,
        tmp_path / "m",
        signature=infer_signature(rows, expected),
        input_example=rows,
        pip_requirements=[],
    )
    client = Client(tmp_path / "m")
    assert client.model.way == "tf.function"
    np.testing.assert_allclose(client.post({"inputs": rows.tolist()}).json()["outputs"], expected[:, 0], rtol=1e-5)
    assert client.post({"inputs": rows.tolist()}, "/invocations").json()["predictions"][0] == pytest.approx(
        expected[0].tolist(), rel=1e-5
    )


def test_the_server_finds_out_what_kind_of_model_it_has(iris: Path, tmp_path: Path) -> None:
    with start_server(iris, tmp_path / "log", MODELOPS_MODEL_NAME="flowers") as server:
        assert server.post({"inputs": [SETOSA, VIRGINICA]}).json() == {"outputs": [0, 2]}
        assert server.ask("GET", "/healthz/ready").json()["model"] == "flowers"
        assert server.terminate() == 0


def test_requirements_that_the_image_has_not_are_listed(
    iris: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    folder = shutil.copytree(iris, tmp_path / "m")
    lines = ["numpy>=1", "scikit-learn==0.1  # old", "no-such-package==2", "x; python_version<'3'"]
    (folder / "requirements.txt").write_text("\n".join(lines))
    with pytest.raises(ContractError) as refused:
        loaded(folder)
    import sklearn

    assert refused.value.problems[1:3] == (
        f"scikit-learn==0.1: the image has {sklearn.__version__}",
        "no-such-package==2: the image lacks it",
    )
    assert "2 of its lines differ" in refused.value.problems[0]
    said = run_here(check.main, capsys, MODELOPS_MODEL_DIR=folder)
    assert (said.returncode, len(said.stderr.splitlines())) == (2, 4)
    assert "error: no-such-package==2: the image lacks it" in said.stderr.splitlines()
    assert run_here(check.main, capsys, MODELOPS_MODEL_DIR=iris).returncode == 0
    notes: Notes = []
    assert loaded(folder, notes, MODELOPS_REQUIREMENTS="warn").name == "model"
    assert [event for event, _reason in notes] == ["requirement"] * 2
    (folder / "requirements.txt").write_text("=1")
    with pytest.raises(ContractError, match="has the line '=1'"):
        loaded(folder)


@pytest.mark.parametrize("method", ["", "predict_proba"])
def test_a_conversion_to_onnx_that_agrees_serves_on_request(
    iris: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setenv("MODELOPS_MODEL_DIR", str(iris))
    monkeypatch.setenv("MODELOPS_PREDICT_METHOD", method)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "model"))
    converted = Client(iris, MODELOPS_ONNX="true", MODELOPS_PREDICT_METHOD=method)
    assert (converted.model.way, converted.notes) == ("onnxruntime", [])
    own = Client(iris, MODELOPS_PREDICT_METHOD=method)
    rows = {"inputs": [SETOSA, VIRGINICA, [6.0, 2.7, 5.1, 1.6]]}
    np.testing.assert_allclose(converted.post(rows).json()["outputs"], own.post(rows).json()["outputs"], rtol=1e-5)
    assert converted.get("/v2/models/flowers")["outputs"] == own.get("/v2/models/flowers")["outputs"]


def test_a_model_without_a_conversion_serves_itself_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = pandas.DataFrame({"x": [1.0]})
    folder = saved(tmp_path / "m", Returns("list"), example)
    monkeypatch.setenv("MODELOPS_MODEL_DIR", str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}:{REPOSITORY / 'model'}")
    client = Client(folder, MODELOPS_ONNX="true")
    assert client.post({"inputs": [1]}).json() == {"outputs": [1.0]}
    ((event, reason),) = client.notes
    assert event == "onnx" and "there is no conversion of models of pyfunc" in reason


def test_probes_are_answered_while_the_model_predicts(iris: Path) -> None:
    client, go, begun = Client(iris), threading.Event(), threading.Event()
    predict = client.model._way

    def slow(rows: Any) -> Any:
        begun.set()
        assert go.wait(20), "nobody else was answered meanwhile"
        return predict(rows)

    client.model._way = slow

    async def ask_both() -> Answer:
        asked = asyncio.create_task(ask(client.app, "POST", "/api/predict", json.dumps({"inputs": [SETOSA]}).encode()))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        assert (await ask(client.app, "GET", "/healthz/live")).status == 200
        go.set()
        return await asked

    assert asyncio.run(ask_both()).json() == {"outputs": [0]}


def test_mlflow_s_own_client_is_answered(iris: Path, tmp_path: Path, flowers: tuple[Any, Any]) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    with start_server(iris, tmp_path / "log", MODELOPS_LOG_INPUTS="true") as server:
        answer = ScoringServerClient("127.0.0.1", server.port).invoke(flowers[0][:2])
        assert answer.get_predictions()[0].tolist() == [0, 0]
        assert "dataframe_split" in server.requests(1)[0]["inputs"]
