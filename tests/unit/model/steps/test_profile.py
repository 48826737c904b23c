"""The page and the numbers of what a version publishes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.artifacts.prepared import PROFILE_DATA, PROFILE_PAGE
from modelops_runtime.data import prepare, profile
from modelops_runtime.data.profile import LEAST_ROWS
from modelops_runtime.data.table import InMemory
from tests.browser import browser

TYPES = {"who": "text", "age": "number", "city": "text", "note": "text", "clinic": "text", "y": "integer"}


def rows(count: int = 900, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    city = rng.choice(["Rome", "Oslo", "Lima"], count).astype(object)
    city[:3] = "Hiddenville"  # so few live there that the name is a person's
    clinic = rng.choice(["north", "south"], count).astype(object)
    clinic[5:8] = "Rareclinic"
    age = rng.normal(50 + shift, 10, count)
    age[::50] = np.nan
    return pd.DataFrame(
        {
            "who": [f"person-{n}" for n in range(count)],
            "age": age,
            "city": city,
            "note": [f"private remark {n}" for n in range(count)],
            "clinic": clinic,
            "y": rng.integers(0, 2, count),
        }
    )


def declared(folder: Path, *steps: dict[str, Any]) -> dict[str, Any]:
    steps = steps or (
        {"pseudonymise": {"columns": ["who"], "domain": "people"}},
        {"split": {}},
        {"encode": {"columns": ["clinic"]}},
    )
    return {"sources": [{"uri": f"{folder}/raw.csv", "types": TYPES}], "steps": list(steps), "target": "y"}


def made(folder: Path, frame: pd.DataFrame, *words: str, pipeline: dict[str, Any] | None = None) -> Path:
    frame.to_csv(folder / "raw.csv", index=False)
    content = json.dumps(pipeline or declared(folder))
    prepare.main(["--pipeline", content, "--destination", f"{folder}/out", *words])
    version: str = json.loads((folder / "out" / "latest.json").read_text())["data_version"]
    return folder / "out" / version


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELOPS_SALT", "0123456789abcdef")
    return tmp_path


def columns(version: Path) -> dict[str, dict[str, Any]]:
    return {column["name"]: column for column in json.loads((version / PROFILE_DATA).read_text())["columns"]}


def test_every_row_of_every_part_is_counted_once(folder: Path) -> None:
    version = made(folder, rows())
    parts = {name: pd.read_parquet(version / name) for name in ("train", "validation", "test")}
    for column in columns(version).values():
        for name, part in parts.items():
            assert sum(column["counts"][name]) == len(part)
    city = columns(version)["city"]
    assert city["values"] == ["Lima", "Oslo", "Rome"]
    for name, part in parts.items():
        assert city["counts"][name][:3] == [int((part["city"] == value).sum()) for value in city["values"]]
    assert columns(version)["clinic"]["counts"]["test"][:2] == [
        int(parts["test"][f"clinic={value}"].sum()) for value in ("north", "south")
    ]
    age = columns(version)["age"]
    below = sum(age["counts"]["train"][:-1][: age["edges"].index(50.0) + 1])
    assert below == int((parts["train"]["age"] < 50).sum())
    assert age["counts"]["train"][-1] == int(parts["train"]["age"].isna().sum())


def test_nothing_that_may_be_personal_is_on_the_page(folder: Path) -> None:
    version = made(folder, rows())
    published = pd.concat([pd.read_parquet(version / name) for name in ("train", "validation", "test")])
    text = (version / PROFILE_PAGE).read_text() + (version / PROFILE_DATA).read_text()
    for hidden in ("private remark", "person-", "Hiddenville", "Rareclinic"):
        assert hidden not in text
    assert not any(pseudonym in text for pseudonym in published["who"])
    assert not any(repr(age) in text for age in published["age"].dropna())
    kinds = {name: column["kind"] for name, column in columns(version).items()}
    assert kinds == {
        "who": "protected",
        "age": "number",
        "city": "values",
        "note": "counted",
        "clinic": "values",
        "y": "values",
    }


@pytest.mark.parametrize(
    "step",
    [
        {"hash": {"columns": ["city"]}},
        {"mask": {"columns": ["city"]}},
        {"pseudonymise": {"columns": ["city"], "domain": "cities"}},
        {"generalise": {"columns": {"city": {"first": 1}}, "k": 2}},
        {"scan_text": {"columns": ["city"]}},
    ],
    ids=lambda step: next(iter(step)),
)
def test_a_protected_column_shows_no_value_even_where_it_has_few(folder: Path, step: dict[str, Any]) -> None:
    frame = rows()
    frame["city"] = np.where(frame["y"] == 1, "Rome", "Oslo")
    version = made(folder, frame, pipeline=declared(folder, step, {"split": {}}, {"encode": {"columns": ["city"]}}))
    encoded = [column for column in pd.read_parquet(version / "train").columns if column.startswith("city=")]
    text = (version / PROFILE_PAGE).read_text() + (version / PROFILE_DATA).read_text()
    assert encoded
    for value in (column.removeprefix("city=") for column in encoded):
        assert f">{value}<" not in text and f'"{value}"' not in text
    assert columns(version)["city"]["kind"] == "protected"


def test_the_first_version_has_nothing_to_compare_with(folder: Path) -> None:
    assert "There is no version before" in (made(folder, rows()) / PROFILE_PAGE).read_text()


def test_drift_is_against_the_version_before(folder: Path) -> None:
    before = made(folder, rows())
    page = (made(folder, rows(shift=8)) / PROFILE_PAGE).read_text()
    assert f"against version {before.name}:" in page
    drift = {
        name: float(rest.partition("drift ")[2].partition("<")[0])
        for name, _, rest in (part.partition("</h2>") for part in page.split("<h2>")[1:])
    }
    assert drift["age"] > 0.25
    assert max(value for name, value in drift.items() if name != "age") < 0.1
    assert page.index("<h2>age</h2>") < page.index("<h2>city</h2>"), "what changed most comes first"


def test_a_column_of_another_kind_has_no_drift(folder: Path) -> None:
    frame = rows()
    made(folder, frame.assign(age=np.where(frame["y"] == 1, 1.0, 2.0)))
    page = (made(folder, frame) / PROFILE_PAGE).read_text()
    assert "new or of another kind" in page.split("<h2>age</h2>")[1].split("</article>")[0]


@pytest.mark.parametrize("words", [["--engine", "dask"]])
def test_the_numbers_do_not_depend_on_who_counts(folder: Path, words: list[str]) -> None:
    one = made(folder, rows(), "--data-version", "one")
    other = made(folder, rows(), "--data-version", "other", *words)
    assert (one / PROFILE_DATA).read_bytes() == (other / PROFILE_DATA).read_bytes()


@given(
    st.lists(st.one_of(st.none(), st.floats(allow_nan=False, width=32)), min_size=1, max_size=60).filter(any),
    st.integers(1, 4),
)
def test_any_numbers_are_counted_between_edges_that_rise(numbers: list[float | None], times: int) -> None:
    frame = pd.DataFrame({"x": pd.Series(numbers * times, dtype="float64")})
    [column] = profile.of({"train": InMemory(frame)}, [], [], ("", "")).columns
    assert sum(column.counts["train"]) == len(frame)
    assert list(column.edges) == sorted(set(column.edges))
    assert len(column.edges) <= profile.BINS + 4
    assert column.counts["train"][-1] == int(frame["x"].isna().sum())


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 40), min_size=1))
def test_a_value_that_few_rows_have_is_not_named(counts: dict[str, int]) -> None:
    frame = pd.DataFrame({"x": [value for value, count in counts.items() for _ in range(count)]})
    [column] = profile.of({"train": InMemory(frame)}, [], [], ("", "")).columns
    assert all(counts[value] >= LEAST_ROWS for value in column.values)
    assert sum(column.counts["train"]) == len(frame)


def test_a_name_is_text_on_the_page_and_no_markup(folder: Path) -> None:
    name = "<script>x</script>"
    frame = rows().rename(columns={"age": name})
    pipeline = declared(folder, {"split": {}})
    pipeline["sources"][0]["types"] = {}
    page = (made(folder, frame, pipeline=pipeline) / PROFILE_PAGE).read_text()
    assert name not in page and "&lt;script&gt;" in page


def test_a_person_sees_all_columns_in_a_browser(folder: Path) -> None:
    made(folder, rows())
    page = made(folder, rows(shift=8)) / PROFILE_PAGE
    with browser() as window:
        window.open(page.as_uri())
        assert window.run("return document.querySelectorAll('article').length") == 6
        assert window.run("return document.querySelector('svg').getBoundingClientRect().height") > 50
        assert "0.25 a lot has" in window.text("body")
        assert window.text("article h2") == "age"
        assert window.console() == []
        assert window.run("return document.documentElement.scrollWidth <= window.innerWidth")
        window.screenshot(folder / "page.png")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=120))
def test_no_bin_of_numbers_has_few_rows(numbers: list[float]) -> None:
    frame = pd.DataFrame({"x": numbers})
    parts = {"train": InMemory(frame.iloc[::2]), "test": InMemory(frame.iloc[1::2])}
    [column] = profile.of(parts, [], [], ("", "")).columns
    of_bins = np.sum([counts[:-1] for counts in column.counts.values()], axis=0)
    assert of_bins.sum() == len(numbers)
    assert (
        column.kind == "counted" or (column.kind == "number" and of_bins.min() >= LEAST_ROWS) or column.kind == "values"
    )


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["Anna Bianchi"] * 60, dtype="str"),
        pd.Series([pd.Timestamp("1970-05-04").date()] * 60, dtype=pd.ArrowDtype(pa.date32())),
        pd.Series(
            [pd.Timestamp("1970-05-04").date(), pd.Timestamp("1970-05-05").date()] * 30,
            dtype=pd.ArrowDtype(pa.date32()),
        ),
        pd.Series([pd.Timestamp("1970-05-04")] * 60),
    ],
    ids=["text", "date", "two dates", "time"],
)
def test_what_everybody_has_in_common_and_dates_are_not_named(column: "pd.Series[Any]") -> None:
    parts = {part: InMemory(pd.DataFrame({"x": column})) for part in ("train", "validation", "test")}
    found = profile.of(parts, [], [], ("", ""))
    assert found.columns[0].kind == "counted"
    assert not {"Anna", "1970"} & {
        word for text in found.files("v1").values() for word in ("Anna", "1970") if word in text
    }
