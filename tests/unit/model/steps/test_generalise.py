"""k-anonymity and l-diversity: what is published keeps them, in one process and on Dask, or nothing is published."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.contract import ConfigurationError, Exit
from modelops_runtime.data import prepare
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.steps import STEPS, Context, DataError

PARTS = ("train", "validation", "test")
ENGINES: list[list[str]] = [[], ["--engine", "dask"]]
CELLS = st.tuples(
    st.integers(0, 99),
    st.integers(1000, 1030),
    st.one_of(st.none(), st.integers(0, 6)),
    st.one_of(st.none(), st.sampled_from("abc")),
)


@given(st.lists(CELLS, min_size=1, max_size=60), st.integers(2, 5), st.booleans(), st.booleans())
def test_each_combination_left_has_k_rows_or_persons_and_l_values(
    cells: list[Any], k: int, by_person: bool, diverse: bool
) -> None:
    frame = pd.DataFrame(cells, columns=["age", "zip", "who", "illness"])
    fields: dict[str, Any] = {"columns": {"age": {"width": 25}, "zip": {"first": 3}}, "k": k}
    fields |= {"by": "who"} if by_person else {}
    fields |= {"sensitive": "illness", "l": 2} if diverse else {}
    context = Context()
    kept = STEPS["generalise"](**fields, rare="remove").apply(frame, context)
    whole = [(age // 25 * 25, str(zip_code)[:3]) for age, zip_code, _who, _illness in cells]

    def holds(pair: tuple[int, str]) -> bool:
        of_pair = [cell for cell, other in zip(cells, whole, strict=True) if other == pair]
        size = len({who for _age, _zip, who, _illness in of_pair}) if by_person else len(of_pair)
        values = {illness for *_others, illness in of_pair if illness is not None}
        return size >= k and (not diverse or len(values) >= 2)

    assert list(kept.index) == [i for i, pair in enumerate(whole) if holds(pair)]
    assert [tuple(pair) for pair in kept[["age", "zip"]].itertuples(index=False)] == [whole[i] for i in kept.index]
    assert context.report[0]["removed_rows"] == len(frame) - len(kept)
    if len(kept) < len(frame):
        with pytest.raises(DataError) as caught:
            STEPS["generalise"](**fields).apply(frame, Context())
        assert caught.value.code == Exit.PRIVACY


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"columns": {"age": {"width": 5, "first": 2}}}, "one of width and first"),
        ({"columns": {"age": {"width": 5}}, "l": 2}, "sensitive and l must be given together"),
        ({"columns": {"age": {"width": 5}}, "sensitive": "y"}, "sensitive and l must be given together"),
        ({"columns": {"age": {"width": 5}}, "by": "age"}, "must be one of columns, by and sensitive"),
    ],
)
def test_a_declaration_without_sense_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        steps = [{"generalise": {**fields, "k": 2}}, {"split": {}}]
        Pipeline.parse({"sources": [{"uri": "x.csv"}], "steps": steps})


def people(folder: Path, count: int = 400) -> None:
    """Two visits a person, of which one may say no income."""
    rng = np.random.default_rng(5)
    persons = np.arange(count) // 2
    frame = pd.DataFrame(
        {
            "who": [f"person {person}" for person in persons],
            "age": 18 + persons * 7 % 60,
            "city": np.array(["Rome", "Oslo", "Lima"])[persons % 3],
            "income": np.where(np.arange(count) % 4 == 0, np.nan, rng.normal(3000, 900, count)),
            "illness": rng.choice(["flu", "cold", "gout"], count),
        }
    )
    frame.to_csv(folder / "people.csv", index=False)


TYPES = {"who": "text", "age": "number", "city": "text", "income": "number", "illness": "text"}
COARSE = {"age": {"width": 20}, "city": {"first": 1}}


def run(folder: Path, steps: list[dict[str, Any]], *words: str) -> Path:
    pipeline = {"sources": [{"uri": f"{folder}/people.csv", "types": TYPES}], "steps": steps}
    out = folder / "out"
    prepare.main(["--pipeline", json.dumps(pipeline), "--destination", str(out), *words])
    return Path(out, json.loads((out / "latest.json").read_text())["data_version"])


def published(version: Path) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(version / part) for part in PARTS)


def told(version: Path) -> dict[str, Any]:
    protected = json.loads((version / "report.json").read_text())["protected"]
    return dict(next(entry for entry in protected if entry["by"] == "generalise"))


@pytest.mark.parametrize("engine", ENGINES, ids=["memory", "dask"])
def test_the_report_says_what_holds_for_what_is_published(tmp_path: Path, engine: list[str]) -> None:
    people(tmp_path)
    steps: list[dict[str, Any]] = [
        {"generalise": {"columns": COARSE, "k": 5, "by": "who", "sensitive": "illness", "l": 2, "rare": "remove"}},
        {"check": {"columns": {"income": {"minimum": 2000}}, "on_violation": "drop"}},
        {"split": {"by": "grouped", "column": "who"}},
        {"drop": {"columns": ["who"]}},
        {"fill": {"columns": ["income"], "by": "median"}},
        {"scale": {"columns": ["age"]}},
        {"encode": {"columns": ["city"]}},
    ]
    steps[1], steps[2] = steps[2], steps[1]
    version = run(tmp_path, steps, *engine)
    groups = published(version).groupby(["age", "city=L", "city=O", "city=R"])
    report = told(version)
    # It counts persons, each of whom has up to two rows.
    assert 5 <= report["smallest_group"] <= groups.size().min()
    assert report["fewest_values"] == groups["illness"].nunique().min()
    assert {"k": 5, "l": 2, "persons": "who", "sensitive": "illness"}.items() <= report.items()


@pytest.mark.parametrize("engine", ENGINES, ids=["memory", "dask"])
@pytest.mark.parametrize(
    ("later", "name"),
    [
        ([{"deduplicate": {"columns": ["city", "age"]}}, {"split": {}}], "deduplicate"),
        (
            [{"split": {}}, {"check": {"columns": {"income": {"minimum": 4000}}, "on_violation": "drop"}}],
            "check",
        ),
    ],
)
def test_a_step_that_removes_rows_and_so_breaks_it_is_refused(
    tmp_path: Path, later: list[dict[str, Any]], name: str, engine: list[str]
) -> None:
    people(tmp_path)
    with pytest.raises(DataError, match=rf"that fewer than 20 share, after {name}: put before generalise") as caught:
        run(tmp_path, [{"generalise": {"columns": COARSE, "k": 20, "rare": "remove"}}, *later], *engine)
    assert caught.value.code == Exit.PRIVACY
    assert not [path for path in tmp_path.rglob("*") if path.name in ("report.json", "latest.json")]


def test_a_step_that_makes_its_columns_finer_is_refused(tmp_path: Path) -> None:
    people(tmp_path)
    steps = [{"generalise": {"columns": {"income": {"width": 1000}}, "k": 20, "rare": "remove"}}]
    finer = {"fill": {"columns": ["income"], "by": "interpolate"}}
    with pytest.raises(DataError, match=r"income that fewer than 20 share, after fill") as caught:
        run(tmp_path, [*steps, {"split": {}}, finer])
    assert caught.value.code == Exit.PRIVACY


@pytest.mark.parametrize("engine", ENGINES, ids=["memory", "dask"])
def test_persons_are_counted_where_they_are_named(tmp_path: Path, engine: list[str]) -> None:
    people(tmp_path, 40)
    fields = {"columns": {"city": {"first": 1}}, "k": 12}
    drop = {"mask": {"columns": ["who"]}}
    assert told(run(tmp_path, [{"generalise": fields}, {"split": {}}, drop], *engine))["smallest_group"] == 12
    with pytest.raises(DataError, match=r"that fewer than 12 persons \(who\) share: make them coarser") as caught:
        run(tmp_path, [{"generalise": {**fields, "by": "who"}}, {"split": {}}, drop], *engine)
    assert caught.value.code == Exit.PRIVACY
    # The identifier is masked for publication; whose a row is still counts.
    version = run(tmp_path, [{"generalise": {**fields, "k": 6, "by": "who"}}, {"split": {}}, drop], *engine)
    assert told(version)["smallest_group"] == 6


def test_values_that_a_later_step_makes_equal_are_not_diverse(tmp_path: Path) -> None:
    people(tmp_path)
    steps: list[dict[str, Any]] = [
        {"generalise": {"columns": COARSE, "k": 2, "sensitive": "illness", "l": 3, "rare": "remove"}},
        {"split": {}},
    ]
    assert told(run(tmp_path, steps))["fewest_values"] == 3
    with pytest.raises(DataError, match=r"or that has fewer than 3 values of illness"):
        run(tmp_path, [*steps, {"mask": {"columns": ["illness"]}}])


@pytest.mark.parametrize("engine", ENGINES, ids=["memory", "dask"])
def test_columns_that_are_left_out_distinguish_nobody(tmp_path: Path, engine: list[str]) -> None:
    people(tmp_path, 60)
    steps = [{"generalise": {"columns": COARSE, "k": 2}}, {"split": {}}, {"drop": {"columns": ["age", "city"]}}]
    assert told(run(tmp_path, steps, *engine))["smallest_group"] == 60


@pytest.mark.parametrize("engine", ENGINES, ids=["memory", "dask"])
def test_rows_that_are_given_a_person_later_are_that_person_s(tmp_path: Path, engine: list[str]) -> None:
    people(tmp_path, 40)
    frame = pd.read_csv(tmp_path / "people.csv")
    frame.loc[frame["who"].isin(frame["who"].unique()[3:4]), "who"] = None
    frame.to_csv(tmp_path / "people.csv", index=False)
    steps: list[dict[str, Any]] = [
        {"generalise": {"columns": {"city": {"first": 1}}, "k": 7, "by": "who", "rare": "remove"}}
    ]
    assert told(run(tmp_path, [*steps, {"split": {}}], *engine))["smallest_group"] == 7
    fill = {"fill": {"columns": ["who"], "by": "constant", "value": "person 0"}}
    filled = run(tmp_path, [{"generalise": {**steps[0]["generalise"], "k": 6}}, {"split": {}}, fill], *engine)
    groups = published(filled).groupby("city")["who"].nunique()
    assert told(filled)["smallest_group"] == groups.min() == 6
    with pytest.raises(DataError, match=r"fewer than 7 persons \(who\) share, after fill") as caught:
        run(tmp_path, [*steps, {"split": {}}, fill], *engine)
    assert caught.value.code == Exit.PRIVACY


DATES = {"dates": {"column": "born", "parts": ["year", "month"], "keep": True}}


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ([DATES, {"generalise": {"columns": {"born": {"first": 4}}, "k": 2}}], "born_year"),
        ([DATES, {"generalise": {"columns": {"born_year": {"width": 10}}, "k": 2}}], "born"),
        (
            [
                {"dates": {"column": "born", "keep": True}},
                {"generalise": {"columns": {"born_day": {"width": 9}}, "k": 2}},
            ],
            "born",
        ),
        (
            [
                {"image_features": {"column": "photo", "features": ["hog"], "keep": True}},
                {"generalise": {"columns": {"photo": {"first": 9}}, "k": 2}},
            ],
            r"hog_\*",
        ),
        (
            [
                {"image_features": {"column": "photo", "features": ["histogram"], "keep": True}},
                {"generalise": {"columns": {"histogram_0": {"width": 1}}, "k": 2}},
            ],
            "photo",
        ),
    ],
)
def test_a_column_that_keeps_what_is_made_coarser_must_be_named_or_dropped(
    steps: list[dict[str, Any]], name: str
) -> None:
    pipeline = {"sources": [{"uri": "x.csv"}], "steps": [*steps, {"split": {}}]}
    with pytest.raises(ConfigurationError, match=rf"columns lacks {name}, which tells more exactly"):
        Pipeline.parse(pipeline)
    drop = {"drop": {"columns": ["born", "photo", "born_year", "born_month"]}}
    if name in ("born", "photo"):
        Pipeline.parse({**pipeline, "steps": [*steps, drop, {"split": {}}]})


def test_two_steps_that_promise_each_for_itself_are_refused() -> None:
    steps = [{"generalise": {"columns": {name: {"width": 9}}, "k": 5}} for name in ("age", "income")]
    with pytest.raises(ConfigurationError, match=r"steps\[1\] \(generalise\) must be there once, with all columns"):
        Pipeline.parse({"sources": [{"uri": "x.csv"}], "steps": [*steps, {"split": {}}]})
