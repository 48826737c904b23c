"""The same rows from every format, whatever the chunks and whoever works on them."""

import csv
import datetime
import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops_runtime.contract import Exit
from modelops_runtime.data import prepare
from modelops_runtime.data.context import Context
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.sources import source as sources
from modelops_runtime.data.sources.rows import chunks
from modelops_runtime.data.steps import DataError

ARROW = {
    "key": pa.string(),
    "id": pa.int64(),
    "size": pa.uint64(),
    "x": pa.float64(),
    "who": pa.string(),
    "paid": pa.bool_(),
}
TYPES = {"key": "text", "id": "integer", "size": "unsigned", "x": "number", "who": "text", "paid": "boolean"}
FORMATS = ["csv", "jsonl", "parquet", "sql"]
PARTS = ("train", "validation", "test")
Row = dict[str, Any]


def rows() -> list[Row]:
    """Neighbours that a float can't tell apart, and missing values in every column."""
    made: list[Row] = []
    for n in range(60):
        row: Row = {
            "key": f"k{n % 50}",
            "id": 2**53 + n,
            "size": 2**64 - 1 - n,
            "x": n / 7,
            "who": f"e\u0301cole {n % 20:03}",
            "paid": n % 3 == 0,
        }
        if n >= 40:
            row[list(ARROW)[1 + n % 5]] = None
        made.append(row)
    return made


def _cell(cell: Any) -> str:
    return "" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell)


def write(folder: Path, rows: list[Row], format_: str) -> dict[str, Any]:
    """A source of two files, or a query."""
    folder.mkdir(exist_ok=True)
    if format_ == "sql":
        with sqlite3.connect(folder / "x.db") as connection:
            connection.execute("CREATE TABLE t (key, id, size, x, who, paid)")
            cells = [[str(row["size"]) if k == "size" and row[k] is not None else row[k] for k in row] for row in rows]
            connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", cells)
        connection.close()
        # SQLite has neither booleans nor whole numbers of 64 bits without a sign.
        types = {"size": "unsigned", "paid": "boolean"}
        query = "SELECT * FROM t ORDER BY rowid"
        return {"uri": f"sqlite:///{folder}/x.db", "format": "sql", "query": query, "types": types}
    for number, some in enumerate((rows[:45], rows[45:])):
        file = folder / f"x{number}.{format_}"
        if format_ == "csv":
            with file.open("w", newline="") as stream:
                csv.writer(stream).writerows([ARROW, *([_cell(row[name]) for name in ARROW] for row in some)])
        elif format_ == "jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in some))
        else:
            pq.write_table(pa.Table.from_pylist(some, schema=pa.schema(ARROW)), file)
    return {"uri": f"{folder}/x*.{format_}", "format": format_}


STEPS: list[dict[str, Any]] = [
    {"pseudonymise": {"columns": ["who"], "domain": "person"}},
    {"deduplicate": {"columns": ["id", "size", "x", "paid"]}},
    {"split": {"by": "grouped", "column": "key"}},
]


def run(folder: Path, source: dict[str, Any], *words: str, steps: list[dict[str, Any]] = STEPS) -> Path:
    pipeline = json.dumps({"sources": [source], "steps": steps})
    shards = int(words[words.index("--shards") + 1]) if "--shards" in words else 1
    for shard in reversed(range(shards)):
        own = ["--shard", str(shard)] if shards > 1 else []
        prepare.main(["--pipeline", pipeline, "--destination", str(folder), *words, *own])
    return folder / json.loads((folder / "latest.json").read_text())["data_version"]


def content(version: Path) -> dict[str, bytes]:
    return {f"{part}/{file.name}": file.read_bytes() for part in PARTS for file in sorted((version / part).iterdir())}


@pytest.fixture(autouse=True)
def _salt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELOPS_SALT", "a salt of sixteen bytes or more")


def test_every_format_gives_the_same_bytes_and_every_value(tmp_path: Path) -> None:
    results = {
        format_: content(run(tmp_path / f"of {format_}", write(tmp_path / format_, rows(), format_)))
        for format_ in FORMATS
    }
    assert results["csv"] == results["jsonl"] == results["parquet"] == results["sql"]
    version = next((tmp_path / "of csv").glob("*/report.json")).parent
    found = pa.concat_tables(pq.read_table(version / part) for part in PARTS).to_pylist()
    assert sorted(row["id"] for row in found if row["id"] is not None) == [
        row["id"] for row in rows() if row["id"] is not None
    ]
    assert len({row["who"] for row in found if row["who"] is not None}) == 20
    by_id = {row["id"]: row for row in rows()}
    for row in found:
        if row["id"] is not None:
            assert {k: v for k, v in row.items() if k != "who"} == {
                k: v for k, v in by_id[row["id"]].items() if k != "who"
            }


@pytest.mark.parametrize(
    ("format_", "declared"),
    [
        *((format_, declared) for format_ in ("csv", "jsonl") for declared in ([*TYPES], ["id", "who"], [])),
        ("parquet", []),
        ("sql", ["size", "paid"]),
    ],
)
@pytest.mark.parametrize("engine", ["memory", "dask"])
def test_shards_and_dask_give_the_same_values(
    tmp_path: Path, format_: str, declared: list[str], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CHUNK_ROWS", 7)
    source = write(tmp_path / "raw", rows(), format_)
    source["types"] = {name: TYPES[name] for name in declared}
    one = run(tmp_path / "one", source)
    if engine == "memory":
        many = run(tmp_path / "many", source, "--shards", "3")
        assert content(many) == content(one)
    else:
        many = run(tmp_path / "many", source, "--engine", "dask")
        for part in PARTS:
            pd.testing.assert_frame_equal(pd.read_parquet(many / part), pd.read_parquet(one / part), check_exact=True)
    reports = [json.loads((version / "report.json").read_text()) for version in (one, many)]
    assert reports[0] == reports[1]


LATE = ["0.5", "q", str(2**63), "-1", "true", "007"]
"""What a last row may have that makes whole numbers before it of another type."""


@pytest.mark.parametrize("last", LATE)
@pytest.mark.parametrize("files", [1, 2])
def test_a_type_is_that_of_all_rows_whichever_worker_has_them(
    tmp_path: Path, last: str, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CHUNK_ROWS", 7)
    lines = [f"{n},{n}\n" for n in range(40)] + [f"40,{last}\n"]
    for number in range(files):
        (tmp_path / f"{number}.csv").write_text("a,b\n" + "".join(lines[number::files]))
    source = {"uri": f"{tmp_path}/*.csv"}
    one = run(tmp_path / "one", source, steps=[{"split": {}}])
    assert content(run(tmp_path / "many", source, "--shards", "2", steps=[{"split": {}}])) == content(one)


def test_files_without_rows_have_columns_for_one_worker_and_for_several(tmp_path: Path) -> None:
    lines = "".join(f"{n},{n}\n" for n in range(20))
    (tmp_path / "1.csv").write_text("a,only\n")
    (tmp_path / "2.csv").write_text("a,b\n" + lines)
    source = {"uri": f"{tmp_path}/*.csv"}
    one = run(tmp_path / "one", source, steps=[{"split": {}}])
    assert content(run(tmp_path / "many", source, "--shards", "2", steps=[{"split": {}}])) == content(one)
    assert list(pd.read_parquet(one / "train").columns) == ["a", "only", "b"]


def test_a_source_that_is_there_twice_is_read_twice_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n" + "".join(f"{n},{n}\n" for n in range(20)))
    sources_twice = [{"uri": f"{tmp_path}/1.csv"}] * 2
    reports = []
    for name, words in (("one", []), ("many", ["--shards", "2"])):
        for shard in reversed(range(len(words) or 1)):
            own = [*words, "--shard", str(shard)] if words else []
            pipeline = json.dumps({"sources": sources_twice, "steps": [{"split": {}}]})
            prepare.main(["--pipeline", pipeline, "--destination", str(tmp_path / name), *own])
        [report] = (tmp_path / name).glob("*/report.json")
        reports.append(json.loads(report.read_text()))
    assert reports[0] == reports[1] and sum(reports[0]["rows"].values()) == 40


def read(folder: Path, source: dict[str, Any], chunk: int | None = None) -> pd.DataFrame:
    pipeline = Pipeline.parse({"sources": [source], "steps": [{"split": {}}]})
    return pipeline.whole(Context(), lambda _line: None)


cells: dict[str, Any] = {
    "key": st.just("k"),
    "id": st.none() | st.integers(-(2**63), 2**63 - 1),
    "size": st.none() | st.integers(0, 2**64 - 1),
    "x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "who": st.none() | st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1),
    "paid": st.none() | st.booleans(),
}


@settings(max_examples=60, deadline=None)
@given(some=st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=12), chunk=st.integers(1, 5))
def test_declared_values_are_exact_in_every_text_format(
    some: list[Row], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("raw")
    expected = pa.Table.from_pylist(some, schema=pa.schema(ARROW)).to_pylist()
    for format_ in ("csv", "jsonl"):
        source = sources.Source(**{**write(folder, some, format_), "types": TYPES})
        frames = [*chunks(source, source.files(), rows=chunk)]
        assert pa.Table.from_pandas(pd.concat(frames), preserve_index=False).to_pylist() == expected


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(
        st.none() | st.integers(-(2**66), 2**66) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans(),
        min_size=1,
        max_size=8,
    ),
    chunk=st.integers(1, 5),
)
def test_inferred_values_are_exact_and_do_not_depend_on_chunks(
    values: list[Any], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("raw")
    written = [
        "" if value is None else str(value).lower() if isinstance(value, bool) else repr(value) for value in values
    ]
    (folder / "x.csv").write_text("a,b\n" + "".join(f"{text},1\n" for text in written))
    with pytest.MonkeyPatch.context() as patch:
        results = []
        for rows_of_chunk in (chunk, 50_000):
            patch.setattr(sources, "CHUNK_ROWS", rows_of_chunk)
            results.append(read(folder, {"uri": f"{folder}/x.csv"})["a"])
    pd.testing.assert_series_equal(*results)
    for text, found in zip(written, pa.Array.from_pandas(results[0]).to_pylist(), strict=True):
        if text == "":
            assert found is None
        elif isinstance(found, str):
            assert found == text
        else:
            assert found == json.loads(text)


def test_a_text_is_the_same_beside_a_missing_value(tmp_path: Path) -> None:
    lines = [{"id": 12345}, {"id": None}, {"id": 1234567890123456789}, {"id": 10**30}, {"id": "01234"}, {}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = sources.Source(uri=f"{tmp_path}/x.jsonl", format="jsonl", types={"id": "text"})
    for chunk in (1, 2, 6):
        frame = pd.concat(chunks(source, source.files(), rows=chunk))
        assert frame["id"].fillna("none").tolist() == [
            "12345",
            "none",
            "1234567890123456789",
            str(10**30),
            "01234",
            "none",
        ]


def test_types_of_parquet_keep_their_values(tmp_path: Path) -> None:
    zoned = datetime.datetime(2024, 3, 31, 2, 30, 0, 123456, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    columns = {
        "decimal": pa.array([Decimal("12345678901234567890.123456789"), None, Decimal("0.1")], pa.decimal128(38, 9)),
        "day": pa.array([datetime.date(1, 1, 1), None, datetime.date(9999, 12, 31)]),
        "zoned": pa.array([zoned, None, zoned], pa.timestamp("us", "Europe/Rome")),
        "nanos": pa.array([1, None, 3], pa.timestamp("ns")),
        "old": pa.array([datetime.datetime(1066, 10, 14), None, None], pa.timestamp("s")),
        "half": pa.array([1.5, None, 65504.0], pa.float16()),
        "tiny": pa.array([1, None, 127], pa.int8()),
        "flag": pa.array([True, None, False]),
        "list": pa.array([[2**53 + 1], None, []], pa.list_(pa.int64())),
        "word": pa.array(["e\u0301", None, "\u00e9"]).dictionary_encode(),
        "none": pa.nulls(3),
    }
    source = {"uri": f"{tmp_path}/x-*.parquet", "format": "parquet"}
    for number in range(10):
        table = pa.table({"n": pa.array([3 * number + row for row in range(3)]), **columns})
        pq.write_table(table, tmp_path / f"x-{number}.parquet")
    one = run(tmp_path / "one", source, steps=[{"split": {}}])
    many = run(tmp_path / "many", source, "--shards", "2", steps=[{"split": {}}])
    spread = run(tmp_path / "spread", source, "--engine", "dask", steps=[{"split": {}}])
    assert content(one) == content(many)
    found = pa.concat_tables(pq.read_table(one / part) for part in PARTS)
    assert found.to_pylist() == pa.concat_tables(pq.read_table(spread / part) for part in PARTS).to_pylist()
    in_order = sorted(found.to_pylist(), key=lambda row: row["n"])
    assert [{name: row[name] for name in columns} for row in in_order] == 10 * pa.table(columns).to_pylist()


@pytest.mark.parametrize(
    ("one", "other", "rule"),
    [
        (pa.array([2**53 + 1]), pa.array([0.5]), r"0\.parquet, row 0, column a: does not fit the type double"),
        (
            pa.array([-1]),
            pa.array([2**64 - 1], pa.uint64()),
            r"0\.parquet, row 0, column a: does not fit the type uint64",
        ),
        (pa.array(["x"]), pa.array([1]), r"1\.parquet, column a: has values of several types \(string and int64\)"),
        (pa.array([0.5]), pa.array([Decimal("0.1")]), "has values of several types"),
        (pa.array([1.0, float("inf")]), pa.array([0.5]), r"0\.parquet, row 1, column a: must be a finite number"),
    ],
)
def test_files_whose_types_do_not_go_together_are_refused_in_words(
    tmp_path: Path, one: Any, other: Any, rule: str
) -> None:
    for number, column in enumerate((one, other)):
        pq.write_table(pa.table({"a": column}), tmp_path / f"{number}.parquet")
    with pytest.raises(DataError, match=rule) as caught:
        read(tmp_path, {"uri": f"{tmp_path}/*.parquet", "format": "parquet"})
    assert caught.value.code == Exit.BAD_ROW


@pytest.mark.parametrize("text", ["Infinity", "-inf", "1e999", "NaN", "nan"])
@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_numbers_are_finite(tmp_path: Path, text: str, format_: str) -> None:
    cell = text if format_ == "csv" else {"-inf": "-Infinity", "nan": "NaN"}.get(text, text)
    lines = ["a,b", "1,1", "", f"{cell},2"] if format_ == "csv" else ['{"a": 1}', "", f'{{"a": {cell}}}']
    (tmp_path / "x").write_text("\n".join(lines) + "\n")
    source = {"uri": f"{tmp_path}/x", "format": format_}
    line = 4 if format_ == "csv" else 3
    for declared in ({}, {"types": {"a": "number"}}):
        with pytest.raises(DataError, match=rf"row 1, column a: .*finite number.*\(line {line}\)") as caught:
            read(tmp_path, {**source, **declared})
        assert caught.value.code == Exit.BAD_ROW and text not in str(caught.value)
    if format_ == "csv":
        assert read(tmp_path, {**source, "missing": ["", text]})["a"].isna().tolist() == [False, True]


def test_a_database_keeps_whole_numbers_beside_missing_ones_and_decimals(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE t (a, b)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(2**53 + 1, None), (None, 0.1), (2**63 - 1, 2.0)])
    connection.close()
    source = {"uri": f"sqlite:///{tmp_path}/x.db", "format": "sql", "query": "SELECT * FROM t ORDER BY rowid"}
    frame = read(tmp_path, source)
    assert frame["a"].tolist() == [2**53 + 1, pd.NA, 2**63 - 1] or frame["a"].isna().tolist() == [False, True, False]
    assert frame["a"].dropna().tolist() == [2**53 + 1, 2**63 - 1] and frame["b"].dropna().tolist() == [0.1, 2.0]


def test_decimals_are_numbers_to_steps_and_texts_to_a_scan(tmp_path: Path) -> None:
    values = [None if n % 9 == 4 else Decimal(n) / 4 for n in range(60)]
    table = pa.table({"n": list(range(60)), "c": pa.array(values, pa.decimal128(20, 4))})
    pq.write_table(table, tmp_path / "x.parquet")
    source = {"uri": f"{tmp_path}/x.parquet", "format": "parquet"}
    steps: list[dict[str, Any]] = [
        {"check": {"columns": {"c": {"type": "number", "minimum": 0, "maximum": 15, "required": False}}}},
        {"split": {}},
    ]
    fill = {"fill": {"columns": ["c"], "by": "median"}}
    found = pa.concat_tables(pq.read_table(run(tmp_path / "a", source, steps=[*steps, fill]) / p) for p in PARTS)
    assert {row["n"]: row["c"] for row in found.to_pylist() if row["n"] % 9 != 4} == {
        n: float(value) for n, value in enumerate(values) if value is not None
    }
    scanned = run(tmp_path / "b", source, steps=[{"scan_text": {"columns": ["c"]}}, {"split": {}}])
    assert pq.read_schema(next((scanned / "train").iterdir())).field("c").type in (pa.string(), pa.large_string())


@pytest.mark.parametrize(("kind", "whole"), [(pa.int64(), 2**63 - 1), (pa.uint64(), 2**64 - 1)])
def test_whole_numbers_of_one_file_join_the_decimals_of_another(tmp_path: Path, kind: Any, whole: int) -> None:
    pq.write_table(pa.table({"d": pa.array([Decimal("1.10")], pa.decimal128(10, 2))}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"d": pa.array([whole], kind)}), tmp_path / "2.parquet")
    found = read(tmp_path, {"uri": f"{tmp_path}/*.parquet", "format": "parquet"})
    assert found["d"].tolist() == [Decimal("1.10"), Decimal(whole)]


PLAIN: dict[str, list[Any]] = {
    "binary": [pa.binary(), b"\xff", b"\xff"],
    "fixed": [pa.binary(2), b"\xff\x00", b"\xff\x00"],
    "uuid": [pa.uuid(), UUID(int=7).bytes, str(UUID(int=7))],
    "decimal": [pa.decimal128(4, 1), Decimal("1.5"), Decimal("1.5")],
    "date": [pa.date32(), datetime.date(2024, 2, 3), datetime.date(2024, 2, 3)],
    "time": [pa.time64("us"), datetime.time(1, 2), datetime.time(1, 2)],
    "duration": [pa.duration("us"), datetime.timedelta(1), datetime.timedelta(1)],
    "text": [pa.string(), "x", "x"],
}
"""A type, a value of it, and what is prepared of that."""


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("words", [[], ["--shards", "2"], ["--engine", "dask"]], ids=["one", "shards", "dask"])
def test_a_piece_without_a_value_keeps_its_columns_type(
    tmp_path: Path, kind: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CHUNK_ROWS", 20)
    monkeypatch.setattr("modelops_runtime.data.dask_table.BLOCK_ROWS", 20)
    arrow, value, expected = PLAIN[kind]
    cells = pa.array([value] * 40 + [None] * 40, pa.binary(16) if kind == "uuid" else arrow)
    cells = pa.ExtensionArray.from_storage(arrow, cells) if kind == "uuid" else cells
    pq.write_table(pa.table({"n": range(80), "x": cells}), tmp_path / "x.parquet")
    source = {"uri": f"{tmp_path}/x.parquet", "format": "parquet"}
    version = run(tmp_path / "out", source, *words, steps=[{"deduplicate": {}}, {"split": {}}])
    tables = [pq.read_table(file) for part in PARTS for file in sorted((version / part).iterdir())]
    assert len({table.schema.field("x").type for table in tables}) == 1
    found = sorted(pa.concat_tables(tables).select(["n", "x"]).to_pylist(), key=lambda row: row["n"])
    assert [row["x"] for row in found] == [expected] * 40 + [None] * 40
