"""Cleaning steps against pandas and NumPy."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from modelops_runtime.artifacts.operations import apply
from modelops_runtime.contract import Exit
from modelops_runtime.data.context import place
from modelops_runtime.data.report import summary
from modelops_runtime.data.steps import STEPS, Context, DataError
from modelops_runtime.data.table import InMemory

NUMBERS = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=40)


def frame_of(values: list[float | None], name: str = "x") -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype="float64")})


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=30), st.sampled_from(["first", "last"]))
def test_deduplicate_keeps_what_pandas_keeps(rows: list[tuple[int, int]], keep: str) -> None:
    frame = pd.DataFrame(rows, columns=["a", "b"])
    kept = STEPS["deduplicate"](keep=keep).apply(frame, Context())
    seen = {row: index for index, row in (enumerate(rows) if keep == "last" else reversed(list(enumerate(rows))))}
    assert list(kept.index) == sorted(seen.values())


CELLS = st.tuples(
    st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")]),
    st.sampled_from([None, 2**60, 2**60 + 1, 0]),
    st.sampled_from([None, "", "a", "\u00e9", "e\u0301"]),
    st.sampled_from([None, True, False]),
)


@given(st.lists(CELLS, max_size=20), st.sampled_from(["first", "last"]), st.sets(st.sampled_from("fitb")))
def test_deduplicate_tells_every_two_cells_apart(rows: list[tuple[object, ...]], keep: str, columns: set[str]) -> None:
    kinds = {"f": "float64", "i": "Int64", "t": "str", "b": "boolean"}
    frame = pd.DataFrame(
        {name: pd.array([row[at] for row in rows], dtype=kind) for at, (name, kind) in enumerate(kinds.items())}
    )
    kept = STEPS["deduplicate"](keep=keep, columns=sorted(columns) or None).apply(frame, Context())
    compared = [at for at, name in enumerate("fitb") if not columns or name in columns]
    seen: dict[tuple[object, ...], int] = {}
    for index, row in enumerate(rows):
        cells = tuple("NaN" if row[at] != row[at] else row[at] for at in compared)
        if keep == "last" or cells not in seen:
            seen[cells] = index
    assert list(kept.index) == sorted(seen.values())


@given(NUMBERS, st.sampled_from(["mean", "median", "most_frequent"]))
def test_fill_uses_the_statistic_that_numpy_has(values: list[float | None], by: str) -> None:
    there = [value for value in values if value is not None]
    step = STEPS["fill"](columns=["x"], by=by)
    if not there:
        with pytest.raises(DataError) as caught:
            step.fit(InMemory(frame_of(values)), Context())
        assert caught.value.code == Exit.EMPTY
        return
    (operation,) = step.fit(InMemory(frame_of(values)), Context())
    (filled,) = apply(operation, frame_of(values)["x"].to_numpy())
    counts = {value: there.count(value) for value in there}
    expected = {
        "mean": np.mean(there),
        "median": np.median(there),
        "most_frequent": min(value for value in there if counts[value] == max(counts.values())),
    }[by]
    assert not np.isnan(filled).any()
    for value, result in zip(values, filled, strict=True):
        assert result == (value if value is not None else pytest.approx(expected, rel=1e-12, abs=1e-9))


@given(NUMBERS)
def test_fill_interpolates_as_numpy_does(values: list[float | None]) -> None:
    at = [index for index, value in enumerate(values) if value is not None]
    result = STEPS["fill"](columns=["x"], by="interpolate").apply(frame_of(values), Context())["x"]
    if not at:
        assert result.isna().all()
        return
    expected = np.interp(range(len(values)), at, [values[index] for index in at])
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)


@given(NUMBERS)
def test_fill_drops_rows_and_fills_constants(values: list[float | None]) -> None:
    dropped = STEPS["fill"](columns=["x"], by="drop").apply(frame_of(values), Context())
    assert list(dropped["x"]) == [value for value in values if value is not None]
    filled = STEPS["fill"](columns=["x"], by="constant", value=-7.0).apply(frame_of(values), Context())
    assert list(filled["x"]) == [-7.0 if value is None else value for value in values]


@given(NUMBERS)
def test_outliers_by_bounds_are_clipped_or_removed(values: list[float | None]) -> None:
    clipped = STEPS["outliers"](columns=["x"], rule="bounds", low=-10, high=10).apply(frame_of(values), Context())
    np.testing.assert_array_equal(clipped["x"], np.clip(frame_of(values)["x"], -10, 10))
    step = STEPS["outliers"](columns=["x"], rule="bounds", low=-10, high=10, action="remove")
    kept = step.apply(frame_of(values), Context())
    assert list(kept.index) == [i for i, value in enumerate(values) if value is None or -10 <= value <= 10]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.sampled_from(["iqr", "zscore"]))
def test_fitted_outliers_have_the_range_of_the_rule(values: list[float], rule: str) -> None:
    assume(rule != "iqr" or np.percentile(values, 25) < np.percentile(values, 75))
    (operation,) = STEPS["outliers"](columns=["x"], rule=rule).fit(InMemory(frame_of(list(values))), Context())
    if rule == "iqr":
        first, third = np.percentile(values, 25), np.percentile(values, 75)
        expected = (first - 1.5 * (third - first), third + 1.5 * (third - first))
    else:
        expected = (np.mean(values) - 3 * np.std(values), np.mean(values) + 3 * np.std(values))
    np.testing.assert_allclose((operation["low"], operation["high"]), expected, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        {"rule": "bounds"},
        {"rule": "bounds", "low": 2, "high": 1},
        {"rule": "iqr", "low": 1},
        {"rule": "iqr", "action": "remove"},
        {"rule": "bounds", "low": 0, "high": 1, "factor": 2},
        {"rule": "iqr", "factor": 0},
    ],
)
def test_outliers_refuses_what_does_not_fit_its_rule(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        STEPS["outliers"](columns=["x"], **fields)


def test_fill_takes_a_value_with_constant_only() -> None:
    with pytest.raises(ValueError, match="value must be given"):
        STEPS["fill"](columns=["x"], by="constant")
    with pytest.raises(ValueError, match="value must be given"):
        STEPS["fill"](columns=["x"], by="mean", value=1)


def test_check_reports_every_violation_with_file_and_row_and_no_value() -> None:
    frame = pd.DataFrame(
        {"age": [30, -1, None, 200], "kind": ["a", "secret", "b", "a"]}, index=[place(1, row) for row in range(4)]
    )
    rules = {"age": {"type": "integer", "minimum": 0, "maximum": 150}, "kind": {"allowed": ["a", "b"]}}
    context = Context(files=["one.csv", "two.csv"])
    with pytest.raises(DataError) as caught:
        STEPS["check"](columns=rules).apply(frame, context)
    assert caught.value.code == Exit.BAD_ROW
    assert caught.value.problems == (
        "two.csv, row 1, column age: must be at least 0",
        "two.csv, row 1, column kind: must be one of the allowed values",
        "two.csv, row 2, column age: must be there",
        "two.csv, row 3, column age: must be at most 150",
        "correct these rows, or leave them out by on_violation: drop",
    )
    assert "secret" not in str(context.report)
    dropped = STEPS["check"](columns=rules, on_violation="drop").apply(frame, Context(files=["one.csv", "two.csv"]))
    assert list(dropped["age"]) == [30]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("number", [1.5, 2.0], ["x", float("inf")]),
        ("integer", [1.0, 2.0], [1.5, 2.5]),
        ("text", ["a", "b"], [1, 2]),
        ("boolean", [True, False], ["yes", 2]),
        ("date", ["2024-02-29", "2024-02-29T10:00:00Z"], ["2023-02-29", "soon"]),
        ("date", [datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29)], [2024, 17.5]),
        ("number", [1, Decimal("1.5")], [datetime.date(2024, 2, 29), datetime.timedelta(1)]),
    ],
)
def test_check_knows_the_types(kind: str, good: list[object], bad: list[object]) -> None:
    step = STEPS["check"](columns={"x": {"type": kind}}, on_violation="drop")
    frame = pd.DataFrame({"x": pd.Series([*good, *bad], dtype=object)})
    assert list(step.apply(frame, Context()).index) == [0, 1]


def test_a_missing_column_names_the_ones_that_are_there() -> None:
    with pytest.raises(DataError, match="lacks column age; it has x") as caught:
        STEPS["fill"](columns=["age"], by="drop").apply(frame_of([1.0]), Context(files=["a.csv"]))
    assert caught.value.code == Exit.MISSING_COLUMN


@given(st.lists(st.none() | st.sampled_from(["a", "b", ""]), min_size=1, max_size=20))
def test_texts_are_filled_too(values: list[str | None]) -> None:
    frame, there = pd.DataFrame({"x": pd.Series(values, dtype="str")}), [value for value in values if value is not None]
    filled = STEPS["fill"](columns=["x"], by="constant", value="none").apply(frame, Context())
    assert list(filled["x"]) == ["none" if value is None else value for value in values]
    assume(there)
    (operation,) = STEPS["fill"](columns=["x"], by="most_frequent").fit(InMemory(frame), Context())
    assert operation["value"] == min(there, key=lambda value: (-there.count(value), value))


def test_whole_numbers_stay_exact_when_others_are_filled() -> None:
    frame = pd.DataFrame({"x": pd.array([2**53 + 1, None], dtype="Int64")})
    assert STEPS["fill"](columns=["x"], by="constant", value=0).apply(frame, Context())["x"].tolist() == [2**53 + 1, 0]


@pytest.mark.parametrize("values", [[1.0, float("inf")], ["1", "1e999"], ["1", "-Infinity"]])
def test_what_is_infinite_is_told_with_its_row_or_clipped(values: list[object]) -> None:
    frame, context = pd.DataFrame({"x": values}), Context(files=["a.csv"])
    for step in ("scale", {}), ("fill", {"by": "mean"}), ("fill", {"by": "median"}), ("outliers", {"rule": "zscore"}):
        with pytest.raises(DataError, match=r"a\.csv, row 1, column x: must be a finite number") as caught:
            STEPS[step[0]](columns=["x"], **step[1]).fit(InMemory(frame), context)
        assert caught.value.code == Exit.BAD_ROW
    clipped = STEPS["outliers"](columns=["x"], rule="bounds", low=-5, high=5).apply(frame, context)
    assert clipped["x"].abs().tolist() == [1.0, 5.0]


def test_violations_are_capped_in_message_and_report_and_counted_whole() -> None:
    frame, context = frame_of([float(number) for number in range(500)]), Context(files=["a.csv"])
    rules = {"x": {"minimum": 1000, "type": "text"}}
    with pytest.raises(DataError) as caught:
        STEPS["check"](columns=rules).apply(frame, context)
    assert len(caught.value.problems) == 22 and "and 980 more" in caught.value.problems
    STEPS["check"](columns=rules, on_violation="drop").apply(frame, context)
    report = summary(context.report, {})
    assert report["violation_count"] == 1000 and len(report["violations"]) == 100
    assert report["violations"][1] == {
        "violation": "must be of the type text",
        "file": "a.csv",
        "row": 0,
        "column": "x",
    }
