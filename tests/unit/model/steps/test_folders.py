"""Files of one source that differ: in their columns, and in what their folders' names say."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from modelops_runtime.contract import ContractError, Exit
from tests.unit.model.steps.test_same_values import PARTS, run

FORMATS = pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
SPLIT: list[dict[str, Any]] = [{"split": {}}]


def write(file: Path, frame: pd.DataFrame) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".csv":
        frame.to_csv(file, index=False)
    elif file.suffix == ".jsonl":
        frame.to_json(file, orient="records", lines=True)
    else:
        frame.to_parquet(file, index=False)


def rows(version: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(version / part) for part in PARTS]).sort_values("x", ignore_index=True)


def report(version: Path) -> Any:
    return json.loads((version / "report.json").read_text())["sources"][0]


def partitioned(folder: Path, format_: str) -> dict[str, Any]:
    for n, (year, place) in enumerate((("2023", "a%2Fb"), ("2024", "__HIVE_DEFAULT_PARTITION__"))):
        file = folder / "base=1" / f"year={year}" / f"place={place}" / f"part.{format_}"
        write(file, pd.DataFrame({"x": range(20 * n, 20 * n + 20)}))
    return {"uri": f"{folder}/base=1/year=*/*/part.{format_}", "format": format_}


@FORMATS
@pytest.mark.parametrize("words", [(), ("--shards", "2")])
def test_columns_in_the_names_of_folders_are_kept(tmp_path: Path, format_: str, words: tuple[str, ...]) -> None:
    source = partitioned(tmp_path, format_)
    if words and format_ != "parquet":
        source["types"] = {"x": "integer", "year": "integer", "place": "text"}
    version = run(tmp_path / "out", source, *words, steps=SPLIT)
    found = rows(version)
    assert [*found.columns] == ["x", "year", "place"]
    assert found["year"].tolist() == [2023] * 20 + [2024] * 20
    assert found["place"][:20].tolist() == ["a/b"] * 20 and found["place"][20:].isna().all()
    assert report(version)["of_folders"] == ["year", "place"]


@FORMATS
def test_their_types_may_be_declared(tmp_path: Path, format_: str) -> None:
    types = {"x": "integer", "year": "text", "place": "text"}
    found = rows(run(tmp_path / "out", {**partitioned(tmp_path, format_), "types": types}, steps=SPLIT))
    assert found["year"].tolist() == ["2023"] * 20 + ["2024"] * 20


def test_one_that_is_not_of_its_type_is_refused(tmp_path: Path) -> None:
    types = {"x": "integer", "year": "integer", "place": "number"}
    with pytest.raises(ContractError, match="column place: must be of the type number") as caught:
        run(tmp_path / "out", {**partitioned(tmp_path, "csv"), "types": types}, steps=SPLIT)
    assert caught.value.code == Exit.BAD_ROW


@FORMATS
def test_a_file_s_own_column_stands_above_its_folder_s(tmp_path: Path, format_: str) -> None:
    write(tmp_path / f"year=1/x.{format_}", pd.DataFrame({"x": range(30), "year": [7] * 30}))
    source = {"uri": f"{tmp_path}/*/x.{format_}", "format": format_}
    assert rows(run(tmp_path / "out", source, steps=SPLIT))["year"].tolist() == [7] * 30


@pytest.mark.parametrize(("format_", "words"), [("csv", ()), ("parquet", ()), ("parquet", ("--shards", "2"))])
def test_a_column_that_some_files_lack_is_told(
    tmp_path: Path, format_: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / f"a.{format_}", pd.DataFrame({"x": range(20), "b": range(20)}))
    write(tmp_path / f"b.{format_}", pd.DataFrame({"x": range(20, 40), "c": range(20)}))
    source = {"uri": f"{tmp_path}/*.{format_}", "format": format_}
    version = run(tmp_path / "out", source, *words, steps=SPLIT)
    lacking = report(version)["lacking"]
    assert {name: [Path(file).name for file in files] for name, files in lacking.items()} == {
        "b": [f"b.{format_}"],
        "c": [f"a.{format_}"],
    }
    assert "sources[0]: 1 of 2 files lack column b: it is missing there" in capsys.readouterr().out
