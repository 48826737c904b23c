"""Conversations and tokenizers for these tests, made by json, pyarrow and tokenizers alone."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'system' and not loop.first %}{{ raise_exception('late') }}{% endif %}"
    "<s> {{ message.role }} {{ message.content }} </s> "
    "{% endfor %}"
)
MAIL = "zebedee.quartermain@example.com"
WORDS = "the order parcel is late lost red blue green one two three hello thanks sorry user assistant system".split()


def tokenizer(folder: Path, template: str | None = TEMPLATE) -> Path:
    """A tokenizer with a token a word, and `</s>` for the end."""
    folder.mkdir(parents=True)
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def turns(*contents: str, system: str | None = None) -> list[dict[str, Any]]:
    """A conversation of user and assistant in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": content} for number, content in enumerate(contents)]
    return messages if system is None else [{"role": "system", "content": system}, *messages]


def json_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def conversations(count: int = 90) -> list[dict[str, Any]]:
    """Three rows a conversation; some empty, some long, some twice, some almost twice, some with an address."""
    chance = random.Random(1)
    words = [*WORDS, *(f"word{number}" for number in range(300))]

    def text(length: int) -> str:
        return " ".join(chance.choices(words, k=length))

    rows = []
    for number in range(count):
        system = "Help." if number % 2 else None
        messages = turns(text(20), text(15), text(20), text(15), system=system)
        if number % 10 == 0:
            messages[-1]["content"] += f" write to {MAIL}"
        if number % 30 == 3:
            messages[-1]["content"] = ""
        if number % 30 == 4:
            messages[-1]["content"] = text(300)
        rows.append({"conversation_id": f"c{number // 3}", "messages": messages})
    for number in (5, 6, 8):
        again = json.loads(json.dumps(rows[number]))
        again["conversation_id"] = f"copy{number}"
        if number > 5:
            again["messages"][-2]["content"] += " indeed"
        rows.append(again)
    return rows
