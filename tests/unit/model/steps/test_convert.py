"""Dates, categories and scales against scikit-learn and the standard library."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from modelops_runtime.artifacts import preprocessing
from modelops_runtime.contract import Exit
from modelops_runtime.data.steps import STEPS, Context, DataError
from modelops_runtime.data.table import InMemory

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(VALUES)
def test_standard_scaling_equals_scikit_learns_to_the_last_bit(values: list[float]) -> None:
    (operation,) = STEPS["scale"](columns=["x"]).fit(InMemory(pd.DataFrame({"x": values})), Context())
    (ours,) = preprocessing.apply(operation, np.array(values))
    theirs = StandardScaler().fit_transform(np.array(values).reshape(-1, 1))[:, 0]
    np.testing.assert_array_equal(ours, theirs)


@given(VALUES)
def test_minmax_scaling_is_the_formula_and_close_to_scikit_learns(values: list[float]) -> None:
    (operation,) = STEPS["scale"](columns=["x"], by="minmax").fit(InMemory(pd.DataFrame({"x": values})), Context())
    (ours,) = preprocessing.apply(operation, np.array(values))
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
    ours = np.stack(preprocessing.apply(one_hot, column[:, 0]), axis=1)
    np.testing.assert_array_equal(ours, OneHotEncoder(sparse_output=False).fit_transform(column))
    (ordinal,) = STEPS["encode"](columns=["c"], by="ordinal").fit(InMemory(frame), Context())
    (codes,) = preprocessing.apply(ordinal, column[:, 0])
    np.testing.assert_array_equal(codes, OrdinalEncoder().fit_transform(column)[:, 0])


def test_an_unknown_category_fails_or_gives_zeros() -> None:
    frame = pd.DataFrame({"c": ["a", "b"]})
    (strict,) = STEPS["encode"](columns=["c"]).fit(InMemory(frame), Context())
    with pytest.raises(preprocessing.UnknownCategory):
        preprocessing.apply(strict, np.array(["z"], dtype=object))
    (lenient,) = STEPS["encode"](columns=["c"], unknown="zeros").fit(InMemory(frame), Context())
    assert [list(column) for column in preprocessing.apply(lenient, np.array(["z"], dtype=object))] == [[0], [0]]
    (ordinal,) = STEPS["encode"](columns=["c"], by="ordinal", unknown="zeros").fit(InMemory(frame), Context())
    assert list(preprocessing.apply(ordinal, np.array(["z", "b"], dtype=object))[0]) == [-1, 1]


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
