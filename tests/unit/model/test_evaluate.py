"""The metrics of the test split, against their definitions."""

import numpy as np
import pytest

from modelops_runtime.contract import ConfigurationError
from sample.evaluate import evaluate


def test_regression() -> None:
    actual, predicted = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [3.0], [2.0]])
    metrics = evaluate(predicted, actual, "regression")
    assert metrics == pytest.approx({"mse": 5 / 3, "mae": 1.0, "r2": 1 - 5 / (14 / 3)})


def test_classification() -> None:
    actual = np.eye(2)[[0, 0, 0, 1]]
    predicted = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]], "float32")
    metrics = evaluate(predicted, actual, "classification")
    assert metrics["accuracy"] == 0.75
    assert metrics["precision"] == pytest.approx((1 + 1 / 2) / 2)
    assert metrics["recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert metrics["f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert metrics["cross_entropy"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7]).mean(), rel=1e-5)


def test_a_class_that_is_never_predicted_counts_as_nothing_found() -> None:
    metrics = evaluate(np.array([[1.0, 0.0], [1.0, 0.0]]), np.eye(2), "classification")
    assert (metrics["precision"], metrics["recall"]) == (0.25, 0.5)


def test_a_prediction_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not finite"):
        evaluate(np.array([[np.nan], [1.0]]), np.array([[1.0], [1.0]]), "regression")
