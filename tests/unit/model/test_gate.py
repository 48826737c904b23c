"""The gate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import gate
from model.contract import ConfigurationError, ContractError, Exit

values = st.floats(allow_nan=False, allow_infinity=False)


@given(value=values, low=st.none() | values, high=st.none() | values)
def test_a_metric_passes_within_its_bounds(value: float, low: float | None, high: float | None) -> None:
    bounds = {key: bound for key, bound in (("min", low), ("max", high)) if bound is not None}
    if not bounds:
        return
    passes = (low is None or value >= low) and (high is None or value <= high)
    if passes:
        assert len(gate.check({"mse": bounds}, {"mse": value})) == len(bounds)
    else:
        with pytest.raises(ContractError) as caught:
            gate.check({"mse": bounds}, {"mse": value})
        assert caught.value.code == Exit.GATE


def test_a_failed_gate_names_metric_value_and_bound_of_each() -> None:
    bounds = gate.parse({"mse": {"max": 0.1}, "r2": {"min": 0.99}, "mae": {"max": 1}})
    with pytest.raises(ContractError) as caught:
        gate.check(bounds, {"mse": 0.25, "r2": 0.5, "mae": 0.5})
    assert caught.value.problems == (
        "gate not met: mse is 0.25, must be at most 0.1",
        "gate not met: r2 is 0.5, must be at least 0.99",
    )


def test_the_bound_itself_passes() -> None:
    assert gate.check({"mse": {"max": 0.1}}, {"mse": 0.1}) == ["mse is 0.1, must be at most 0.1"]


def test_not_a_number_never_passes() -> None:
    for bounds in ({"min": -math.inf}, {"max": math.inf}):
        with pytest.raises(ContractError, match="mse is nan"):
            gate.check({"mse": bounds}, {"mse": math.nan})


def test_no_gate_lets_everything_pass() -> None:
    assert gate.check(gate.parse({}), {"mse": 1e9}) == []


def test_a_metric_that_is_not_reported_names_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match="accuracy not reported; reported metrics: mae, mse"):
        gate.check({"accuracy": {"min": 0.5}}, {"mse": 1, "mae": 1})


def test_every_problem_of_a_gate_is_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        gate.parse(
            {"a": {}, "b": 3, "c": {"maximum": 1}, "d": {"max": "1"}, "e": {"min": math.nan}, "f": {"max": True}}
        )
    assert len(caught.value.problems) == 6
    assert [problem.split()[1].split(".")[0] for problem in caught.value.problems] == list("abcdef")
