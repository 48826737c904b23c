"""What somebody found who tried the pipeline from its docs alone: each fault with its kind."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from modelops_runtime.contract import ConfigurationError, ContractError, Exit
from modelops_runtime.data import prepare
from modelops_runtime.data.steps import STEPS, DataError

LARGE = [9_007_199_254_740_992 + number for number in range(30)]


def run(folder: Path, source: dict[str, Any], steps: list[dict[str, Any]]) -> pd.DataFrame:
    """All rows of the parts, in the order of their index."""
    pipeline = {"sources": [source], "steps": steps}
    destination = ["--destination", str(folder / "out"), "--data-version", "v1"]
    prepare.main(["--pipeline", json.dumps(pipeline), *destination])
    parts = [pd.read_parquet(folder / "out/v1" / part) for part in ("train", "validation", "test")]
    return pd.concat(parts, ignore_index=True)


def parquet(folder: Path, **columns: Any) -> dict[str, Any]:
    pd.DataFrame(columns).to_parquet(folder / "raw.parquet", index=False)
    return {"uri": str(folder / "raw.parquet"), "format": "parquet"}


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ({"minimum": LARGE[1]}, LARGE[1:]),
        ({"maximum": LARGE[-2]}, LARGE[:-1]),
        ({"allowed": LARGE[3:29]}, LARGE[3:29]),
    ],
)
def test_a_check_compares_whole_numbers_exactly(tmp_path: Path, rule: dict[str, Any], left: list[int]) -> None:
    steps = [{"check": {"columns": {"id": rule}, "on_violation": "drop"}}, {"split": {}}]
    assert sorted(run(tmp_path, parquet(tmp_path, id=LARGE), steps)["id"]) == left


@pytest.mark.parametrize(
    "step",
    [
        {"outliers": {"columns": ["id"], "rule": "bounds", "low": 0, "high": 2.0**62}},
        {"scale": {"columns": ["id"]}},
        {"fill": {"columns": ["id"], "by": "mean"}},
    ],
)
def test_whole_numbers_that_double_precision_mixes_up_are_named_instead_of_changed(
    tmp_path: Path, step: dict[str, Any]
) -> None:
    [name] = step
    steps = [{"split": {}}, step] if STEPS[name](**step[name]).fitted else [step, {"split": {}}]
    with pytest.raises(DataError, match=r"row 1, column id: must be at most 2\^53") as caught:
        run(tmp_path, parquet(tmp_path, id=[LARGE[0], LARGE[1], *range(40)]), steps)
    assert caught.value.code == Exit.BAD_ROW


def test_a_message_has_no_values_that_became_names_of_columns(tmp_path: Path) -> None:
    source = parquet(tmp_path, name=["Anna Bianchi", "Carlo Neri"] * 20, k=range(40))
    steps = [{"split": {}}, {"encode": {"columns": ["name"]}}, {"scale": {"columns": ["nope"]}}]
    with pytest.raises(DataError, match=r"lacks column nope; it has k$") as caught:
        run(tmp_path, source, steps)
    assert "Anna" not in str(caught.value)


@pytest.mark.parametrize("name", ["scale", "encode", "mask", "drop", "hash"])
def test_a_step_that_names_a_column_twice_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="must not name one twice"):
        run(tmp_path, {"uri": "nowhere.csv"}, [{"split": {}}, {name: {"columns": ["x", "x"]}}])


def test_json_lines_and_parquet_without_their_format_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"name": "Mario Rossi", "age": 1}\n{"name": "Anna", "age": 2}\n')
    parquet(tmp_path, x=range(9))
    for file, given in (("a.jsonl", "jsonl"), ("raw.parquet", "parquet")):
        with pytest.raises(ContractError, match=f"give format: {given}") as caught:
            run(tmp_path, {"uri": f"{tmp_path}/{file}"}, [{"split": {}}])
        assert caught.value.code == Exit.CONFIGURATION and "Mario" not in str(caught.value)
