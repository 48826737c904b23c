"""When a converted model may stand in for the original."""

import numpy as np
import pytest

from modelops_runtime.artifacts.parity import reason_against
from modelops_runtime.artifacts.runtimes import Array

INPUTS = np.array([[0.5], [1.0]])


class Shifted:
    """Predicts its input and a little more."""

    def __init__(self, by: float) -> None:
        self._by = by

    def predict(self, inputs: Array) -> Array:
        shifted: Array = inputs + self._by
        return shifted


def reason(converted: float, original: float) -> str:
    """Of models that are so far from the exact predictions."""
    exact = Shifted(0).predict
    return reason_against(lambda: Shifted(converted), Shifted(original).predict, exact, INPUTS, 1e-6)


@pytest.mark.parametrize(
    ("converted", "original"),
    [(0, 0), (9e-7, 0), (5e-7, -4e-7), (5e-7, -1.3e-6), (0, 1.5e-6), (1.2e-6, -1.3e-6)],
)
def test_near_the_original_or_as_near_to_the_exact_predictions_it_may(converted: float, original: float) -> None:
    assert reason(converted, original) == ""


@pytest.mark.parametrize(("converted", "original"), [(2e-6, 0), (-1.5e-6, 1.3e-6), (0.1, 0.05), (np.nan, 0)])
def test_further_away_it_may_not(converted: float, original: float) -> None:
    assert "away from the original, at most 1e-06 is allowed" in reason(converted, original)


def test_a_converter_that_fails_is_quoted() -> None:
    def convert() -> Shifted:
        raise ValueError("no such operation\nand more")

    exact = Shifted(0).predict
    assert reason_against(convert, exact, exact, INPUTS, 1) == "it can't be converted: ValueError: no such operation"
