"""Lengths of texts in tokens of a model's own tokenizer, as its training will count them."""

import datetime
import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from modelops_runtime.contract import ConfigurationError, Exit
from modelops_runtime.data import texts
from modelops_runtime.data.context import Context
from modelops_runtime.data.errors import DataError
from modelops_runtime.data.nested import absent
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.version import digest_of
from modelops_runtime.data.violations import Violations

FILES = re.compile(
    r"(tokenizer|special_tokens|added_tokens|chat_template|vocab|merges|spiece|sentencepiece)[^/]*|config\.json"
)
"""A tokenizer's files, of all that a model has."""
_HUB = re.compile(r"hf://[\w.-]+/[\w.-]+@[0-9a-f]{40}")
HUB_WAIT_SECONDS = 60
_WRONG = object()
_DAY = datetime.datetime(2026, 1, 1)
_CODES = "".join(f" | replace('%{code}', '{_DAY.strftime(f'%{code}')}')" for code in "aAbBdjmyYHIMSp")
SAME_DAY = f"{{%- macro strftime_now(format) -%}}{{{{ format{_CODES} }}}}{{%- endmacro -%}}"
"""For chat templates that ask for today's date: the same rows have the same lengths on every day."""


@step
class Tokens(Step):
    """Adds the column `tokens`: how many tokens of `tokenizer` a row has, as TRL trains on it. Messages are put into
    the tokenizer's chat template where it has one, with what the column `tools` has; a text ends with the end token.
    Of a preference, the longer of its two conversations counts. A row with more than `max_tokens`, or that the chat
    template refuses, fails the run, or is left out (`drop`). The report has each split's tokens and lengths.

    `tokenizer` is a folder with `tokenizer.json`, or `hf://<owner>/<name>@<commit>`, of which the tokenizer's files
    alone are downloaded; no code that comes with it is run. The step follows `conversations` and what changes texts.
    """

    takes_nested: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("jinja2", "tokenizers", "transformers")
    addresses: ClassVar[frozenset[str]] = frozenset({"tokenizer"})
    tokenizer: str = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    """The context that the model is trained with."""
    on_violation: Literal["fail", "drop"] = "fail"

    @field_validator("tokenizer")
    @classmethod
    def _is_pinned(cls, tokenizer: str) -> str:
        if "://" in tokenizer and not _HUB.fullmatch(tokenizer):
            raise ValueError("must be a folder, or hf://<owner>/<name>@<commit> with the commit's 40 hex digits")
        return tokenizer

    @property
    def rowwise(self) -> bool:
        return True

    def content(self) -> str:
        return _loaded(self.tokenizer).digest

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        if texts.TOKENS in frame.columns:
            files = ", ".join(context.files) or "the data"
            raise DataError(
                f"{files} has column {texts.TOKENS} already: leave it out by the step drop before this one",
                code=Exit.CONFIGURATION,
            )
        tokenizer, violations = _loaded(self.tokenizer), Violations(context)
        tools = frame["tools"] if "tools" in frame.columns else [None] * len(frame)
        lengths = []
        for index, cells, offered in zip(frame.index, texts.rows(frame), tools, strict=True):
            column = next(iter(cells), texts.MESSAGES)
            length, schemas = None, _tools(offered)
            if schemas is _WRONG:
                violations.add(index, "tools", "tools", "must be a list of objects, or its JSON text")
            elif (length := tokenizer.length(cells, schemas)) is None:
                rule = "the tokenizer's chat template refuses these messages"
                violations.add(index, column, "chat_template", rule)
            elif self.max_tokens is not None and length > self.max_tokens:
                rule = f"has {length:,} tokens, must have at most {self.max_tokens:,} (max_tokens)"
                violations.add(index, column, "too_long", rule)
                length = None
            lengths.append(length)
        texts.settle(violations, self.on_violation, context)
        context.report.append({"texts": {"tokenizer": self._said(tokenizer)}})
        fits = np.array([length is not None for length in lengths], dtype=bool)
        return frame[fits].assign(**{texts.TOKENS: pd.array([n for n in lengths if n is not None], dtype="int64")})

    def _said(self, tokenizer: "Tokenizer") -> dict[str, Any]:
        return {
            "uri": self.tokenizer,
            "digest": tokenizer.digest,
            "chat_template": tokenizer.has_template,
            "max_tokens": self.max_tokens,
        }


class Tokenizer:
    """A tokenizer as transformers loads it, which is what trainings use."""

    def __init__(self, folder: Path, said: str) -> None:
        """Raises ConfigurationError when it can't be loaded."""
        try:
            import transformers
        except ImportError:
            raise ConfigurationError("tokens needs transformers: use the image target prepare") from None
        kind: Any = transformers.AutoTokenizer
        if not (folder / "tokenizer_config.json").is_file():
            kind = transformers.PreTrainedTokenizerFast  # tokenizer.json alone says all that is needed
        try:
            self._tokenizer: Any = kind.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        except Exception as error:  # Rust's errors have no class of their own
            reason = f"{type(error).__name__}"
            raise ConfigurationError(
                f"tokens: tokenizer is {said!r}, which can't be loaded ({reason}): it needs tokenizer.json, as"
                " tokenizer.save_pretrained writes it"
            ) from error
        self._tokenizer.model_max_length = 10**9  # nothing is cut off, so there is nothing to warn of
        self._end = self._tokenizer.eos_token or ""
        self.has_template = bool(self._tokenizer.chat_template)
        self.digest = digest_of(folder, FILES)

    def length(self, cells: Mapping[str, Any], tools: Any) -> int | None:
        """Tokens of a row's longest text; None where the chat template refuses it."""
        try:
            return max(map(self._count, self._whole(cells, tools)))
        except Exception as error:  # a template is a program, which may end with any
            import jinja2

            if isinstance(error, jinja2.TemplateSyntaxError):
                raise ConfigurationError(f"tokens: the tokenizer's chat template is no template: {error}") from error
            return None

    def _whole(self, cells: Mapping[str, Any], tools: Any) -> Iterator[str | list[str]]:
        """What is trained on: of a preference both. Special tokens are added to a text, but not to a list of them."""
        prompt = cells.get("prompt")
        for column in ("messages", "text", "completion", "chosen", "rejected"):
            if (answer := cells.get(column)) is None:
                continue
            whole = answer if prompt is None else prompt + answer
            if isinstance(whole, str):
                yield whole if self._end and whole.endswith(self._end) else whole + self._end
            elif self.has_template:
                yield [self._templated([_plain(message) for message in whole], tools)]
            else:
                yield [message["content"] or "" for message in whole]

    def _templated(self, messages: list[dict[str, Any]], tools: Any) -> Any:
        template = self._tokenizer.get_chat_template(tools=tools)
        if "strftime_now" in template:
            template = SAME_DAY + template
        return self._tokenizer.apply_chat_template(messages, tools=tools, chat_template=template, tokenize=False)

    def _count(self, text: str | list[str]) -> int:
        if isinstance(text, list):
            # A chat template writes the special tokens itself.
            return sum(map(len, self._tokenizer(text, add_special_tokens=False)["input_ids"]))
        return len(self._tokenizer(text, add_special_tokens=True)["input_ids"])


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as chat templates take it: without missing fields, tool calls as objects."""
    present = {key: value for key, value in message.items() if value is not None}
    if "tool_calls" in present:
        present["tool_calls"] = texts.parsed(present["tool_calls"])
    return {"content": "", **present}


def _tools(cell: Any) -> Any:
    """The tools that a row offers: None, a list of objects, or _WRONG."""
    if absent(cell):
        return None
    try:
        found = texts.parsed(cell)
    except ValueError:
        return _WRONG
    if not isinstance(found, list) or not all(isinstance(tool, dict) for tool in found):
        return _WRONG
    return _without_missing(found) or None


def _without_missing(value: Any) -> Any:
    """Without the fields that Arrow's structs have everywhere, if anywhere."""
    if isinstance(value, dict):
        return {key: _without_missing(entry) for key, entry in value.items() if entry is not None}
    return [_without_missing(entry) for entry in value] if isinstance(value, list) else value


@cache
def _loaded(uri: str) -> Tokenizer:
    if not uri.startswith("hf://"):
        if not (Path(uri) / "tokenizer.json").is_file() and not (Path(uri) / "tokenizer_config.json").is_file():
            raise ConfigurationError(f"tokens: tokenizer is {uri!r}, must be a folder with tokenizer.json")
        return Tokenizer(Path(uri), uri)
    with tempfile.TemporaryDirectory() as folder:
        _download(uri, Path(folder))
        return Tokenizer(Path(folder), uri)


def _download(uri: str, folder: Path) -> None:
    from modelops_runtime.registry.sources.hub import Hub

    hub = Hub(uri, HUB_WAIT_SECONDS)
    for file in hub.files():
        if FILES.fullmatch(file.name):
            hub.download(file, folder / file.name)
