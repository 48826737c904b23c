"""The gate."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.contract import ConfigurationError, ContractError, Exit
from modelops_runtime.registry.publishing import gate

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


@given(value=values, other=values, low=st.none() | values, high=st.none() | values)
def test_a_relative_bound_is_a_bound_on_the_difference(
    value: float, other: float, low: float | None, high: float | None
) -> None:
    bounds = {key: bound for key, bound in (("min_delta", low), ("max_delta", high)) if bound is not None}
    serving = gate.Serving("3", {"f1": other})
    passes = (low is None or value >= other + low) and (high is None or value <= other + high)
    if passes:
        assert len(gate.check({"f1": bounds}, {"f1": value}, serving)) == len(bounds)
    else:
        with pytest.raises(ContractError) as caught:
            gate.check({"f1": bounds}, {"f1": value}, serving)
        assert caught.value.code == Exit.GATE


def test_a_relative_bound_that_is_not_met_names_what_it_compares_with() -> None:
    bounds = gate.parse({"f1": {"min_delta": -0.01}})
    with pytest.raises(ContractError) as caught:
        gate.check(bounds, {"f1": 0.8}, gate.Serving("3", {"f1": 0.9}))
    assert caught.value.problems == (
        "gate not met: f1 is 0.8, must be at least 0.89 (min_delta -0.01; version 3, which serves now, has 0.9)",
    )


def judged(bounds: str, *, first: bool = False, serving: gate.Serving | None = None) -> dict[str, str]:
    comparison = gate.Comparison("line", "live", first)
    return gate.judge(gate.parse(json.loads(bounds)), {"f1": 0.8, "mse": 1}, comparison, serving)


def test_a_relative_bound_with_nothing_to_compare_with_is_refused_with_what_to_set() -> None:
    with pytest.raises(ConfigurationError) as caught:
        judged('{"f1": {"min_delta": 0}, "mse": {"max": 2, "max_delta": 0.1}}')
    assert caught.value.problems == (
        "MODELOPS_GATE: no version of line has the alias live, which f1.min_delta, mse.max_delta would compare with: "
        "set first_version for the first version, or make serving_alias the alias that ModelService moves after a "
        "rollout",
    )
    assert judged('{"mse": {"max": 2}}') == {}


def test_the_first_version_passes_relative_bounds_and_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    judged('{"f1": {"min_delta": 0.5}}', first=True)
    assert capsys.readouterr().out == "gate met: f1 is 0.8, min_delta 0.5 has no other version to compare with\n"
    with pytest.raises(ContractError, match=r"f1 is 0\.8, must be at least 0\.9"):
        judged('{"f1": {"min": 0.9, "min_delta": 0.5}}', first=True)


def test_that_a_version_is_the_first_is_no_excuse_once_one_serves() -> None:
    with pytest.raises(ContractError, match=r"version 3, which serves now, has 0\.9"):
        judged('{"f1": {"min_delta": 0}}', first=True, serving=gate.Serving("3", {"f1": 0.9}))


BETTER = gate.Serving("3", {"f1": 0.9})
ITSELF = gate.Serving("2", {"f1": 0.8}, same_run=True)


def judged_again(
    bounds: str, tags: dict[str, str], serving: gate.Serving | None, before: gate.Serving | None = None
) -> dict[str, str]:
    comparison = gate.Comparison("line", "live", False)
    parsed = gate.parse(json.loads(bounds))
    return gate.judge_again(parsed, {"f1": 0.8}, comparison, tags, lambda: serving, lambda _: before)


def test_a_changed_relative_bound_judges_a_registered_version_once_and_remembers_that_it_is_met() -> None:
    met = judged_again('{"f1": {"min_delta": -0.2}}', {}, BETTER)
    assert met.keys() == {gate.MET}
    # Going back to it is no step down then, whatever serves.
    best = gate.Serving("4", {"f1": 1.0})
    assert judged_again('{"f1": {"min_delta": -0.2, "min": 0.5}}', met, best) == {}
    with pytest.raises(ContractError, match=r"must be at least 0.9 \(min_delta -0.1; version 4, which serves now"):
        judged_again('{"f1": {"min_delta": -0.1}}', met, best)
    with pytest.raises(ContractError, match=r"must be at least 0.81"):
        judged_again('{"f1": {"min_delta": -0.2, "min": 0.81}}', met, best)


def test_the_version_that_serves_compares_with_the_one_before_it() -> None:
    tags, before = {gate.COMPARED: "1"}, gate.Serving("1", {"f1": 0.75}, "which served before")
    assert judged_again('{"f1": {"min_delta": 0.01}}', tags, ITSELF, before)
    with pytest.raises(ContractError, match=r"version 1, which served before, has 0\.75"):
        judged_again('{"f1": {"min_delta": 0.1}}', tags, ITSELF, before)
    # Without one it is compared with nothing.
    assert judged_again('{"f1": {"min_delta": 0.1}}', {}, ITSELF)
    assert judged_again('{"f1": {"min_delta": 0.1}}', tags, ITSELF, None)


def test_a_registered_version_is_refused_a_relative_bound_with_nothing_to_compare_with() -> None:
    with pytest.raises(ConfigurationError, match="no version of line has the alias live"):
        judged_again('{"f1": {"min_delta": 0}}', {}, None)


def test_a_metric_that_the_serving_version_does_not_have_is_wrong_configuration() -> None:
    with pytest.raises(
        ConfigurationError, match="f1 not reported by version 3, which serves now; reported metrics: mse"
    ):
        gate.check({"f1": {"min_delta": 0}}, {"f1": 0.9}, gate.Serving("3", {"mse": 1}))


def test_absolute_and_relative_bounds_are_checked_apart() -> None:
    bounds = gate.parse({"mse": {"max": 1, "max_delta": 0.1}, "r2": {"min": 0.5}})
    assert gate.absolute(bounds) == {"mse": {"max": 1}, "r2": {"min": 0.5}}
    assert gate.relative(bounds) == {"mse": {"max_delta": 0.1}, "r2": {}}
