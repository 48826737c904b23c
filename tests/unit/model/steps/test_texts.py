"""Texts for a language model through a whole pipeline: what is published and reported, and that nothing leaks."""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops_runtime.contract import ConfigurationError, Exit
from modelops_runtime.data import prepare
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.steps import DataError
from modelops_runtime.registry.publishing import quality
from tests.texts import MAIL, conversations, json_lines, tokenizer
from tests.unit.model.test_fetch_hub import FIRST, FakeHub, hub  # noqa: F401

PARTS = ("train", "validation", "test")
MESSAGES = pa.list_(pa.field("element", pa.struct([("role", pa.string()), ("content", pa.string())])))


STEPS: list[dict[str, Any]] = [
    {"conversations": {"on_violation": "drop"}},
    {"scan_text": {"columns": ["messages"]}},
    {"tokens": {"tokenizer": "", "max_tokens": 250, "on_violation": "drop"}},
    {"deduplicate": {"columns": ["messages"]}},
    {"near_duplicates": {"threshold": 0.7}},
    {"split": {"by": "grouped", "column": "conversation_id"}},
]


def declared(folder: Path, format_: str = "jsonl", steps: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    source: dict[str, Any] = {"uri": f"{folder}/raw-*.{format_}", "format": format_}
    if format_ == "jsonl":
        source["types"] = {"conversation_id": "text", "messages": "json"}
    steps = json.loads(json.dumps(STEPS if steps is None else steps))
    for step in steps:
        if "tokens" in step:
            step["tokens"]["tokenizer"] = str(folder / "tok")
    return {"sources": [source], "steps": steps}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("modelops_runtime.data.sources.source.CHUNK_ROWS", 20)
    tokenizer(tmp_path / "tok")
    rows = conversations()
    json_lines(tmp_path / "raw-1.jsonl", rows[:40])
    json_lines(tmp_path / "raw-2.jsonl", rows[40:])
    for number, part in enumerate((rows[:40], rows[40:]), start=1):
        table = pa.table(
            {
                "conversation_id": [row["conversation_id"] for row in part],
                "messages": pa.array([row["messages"] for row in part], MESSAGES),
            }
        )
        pyarrow.parquet.write_table(table, tmp_path / f"raw-{number}.parquet")
    return tmp_path


def run(folder: Path, destination: str, pipeline: Mapping[str, Any], *words: str) -> Path:
    prepare.main(["--pipeline", json.dumps(pipeline), "--destination", f"{folder}/{destination}", *words])
    out = folder / destination
    return out / json.loads((out / "latest.json").read_text())["data_version"]


def tables(out: Path) -> dict[str, Any]:
    return {part: pyarrow.parquet.read_table(out / part) for part in PARTS}


def test_a_version_has_messages_as_lists_of_structs_and_each_row_s_tokens(folder: Path) -> None:
    out = run(folder, "out", declared(folder))
    for table in tables(out).values():
        assert table.schema.field("messages").type == MESSAGES
        for row in table.to_pylist():
            expected = sum(len(message["content"].split()) + 3 for message in row["messages"])
            assert row["tokens"] == expected <= 250
    # pandas can't read every name of its own nested types.
    assert list(pd.read_parquet(out / "test")["messages"][0][0]) == ["role", "content"]


def test_the_report_has_formats_lengths_and_why_rows_are_gone(folder: Path) -> None:
    out = run(folder, "out", declared(folder))
    report = json.loads((out / "report.json").read_text())
    texts, parts = report["texts"], tables(out)
    assert texts["formats"] == {"messages": 90}
    assert texts["dropped"] == {"duplicates": 1, "empty": 3, "near_duplicates": 2, "too_long": 3}
    assert texts["masked"] == {"EMAIL_ADDRESS": 9}
    assert texts["tokenizer"]["uri"] == str(folder / "tok") and texts["tokenizer"]["chat_template"] is True
    for name, table in parts.items():
        lengths = table["tokens"].to_pylist()
        found = texts["tokens"][name]
        assert (found["total"], found["min"], found["max"]) == (sum(lengths), min(lengths), max(lengths))
        expected = np.percentile(lengths, [50, 95, 99])
        np.testing.assert_allclose([found["median"], found["p95"], found["p99"]], expected)
    assert [(one["row"], one["rule"]) for one in texts["violations"]][:2] == [
        (3, "the content of message 4 is empty"),
        (4, next(one["rule"] for one in texts["violations"] if "tokens" in one["rule"])),
    ]
    assert all(one["file"].endswith(".jsonl") and one["column"] == "messages" for one in texts["violations"])
    assert MAIL not in json.dumps(report)


def test_the_registry_gets_the_counts_of_texts(folder: Path) -> None:
    report = json.loads((run(folder, "out", declared(folder)) / "report.json").read_text())
    found = quality.counts(report)
    assert found["data_violations"] == 3 and found["data_dropped_near_duplicates"] == 2
    assert found["data_masked"] == 9 and found["data_dropped_too_long"] == 3
    assert found["data_tokens"] == sum(
        sum(table["tokens"].to_pylist()) for table in tables(folder / "out" / report["data_version"]).values()
    )
    assert found["data_tokens_max"] == report["texts"]["tokens"]["train"]["max"]


def test_no_address_is_in_any_message_of_any_part(folder: Path) -> None:
    out = run(folder, "out", declared(folder))
    assert MAIL not in json.dumps([table.to_pylist() for table in tables(out).values()])


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
@pytest.mark.parametrize("shards", [2, 3])
def test_shards_give_the_same_bytes_as_one_worker(folder: Path, format_: str, shards: int) -> None:
    pipeline = declared(folder, format_)
    one = run(folder, "one", pipeline)
    for shard in [*range(1, shards), 0]:
        words = ["--shards", str(shards), "--shard", str(shard)]
        prepare.main(["--pipeline", json.dumps(pipeline), "--destination", f"{folder}/many", *words])
    many = folder / "many" / one.name
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) == 7 and files == sorted(path.relative_to(many) for path in many.rglob("*") if path.is_file())
    for file in files:
        assert (one / file).read_bytes() == (many / file).read_bytes(), file


def test_parquet_and_json_lines_give_the_same_rows(folder: Path) -> None:
    one, other = tables(run(folder, "one", declared(folder))), tables(run(folder, "other", declared(folder, "parquet")))
    for part in PARTS:
        assert one[part].to_pylist() == other[part].to_pylist()


def test_dask_gives_the_same_rows_and_report_as_one_worker(folder: Path) -> None:
    pipeline = declared(folder, steps=[step for step in STEPS if "near_duplicates" not in step])
    one, other = run(folder, "one", pipeline), run(folder, "other", pipeline, "--engine", "dask")
    for part in PARTS:
        assert tables(one)[part].to_pylist() == tables(other)[part].to_pylist()
        assert tables(other)[part].schema.field("messages").type == MESSAGES
    alone, together = (json.loads((version / "report.json").read_text()) for version in (one, other))
    assert {**alone, "files": []} == {**together, "files": []}  # whose rows are in other files


def test_near_duplicates_are_refused_with_dask_before_anything_is_read(folder: Path) -> None:
    pipeline = {**declared(folder), "sources": [{"uri": "/nowhere.parquet", "format": "parquet"}]}
    with pytest.raises(ConfigurationError, match=r"steps\[4\] \(near_duplicates\) needs all rows in one memory"):
        run(folder, "out", pipeline, "--engine", "dask")


def test_formats_that_meet_from_different_shards_are_refused(folder: Path) -> None:
    json_lines(folder / "raw-2.jsonl", [{"conversation_id": "a", "text": "once"}])
    pipeline = declared(folder, steps=[STEPS[0], {"split": {}}])
    pipeline["sources"][0]["types"]["text"] = "text"
    with pytest.raises(
        DataError, match=r"\(38 messages from \S+raw-1.jsonl, row 0, 1 text from \S+raw-2.jsonl, row 0\)"
    ) as caught:
        for shard in ("1", "0"):
            words = ["--shards", "2", "--shard", shard, "--destination", f"{folder}/out"]
            prepare.main(["--pipeline", json.dumps(pipeline), *words])
    assert caught.value.code == Exit.BAD_ROW
    assert list((folder / "out").iterdir()) == []


def test_a_shard_whose_rows_are_all_left_out_leaves_the_others_alone(folder: Path) -> None:
    bad = [{"conversation_id": "a", "prompt": "", "completion": "x"}] * 45
    good = [{"conversation_id": f"c{number}", "prompt": f"q{number}", "completion": "x"} for number in range(20)]
    json_lines(folder / "raw-1.jsonl", bad)
    json_lines(folder / "raw-2.jsonl", good)
    steps = [{"conversations": {"as_messages": True, "on_violation": "drop"}}, *STEPS[1:3], STEPS[-1]]
    pipeline = declared(folder, steps=steps)
    pipeline["sources"][0]["types"] = {"conversation_id": "text", "prompt": "text", "completion": "text"}
    one = run(folder, "one", pipeline)
    for shard in ("1", "0"):
        words = ["--shards", "2", "--shard", shard, "--destination", f"{folder}/many"]
        prepare.main(["--pipeline", json.dumps(pipeline), *words])
    for part, table in tables(one).items():
        assert table.equals(tables(folder / "many" / one.name)[part])
    report = json.loads((one / "report.json").read_text())
    assert report["texts"]["dropped"] == {"empty": 45} and sum(report["rows"].values()) == 20


def test_answers_that_look_like_numbers_stay_texts(folder: Path) -> None:
    json_lines(folder / "n.jsonl", [{"q": f"what is {number}", "completion": str(number)} for number in range(40)])
    steps = [{"conversations": {"rename": {"q": "prompt"}}}, {"split": {}}]
    pipeline = {"sources": [{"uri": f"{folder}/n.jsonl", "format": "jsonl"}], "steps": steps}
    found = [row["completion"] for table in tables(run(folder, "out", pipeline)).values() for row in table.to_pylist()]
    assert sorted(found, key=int) == [str(number) for number in range(40)]


def test_a_failed_row_ends_the_program_with_lines_and_no_traceback(folder: Path) -> None:
    steps = [{"conversations": {}}, {"split": {}}]
    pipeline = json.dumps(declared(folder, steps=steps))
    command = [sys.executable, "-m", "modelops_runtime", "prepare", "--pipeline", pipeline]
    done = subprocess.run([*command, "--destination", f"{folder}/out"], capture_output=True, text=True)
    assert done.returncode == Exit.BAD_ROW
    lines = done.stderr.splitlines()
    assert len(lines) == 4 and all(line.startswith("error: ") for line in lines)
    assert lines[0].endswith("raw-1.jsonl, row 3, column messages: the content of message 4 is empty")


SPLIT: dict[str, Any] = {"split": {}}
TOKENS: dict[str, Any] = {"tokens": {"tokenizer": "tok"}}
READ: dict[str, Any] = {"conversations": {}}


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([TOKENS, SPLIT], r"steps\[0\] \(tokens\) must be after conversations"),
        ([{"near_duplicates": {}}, SPLIT], r"steps\[0\] \(near_duplicates\) must be after conversations"),
        ([READ, SPLIT, {"near_duplicates": {}}], r"steps\[2\] \(near_duplicates\) looks at all rows: must be before"),
        ([READ, TOKENS, {"scan_text": {"columns": ["messages"]}}, SPLIT], r"steps\[2\] \(scan_text\) changes texts"),
        ([{"deduplicate": {}}, READ, SPLIT], r"steps\[1\] \(conversations\) must be before the steps that look at all"),
        ([READ, TOKENS, READ, SPLIT], r"steps\[2\] \(conversations\) must be there once"),
        ([READ, TOKENS, {"drop": {"columns": ["tokens"]}}, SPLIT], r"steps\[2\] \(drop\) must not drop tokens"),
    ],
)
def test_steps_that_would_make_the_report_wrong_are_refused(steps: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Pipeline.parse({"sources": [{"uri": "x", "format": "jsonl"}], "steps": steps})


def test_masking_of_other_columns_may_follow_the_tokens() -> None:
    steps = [READ, TOKENS, {"scan_text": {"columns": ["note"]}}, {"near_duplicates": {"columns": ["note"]}}, SPLIT]
    assert Pipeline.parse({"sources": [{"uri": "x", "format": "jsonl"}], "steps": steps})


def shingles(messages: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    words = " ".join(message["content"] for message in messages if message["role"] != "system").split()
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_no_conversation_and_no_near_duplicate_is_in_two_parts(seed: int, chance: random.Random) -> None:
    rows = conversations(60)
    for row in chance.sample(rows, 20):
        near = json.loads(json.dumps(row))
        near["conversation_id"] = f"n{chance.random()}"
        near["messages"][-2]["content"] += " indeed"
        rows.append(near)
    chance.shuffle(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        json_lines(folder / "raw-1.jsonl", rows)
        steps = [step for step in STEPS if "tokens" not in step]
        steps[-1] = {"split": {**steps[-1]["split"], "seed": seed}}
        parts = {
            part: table.to_pylist() for part, table in tables(run(folder, "out", declared(folder, steps=steps))).items()
        }
    ids = [{row["conversation_id"] for row in part} for part in parts.values()]
    assert all(parts.values()) and len(set.union(*ids)) == sum(map(len, ids))
    kept = [(part, shingles(row["messages"])) for part, found in parts.items() for row in found]
    for place, (part, one) in enumerate(kept):
        for other_part, other in kept[:place]:
            assert part == other_part or len(one & other) / len(one | other) < 0.7


@pytest.fixture
def tokenizer_of_the_hub(hub: FakeHub, folder: Path) -> Iterator[dict[str, str]]:  # noqa: F811
    files = {path.name: path.read_bytes() for path in (folder / "tok").iterdir()}
    hub.commits[FIRST] = {**files, "model.safetensors": b"weights" * 1000}
    yield {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home")}


def test_a_tokenizer_comes_from_the_hub_without_the_weights(
    hub: FakeHub,  # noqa: F811
    tokenizer_of_the_hub: dict[str, str],
    folder: Path,
) -> None:
    expected = run(folder, "one", declared(folder))
    pipeline = declared(folder)
    pipeline["steps"][2]["tokens"]["tokenizer"] = f"hf://team/tiny@{FIRST}"
    command = [sys.executable, "-m", "modelops_runtime", "prepare", "--pipeline", json.dumps(pipeline)]
    command += ["--destination", f"{folder}/out"]
    done = subprocess.run(command, env=tokenizer_of_the_hub, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = folder / "out" / json.loads((folder / "out" / "latest.json").read_text())["data_version"]
    for part in PARTS:
        assert tables(out)[part].to_pylist() == tables(expected)[part].to_pylist()
    assert not any("safetensors" in line for line in hub.asked)
    missing = pipeline["steps"][2]["tokens"]["tokenizer"].replace("1", "3")
    pipeline["steps"][2]["tokens"]["tokenizer"] = missing
    command[5] = json.dumps(pipeline)
    done = subprocess.run(command, env=tokenizer_of_the_hub, capture_output=True, text=True)
    assert done.returncode == Exit.CONFIGURATION and "Traceback" not in done.stderr
    assert "hf://team/tiny refused the list of its files" in done.stderr
