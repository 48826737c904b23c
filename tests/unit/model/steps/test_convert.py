"""Dates, categories and scales against scikit-learn and the standard library."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from modelops_runtime.artifacts import operations
from modelops_runtime.contract import Exit
from modelops_runtime.data.steps import STEPS, Context, DataError
from modelops_runtime.data.table import InMemory
from modelops_runtime.data.transform import transform

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(VALUES)
def test_standard_scaling_equals_scikit_learns_to_the_last_bit(values: list[float]) -> None:
    assume(len(set(values)) > 1)  # of a constant, scikit-learn leaves what its mean was rounded by
    (operation,) = STEPS["scale"](columns=["x"]).fit(InMemory(pd.DataFrame({"x": values})), Context())
    (ours,) = operations.apply(operation, np.array(values))
    theirs = StandardScaler().fit_transform(np.array(values).reshape(-1, 1))[:, 0]
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("by", ["standard", "minmax"])
def test_an_infinite_number_is_named_instead_of_fitted(by: str) -> None:
    rows = InMemory(pd.DataFrame({"x": [1.0, float("-inf"), 2.0]}))
    with pytest.raises(DataError, match=r"a\.csv, row 1, column x: must be a finite number") as caught:
        STEPS["scale"](columns=["x"], by=by).fit(rows, Context(files=["a.csv"]))
    assert caught.value.code == Exit.BAD_ROW


@given(st.lists(st.sampled_from(["red", "green", "blue", "é", None]), min_size=1, max_size=30))
def test_rows_are_encoded_as_a_server_encodes_them_or_the_first_unknown_one_is_named(values: list[str | None]) -> None:
    operation = {"column": "c", "kind": "one_hot", "categories": ["green", "red"], "unknown": "error"}
    frame = pd.DataFrame({"c": pd.Series(values, dtype="str")})
    try:
        columns = operations.apply(operation, frame["c"].to_numpy(dtype=object))
    except operations.BadValue as error:
        with pytest.raises(DataError, match=rf"a\.csv, row {error.rows[0]}, column c: (has a category|is missing)"):
            transform(operation, frame, Context(files=["a.csv"]))
    else:
        encoded = transform(operation, frame, Context())
        np.testing.assert_array_equal(encoded[["c=green", "c=red"]].to_numpy(), np.stack(columns, axis=1))


@given(VALUES)
def test_minmax_scaling_is_the_formula_and_close_to_scikit_learns(values: list[float]) -> None:
    (operation,) = STEPS["scale"](columns=["x"], by="minmax").fit(InMemory(pd.DataFrame({"x": values})), Context())
    (ours,) = operations.apply(operation, np.array(values))
    low, high = min(values), max(values)
    np.testing.assert_array_equal(ours, (np.array(values) - low) / ((high - low) or 1.0))
    if high - low > 1e-3:
        theirs = MinMaxScaler().fit_transform(np.array(values).reshape(-1, 1))[:, 0]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@given(st.lists(st.sampled_from(["red", "green", "blue", "é"]), min_size=1, max_size=30))
def test_categories_are_encoded_as_scikit_learn_does(values: list[str]) -> None:
    frame = pd.DataFrame({"c": values})
    column = frame[["c"]].to_numpy(dtype=object)
    (one_hot,) = STEPS["encode"](columns=["c"]).fit(InMemory(frame), Context())
    ours = np.stack(operations.apply(one_hot, column[:, 0]), axis=1)
    np.testing.assert_array_equal(ours, OneHotEncoder(sparse_output=False).fit_transform(column))
    (ordinal,) = STEPS["encode"](columns=["c"], by="ordinal").fit(InMemory(frame), Context())
    (codes,) = operations.apply(ordinal, column[:, 0])
    np.testing.assert_array_equal(codes, OrdinalEncoder().fit_transform(column)[:, 0])


def test_an_unknown_category_fails_or_gives_zeros() -> None:
    frame = pd.DataFrame({"c": ["a", "b"]})
    (strict,) = STEPS["encode"](columns=["c"]).fit(InMemory(frame), Context())
    with pytest.raises(operations.BadValue):
        operations.apply(strict, np.array(["z"], dtype=object))
    (lenient,) = STEPS["encode"](columns=["c"], unknown="zeros").fit(InMemory(frame), Context())
    assert [list(column) for column in operations.apply(lenient, np.array(["z"], dtype=object))] == [[0], [0]]
    (ordinal,) = STEPS["encode"](columns=["c"], by="ordinal", unknown="zeros").fit(InMemory(frame), Context())
    assert list(operations.apply(ordinal, np.array(["z", "b"], dtype=object))[0]) == [-1, 1]


@given(st.lists(st.one_of(st.none(), st.datetimes(datetime.datetime(1900, 1, 1))), min_size=1, max_size=20))
def test_dates_have_the_parts_that_the_calendar_has(times: list[datetime.datetime | None]) -> None:
    frame = pd.DataFrame({"t": pd.Series([time and time.isoformat() for time in times], dtype="str")})
    parts = ["year", "month", "day", "weekday", "hour", "minute", "day_of_year"]
    result = STEPS["dates"](column="t", parts=parts).apply(frame, Context())
    for time, row in zip(times, result.itertuples(index=False), strict=True):
        if time is None:
            assert all(np.isnan(row))
        else:
            of_year = time.timetuple().tm_yday
            assert tuple(row) == (
                *(time.year, time.month, time.day, time.weekday()),
                *(time.hour, time.minute, of_year),
            )


def test_a_wrong_date_names_its_row() -> None:
    with pytest.raises(DataError, match=r"a\.csv, row 1, column t: must be an ISO 8601 date") as caught:
        STEPS["dates"](column="t").apply(pd.DataFrame({"t": ["2024-01-01", "soon"]}), Context(files=["a.csv"]))
    assert caught.value.code == Exit.BAD_ROW


@pytest.mark.parametrize(
    ("zone", "written", "expected"),
    [
        (None, "2024-01-01T00:30:00+01:00", (2024, 1, 1, 0)),
        (None, "2023-12-31T23:30:00Z", (2023, 12, 31, 23)),
        (None, "2024-01-01", (2024, 1, 1, 0)),
        (None, "2024-02", (2024, 2, 1, 0)),
        ("Europe/Rome", "2023-12-31T23:30:00Z", (2024, 1, 1, 0)),
        ("America/New_York", "2024-01-01T00:30:00+01:00", (2023, 12, 31, 18)),
        ("Europe/Rome", "2024-07-01T00:30:00", (2024, 7, 1, 0)),
    ],
)
def test_parts_of_a_date_are_those_that_are_written_or_of_the_zone_that_is_asked_for(
    zone: str | None, written: str, expected: tuple[int, ...]
) -> None:
    step = STEPS["dates"](column="t", parts=["year", "month", "day", "hour"], zone=zone)
    assert tuple(step.apply(pd.DataFrame({"t": [written]}), Context()).iloc[0]) == expected
    as_time = pd.DataFrame({"t": pd.to_datetime(pd.Series([written]), format="ISO8601")})
    assert tuple(step.apply(as_time, Context()).iloc[0]) == expected, "a column of times has the same parts"


def test_a_zone_must_be_one() -> None:
    with pytest.raises(ValueError, match="must be a name of the IANA database"):
        STEPS["dates"](column="t", zone="Mars/Olympus")


@pytest.mark.parametrize("values", [[1.0, 2.0], [True, False]])
def test_numbers_are_no_dates(values: list[object]) -> None:
    with pytest.raises(DataError, match=r"row 0, column t: must be an ISO 8601 date or time"):
        STEPS["dates"](column="t").apply(pd.DataFrame({"t": values}), Context())


def test_a_missing_category_is_one_or_zeros_or_is_told() -> None:
    frame = pd.DataFrame({"c": pd.Series(["a", None, "b"], dtype="str")})
    cells = frame["c"].to_numpy(dtype=object)

    def encoded(**fields: str) -> list[list[float]]:
        (operation,) = STEPS["encode"](columns=["c"], **fields).fit(InMemory(frame), Context())
        return [list(column) for column in operations.apply(operation, cells)]

    assert encoded(missing="category") == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert encoded(missing="zeros") == [[1, 0, 0], [0, 0, 1]]
    assert encoded(unknown="zeros") == encoded(missing="zeros")
    assert encoded(by="ordinal", missing="category") == [[0, 2, 1]]
    (strict,) = STEPS["encode"](columns=["c"]).fit(InMemory(frame), Context())
    with pytest.raises(DataError, match=r"row 1, column c: is missing: fill it before, or say missing"):
        InMemory(frame).transformed(strict, Context())
