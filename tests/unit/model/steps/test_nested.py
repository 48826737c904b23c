"""Lists and objects: read from JSON lines and Parquet, masked in every text, refused by steps for single values."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.contract import Exit
from modelops_runtime.data import prepare
from modelops_runtime.data.sources.rows import batches, chunks
from modelops_runtime.data.sources.source import Source
from modelops_runtime.data.steps import STEPS, Context, DataError
from tests.texts import json_lines, turns

MAIL = "zebedee.quartermain@example.com"
TYPE = pa.list_(pa.field("element", pa.struct([("role", pa.string()), ("content", pa.string()), ("n", pa.int64())])))


def scanned(column: pd.Series, action: str = "redact") -> Any:
    context = Context(files=["a.jsonl"])
    frame = STEPS["scan_text"](columns=["c"], action=action).apply(pd.DataFrame({"c": column}), context)
    return frame["c"].tolist(), context.report[-1]["found"]


@st.composite
def planted(draw: st.DrawFn) -> tuple[list[dict[str, Any]], int]:
    """A conversation with the address in some of its messages, and how often."""
    contents = draw(st.lists(st.booleans(), min_size=1, max_size=8))
    return turns(*(f"write to {MAIL} now" if has else "nothing here" for has in contents)), sum(contents)


@given(st.lists(planted(), min_size=1, max_size=4), st.booleans())
def test_every_message_is_masked(rows: list[tuple[list[dict[str, Any]], int]], typed: bool) -> None:
    cells = [messages for messages, _count in rows]
    column = pd.Series(cells)
    if typed:
        column = pd.Series(pd.arrays.ArrowExtensionArray(pa.array(cells, TYPE)))
    masked, found = scanned(column)
    said = json.dumps(masked)
    assert MAIL not in said
    assert said.count("<EMAIL_ADDRESS>") == sum(count for _messages, count in rows) == found.get("EMAIL_ADDRESS", 0)
    assert [[one["role"] for one in cell] for cell in masked] == [[one["role"] for one in cell] for cell in cells]


def test_a_tool_call_is_masked_inside_its_json_and_stays_json() -> None:
    arguments = json.dumps({"to": MAIL, "card": 4111111111111111, "note": "fine", "times": [1, True, None]})
    call = {"function": {"name": "send", "arguments": arguments}}
    for calls in ([call], json.dumps([call])):
        [[masked]], found = scanned(pd.Series([[{"role": "assistant", "content": None, "tool_calls": calls}]]))
        got = masked["tool_calls"] if isinstance(calls, list) else json.loads(masked["tool_calls"])
        assert json.loads(got[0]["function"]["arguments"]) == {
            "to": "<EMAIL_ADDRESS>",
            "card": "<CREDIT_CARD>",
            "note": "fine",
            "times": [1, True, None],
        }
        assert found == {"EMAIL_ADDRESS": 1, "CREDIT_CARD": 1}


def test_a_scan_that_fails_names_the_row_of_the_message() -> None:
    with pytest.raises(DataError, match=r"a\.jsonl, row 1, column c: has personal data \(EMAIL_ADDRESS\)"):
        scanned(pd.Series([turns("fine"), turns("fine", MAIL)]), "fail")


def write(folder: Path) -> list[dict[str, Any]]:
    """The same rows as JSON lines and as Parquet."""
    rows = [{"id": str(number), "c": turns(f"question {number}", "answer")} for number in range(40)]
    for row in rows:
        for number, message in enumerate(row["c"]):
            message["n"] = number
    json_lines(folder / "a.jsonl", rows)
    table = pa.table({"id": [row["id"] for row in rows], "c": pa.array([row["c"] for row in rows], TYPE)})
    pyarrow.parquet.write_table(table, folder / "a.parquet")
    return rows


def run(folder: Path, format_: str, steps: list[dict[str, Any]], destination: str = "out", *words: str) -> Path:
    source = {"uri": f"{folder}/a.{format_}", "format": format_}
    if format_ == "jsonl":
        source |= {"types": {"id": "text", "c": "json"}}
    pipeline = json.dumps({"sources": [source], "steps": steps})
    prepare.main(["--pipeline", pipeline, "--destination", f"{folder}/{destination}", *words])
    out = folder / destination
    return out / json.loads((out / "latest.json").read_text())["data_version"]


def test_nested_parquet_is_written_with_the_type_that_it_had(tmp_path: Path) -> None:
    rows = write(tmp_path)
    out = run(tmp_path, "parquet", [{"deduplicate": {}}, {"split": {"by": "grouped", "column": "c"}}])
    tables = [pyarrow.parquet.read_table(out / part) for part in ("train", "validation", "test")]
    assert {table.schema.field("c").type for table in tables} == {TYPE}
    found = [row for table in tables for row in table.to_pylist()]
    assert sorted(found, key=lambda row: int(row["id"])) == rows


def test_json_that_no_step_reads_stays_as_its_text(tmp_path: Path) -> None:
    rows = write(tmp_path)
    out = run(tmp_path, "jsonl", [{"split": {}}])
    found = pd.concat(pd.read_parquet(out / part) for part in ("train", "validation", "test"))
    assert {row["id"]: json.loads(row["c"]) for row in found.to_dict("records")} == {
        row["id"]: row["c"] for row in rows
    }


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    "step",
    [
        {"mask": {"columns": ["c"]}},
        {"dates": {"column": "c"}},
        {"check": {"columns": {"c": {"type": "text"}}}},
        {"outliers": {"columns": ["c"], "rule": "bounds", "low": 0, "high": 1}},
    ],
    ids=lambda step: next(iter(step)),
)
def test_a_step_for_single_values_refuses_lists_in_words(tmp_path: Path, format_: str, step: dict[str, Any]) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=r"column c has lists or objects, which \w+ can't take") as caught:
        run(tmp_path, format_, [step, {"split": {}}])
    assert caught.value.code == Exit.BAD_ROW


@pytest.mark.parametrize("engine", ["memory", "dask"])
def test_a_fitted_step_and_the_split_refuse_lists_in_words(tmp_path: Path, engine: str) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match="column c has lists or objects, which scale can't take"):
        run(tmp_path, "parquet", [{"split": {}}, {"scale": {"columns": ["c"]}}], "out", "--engine", engine)
    with pytest.raises(DataError, match="column c: must be a number or an ISO 8601 time"):
        run(tmp_path, "parquet", [{"split": {"by": "time", "column": "c"}}])


def test_csv_has_lists_as_json_text(tmp_path: Path) -> None:
    cell = json.dumps(turns("a", "b")).replace('"', '""')
    (tmp_path / "a.csv").write_text(f'm\n"{cell}"\n')
    source = Source(uri=f"{tmp_path}/a.csv", types={"m": "json"})
    [frame] = chunks(source, source.files())
    assert frame["m"].tolist() == [turns("a", "b")]
    (tmp_path / "a.csv").write_text("m\nhello\n")
    with pytest.raises(DataError, match=r"a\.csv, row 0, column m: must be of the type json"):
        list(chunks(source, source.files()))


@pytest.mark.parametrize("typed", [True, False], ids=["arrow", "json"])
def test_content_that_is_json_is_masked_behind_its_escapes_and_stays_json(typed: bool) -> None:
    content = json.dumps({"result": "\tbob@müller.de", "card": 4111111111111111})
    cells = [[{"role": "tool", "content": content, "n": 1}]]
    column = pd.Series(pd.arrays.ArrowExtensionArray(pa.array(cells, TYPE))) if typed else pd.Series(cells)
    [[masked]], found = scanned(column)
    assert json.loads(masked["content"]) == {"result": "\t<EMAIL_ADDRESS>", "card": "<CREDIT_CARD>"}
    assert found == {"EMAIL_ADDRESS": 1, "CREDIT_CARD": 1}


def test_names_and_roles_in_json_are_masked_as_well() -> None:
    said = json.dumps({MAIL: "owner", "role": MAIL})
    for cell in (said, json.loads(said), [{"role": "tool", "content": said}]):
        masked, found = scanned(pd.Series([cell]))
        assert MAIL not in str(masked) and found == {"EMAIL_ADDRESS": 2}


def test_half_a_surrogate_pair_in_json_stays_an_escape(tmp_path: Path) -> None:
    arguments = f'{{"a": "\\ud83d {MAIL}"}}'
    [masked], _found = scanned(pd.Series([arguments]))
    assert json.loads(masked) == {"a": "\ud83d <EMAIL_ADDRESS>"} and masked.isascii()
    json_lines(tmp_path / "a.jsonl", [{"id": str(number), "c": ["\ud83d", number]} for number in range(9)])
    out = run(tmp_path, "jsonl", [{"split": {}}])
    assert {json.loads(cell)[0] for cell in pd.read_parquet(out / "train")["c"]} == {"\ud83d"}


def test_what_is_nested_too_deeply_is_refused_with_its_row() -> None:
    deep = '{"a":' * 600 + "1" + "}" * 600
    with pytest.raises(DataError, match=r"a\.jsonl, row 1, column c: is nested too deeply"):
        scanned(pd.Series(["fine", deep]))
    assert scanned(pd.Series(["[" * 100_000])) == (["[" * 100_000], {})


@pytest.mark.parametrize("values", [[1, "x", 2.5], [10**30, None]], ids=["types", "size"])
def test_a_column_that_has_no_one_type_is_named(tmp_path: Path, values: list[Any]) -> None:
    json_lines(tmp_path / "a.jsonl", [{"id": str(number), "c": value} for number, value in enumerate(values * 5)])
    pipeline = {"sources": [{"uri": f"{tmp_path}/a.jsonl", "format": "jsonl"}], "steps": [{"split": {}}]}
    with pytest.raises(DataError, match="column c has values of several types, or of one that Parquet lacks") as caught:
        prepare.main(["--pipeline", json.dumps(pipeline), "--destination", f"{tmp_path}/out"])
    assert caught.value.code == Exit.BAD_ROW


@pytest.mark.parametrize("wrong", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        (pa.list_(pa.float64()), lambda number: [0.5, number]),
        (pa.list_(pa.float32(), 2), lambda number: [0.5, number]),
        (pa.struct([("x", pa.list_(pa.float64()))]), lambda number: {"x": [number]}),
        (pa.list_(pa.struct([("x", pa.float32())])), lambda number: [{"x": number}]),
        (pa.map_(pa.string(), pa.float64()), lambda number: [("x", number)]),
    ],
    ids=["list", "fixed list", "object", "objects", "map"],
)
def test_a_number_in_a_list_or_an_object_is_finite(tmp_path: Path, kind: Any, cell: Any, wrong: float) -> None:
    fine = pa.array([cell(1.0), None, cell(2.0)], kind)
    with_wrong = pa.array([cell(1.0), None, cell(wrong), cell(1.0)], kind)
    for name, values in (("fine", fine), ("wrong", with_wrong)):
        pyarrow.parquet.write_table(pa.table({"v": values}), tmp_path / f"{name}.parquet")
    fields: dict[str, Any] = {"format": "parquet"}
    source = Source(uri=f"{tmp_path}/fine.parquet", **fields)
    assert sum(len(batch.table) for batch in batches(source, source.files()[0], 0)) == 3
    source = Source(uri=f"{tmp_path}/wrong.parquet", **fields)
    with pytest.raises(DataError, match="row 2, column v: must have finite numbers alone") as caught:
        list(batches(source, source.files()[0], 0))
    assert caught.value.code == Exit.BAD_ROW


def test_bytes_in_an_object_are_text_of_json_and_no_other_language(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"o": [{"b": b"x\xc3\xa9"}, {"b": b"\xff"}]}), tmp_path / "x.parquet")
    source = Source(uri=f"{tmp_path}/x.parquet", format="parquet", types={"o": "text"})
    frame = pd.concat(chunks(source, source.files()))
    assert frame["o"].tolist() == ['{"b":"x\u00e9"}', '{"b":"\\udcff"}']
