"""The split: whole, seeded, in proportion, and without a leak."""

import collections
from typing import Any

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from modelops_runtime.contract import Exit
from modelops_runtime.data.steps import Context, DataError
from modelops_runtime.data.steps.split import Split
from modelops_runtime.data.table import InMemory

ROWS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), min_size=30, max_size=120)


def split(step: Split, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {name: next(part.frames()) for name, part in step.parts(InMemory(frame), Context()).items()}


def parts_of(step: Split, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    try:
        return split(step, frame)
    except DataError as error:
        assume(error.code != Exit.EMPTY)
        raise


@given(ROWS, st.integers(0, 99))
def test_every_row_is_in_one_part_and_equal_rows_in_the_same(rows: list[tuple[int, int]], seed: int) -> None:
    frame = pd.DataFrame(rows, columns=["a", "b"])
    parts = parts_of(Split(seed=seed), frame)
    assert sorted(index for part in parts.values() for index in part.index) == list(range(len(rows)))
    sets = [{tuple(row) for row in part.itertuples(index=False)} for part in parts.values()]
    assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]
    again = split(Split(seed=seed), frame)
    assert all(parts[name].equals(again[name]) for name in parts)


def test_shares_are_those_asked_for_and_the_seed_matters() -> None:
    frame = pd.DataFrame({"a": range(1000)})
    parts = split(Split(validation=0.1, test=0.3), frame)
    assert {name: len(part) for name, part in parts.items()} == {"train": 600, "validation": 100, "test": 300}
    assert not parts["test"].equals(split(Split(validation=0.1, test=0.3, seed=8), frame)["test"])


def test_stratified_parts_have_the_same_proportions() -> None:
    frame = pd.DataFrame({"a": range(1000), "y": ["rare" if n % 10 == 0 else "common" for n in range(1000)]})
    for name, part in split(Split(by="stratified", column="y"), frame).items():
        counts = collections.Counter(part["y"])
        assert counts["rare"] * 9 == counts["common"], name


@given(st.lists(st.integers(0, 20), min_size=30, max_size=100))
def test_a_group_is_in_one_part_only(groups: list[int]) -> None:
    frame = pd.DataFrame({"a": range(len(groups)), "who": groups})
    parts = parts_of(Split(by="grouped", column="who"), frame)
    seen = [set(part["who"]) for part in parts.values()]
    assert sum(map(len, seen)) == len(set(groups))


@given(st.lists(st.integers(0, 1000), min_size=30, max_size=100))
def test_the_test_part_is_the_newest(times: list[int]) -> None:
    frame = pd.DataFrame({"a": range(len(times)), "t": times})
    parts = parts_of(Split(by="time", column="t"), frame)
    assert parts["train"]["t"].max() < parts["validation"]["t"].min()
    assert parts["validation"]["t"].max() < parts["test"]["t"].min()


def test_times_may_be_dates() -> None:
    days = pd.date_range("2024-01-01", periods=10).strftime("%Y-%m-%d")
    parts = split(Split(by="time", column="t"), pd.DataFrame({"t": days}))
    assert list(parts["test"]["t"]) == ["2024-01-09", "2024-01-10"]
    with pytest.raises(DataError, match=r"a\.csv, row 1, column t: must be a number or an ISO 8601 time"):
        Split(by="time", column="t").parts(
            InMemory(pd.DataFrame({"t": ["2024-01-01", "soon"]})), Context(files=["a.csv"])
        )


CELLS = st.sampled_from([0.0, -0.0, float("nan"), 0.1 + 0.2, 0.3, float("inf")])


@given(
    st.lists(st.tuples(CELLS, st.sampled_from(["x", "y", None]), st.integers(0, 8)), min_size=30, max_size=80),
    st.sampled_from([Split(), Split(by="stratified", column="y"), Split(by="grouped", column="y")]),
)
def test_what_pandas_has_as_the_same_row_or_group_is_in_one_part(rows: list[Any], step: Split) -> None:
    frame = pd.DataFrame(rows, columns=["number", "text", "y"])
    parts = pd.concat([part.assign(part=name) for name, part in parts_of(step, frame).items()])
    assert list(parts.sort_index().index) == list(frame.index)
    same = ["y"] if step.by == "grouped" else ["number", "text", "y"]
    assert (parts.groupby(same, dropna=False)["part"].nunique() == 1).all()


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="leaves no rows") as caught:
        split(Split(), pd.DataFrame({"a": [1, 2]}))
    assert caught.value.code == Exit.EMPTY


def test_a_row_without_the_value_to_split_by_is_named() -> None:
    frame = pd.DataFrame({"a": range(3), "who": ["x", None, "y"]})
    with pytest.raises(DataError, match="row 1, column who: must be there"):
        Split(by="grouped", column="who").parts(InMemory(frame), Context(files=["a.csv"]))


@pytest.mark.parametrize("fields", [{"by": "time"}, {"column": "a"}, {"validation": 0.5, "test": 0.5}])
def test_a_split_that_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Split(**fields)
