"""What was fitted with the training data is applied again by the server: a client sends raw values."""

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.artifacts.manifest import Golden, Manifest, Tensor
from modelops_runtime.artifacts.operations import apply
from modelops_runtime.artifacts.preprocessing import FILE_NAME, Preprocessing
from modelops_runtime.artifacts.runtimes import Preprocessed, load
from modelops_runtime.contract import ContractError
from modelops_runtime.data import prepare
from modelops_runtime.serving.validation import NO_MISSING
from tests.models import write_model
from tests.unit.model.support import start_server

ROWS = 1000
OIP = "/v2/models/sum/infer"
CATEGORY = {"column": "kind", "kind": "one_hot", "categories": [1.0, 2.0], "unknown": "error"}
OPERATIONS = (
    {"column": "age", "kind": "clip", "low": 0.0, "high": 100.0},
    {"column": "age", "kind": "standard", "mean": 40.0, "deviation": 10.0},
    CATEGORY,
)
WORDS = {"column": "kind", "kind": "words", "size": 2, "vectors": {"rain": [1.0, 2.0], "sun": [3.0, 4.0]}}
SIMPLE = Preprocessing(("age", "kind"), ("age", "kind=1.0", "kind=2.0"), OPERATIONS)


def with_preprocessing(directory: Path, preprocessing: Preprocessing, golden: list[list[Any]]) -> Manifest:
    """A model that adds up what it takes, behind a preprocessing."""
    width = len(preprocessing.outputs)
    plain = write_model(directory, weights=((1.0,) * width,), bias=(0.0,))
    preprocessing.write(directory)
    expected = preprocessing.transform(np.array(golden, dtype="object")).sum(axis=1, keepdims=True).tolist()
    file = directory / FILE_NAME
    manifest = Manifest(
        name="sum",
        run_id=plain.run_id,
        framework=plain.framework,
        runtime=plain.runtime,
        file=plain.file,
        inputs=Tensor((-1, len(preprocessing.inputs)), "object" if preprocessing.text_inputs() else "float64"),
        outputs=plain.outputs,
        golden=Golden(golden, expected, 1e-5),
        sha256={**plain.sha256, FILE_NAME: hashlib.sha256(file.read_bytes()).hexdigest()},
        extra_files=(FILE_NAME,),
    )
    manifest.write(directory)
    return manifest


def test_server_and_pipeline_agree_to_the_last_bit_on_1000_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    raw = pd.DataFrame({"id": range(2 * ROWS), "a": rng.normal(3, 700, 2 * ROWS), "b": rng.lognormal(0, 3, 2 * ROWS)})
    raw["c"] = rng.integers(0, 4, 2 * ROWS)
    raw.to_csv(tmp_path / "raw.csv", index=False)
    steps: list[dict[str, Any]] = [
        {"split": {"by": "time", "column": "id", "test": 0.5, "validation": 0.1}},
        {"drop": {"columns": ["id"]}},
        {"outliers": {"columns": ["a"], "rule": "iqr"}},
        {"scale": {"columns": ["a"]}},
        {"scale": {"columns": ["b"], "by": "minmax"}},
        {"encode": {"columns": ["c"]}},
    ]
    declared = {"sources": [{"uri": f"{tmp_path}/raw.csv"}], "steps": steps}
    prepare.main(["--pipeline", json.dumps(declared), "--destination", str(tmp_path / "out"), "--data-version", "v1"])
    prepared = pd.read_parquet(tmp_path / "out" / "v1" / "test").to_numpy().astype("float32")
    assert len(prepared) == ROWS
    clients = raw.iloc[-ROWS:][["a", "b", "c"]].to_numpy("float64")
    model = tmp_path / "model"
    saved = Preprocessing.read(tmp_path / "out" / "v1" / FILE_NAME)
    manifest = with_preprocessing(model, saved, clients[:3].tolist())
    runtime = load(model, manifest, 1)
    assert isinstance(runtime, Preprocessed)
    # Through JSON, as a client's numbers come.
    sent = np.array(json.loads(json.dumps(clients.tolist())))
    np.testing.assert_array_equal(runtime.preprocessing.transform(sent).view("uint32"), prepared.view("uint32"))
    np.testing.assert_array_equal(runtime.predict(sent), runtime.model.predict(prepared))


numbers = st.floats(-1e6, 1e6)
values = st.one_of(numbers, st.none(), st.just(math.nan))
whole = st.integers(-5, 5)
kinds = st.one_of(
    st.fixed_dictionaries({"kind": st.just("standard"), "mean": numbers, "deviation": st.one_of(st.just(0), numbers)}),
    st.fixed_dictionaries({"kind": st.just("minmax"), "minimum": whole, "maximum": whole}),
    st.fixed_dictionaries({"kind": st.just("clip"), "low": whole, "high": st.integers(6, 9)}),
    st.fixed_dictionaries({"kind": st.just("interval"), "width": st.floats(0.1, 10)}),
    st.fixed_dictionaries({"kind": st.just("fill"), "value": numbers}),
)


@given(
    operations=st.lists(st.tuples(st.sampled_from("abcd"), kinds), max_size=12),
    rows=st.lists(st.tuples(values, values, values, values), max_size=4),
)
def test_operations_on_many_columns_at_a_time_change_no_bit(
    operations: list[tuple[str, dict[str, Any]]], rows: list[tuple[float | None, ...]]
) -> None:
    declared = tuple({"column": column, **operation} for column, operation in operations)
    table = np.array(rows, dtype=object).reshape(len(rows), 4)
    columns = dict(zip("abcd", table.T, strict=True))
    for operation in declared:
        [columns[operation["column"]]] = apply(operation, columns[operation["column"]])
    expected = [columns[name].astype("float64") for name in "dcba"]
    got = Preprocessing(tuple("abcd"), tuple("dcba"), declared, dtype="float64").transform(table)
    np.testing.assert_array_equal(got, np.array(expected).T)
    assert got.flags.c_contiguous


def test_a_client_sends_raw_values_and_an_unknown_category_is_refused(tmp_path: Path) -> None:
    with_preprocessing(tmp_path / "model", SIMPLE, [[40.0, 1.0]])
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        answer = server.post({"inputs": [[50, 1], [500, 2]]})
        assert answer.json() == {"outputs": [2.0, 7.0]}
        refused = server.post({"inputs": [[50, 1], [50, 3]]})
        assert refused.status == 422
        assert refused.json()["error"]["field"] == "inputs[1][1]" and refused.json()["error"]["rule"] == "category"
        assert server.post({"inputs": [[50]]}).status == 422


MIXED = Preprocessing(
    ("age", "city", "kind"),
    ("age", "city=Lima", "city=Rome", "kind_0", "kind_1"),
    ({"column": "city", "kind": "one_hot", "categories": ["Lima", "Rome"], "unknown": "error"}, WORDS),
)


def test_a_client_sends_text_where_the_data_had_text(tmp_path: Path) -> None:
    with_preprocessing(tmp_path / "model", MIXED, [[40.0, "Rome", "rain"]])
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        answer = server.post({"inputs": [[50, "Rome", "Rain, rain and sun!"], [1, "Lima", "snow"]]})
        assert answer.json()["outputs"] == pytest.approx([50 + 1 + 5 / 3 + 8 / 3, 1 + 1], abs=1e-5)
        for row, field, rule in (
            ([50, "Oslo", "rain"], "inputs[0][1]", "category"),
            ([50, 7, "rain"], "inputs[0][1]", "type"),
            (["50", "Rome", "rain"], "inputs[0][0]", "type"),
            ([50, None, "rain"], "inputs[0][1]", "type"),
            ([None, "Rome", "rain"], "inputs[0][0]", "type"),
            ([50, "Rome"], "inputs[0]", "length"),
            ([50, ["Rome"], "rain"], "inputs[0][1]", "depth"),
        ):
            refused = server.post({"inputs": [row]})
            assert refused.status == 422, row
            error = refused.json()["error"]
            assert (error["field"], error["rule"]) == (field, rule), error
        assert server.post({"inputs": [[50, "Rome", None]]}).json() == {"outputs": [51.0]}  # as a text without words
        document = server.ask("GET", "/openapi.json").json()
        body = document["paths"]["/api/predict"]["post"]["requestBody"]["content"]["application/json"]
        columns = body["schema"]["properties"]["inputs"]["items"]["prefixItems"]
        assert [(column["title"], column["type"]) for column in columns] == [
            ("age", "number"),
            ("city", "string"),
            ("kind", ["string", "null"]),
        ]


def test_the_open_protocol_has_a_tensor_for_each_column_where_some_are_text(tmp_path: Path) -> None:
    with_preprocessing(tmp_path / "model", MIXED, [[40.0, "Rome", "rain"]])
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        offered = server.ask("GET", "/v2/models/sum").json()["inputs"]
        assert offered == [
            {"name": "age", "datatype": "FP64", "shape": [-1, 1]},
            {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "kind", "datatype": "BYTES", "shape": [-1, 1]},
        ]
        document = server.ask("GET", "/openapi.json").json()
        body = document["paths"][OIP]["post"]["requestBody"]["content"]["application/json"]
        schema = jsonschema.Draft202012Validator({**body["schema"], "components": document["components"]})
        schema.validate(body["example"])
        assert server.post(body["example"], OIP).status == 200
        age = {"name": "age", "datatype": "INT64", "shape": [2, 1], "data": [50, 1]}
        city = {"name": "city", "datatype": "BYTES", "shape": [2], "data": ["Rome", "Lima"]}
        kind = {"name": "kind", "datatype": "BYTES", "shape": [2, 1], "data": [["Rain, rain and sun!"], ["snow"]]}
        schema.validate({"inputs": [kind, age, city]})
        answer = server.post({"inputs": [kind, age, city]}, OIP).json()
        assert answer["outputs"][0]["data"] == pytest.approx([50 + 1 + 5 / 3 + 8 / 3, 1 + 1], abs=1e-5)
        for inputs, message in (
            ([age, city], "inputs must have 3 tensors, one a column, this one has 2"),
            ([age, city, city], "inputs[2].name must be 'kind'"),
            ([age, {**city, "name": "town"}, kind], "inputs[1].name must be 'city' or 'kind'"),
            ([age, {**city, "datatype": "FP64", "data": [1, 2]}, kind], "inputs[1].datatype must be BYTES"),
            ([{**age, "datatype": "BYTES"}, city, kind], "inputs[0].datatype must be FP64, or another datatype"),
            ([age, {**city, "data": ["Rome", 7]}, kind], "inputs[1].data[1] must be a string"),
            ([age, {**city, "shape": [1, 1], "data": ["Rome"]}, kind], "inputs must all have the same number of rows"),
            ([age, {**city, "data": ["Rome", "Oslo"]}, kind], "inputs[1][1] (city) is a category that"),
        ):
            refused = server.post({"inputs": inputs}, OIP)
            assert refused.status == 422 and refused.json()["error"].startswith(message), refused.body


def test_text_without_a_preprocessing_is_refused_at_the_start(tmp_path: Path) -> None:
    manifest = dataclasses.replace(with_preprocessing(tmp_path, MIXED, [[40.0, "Rome", "rain"]]), extra_files=())
    with pytest.raises(ContractError, match=r"takes text, and the manifest's extra_files lack preprocessing\.json"):
        load(tmp_path, manifest, 1)


def test_an_example_is_a_row_that_a_client_could_send() -> None:
    assert MIXED.example(0.5) == [0.5, "Lima", "rain"]
    assert SIMPLE.example(-1) == [30.0, 1.0]


def test_a_preprocessing_is_written_and_read(tmp_path: Path) -> None:
    SIMPLE.write(tmp_path)
    assert Preprocessing.read(tmp_path / FILE_NAME) == SIMPLE


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"inputs": []}, "inputs must be a list of columns' names"),
        ({"inputs": ["age", "age"]}, "inputs must not name a column twice"),
        ({"dtype": "text"}, "dtype must be one of float32, float64"),
        ({"operations": {}}, "operations must be a list"),
        ({"operations": [{"column": "age", "kind": "magic"}]}, r"operations\[0\] must have a kind of"),
        ({"operations": [{"column": "gone", "kind": "clip", "low": 0, "high": 1}]}, "must name a column that is there"),
        ({"operations": [{"column": "age", "kind": "clip", "low": 0}]}, "must have the numbers low and high"),
        ({"operations": [{"column": "age", "kind": "one_hot", "categories": []}]}, "must have a list of categories"),
        ({"operations": [{**CATEGORY, "categories": [None]}]}, "must have text or numbers as categories"),
        ({"operations": [{"column": "kind", "kind": "words", "size": 0}]}, "must have a size of at least 1"),
        ({"operations": [{"column": "kind", "kind": "words", "size": 2, "vectors": {}}]}, "must have vectors by word"),
        ({"operations": [{**WORDS, "size": 3}]}, "must have 3 numbers for each word"),
        ({"outputs": ["age", "more"]}, "outputs has more, which no operation leaves"),
    ],
)
def test_a_damaged_preprocessing_is_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    SIMPLE.write(tmp_path)
    file = tmp_path / FILE_NAME
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(ContractError, match=problem):
        Preprocessing.read(file)


def test_one_that_is_not_there_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="No such file"):
        Preprocessing.read(tmp_path / FILE_NAME)
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(ContractError, match="is not JSON"):
        Preprocessing.read(tmp_path / FILE_NAME)


def test_text_and_another_number_of_columns_are_refused_at_the_start(tmp_path: Path) -> None:
    manifest = with_preprocessing(tmp_path, SIMPLE, [[40.0, 1.0]])
    narrow = Preprocessing(("age",), ("age",), ())
    narrow.write(tmp_path)
    with pytest.raises(ContractError, match="takes 1 columns"):
        load(tmp_path, manifest, 1)
    text = Preprocessing(SIMPLE.inputs, ("age", "kind=a"), ({**CATEGORY, "categories": ["a"]},))
    text.write(tmp_path)
    with pytest.raises(ContractError, match=r"has text in kind: the manifest's inputs\.dtype must be object"):
        load(tmp_path, manifest, 1)


GAPS = Preprocessing(
    ("age", "height", "city"),
    ("age", "height", "city=Lima", "city=Rome", "city_missing"),
    (
        {"column": "age", "kind": "fill", "value": 40.0},
        {
            **{"column": "city", "kind": "one_hot", "categories": ["Lima", "Rome"]},
            **{"unknown": "error", "missing": "category"},
        },
    ),
)
NUMBERS_WITH_GAPS = Preprocessing(("age", "height"), ("age", "height"), GAPS.operations[:1])


def binary(values: list[float]) -> bytes:
    return np.array(values, "<f8").tobytes()


def infer(server: Any, tensors: list[dict[str, Any]], *contents: bytes) -> Any:
    """With binary data for the last tensors."""
    for tensor, content in zip(tensors[len(tensors) - len(contents) :], contents, strict=True):
        tensor["parameters"] = {"binary_data_size": len(content)}
    text = json.dumps({"inputs": tensors}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))} if contents else {}
    return server.ask("POST", OIP, text + b"".join(contents), {"Content-Type": "application/json", **headers})


def test_a_missing_value_is_answered_where_something_was_made_of_it_in_training(tmp_path: Path) -> None:
    with_preprocessing(tmp_path / "model", GAPS, [[40.0, 1.0, "Rome"]])
    age = {"name": "age", "datatype": "FP64", "shape": [2, 1]}
    height = {"name": "height", "datatype": "FP64", "shape": [2, 1], "data": [1, 2]}
    city = {"name": "city", "datatype": "BYTES", "shape": [2, 1]}
    empty_and_rome = b"\0\0\0\0" + b"\4\0\0\0Rome"
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        assert server.post({"inputs": [[None, 1, None], [50, 2, "Rome"]]}).json() == {"outputs": [42.0, 53.0]}
        for answer in (
            infer(server, [{**age, "data": [None, 50]}, height, {**city, "data": [None, "Rome"]}]),
            infer(
                server, [{**age, "datatype": "FP32", "data": [[None], [50]]}, height, {**city, "data": [None, "Rome"]}]
            ),
            infer(server, [height, {**city, "data": [None, "Rome"]}, {**age}], binary([np.nan, 50])),
            infer(server, [height, {**age, "data": [None, 50]}, {**city}], empty_and_rome),
        ):
            assert answer.json()["outputs"][0]["data"] == [42.0, 53.0], answer.body
        refused = server.post({"inputs": [[50, 1, "Rome"], [50, None, "Rome"]]})
        assert refused.json()["error"] == {
            "field": "inputs[1][1]",
            "rule": "type",
            "message": f"inputs[1][1] must be a number{NO_MISSING}",
        }
        without_height = [{**age, "data": [1, 50]}, {**height, "data": [None, 1]}, {**city, "data": ["Lima", "Rome"]}]
        assert infer(server, without_height).status == 422
        document = server.ask("GET", "/openapi.json").json()
    body = document["paths"]["/api/predict"]["post"]["requestBody"]["content"]["application/json"]
    items = body["schema"]["properties"]["inputs"]["items"]["prefixItems"]
    assert [item["type"] for item in items] == [["number", "null"], "number", ["string", "null"]]
    open_body = document["paths"][OIP]["post"]["requestBody"]["content"]["application/json"]
    schema = jsonschema.Draft202012Validator({**open_body["schema"], "components": document["components"]})
    schema.validate({"inputs": [{**age, "data": [None, 50]}, height, {**city, "data": [None, "Rome"]}]})
    assert not schema.is_valid(
        {"inputs": [{**age, "data": [1, 50]}, {**height, "data": [None, 1]}, {**city, "data": ["a", "b"]}]}
    )


def test_in_one_tensor_of_numbers_a_value_may_be_missing_in_the_columns_that_are_filled(tmp_path: Path) -> None:
    with_preprocessing(tmp_path / "model", NUMBERS_WITH_GAPS, [[40.0, 1.0]])
    tensor = {"name": "input", "datatype": "FP64", "shape": [2, 2]}
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        assert server.post({"inputs": [[None, 1], [50, 2]]}).json() == {"outputs": [41.0, 52.0]}
        for answer in (
            infer(server, [{**tensor, "data": [None, 1, 50, 2]}]),
            infer(server, [{**tensor, "data": [[None, 1], [50, 2]]}]),
            infer(server, [{**tensor, "datatype": "FP32", "data": [[None, 1], [50, 2]]}]),
            infer(server, [{**tensor}], binary([np.nan, 1, 50, 2])),
        ):
            assert answer.json()["outputs"][0]["data"] == [41.0, 52.0], answer.body
        for wrong in (
            server.post({"inputs": [[1, None], [50, 2]]}),
            infer(server, [{**tensor, "data": [1, None, 50, 2]}]),
            infer(server, [{**tensor}], binary([1, np.nan, 50, 2])),
        ):
            assert wrong.status == 422 and NO_MISSING.encode() in wrong.body
        infinite = infer(server, [{**tensor}], binary([np.inf, 1, 50, 2]))
        assert infinite.status == 422 and b"must fit into float64" in infinite.body


def test_an_empty_text_that_is_a_category_is_no_missing_one(tmp_path: Path) -> None:
    operation = {**GAPS.operations[1], "categories": ["", "Rome"]}
    with_empty = Preprocessing(("city",), ("city=", "city=Rome", "city_missing"), (operation,))
    assert GAPS.empty_texts() == {0, 2} and with_empty.empty_texts() == set() and with_empty.missing_inputs() == {0}


def test_a_wrong_date_is_told_with_its_place_and_a_right_one_answered(tmp_path: Path) -> None:
    dates = {"column": "when", "kind": "dates", "parts": ["year", "hour"], "zone": "Europe/Rome"}
    hours = {"column": "when_hour", "kind": "ordinal", "categories": [0.0, 1.0], "unknown": "error", "missing": "zeros"}
    preprocessing = Preprocessing(("when",), ("when_year", "when_hour"), (dates, hours))
    with_preprocessing(tmp_path / "model", preprocessing, [preprocessing.example(0)])
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        assert server.post({"inputs": [["2023-12-31T23:30:00Z"]]}).json() == {"outputs": [2024.0]}
        for value, said in (
            ("soon", "inputs[0][0] (when) must be an ISO 8601 date or time"),
            ("2024-01-01T05:00", "inputs[0][0] (when) is a category that the model was not trained with"),
        ):
            refused = server.post({"inputs": [[value]]})
            assert refused.status == 422 and refused.json()["error"]["message"] == said
        assert server.post({"inputs": [[None]]}).status == 422  # the year would be missing


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        ({"column": "age", "kind": "fill"}, "must have a number or text as its value"),
        ({"column": "age", "kind": "dates", "parts": ["century"]}, "must have parts of year, month"),
        (
            {"column": "age", "kind": "dates", "parts": ["year"], "zone": "Mars/X"},
            "must have a zone of the IANA database",
        ),
        ({"column": "age", "kind": "interval"}, "must have the number width"),
    ],
)
def test_a_damaged_operation_is_told(tmp_path: Path, operation: dict[str, Any], problem: str) -> None:
    Preprocessing(("age",), ("age",), (operation,)).write(tmp_path)
    with pytest.raises(ContractError, match=problem):
        Preprocessing.read(tmp_path / FILE_NAME)
