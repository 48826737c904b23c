"""What was fitted with the training data is applied again by the server: a client sends raw values."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model import prepare
from model.contract import ContractError
from model.manifest import Golden, Manifest, Tensor
from model.preprocessing import FILE_NAME, Preprocessing
from model.runtime import Preprocessed, load
from tests.unit.model.support import start_server, write_model

ROWS = 1000
CATEGORY = {"column": "kind", "kind": "one_hot", "categories": [1.0, 2.0], "unknown": "error"}
OPERATIONS = (
    {"column": "age", "kind": "clip", "low": 0.0, "high": 100.0},
    {"column": "age", "kind": "standard", "mean": 40.0, "deviation": 10.0},
    CATEGORY,
)
SIMPLE = Preprocessing(("age", "kind"), ("age", "kind=1.0", "kind=2.0"), OPERATIONS)


def with_preprocessing(directory: Path, preprocessing: Preprocessing, golden: list[list[float]]) -> Manifest:
    """A model that adds up what it takes, behind a preprocessing."""
    width = len(preprocessing.outputs)
    plain = write_model(directory, weights=((1.0,) * width,), bias=(0.0,))
    preprocessing.write(directory)
    expected = preprocessing.transform(np.array(golden)).sum(axis=1, keepdims=True).tolist()
    file = directory / FILE_NAME
    manifest = Manifest(
        name="sum",
        run_id=plain.run_id,
        framework=plain.framework,
        runtime=plain.runtime,
        file=plain.file,
        inputs=Tensor((-1, len(preprocessing.inputs)), "float64"),
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


def test_a_client_sends_raw_values_and_an_unknown_category_is_refused(tmp_path: Path) -> None:
    with_preprocessing(tmp_path / "model", SIMPLE, [[40.0, 1.0]])
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        answer = server.post({"inputs": [[50, 1], [500, 2]]})
        assert answer.json() == {"outputs": [2.0, 7.0]}
        refused = server.post({"inputs": [[50, 1], [50, 3]]})
        assert refused.status == 422
        assert refused.json()["error"]["field"] == "inputs[1][1]" and refused.json()["error"]["rule"] == "category"
        assert server.post({"inputs": [[50]]}).status == 422


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
    with pytest.raises(ContractError, match="the server takes numbers alone, and kind has text"):
        load(tmp_path, manifest, 1)
