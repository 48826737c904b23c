"""Words for a missing value, and numbers, mean the same in every format."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelops_runtime.contract import ContractError, Exit
from modelops_runtime.data.sources.rows import batches
from modelops_runtime.data.sources.source import Source
from tests.unit.model.steps.test_same_values import PARTS, run

FORMATS = pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet", "sql"])
SPLIT: list[dict[str, Any]] = [{"split": {}}]


def source_of(folder: Path, format_: str, column: list[Any], **more: Any) -> dict[str, Any]:
    """A source of one column `v` beside a number for each row."""
    if format_ == "csv":
        text = "n,v\n" + "".join(f"{n},{'' if cell is None else cell}\n" for n, cell in enumerate(column))
        (folder / "x.csv").write_text(text)
    elif format_ == "jsonl":
        lines = [json.dumps({"n": n, "v": cell}) for n, cell in enumerate(column)]
        (folder / "x.jsonl").write_text("\n".join(lines))
    elif format_ == "parquet":
        pq.write_table(pa.table({"n": range(len(column)), "v": column}), folder / "x.parquet")
    else:
        with sqlite3.connect(folder / "x.db") as connection:
            connection.execute("CREATE TABLE t (n, v)")
            connection.executemany("INSERT INTO t VALUES (?, ?)", [*enumerate(column)])
        connection.close()
        more |= {"query": "SELECT * FROM t ORDER BY n"}
        return {"uri": f"sqlite:///{folder}/x.db", "format": "sql", **more}
    return {"uri": f"{folder}/x.{format_}", "format": format_, **more}


def values(folder: Path, source: dict[str, Any]) -> list[Any]:
    version = run(folder / "out", source, steps=SPLIT)
    found = pd.concat([pd.read_parquet(version / part) for part in PARTS]).sort_values("n")["v"]
    return [None if pd.isna(cell) else cell for cell in found]


@FORMATS
@pytest.mark.parametrize("types", [{}, {"v": "integer"}, {"v": "number"}])
def test_a_number_that_stands_for_a_missing_value_is_missing(
    tmp_path: Path, format_: str, types: dict[str, str]
) -> None:
    source = source_of(tmp_path, format_, [-999, *range(1, 20)], missing=["", "-999"])
    declared = {"n": "integer", **types} if types else {}
    assert values(tmp_path, {**source, "types": declared}) == [None, *range(1, 20)]


@FORMATS
def test_a_fraction_is_missing_by_its_value(tmp_path: Path, format_: str) -> None:
    source = source_of(tmp_path, format_, [-9.5, *(n + 0.5 for n in range(1, 20))], missing=["-9.50"])
    assert values(tmp_path, source) == [None, *(n + 0.5 for n in range(1, 20))]


@FORMATS
@pytest.mark.parametrize("types", [{}, {"n": "integer", "v": "text"}])
def test_a_text_is_missing_by_its_text(tmp_path: Path, format_: str, types: dict[str, str]) -> None:
    column = ["NA", "a", "unknown", *(f"w{n}" for n in range(20))]
    source = source_of(tmp_path, format_, column, missing=["NA", "unknown"], types=types)
    assert values(tmp_path, source) == [None, "a", None, *column[3:]]


@pytest.mark.parametrize("format_", ["csv", "jsonl", "sql"])
@pytest.mark.parametrize("types", [{}, {"n": "integer", "v": "number"}])
def test_words_among_numbers_are_missing(tmp_path: Path, format_: str, types: dict[str, str]) -> None:
    source = source_of(tmp_path, format_, ["NA", "?", *range(18)], missing=["NA", "?"], types=types)
    assert values(tmp_path, source) == [None, None, *range(18)]


def test_dates_are_missing_by_their_text(tmp_path: Path) -> None:
    days = [pd.Timestamp("1900-01-01").date(), *(pd.Timestamp(2024, 1, day).date() for day in range(1, 20))]
    source = source_of(tmp_path, "parquet", days, missing=["1900-01-01"])
    assert values(tmp_path, source) == [None, *days[1:]]


@FORMATS
@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 10**18 + 1])
def test_a_whole_number_that_a_float_would_round_is_refused(tmp_path: Path, format_: str, number: int) -> None:
    source = source_of(tmp_path, format_, [1, number, *range(18)], types={"n": "integer", "v": "number"})
    with pytest.raises(ContractError, match="row 1, column v: is a whole number that double precision would") as caught:
        values(tmp_path, source)
    assert caught.value.code == Exit.BAD_ROW and str(abs(number)) not in str(caught.value)


@FORMATS
def test_large_whole_numbers_that_a_float_has_are_numbers(tmp_path: Path, format_: str) -> None:
    source = source_of(tmp_path, format_, [2**53, 2**60, *range(18)], types={"n": "integer", "v": "number"})
    assert values(tmp_path, source) == [2**53, 2**60, *range(18)]


def test_a_number_of_json_declared_text_keeps_its_writing(tmp_path: Path) -> None:
    written = ["1.10", "1E5", "-0", "12345678901234567890123", "0.30000000000000004", "7", "1e400"]
    lines = [f'{{"n": {n}, "v": {text}}}' for n, text in enumerate(written)]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    source = Source(uri=str(tmp_path / "x.jsonl"), format="jsonl", types={"n": "integer", "v": "text"})
    [batch] = batches(source, source.files()[0], 0)
    assert batch.table.column("v").to_pylist() == written
