"""A prepared version as training takes it: its own split, its target as classes or numbers, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelops_runtime.artifacts import prepared as versions
from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.contract import ConfigurationError, ContractError
from sample import dataset
from sample.parameters import Parameters

CLASSES = Parameters(task="classification")
PLAIN = Preprocessing(("a", "b"), ("a", "b"), ())
FRAME = pd.DataFrame({"a": [1.5, 2.5, 3.5], "b": [1, 2, 3], "y": ["cat", "dog", "ant"]})


def version(folder: Path, frame: pd.DataFrame = FRAME, preprocessing: Preprocessing = PLAIN, **parts: Any) -> str:
    """A version whose three parts are the same rows, but for `parts`."""
    for part in versions.PARTS:
        (folder / part).mkdir(parents=True)
        parts.get(part, frame).to_parquet(folder / part / "part-00000.parquet")
    preprocessing.write(folder)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    files = []
    for name in names:
        with (folder / name).open("rb") as stream:
            files.append(versions.entry(name, stream.read))
    (folder / "report.json").write_text(json.dumps({"files": files}))
    return str(folder)


def test_labels_become_classes_in_their_order(tmp_path: Path) -> None:
    found = dataset.read(version(tmp_path), CLASSES)
    assert found.labels == ("ant", "cat", "dog")
    np.testing.assert_array_equal(found.train[1], [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(found.test[0], np.array([[1.5, 1], [2.5, 2], [3.5, 3]], "float32"))
    assert (found.parameters.inputs, found.parameters.outputs) == (2, 3)
    assert str(found) == "3 training, 3 validation, 3 test rows"


def test_whole_numbers_are_labels_as_they_are_written(tmp_path: Path) -> None:
    assert dataset.read(version(tmp_path, FRAME.assign(y=[1.0, 0.0, 1.0])), CLASSES).labels == (0, 1)


def test_a_regression_takes_the_numbers_themselves(tmp_path: Path) -> None:
    found = dataset.read(version(tmp_path, FRAME.assign(y=[True, False, True])), Parameters())
    np.testing.assert_array_equal(found.train[1], [[1], [0], [1]])
    assert (found.parameters.inputs, found.parameters.outputs, found.labels) == (2, 1, ())


@pytest.mark.parametrize("listed", [False, True])
def test_what_the_report_lists_is_read_and_nothing_else(tmp_path: Path, listed: bool) -> None:
    uri = version(tmp_path)
    FRAME.assign(a=9.0).to_parquet(tmp_path / "train" / "part-00001.parquet")
    if listed:
        with (tmp_path / "train" / "part-00001.parquet").open("rb") as stream:
            more = versions.entry("train/part-00001.parquet", stream.read)
        report = json.loads((tmp_path / "report.json").read_text())
        (tmp_path / "report.json").write_text(json.dumps({"files": [*report["files"], more]}))
    expected = [1.5, 2.5, 3.5, 9, 9, 9] if listed else [1.5, 2.5, 3.5]
    assert dataset.read(f"file://{uri}", CLASSES).train[0][:, 0].tolist() == expected


def test_a_folder_of_an_earlier_release_is_read_as_it_is(tmp_path: Path) -> None:
    uri = version(tmp_path)
    (tmp_path / "report.json").write_text('{"rows": {}}')
    FRAME.assign(a=9.0).to_parquet(tmp_path / "train" / "part-00001.parquet")
    assert dataset.read(uri, CLASSES).train[0][:, 0].tolist() == [1.5, 2.5, 3.5, 9, 9, 9]


@pytest.mark.parametrize("name", ["test/part-00000.parquet", "preprocessing.json"])
def test_a_file_that_is_not_as_it_was_published_is_refused(tmp_path: Path, name: str) -> None:
    uri = version(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content + b" ")
    with pytest.raises(ContractError, match=rf"{name} has .* another content than report\.json says"):
        dataset.read(uri, CLASSES)
    (tmp_path / name).unlink()
    with pytest.raises(ContractError, match=rf"{name} is not there, but report\.json lists it"):
        dataset.read(uri, CLASSES)


@pytest.mark.parametrize(
    ("changes", "parameters", "problem"),
    [
        ({"frame": FRAME.drop(columns="y")}, CLASSES, "has 0 columns beside the model's inputs, must have one"),
        ({"frame": FRAME.assign(z=1)}, CLASSES, "has 2 columns beside the model's inputs"),
        ({"frame": FRAME.assign(a="x")}, CLASSES, "column a of the prepared data is text: encode, convert or drop it"),
        ({"frame": FRAME.assign(a=[1, None, 2])}, CLASSES, "train, row 1, column a: is missing or too large"),
        ({"test": FRAME.assign(b=[1, 2, 1e39])}, CLASSES, "test, row 2, column b: is missing or too large"),
        ({"frame": FRAME.assign(y=["a", None, "b"])}, CLASSES, "train, row 1, column y: has no label"),
        ({"frame": FRAME.assign(y="a")}, CLASSES, "column y has 1 labels in the training split, must have 2 to 100"),
        (
            {"test": FRAME.assign(y=["cat", "cow", "ant"])},
            CLASSES,
            "test, row 1, column y: is no label of the training",
        ),
        ({}, Parameters(), "column y of the prepared data is text"),
        ({"test": FRAME[:1]}, CLASSES, "the part test has 1 rows, must have at least 2"),
        ({}, Parameters(task="classification", classes=4), "parameter classes is 4, the training split has 3 labels"),
    ],
)
def test_what_can_t_be_learned_from_is_named(
    tmp_path: Path, changes: dict[str, Any], parameters: Parameters, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        dataset.read(version(tmp_path, **changes), parameters)
    assert "cow" not in str(caught.value)


def test_a_folder_without_a_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no report\.json"):
        dataset.read(str(tmp_path), CLASSES)
    (tmp_path / "latest.json").write_text(json.dumps({"data_version": "abc"}))
    with pytest.raises(ConfigurationError, match=r'has versions, and must name one of them: \{"data_version": "abc"\}'):
        dataset.read(str(tmp_path), CLASSES)


def test_a_part_or_preprocessing_that_is_not_there_is_refused(tmp_path: Path) -> None:
    uri = version(tmp_path)
    files = json.loads((tmp_path / "report.json").read_text())["files"]
    for left_out, problem in (("test/", "has no rows in the part test"), ("pre", r"has no preprocessing\.json")):
        files = [file for file in files if not file["name"].startswith(left_out)]
        (tmp_path / "report.json").write_text(json.dumps({"files": files}))
        with pytest.raises(ConfigurationError, match=problem):
            dataset.read(uri, CLASSES)


def test_a_store_that_does_not_answer_is_named_and_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"ENDPOINT_URL": "http://127.0.0.1:9", "REGION": "x", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in variables.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(ContractError, match=r"s3://bucket/v1/report\.json can't be read") as caught:
        dataset.read("s3://bucket/v1", CLASSES)
    assert not isinstance(caught.value, ConfigurationError)
