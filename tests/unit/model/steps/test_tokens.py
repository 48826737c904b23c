"""The step `tokens`: lengths as the tokenizer itself and its chat template have them."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tokenizers import Tokenizer, processors

from modelops_runtime.contract import ConfigurationError, Exit
from modelops_runtime.data.steps import STEPS, Context, DataError
from tests.texts import TEMPLATE, tokenizer, turns


def lengths(folder: Path, *rows: dict[str, Any], **fields: Any) -> list[int]:
    frame = STEPS["conversations"](**fields).apply(pd.DataFrame(rows), Context())
    result: list[int] = STEPS["tokens"](tokenizer=str(folder)).apply(frame, Context())["tokens"].tolist()
    return result


def test_messages_are_counted_in_the_chat_template(tmp_path: Path) -> None:
    folder = tokenizer(tmp_path / "tok")
    # Each message has its words, its role, a begin and an end.
    assert lengths(folder, {"messages": turns("hello", "the order is late")}) == [1 + 4 + 2 * 3]
    both = {"prompt": turns("hello"), "completion": turns("", "the order")[1:]}
    assert lengths(folder, both) == [1 + 2 + 2 * 3]


def test_a_tokenizer_that_begins_texts_adds_nothing_to_what_the_chat_template_writes(tmp_path: Path) -> None:
    folder = tokenizer(tmp_path / "tok")
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.save(str(folder / "tokenizer.json"))
    assert lengths(folder, {"messages": turns("hello", "the order is late")}) == [1 + 4 + 2 * 3]
    assert lengths(folder, {"text": "hello the order "}) == [1 + 3 + 1]


def test_texts_end_with_the_end_token_once(tmp_path: Path) -> None:
    folder = tokenizer(tmp_path / "tok", None)
    assert lengths(folder, {"text": "hello the order "}, {"text": "hello the order </s>"}) == [4, 4]
    assert lengths(folder, {"prompt": "hello ", "completion": "the order "}) == [4]


def test_the_longer_conversation_of_a_preference_counts(tmp_path: Path) -> None:
    folder = tokenizer(tmp_path / "tok")
    assert lengths(folder, {"prompt": "hello ", "chosen": "one ", "rejected": "one two three "}) == [5]


def test_without_a_chat_template_the_contents_count(tmp_path: Path) -> None:
    folder, context = tokenizer(tmp_path / "tok", None), Context()
    assert lengths(folder, {"messages": turns("hello", "the order is late")}) == [5]
    frame = STEPS["conversations"]().apply(pd.DataFrame({"messages": [turns("hello", "the")]}), Context())
    STEPS["tokens"](tokenizer=str(folder)).apply(frame, context)
    assert context.report[-1]["texts"]["tokenizer"]["chat_template"] is False


def test_tool_calls_and_tools_reach_the_template_as_objects(tmp_path: Path) -> None:
    template = (
        "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}"
        "{% for m in messages %}{{ m.content }} {% for c in m.tool_calls or [] %}{{ c.function.name }} {% endfor %}"
        "{% endfor %}"
    )
    folder = tokenizer(tmp_path / "tok", template)
    call = [{"function": {"name": "lost", "arguments": {}}}]
    messages = [
        {"role": "user", "content": "where"},
        {"role": "assistant", "content": None, "tool_calls": call},
        {"role": "tool", "content": "there"},
        {"role": "assistant", "content": "the parcel is late"},
    ]
    tools: Any = [{"function": {"name": "lost"}}, {"function": {"name": "late"}}]
    fields = {"message_fields": ["tool_calls"]}
    assert lengths(folder, {"messages": messages, "tools": tools}, **fields) == [2 + 6 + 1]
    assert lengths(folder, {"messages": messages, "tools": json.dumps(tools)}, **fields) == [2 + 6 + 1]


def test_a_length_is_the_same_on_every_day(tmp_path: Path) -> None:
    year = "{{ strftime_now('%d %b %Y') }} {{ 'hello ' * ((strftime_now('%Y') | int) - 2020) }}"
    assert lengths(tokenizer(tmp_path / "tok", year), {"messages": turns("hello", "the")}) == [3 + 6]


@pytest.mark.parametrize("tools", ["no json", '{"a": 1}', [1]])
def test_tools_that_are_none_are_named(tmp_path: Path, tools: Any) -> None:
    rule = "row 0, column tools: must be a list of objects, or its JSON text"
    with pytest.raises(DataError, match=rule):
        lengths(tokenizer(tmp_path / "tok"), {"messages": turns("hello", "the"), "tools": tools})


def test_long_rows_fail_or_are_left_out_with_their_length(tmp_path: Path) -> None:
    folder = tokenizer(tmp_path / "tok")
    frame = pd.DataFrame({"text": ["one", "one two three", "two"]})
    with pytest.raises(DataError, match=r"a\.jsonl, row 1, column text: has 4 tokens, must have at most 2") as caught:
        STEPS["tokens"](tokenizer=str(folder), max_tokens=2).apply(
            frame.map(lambda text: text + " "), Context(files=["a.jsonl"])
        )
    assert caught.value.code == Exit.BAD_ROW
    context = Context(files=["a.jsonl"])
    dropping = STEPS["tokens"](tokenizer=str(folder), max_tokens=2, on_violation="drop")
    left = dropping.apply(frame.map(lambda text: text + " "), context)
    assert left.index.tolist() == [0, 2] and left["tokens"].tolist() == [2, 2]
    assert context.report[0]["texts"]["dropped"] == {"too_long": 1}


def test_messages_that_the_template_refuses_are_named(tmp_path: Path) -> None:
    folder = tokenizer(tmp_path / "tok", TEMPLATE.replace("not loop.first", "loop.first"))
    with pytest.raises(DataError, match="row 0, column messages: the tokenizer's chat template refuses these messages"):
        lengths(folder, {"messages": turns("hello", "the", system="one")})


@pytest.mark.parametrize(
    "uri", ["hf://team/tiny", "hf://team/tiny@main", "s3://bucket/tok", "hf://team/tiny@" + "A" * 40, ""]
)
def test_a_tokenizer_that_can_change_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="tokenizer"):
        STEPS["tokens"](tokenizer=uri)


def test_what_is_no_tokenizer_is_refused_in_words(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["one"]})
    with pytest.raises(ConfigurationError, match=r"tokenizer is '/nowhere', must be a folder with tokenizer\.json"):
        STEPS["tokens"](tokenizer="/nowhere").apply(frame, Context())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="which can't be loaded"):
        STEPS["tokens"](tokenizer=str(tmp_path)).apply(frame, Context())


@pytest.mark.parametrize(("module", "name"), [("transformers", "tokens"), ("datasketch", "near_duplicates")])
def test_an_image_without_a_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    fields = {"tokenizer": str(tokenizer(tmp_path / "tok"))} if name == "tokens" else {}
    with pytest.raises(ConfigurationError, match=f"{name} needs {module}: use the image target prepare"):
        STEPS[name](**fields).apply(pd.DataFrame({"text": ["one"]}), Context())


def test_a_tokenizer_s_content_is_part_of_the_version(tmp_path: Path) -> None:
    one, same, other = (tokenizer(tmp_path / name) for name in ("one", "same", "other"))
    (other / "chat_template.jinja").write_text("{{ messages }}")
    digests = [STEPS["tokens"](tokenizer=str(folder)).content() for folder in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_a_column_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["one"], "tokens": [7]})
    with pytest.raises(DataError, match="has column tokens already"):
        STEPS["tokens"](tokenizer=str(tokenizer(tmp_path / "tok"))).apply(frame, Context())


@pytest.mark.parametrize(
    "template", ["{{ 1 / 0 }}", "{{ range(10**9) }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"]
)
def test_whatever_a_template_ends_with_is_its_refusal(tmp_path: Path, template: str) -> None:
    with pytest.raises(DataError, match="the tokenizer's chat template refuses these messages"):
        lengths(tokenizer(tmp_path / "tok", template), {"messages": turns("hello", "the order")})


def test_a_template_that_is_none_is_no_fault_of_the_rows(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the tokenizer's chat template is no template"):
        lengths(tokenizer(tmp_path / "tok", "{% for %}"), {"messages": turns("hello", "the order")})


def test_tools_that_are_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    row = {"messages": turns("hello", "the order"), "tools": "[" * 100_000}
    with pytest.raises(DataError, match="column tools: must be a list of objects"):
        lengths(tokenizer(tmp_path / "tok"), row)
