"""The sample, CSV files, cleaning and splitting."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops_runtime.contract import ConfigurationError
from sample import data, preprocess
from sample.parameters import Parameters

DEFAULTS = Parameters()


def test_the_sample_is_the_line_with_its_noise() -> None:
    frame = data.sample(DEFAULTS)
    assert frame.shape == (100, 2)
    residuals = frame["y"] - (2 * frame["x"] + 1)
    assert frame["x"].between(-1, 1).all()
    assert 0.15 < residuals.std() < 0.25
    assert data.sample(Parameters(noise=0, samples=10)).eval("y - 2 * x - 1").abs().max() < 1e-12


def test_the_seed_makes_the_sample() -> None:
    assert data.sample(DEFAULTS).equals(data.sample(DEFAULTS))
    assert not data.sample(DEFAULTS).equals(data.sample(Parameters(seed=8)))


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
def test_a_csv_file_is_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / "some rows.csv"
    path.write_text("id,y,x\n1,3,1\n2,5,2\n")
    frame = data.load(form.format(path).replace(" ", "%20"), DEFAULTS)
    assert frame.to_dict("list") == {"x": [1, 2], "y": [3, 5]}


@pytest.mark.parametrize("uri", ["s3://bucket/x.csv", "http://host/x.csv", "file://host/x.csv"])
def test_another_kind_of_uri_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="must be empty, a path or a file:// URI"):
        data.load(uri, DEFAULTS)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read as CSV"):
        data.load(str(tmp_path / "none.csv"), DEFAULTS)


def test_missing_columns_are_named_with_those_there(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,y\n1,2\n")
    with pytest.raises(ConfigurationError, match="lacks column x; it has a, y"):
        data.load(str(tmp_path / "rows.csv"), DEFAULTS)


def test_cleaning_keeps_only_rows_of_finite_numbers() -> None:
    frame = pd.DataFrame({"x": [1, None, "2.5", "x", 4, np.inf, 1e39], "y": [1, 2, 3, 4, None, 6, 7]})
    assert preprocess.clean(frame).to_dict("list") == {"x": [1.0, 2.5], "y": [1.0, 3.0]}


def test_the_default_split() -> None:
    assert str(preprocess.split(data.sample(DEFAULTS), DEFAULTS)) == "60 training, 20 validation, 20 test rows"


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 300),
    validation=st.floats(0.01, 0.45),
    test=st.floats(0.01, 0.45),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_split_gives_every_row_to_one_part(rows: int, validation: float, test: float, seed: int) -> None:
    parameters = Parameters(validation_fraction=validation, test_fraction=test, seed=seed)
    frame = pd.DataFrame({"x": np.arange(rows, dtype="float64"), "y": np.arange(rows, dtype="float64")})
    sizes = [round(rows * test), round(rows * validation)]
    sizes.append(rows - sum(sizes))
    if min(sizes) < 2:
        with pytest.raises(ConfigurationError, match="each part needs at least 2"):
            preprocess.split(frame, parameters)
        return
    split = preprocess.split(frame, parameters)
    parts = [split.test, split.validation, split.train]
    assert [len(part) for part in parts] == sizes
    assert sorted(pd.concat(parts)["x"]) == list(range(rows))
    again = preprocess.split(frame, parameters)
    assert split.train.equals(again.train)
    assert split.test.equals(again.test)


def test_arrays_are_what_the_model_takes() -> None:
    inputs, targets = preprocess.arrays(data.sample(DEFAULTS), DEFAULTS)
    assert inputs.shape == targets.shape == (100, 1)
    assert inputs.dtype == targets.dtype == np.float32


CLOUDS = Parameters(task="classification", classes=4, samples=200)


def test_the_clouds_are_around_the_corners_of_a_polygon_and_equally_large() -> None:
    frame = data.sample(CLOUDS)
    assert list(frame.columns) == ["x1", "x2", "label"]
    assert frame["label"].value_counts().to_list() == [50] * 4
    means = frame.groupby("label").mean().to_numpy()
    np.testing.assert_allclose(means, [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=0.15)


def test_targets_of_a_classification_have_a_column_a_class() -> None:
    frame = data.sample(CLOUDS)
    inputs, targets = preprocess.arrays(frame, CLOUDS)
    assert (inputs.shape, targets.shape) == ((200, 2), (200, 4))
    np.testing.assert_array_equal(targets.argmax(axis=1), frame["label"])
    assert set(targets.sum(axis=1)) == {1.0}


@pytest.mark.parametrize("label", [4, -1, 1.5])
def test_a_label_that_is_no_class_is_refused(label: float) -> None:
    frame = data.sample(CLOUDS).assign(label=label)
    with pytest.raises(ConfigurationError, match=f"label {label:g} is none of the classes 0 to 3"):
        preprocess.arrays(frame, CLOUDS)
