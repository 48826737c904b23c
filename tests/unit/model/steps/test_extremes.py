"""Numbers at the edges of double precision: constants, decimals, very large and very small ones."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.artifacts.operations import apply
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.data.context import Context
from modelops_runtime.data.errors import DataError
from modelops_runtime.data.nested import to_numbers
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.steps.clean import Check, Outliers
from modelops_runtime.data.steps.convert import Scale
from modelops_runtime.data.table import InMemory


def decimals(*values: str, digits: int = 1) -> pd.Series:
    kind = pd.ArrowDtype(pa.decimal128(20, digits))
    return pd.Series([Decimal(value) for value in values], dtype=kind)


@given(st.decimals(-(10**9), 10**9, places=4))
def test_a_decimal_is_the_number_that_is_nearest(value: Decimal) -> None:
    assert to_numbers(decimals(str(value), digits=4)).tolist() == [float(value)]


def test_a_decimal_keeps_a_bound_that_it_is_equal_to() -> None:
    frame = pd.DataFrame({"x": decimals("0.3", "0.1")})
    rule = {"minimum": 0.1, "maximum": 0.3}
    assert len(Check(columns={"x": rule}).apply(frame, Context())) == 2


@pytest.mark.parametrize("by", ["standard", "minmax"])
@given(value=st.floats(-1e15, 1e15), count=st.integers(1, 300))
def test_a_constant_becomes_zero_exactly(by: Any, value: float, count: int) -> None:
    rows = InMemory(pd.DataFrame({"x": [value] * count}))
    [operation] = Scale(columns=["x"], by=by).fit(rows, Context())
    [scaled] = apply(operation, np.array([value]))
    assert scaled.tolist() == [0.0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("step", [Scale(columns=["x"]), Outliers(columns=["x"], rule="zscore")])
def test_values_whose_variance_no_float_has_are_refused(step: Any) -> None:
    rows = InMemory(pd.DataFrame({"x": [1e160, -1e160, 0.0]}))
    with pytest.raises(DataError, match="column x has values that are too large to learn from"):
        step.fit(rows, Context())


@pytest.mark.filterwarnings("error")
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(5e-324, 1e300, exclude_min=False))
def test_the_lower_end_of_an_interval_is_a_number(value: float, width: float) -> None:
    [coarse] = apply({"column": "x", "kind": "interval", "width": width}, np.array([value]))
    assert math.isfinite(coarse[0])


def test_no_characters_are_refused_as_a_coarser_form() -> None:
    steps = [{"generalise": {"columns": {"x": {"first": 0}}, "k": 2}}, {"split": {}}]
    with pytest.raises(ConfigurationError, match=r"columns\.x\.first is 0, must be greater than or equal to 1"):
        Pipeline.parse({"sources": [{"uri": "x.csv"}], "steps": steps})
