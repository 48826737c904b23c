"""The step `conversations`: formats, roles, and what is said of a row that is wrong."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.contract import Exit
from modelops_runtime.data.sources.rows import chunks
from modelops_runtime.data.sources.source import Source
from modelops_runtime.data.steps import STEPS, Context, DataError
from tests.texts import json_lines, turns

MESSAGES = pa.list_(pa.field("element", pa.struct([("role", pa.string()), ("content", pa.string())])))
ASKED = turns("where is it", "on its way")


def step(**fields: Any) -> Any:
    return STEPS["conversations"](**fields)


def read(folder: Path, *rows: dict[str, Any]) -> pd.DataFrame:
    source = Source(uri=str(json_lines(folder / "a.jsonl", rows)), format="jsonl")
    return pd.concat(chunks(source, source.files()))


def applied(folder: Path, *rows: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = step(**fields).apply(read(folder, *rows), Context()).to_dict("records")
    return result


def refused(folder: Path, row: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(DataError) as caught:
        step(**fields).apply(read(folder, row), Context(files=["a.jsonl"]))
    assert caught.value.code == Exit.BAD_ROW
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"messages": ASKED}, "messages"),
        ({"prompt": "where", "completion": "there"}, "prompt_completion"),
        ({"prompt": ASKED[:1], "completion": ASKED[1:]}, "conversational_prompt_completion"),
        ({"text": "once upon a time"}, "text"),
        ({"prompt": "where", "chosen": "there", "rejected": "no"}, "preference"),
        ({"prompt": ASKED[:1], "chosen": ASKED[1:], "rejected": turns("", "no")[1:]}, "conversational_preference"),
    ],
)
def test_a_row_s_columns_say_its_format_and_come_out_as_they_were(
    tmp_path: Path, row: dict[str, Any], name: str
) -> None:
    context = Context()
    frame = step().apply(read(tmp_path, {"id": "a", **row}), context)
    assert frame.to_dict("records") == [{**row, "id": "a"}]
    assert context.report[-1]["texts"]["formats"] == {name: 1}
    for column, cell in row.items():
        expected = pd.ArrowDtype(MESSAGES) if isinstance(cell, list) else "str"
        assert frame[column].dtype == expected


def test_messages_may_be_json_text_as_databases_have_it() -> None:
    frame = step().apply(pd.DataFrame({"messages": [json.dumps(ASKED)]}), Context())
    assert frame["messages"][0] == ASKED


def test_prompts_and_answers_may_be_json_text_too(tmp_path: Path) -> None:
    row = {"prompt": ASKED[:1], "chosen": ASKED[1:], "rejected": turns("", "no")[1:]}
    assert applied(tmp_path, {name: json.dumps(cell) for name, cell in row.items()}) == [row]
    whole = {"chosen": json.dumps(turns("q", "yes")), "rejected": json.dumps(turns("q", "no"))}
    assert applied(tmp_path, whole)[0]["prompt"] == turns("q")
    texts = {"prompt": "as JSON, please", "completion": '[{"a": 1}]'}
    assert applied(tmp_path, texts) == [texts]
    assert applied(tmp_path, {"text": json.dumps(ASKED)}) == [{"text": json.dumps(ASKED)}]


def test_columns_of_instruction_data_get_the_format_s_names(tmp_path: Path) -> None:
    fields = {"rename": {"question": "prompt", "answer": "completion"}}
    assert applied(tmp_path, {"question": "q", "answer": "a"}, **fields) == [{"prompt": "q", "completion": "a"}]
    with pytest.raises(DataError, match="has column prompt already: leave it out by the step drop"):
        applied(tmp_path, {"question": "q", "answer": "a", "prompt": "p"}, **fields)
    with pytest.raises(ValueError, match="rename gives the name answer, must give one of messages"):
        step(rename={"a": "answer"})


def test_prompt_and_completion_become_messages_on_demand(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": "a"}, {"messages": ASKED}, {"prompt": ASKED[:1], "completion": ASKED[1:]}]
    assert applied(tmp_path, *rows, as_messages=True) == [{"messages": turns("q", "a")}, *[{"messages": ASKED}] * 2]


def test_several_formats_are_refused_with_their_counts(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"\(1 messages from .* row 0, 2 text from .* row 1\), and a training takes one"
    ):
        applied(tmp_path, {"messages": ASKED}, {"text": "a"}, {"text": "b"})


def test_the_format_decides_where_a_row_has_columns_of_several(tmp_path: Path) -> None:
    row = {"prompt": "where is it", "messages": ASKED}
    assert "the row is messages and prompt_completion: say which by format" in refused(
        tmp_path, {**row, "completion": "there"}
    )
    assert applied(tmp_path, {**row, "completion": "x"}, format="messages") == [{"messages": ASKED}]
    # A prompt alone is no format of its own: it is the first message once more.
    assert applied(tmp_path, row) == [{"messages": ASKED}]


def test_the_prompt_of_a_preference_is_what_both_conversations_begin_with(tmp_path: Path) -> None:
    row = {"chosen": turns("q", "yes"), "rejected": turns("q", "no")}
    assert applied(tmp_path, row) == [
        {"prompt": turns("q"), "chosen": turns("q", "yes")[1:], "rejected": turns("q", "no")[1:]}
    ]


def message(role: str, content: Any = "x", **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


CALL = [{"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}]
USER, ANSWER, SYSTEM, TOOL = message("user"), message("assistant"), message("system"), message("tool")
CALLS = message("assistant", None, tool_calls=CALL)


@pytest.mark.parametrize(
    ("messages", "rule"),
    [
        ([], "must have a message"),
        ("not json", "must be a list of messages, or its JSON text"),
        (7, "must be a list of messages"),
        (["hello"], "message 0 must be an object with role and content"),
        ([message("bot")], "the role of message 0 must be one of system, user, assistant, tool"),
        ([{"content": "x"}], "the role of message 0 must be one of"),
        ([ANSWER], "the role of message 0 is assistant, must be system or user there"),
        ([SYSTEM, SYSTEM, USER, ANSWER], "the role of message 1 is system, must be user there"),
        ([USER, SYSTEM, ANSWER], "the role of message 1 is system, must be assistant there"),
        ([USER, USER, ANSWER], "the role of message 1 is user, must be assistant there"),
        ([USER, ANSWER, ANSWER], "the role of message 2 is assistant, must be user there"),
        ([USER, ANSWER, TOOL, ANSWER], "the role of message 2 is tool, must be user there"),
        ([USER, ANSWER, USER], "the last message must be the assistant's"),
        ([USER, message("assistant", " \n")], "the content of message 1 is empty"),
        ([USER, message("assistant", "\u200b\ufeff\x00\u00a0")], "the content of message 1 is empty"),
        ("[" * 100_000, "must be a list of messages, or its JSON text"),
        ([USER, message("assistant", None)], "the content of message 1 must be text"),
        ([message("user", [{"type": "image"}]), ANSWER], "the content of message 0 must be text"),
        ([message("user", "\ud83d"), ANSWER], "half a surrogate pair"),
        ([USER, CALLS, TOOL, ANSWER], "message 1 would lose its tool_calls: name them in message_fields"),
    ],
)
def test_a_conversation_out_of_order_is_refused_with_file_row_and_what_to_do(
    tmp_path: Path, messages: Any, rule: str
) -> None:
    said = refused(tmp_path, {"messages": messages})
    assert "a.jsonl, row 0, column messages: " in said and rule in said
    assert said.endswith("correct these rows, or leave them out by on_violation: drop")


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"id": 1}, "column messages: must be there, or prompt and completion"),
        ({"prompt": "x"}, "column completion: must be there"),
        ({"prompt": "x", "completion": " "}, "column completion: the text is empty"),
        ({"prompt": "x", "completion": [ANSWER]}, "prompt, completion must be all texts, or all messages"),
        ({"prompt": 7, "completion": "x"}, "column prompt: must be a list of messages or text"),
        ({"prompt": [USER, ANSWER], "completion": [ANSWER]}, "column completion: the role of message 0 is assistant"),
        ({"prompt": [USER, ANSWER], "completion": [USER, ANSWER]}, "the first message must be the assistant's"),
        ({"prompt": [], "completion": [ANSWER]}, "column prompt: must have a message"),
        ({"prompt": [USER], "completion": []}, "column completion: must have a message"),
        ({"text": [USER]}, "column text: must be text"),
        ({"chosen": "a", "rejected": "b"}, "column prompt: must be there where chosen and rejected are texts"),
        ({"prompt": "x", "chosen": "a"}, "column rejected: must be there"),
        ({"prompt": "x", "chosen": "a", "rejected": "a"}, "column rejected: must differ from chosen"),
    ],
)
def test_a_row_that_is_no_whole_example_is_refused(tmp_path: Path, row: dict[str, Any], rule: str) -> None:
    assert rule in refused(tmp_path, row)


def test_tool_calls_are_kept_as_json_text_and_followed_by_the_tool(tmp_path: Path) -> None:
    fields = {"message_fields": ["tool_calls", "tool_call_id"]}
    messages = [USER, CALLS, message("tool", "found", tool_call_id="1"), ANSWER]
    [row] = applied(tmp_path, {"messages": messages}, **fields)
    assert [json.loads(one["tool_calls"] or "null") for one in row["messages"]] == [None, CALL, None, None]
    assert row["messages"][2] == {"role": "tool", "content": "found", "tool_calls": None, "tool_call_id": "1"}
    assert row["messages"][1]["content"] is None
    said = refused(tmp_path, {"messages": [USER, CALLS, ANSWER]}, **fields)
    assert "the role of message 2 is assistant, must be tool there" in said
    said = refused(tmp_path, {"messages": [USER, {**CALLS, "tool_calls": "find it"}]}, **fields)
    assert "tool_calls of message 1 must be a list, or its JSON text" in said


def test_fields_that_are_left_out_are_counted(tmp_path: Path) -> None:
    context = Context()
    rows = [{"messages": [message("user", weight=1, name=None), message("assistant", weight=0)]}] * 3
    frame = step().apply(read(tmp_path, *rows), context)
    assert frame["messages"][0] == [USER, ANSWER]
    assert context.report[-1]["texts"]["left_out_fields"] == {"weight": 6}


def test_what_is_wrong_is_capped_in_message_and_report_and_counted_whole(tmp_path: Path) -> None:
    frame, context = read(tmp_path, *[{"text": " "}] * 500, {"text": "fine"}), Context(files=["a.jsonl"])
    with pytest.raises(DataError) as caught:
        step().apply(frame, context)
    assert len(caught.value.problems) == 22 and "and 480 more" in caught.value.problems
    assert list(step(on_violation="drop").apply(frame, context)["text"]) == ["fine"]
    report = context.report[0]["texts"]
    assert report["dropped"] == {"empty": 500} and len(report["violations"]) == 100


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    text = st.text(min_size=1).map("said: {}".format)
    count = draw(st.integers(1, 4))
    contents = draw(st.lists(text, min_size=2 * count, max_size=2 * count))
    return turns(*contents, system=draw(st.none() | text))


@given(st.lists(conversations(), min_size=1, max_size=5))
def test_every_conversation_in_order_is_kept_as_it_is(rows: list[list[dict[str, Any]]]) -> None:
    frame = pd.DataFrame({"messages": rows})
    assert list(step().apply(frame, Context())["messages"]) == rows


@given(conversations(), st.data())
def test_a_conversation_without_one_of_its_inner_messages_is_refused(
    messages: list[dict[str, Any]], data: st.DataObject
) -> None:
    first = 1 if messages[0]["role"] == "system" else 0
    del messages[data.draw(st.integers(first, len(messages) - 1))]
    with pytest.raises(DataError):
        step().apply(pd.DataFrame({"messages": [messages]}), Context())
