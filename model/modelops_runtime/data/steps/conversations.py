"""Texts for language models: read, checked and put into one of the formats that TRL trains on."""

import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pandas as pd
import pyarrow as pa
from pydantic import Field, model_validator

from modelops_runtime.contract import Exit
from modelops_runtime.data import nested, texts
from modelops_runtime.data.context import Context
from modelops_runtime.data.errors import DataError
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.texts import COLUMNS, FORMATS, MESSAGES, PREFERENCE, PROMPT_COMPLETION, TEXT
from modelops_runtime.data.violations import Violations

ROLES = ("system", "user", "assistant", "tool")
_INVISIBLE = ("Cc", "Cf", "Zl", "Zp", "Zs")
"""Categories of characters that nobody sees: spaces, controls, and those without a width."""
PREFERENCE_PAIR = {"chosen", "rejected"}
Message = dict[str, Any]
Cell = str | list[Message]


class _Wrong(Exception):
    """What is wrong with a row: its column, the reason under which it is counted, and the rule."""

    def __init__(self, column: str, reason: str, rule: str) -> None:
        super().__init__(rule)
        self.column, self.reason, self.rule = column, reason, rule


@step
class Conversations(Step):
    """Texts for a language model, in one of TRL's formats: `messages`, each with `role` and `content`; `prompt` and
    `completion`; `prompt`, `chosen` and `rejected` (preferences); or `text`. The columns that a row has say which, and
    `format` where it has those of several. Prompt, completion, chosen and rejected are texts or messages. A preference
    without a prompt gets the messages that both its conversations begin with.

    At most one system message comes first, then user and assistant take turns, and the assistant is the last; tool
    messages follow an assistant's `tool_calls`. No text is empty. Fields of a message that are not in `message_fields`
    are left out and counted, but a message must not lose its `tool_calls`. Rows that break a rule fail the run, or are
    left out (`drop`).
    """

    libraries: ClassVar[tuple[str, ...]] = ("pyarrow",)
    takes_nested: ClassVar[bool] = True
    changes_text: ClassVar[bool] = True
    format: Literal["messages", "prompt_completion", "preference", "text"] | None = None
    rename: dict[str, str] = Field(default={})
    """Columns of the sources by the names that they get: `{"question": "prompt", "answer": "completion"}`."""
    as_messages: bool = False
    """Whether a prompt and a completion become messages of user and assistant."""
    message_fields: list[str] = Field(default=[])
    """Fields of a message to keep, as text: `tool_calls`, `tool_call_id`, `name` … What is no text is kept as JSON."""
    on_violation: Literal["fail", "drop"] = "fail"

    @model_validator(mode="after")
    def _makes_sense(self) -> "Conversations":
        if unknown := sorted(set(self.rename.values()) - set(COLUMNS)):
            raise ValueError(f"rename gives the name {unknown[0]}, must give one of {', '.join(COLUMNS)}")
        if len(set(self.rename.values())) < len(self.rename):
            raise ValueError("rename must give each name once")
        if {"role", "content"} & set(self.message_fields):
            raise ValueError("message_fields must not have role or content, which are always kept")
        return self

    @property
    def rowwise(self) -> bool:
        return True

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, list(self.rename))
        frame = self._renamed(frame, context)
        violations, left_out, formats = Violations(context), Counter[str](), Counter[str]()
        kept, read, first = [], [], dict[str, int]()
        for place, (index, cells) in enumerate(zip(frame.index, texts.rows(frame), strict=True)):
            try:
                name, row = self._read(cells, left_out)
            except _Wrong as wrong:
                violations.add(index, wrong.column, wrong.reason, wrong.rule)
                continue
            conversational = name != MESSAGES and not isinstance(next(iter(row.values())), str)
            name = f"conversational_{name}" if conversational else name
            formats[name] += 1
            first.setdefault(name, int(index))
            kept.append(place)
            read.append(row)
        texts.settle(violations, self.on_violation, context)
        entry = {"formats": dict(formats), "first": first, "left_out_fields": dict(left_out)}
        context.report.append({"texts": entry})
        texts.require_one_format(context)
        return self._frame(frame, kept, read)

    def _renamed(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        for name in self.rename.values():
            if name in frame.columns:
                files = ", ".join(context.files) or "the data"
                advice = "leave it out by the step drop, or don't rename"
                raise DataError(f"{files} has column {name} already: {advice}", code=Exit.CONFIGURATION)
        return frame.rename(columns=self.rename)

    def _frame(self, frame: pd.DataFrame, kept: list[int], read: list[dict[str, Cell]]) -> pd.DataFrame:
        others = frame.iloc[kept].drop(columns=[name for name in COLUMNS if name in frame.columns])
        names = list(read[0]) if read else self._expected(frame)
        columns = {}
        for name in names:
            cells = [row[name] for row in read]
            if any(isinstance(cell, list) for cell in cells):
                columns[name] = nested.column_of(cells, self._type, others.index)
            else:
                columns[name] = pd.Series(cells, index=others.index, dtype="str")
        return pd.concat([pd.DataFrame(columns, index=others.index), others], axis=1)

    def _expected(self, frame: pd.DataFrame) -> list[str]:
        """The columns of a shard's rows that are all left out: the steps that follow ask for them."""
        there = [name for name in COLUMNS if name in frame.columns]
        formats: list[str] = [self.format] if self.format else [name for name in FORMATS if {*FORMATS[name]} & {*there}]
        if self.as_messages and PROMPT_COMPLETION in formats:
            formats[formats.index(PROMPT_COMPLETION)] = MESSAGES
        return list(dict.fromkeys(column for name in formats for column in FORMATS[name]))

    @property
    def _type(self) -> pa.DataType:
        fields = [(name, pa.string()) for name in ("role", "content", *self.message_fields)]
        # Named as Parquet names it, so that the type is the same when it is read again.
        return pa.list_(pa.field("element", pa.struct(fields)))

    def _read(self, cells: Mapping[str, Any], left_out: Counter[str]) -> tuple[str, dict[str, Cell]]:
        """Format and columns of a row. Raises _Wrong."""
        name = self.format or _recognised(cells)
        row: dict[str, Cell] = {}
        for column in FORMATS[name]:
            if column not in cells:
                if name == PREFERENCE and column == "prompt":
                    continue
                raise _Wrong(column, "format", "must be there")
            row[column] = self._cell(column, cells[column], left_out)
        if name == PREFERENCE and "prompt" not in row:
            row = _with_prompt(row)
        if name == PROMPT_COMPLETION and self.as_messages:
            prompt, completion = (
                [self._message(role, cell)] if isinstance(cell, str) else cell
                for role, cell in zip(("user", "assistant"), row.values(), strict=True)
            )
            name, row = MESSAGES, {MESSAGES: prompt + completion}
        _check(row)
        return name, row

    def _message(self, role: str, content: str) -> Message:
        return {"role": role, "content": content, **dict.fromkeys(self.message_fields)}

    def _cell(self, column: str, cell: Any, left_out: Counter[str]) -> Cell:
        if isinstance(cell, str):
            cell = _from_text(column, cell)
        if isinstance(cell, list) and column != TEXT:
            return [self._kept(column, number, message, left_out) for number, message in enumerate(cell)]
        if not isinstance(cell, str) or column == MESSAGES:
            rule = "must be text" if column == TEXT else "must be a list of messages"
            raise _Wrong(column, "messages", rule if column in (TEXT, MESSAGES) else f"{rule} or text")
        _require_text(column, "the text", cell)
        return cell

    def _kept(self, column: str, number: int, message: Any, left_out: Counter[str]) -> Message:
        """A message with the fields that are kept. Raises _Wrong."""
        said = f"message {number}"
        if not isinstance(message, dict):
            raise _Wrong(column, "messages", f"{said} must be an object with role and content")
        present = {key: value for key, value in message.items() if not nested.absent(value)}
        if present.get("role") not in ROLES:
            raise _Wrong(column, "role", f"the role of {said} must be one of {', '.join(ROLES)}")
        if present.get("tool_calls") and "tool_calls" not in self.message_fields:
            raise _Wrong(column, "tool_calls", f"{said} would lose its tool_calls: name them in message_fields")
        content = present.get("content")
        calls = present["role"] == "assistant" and present.get("tool_calls")
        if not calls or content is not None:
            if not isinstance(content, str):
                raise _Wrong(column, "content", f"the content of {said} must be text")
            if not calls or content:
                _require_text(column, f"the content of {said}", content)
        left_out.update(present.keys() - {"role", "content", *self.message_fields})
        fields = {name: _as_text(present.get(name) or None) for name in self.message_fields}
        if not _is_list(fields.get("tool_calls")):
            raise _Wrong(column, "tool_calls", f"tool_calls of {said} must be a list, or its JSON text")
        for name, value in fields.items():
            if value is not None:
                _require_unicode(
                    column, f"{name} of {said}", json.dumps(present[name], ensure_ascii=False, default=str)
                )
        return {"role": present["role"], "content": content, **fields}


def _from_text(column: str, text: str) -> Any:
    """Messages from their JSON text, which a prompt or an answer is taken for if it can be read as such."""
    if column == TEXT:
        return text
    try:
        found = nested.parsed(text)
    except ValueError:
        if column == MESSAGES:
            raise _Wrong(column, "messages", "must be a list of messages, or its JSON text") from None
        return text
    if column == MESSAGES:
        return found
    messages = isinstance(found, list) and all(isinstance(one, dict) and {"role", "content"} <= {*one} for one in found)
    return found if messages and found else text


def _recognised(cells: Mapping[str, Any]) -> str:
    """The format of a row by the columns that it has. Raises _Wrong."""
    found = [
        name
        for name, marks in ((MESSAGES, {"messages"}), (PREFERENCE, PREFERENCE_PAIR), (TEXT, {"text"}))
        if marks & cells.keys()
    ]
    if "completion" in cells or ("prompt" in cells and not found):
        found.append(PROMPT_COMPLETION)
    if not found:
        rule = "must be there, or prompt and completion, or prompt, chosen and rejected, or text"
        raise _Wrong(MESSAGES, "format", rule)
    if len(found) > 1:
        raise _Wrong(next(iter(cells)), "format", f"the row is {' and '.join(found)}: say which by format")
    return found[0]


def _with_prompt(row: dict[str, Cell]) -> dict[str, Cell]:
    """A preference's prompt is what its two conversations begin with. Raises _Wrong."""
    chosen, rejected = row["chosen"], row["rejected"]
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise _Wrong("prompt", "format", "must be there where chosen and rejected are texts")
    same = 0
    while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
        same += 1
    return {"prompt": chosen[:same], "chosen": chosen[same:], "rejected": rejected[same:]}


def _check(row: Mapping[str, Cell]) -> None:
    """Raises _Wrong when roles are not in turn."""
    if row.keys() >= PREFERENCE_PAIR and row["chosen"] == row["rejected"]:
        raise _Wrong("rejected", "same", "must differ from chosen")
    kinds = {column: isinstance(cell, str) for column, cell in row.items()}
    if len(set(kinds.values())) > 1:
        raise _Wrong(next(iter(row)), "format", f"{', '.join(row)} must be all texts, or all messages")
    if any(kinds.values()):
        return
    if "messages" in row:
        _check_turns("messages", [], row["messages"])
        return
    prompt = row["prompt"]
    for column in row:
        if column != "prompt":
            _check_turns(column, prompt, row[column])


def _check_turns(column: str, prompt: Any, messages: Any) -> None:
    whole: Sequence[Message] = [*prompt, *messages]
    if not messages or (column != "messages" and not prompt):
        raise _Wrong(column if prompt or column == "messages" else "prompt", "messages", "must have a message")
    before = ""
    for number, message in enumerate(whole):
        role = message["role"]
        at = ("prompt", number) if number < len(prompt) else (column, number - len(prompt))
        allowed = _after(before, whole[number - 1] if number else {})
        if role not in allowed:
            rule = f"the role of message {at[1]} is {role}, must be {' or '.join(allowed)} there"
            raise _Wrong(at[0], "order", rule)
        before = role
    if prompt and messages[0]["role"] != "assistant":
        raise _Wrong(column, "order", "the first message must be the assistant's")
    if before != "assistant":
        raise _Wrong(column, "order", "the last message must be the assistant's")


def _after(role: str, message: Message) -> tuple[str, ...]:
    """The roles that may follow a message."""
    if role == "assistant":
        return ("tool",) if message.get("tool_calls") else ("user",)
    if role == "tool":
        return ("tool", "assistant")
    return {"": ("system", "user"), "system": ("user",), "user": ("assistant",)}[role]


def _require_text(column: str, what: str, text: str) -> None:
    if all(unicodedata.category(character) in _INVISIBLE for character in text):
        raise _Wrong(column, "empty", f"{what} is empty")
    _require_unicode(column, what, text)


def _require_unicode(column: str, what: str, text: str) -> None:
    if not nested.is_unicode(text):
        raise _Wrong(column, "content", f"{what} has half a surrogate pair, which is no character")


def _is_list(json_text: str | None) -> bool:
    """Whether a text is the JSON of a list, if it is there."""
    try:
        return json_text is None or isinstance(nested.parsed(json_text), list)
    except ValueError:
        return False


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else nested.text(value)
