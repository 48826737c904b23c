"""The rule by which predictions are compared, and that a server that starts by it was published by it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from modelops_runtime import ContractError
from modelops_runtime.artifacts.agreement import RELATIVE, disagreement
from modelops_runtime.artifacts.manifest import Golden, Manifest
from modelops_runtime.artifacts.runtimes import load
from tests.models import write_model, write_onnx_model

SHAPES = array_shapes(min_dims=1, max_dims=3, max_side=4)
VALUES = arrays("float64", SHAPES, elements=st.floats(-1e30, 1e30))


@given(VALUES)
def test_single_precision_is_no_difference(values: Any) -> None:
    assert disagreement(values.astype("float32"), values) <= RELATIVE


@given(VALUES)
def test_one_percent_is(values: Any) -> None:
    if np.max(np.abs(values)) >= 1:
        assert not disagreement(values * 1.01, values) <= RELATIVE


@given(VALUES, st.integers(0))
def test_one_percent_of_the_largest_in_any_column_is(values: Any, place: int) -> None:
    columns = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(-1, 1)
    column = place % columns.shape[1]
    row = int(np.argmax(np.abs(columns[:, column])))
    if abs(columns[row, column]) >= 1:
        changed = columns.copy()
        changed[row, column] *= 1.01
        assert not disagreement(changed, columns) <= RELATIVE


def test_a_column_has_its_own_scale_and_its_small_values_the_error_of_its_large_ones() -> None:
    expected = np.array([[35_000, 0.5], [12, 0.1]], "float32")
    assert disagreement(expected + np.array([[0, 0], [2e-3, 0]]), expected) <= RELATIVE
    assert not disagreement(expected + np.array([[0, 2e-3], [0, 0]]), expected) <= RELATIVE


@pytest.mark.parametrize("got", [[[1.0, np.nan]], [[1.0, np.inf]], [[1.0]], [1.0, 2.0]])
def test_no_number_and_another_shape_never_agree(got: Any) -> None:
    assert not disagreement(np.array(got), np.array([[1.0, 2.0]])) <= RELATIVE


def test_whole_numbers_are_equal_or_not() -> None:
    labels = np.array([[1_000_000], [1]])
    assert disagreement(labels, labels) == 0
    assert not disagreement(labels + np.array([[1], [0]]), labels) <= RELATIVE


def test_without_any_tolerance_zero_is_zero() -> None:
    zero = np.zeros((1, 1))
    assert disagreement(zero, zero, least=0) == 0
    assert not disagreement(zero + 1e-300, zero, least=0) <= RELATIVE


def golden(folder: Path, error: float, tolerance: float = 1e-5) -> None:
    """Loads y = 35,000x, whose golden prediction is off by so much."""
    manifest = write_model(folder, weights=((35_000.0,),), bias=(0.0,), golden_error=error)
    manifest = dataclasses.replace(manifest, golden=dataclasses.replace(manifest.golden, tolerance=tolerance))
    load(folder, manifest, 1)


def test_a_regression_with_large_outputs_starts_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    golden(tmp_path, error=2e-3)
    with pytest.raises(ContractError, match=r"is wrong: 10 away .* at most 1e-05 is allowed, or 1e-05 of the largest"):
        golden(tmp_path, error=10)
    golden(tmp_path, error=10, tolerance=16)  # one step of a quantized output


def test_a_golden_prediction_that_the_runtime_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    manifest = write_onnx_model(tmp_path)
    wrong = Golden([[1.0, 2.0]], [[3.0, 4.0]], 1e-5)
    with pytest.raises(ContractError, match=r"the golden prediction of dense can't be made: .*INVALID_ARGUMENT"):
        load(tmp_path, dataclasses.replace(manifest, golden=wrong), 1)


def test_a_manifest_of_the_first_release_still_starts(tmp_path: Path) -> None:
    write_model(tmp_path, golden_error=0.3)
    content = json.loads((tmp_path / "model.json").read_text())
    content["golden"]["tolerance"] = 0.35  # absolute, as then
    (tmp_path / "model.json").write_text(json.dumps(content))
    load(tmp_path, Manifest.read(tmp_path), 1)
