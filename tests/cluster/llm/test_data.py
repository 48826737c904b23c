"""Conversations through DataPipeline: one worker and several, lengths, masks, leaks, and what is wrong with a row."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelops import ArgumentsError, DataPipeline
from tests.cluster.data.pipelines import Pipelines
from tests.cluster.data.test_data_pipeline import run_in_image
from tests.cluster.data.test_examples import put
from tests.cluster.support import kubectl
from tests.texts import MAIL, conversations, json_lines, tokenizer

pytestmark = [pytest.mark.llm, pytest.mark.long]

FOLDER = "/data/chats"
SOURCES = [
    {
        "uri": f"{FOLDER}/raw-*.jsonl",
        "format": "jsonl",
        "types": {"conversation_id": "text", "messages": "json"},
    }
]
STEPS: list[dict[str, Any]] = [
    {"conversations": {"on_violation": "drop"}},
    {"scan_text": {"columns": ["messages"]}},
    {"tokens": {"tokenizer": f"{FOLDER}/tok", "max_tokens": 250, "on_violation": "drop"}},
    {"deduplicate": {"columns": ["messages"]}},
    {"near_duplicates": {"threshold": 0.7}},
    {"split": {"by": "grouped", "column": "conversation_id"}},
]
READ = """
import json, sys
import pyarrow.parquet
tables = {part: pyarrow.parquet.read_table(f"{sys.argv[1]}/{part}") for part in ("train", "validation", "test")}
print("RESULT " + json.dumps({part: table.to_pylist() for part, table in tables.items()}))
print("TYPE " + str(tables["train"].schema.field("messages").type))
"""


@pytest.fixture(scope="module")
def chats(pipelines: Pipelines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipelines]:
    """The volume has conversations in two files and a tokenizer."""
    folder = tmp_path_factory.mktemp("chats")
    rows = conversations()
    json_lines(folder / "raw-1.jsonl", rows[:40])
    json_lines(folder / "raw-2.jsonl", rows[40:])
    tokenizer(folder / "tok")
    put(pipelines, folder, FOLDER)
    yield pipelines


def args(chats: Pipelines, destination: str, **changes: Any) -> dict[str, Any]:
    given = {**chats.args(destination), "sources": SOURCES, "steps": STEPS, **changes}
    return {name: value for name, value in given.items() if name not in ("target", "salt_secret")}


def read(chats: Pipelines, folder: str) -> tuple[dict[str, list[dict[str, Any]]], str]:
    """The rows of each part, and the type of the messages."""
    lines = dict(line.split(" ", 1) for line in run_in_image(chats, READ, folder).splitlines() if " " in line)
    return json.loads(lines["RESULT"]), lines["TYPE"]


def test_conversations_are_checked_masked_counted_and_split_and_shards_give_the_same_files(chats: Pipelines) -> None:
    one, sharded = chats.new_stack(), chats.new_stack()
    made = chats.program_with("chats", args(chats, "chats-one"))
    one.up(made)
    one.unchanged(made)
    folder = one.outputs()["data_uri"]
    texts = json.loads(chats.exec("cat", f"{folder}/report.json"))["texts"]
    assert texts["formats"] == {"messages": 90} and texts["masked"] == {"EMAIL_ADDRESS": 9}
    assert texts["dropped"] == {"duplicates": 1, "empty": 3, "near_duplicates": 2, "too_long": 3}

    parts, kind = read(chats, folder)
    assert kind == "list<element: struct<role: string, content: string>>"
    for name, rows in parts.items():
        assert texts["tokens"][name]["total"] == sum(row["tokens"] for row in rows)
        assert texts["tokens"][name]["max"] == max(row["tokens"] for row in rows) <= 250
    ids = [{row["conversation_id"] for row in rows} for rows in parts.values()]
    assert len(set.union(*ids)) == sum(map(len, ids)), "no conversation is in two parts"

    sharded.up(chats.program_with("chats-shards", args(chats, "chats-many", shards=3)))
    assert sharded.outputs()["data_version"] == one.outputs()["data_version"]
    assert chats.digests(sharded.outputs()["data_uri"]) == chats.digests(folder)


def test_no_address_is_in_any_message_log_or_state(chats: Pipelines) -> None:
    stack = chats.new_stack()
    stack.up(chats.program_with("chats-private", args(chats, "chats-private", shards=2)))
    name = stack.outputs()["job_name"]
    seen = kubectl("logs", "--namespace", chats.namespace, "--selector", f"job-name={name}", "--tail=-1")
    assert "data_version" in seen
    seen += "".join(path.read_text(errors="replace") for path in Path(stack.folder).rglob("*") if path.is_file())
    parts, _kind = read(chats, stack.outputs()["data_uri"])
    assert MAIL not in seen + json.dumps(parts)
    assert chats.exec("sh", "-c", f"grep -rl '{MAIL}' /data/chats-private || true") == ""


def test_dask_gives_the_same_rows_without_near_duplicates_and_refuses_them_in_the_plan(chats: Pipelines) -> None:
    steps = [step for step in STEPS if "near_duplicates" not in step]
    one, spread = chats.new_stack(), chats.new_stack()
    one.up(chats.program_with("chats-memory", args(chats, "chats-memory", steps=steps)))
    spread.up(chats.program_with("chats-dask", args(chats, "chats-dask", steps=steps, shards=2, engine="dask")))
    assert read(chats, one.outputs()["data_uri"]) == read(chats, spread.outputs()["data_uri"])
    with pytest.raises(ArgumentsError, match=r"steps\[4\] is 'near_duplicates', must not be given with engine dask"):
        DataPipeline("refused", args(chats, "refused", engine="dask"))  # type: ignore[arg-type]


def test_a_wrong_conversation_fails_the_update_and_names_file_row_and_rule(chats: Pipelines) -> None:
    steps = [{"conversations": {}}, {"split": {}}]
    stack = chats.new_stack()
    failed = stack.up(chats.program_with("chats-wrong", args(chats, "chats-wrong", steps=steps)), succeed=False)
    assert "raw-1.jsonl, row 3, column messages: the content of message 4 is empty" in failed.text
    assert "Traceback" not in failed.text and MAIL not in failed.text
    assert "chats-wrong" not in chats.exec("ls", "/data").split()
