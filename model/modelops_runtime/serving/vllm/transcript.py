"""What was asked and answered, for a log that was asked for: without what says who somebody is."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 4096
"""Characters of a prompt, and of an answer, that are logged."""
_SAID = frozenset({"content", "text", "reasoning", "reasoning_content", "arguments", "prompt", "input", "delta"})
"""The fields with texts in OpenAI's APIs. Images, token numbers and settings are in others, or aren't texts."""
_WORD = r"[^\s@<>()\[\]\"',;:]"
# Each begins where it can't be in the middle of itself, so that a long text takes a time in proportion to its length.
_MASKED = (
    ("EMAIL_ADDRESS", re.compile(rf"(?<!{_WORD}){_WORD}+@{_WORD}+\.\w{{2,}}")),
    ("IBAN_CODE", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")),
    (
        "IP_ADDRESS",
        re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])(?:[\da-fA-F]{0,4}:){3,7}[\da-fA-F]{0,4}(?![\w:])"),
    ),
    ("NUMBER", re.compile(r"\+?\d(?:[\s./()-]{0,3}\d){6,}")),
)


def mask(text: str) -> str:
    """The text with its mail addresses, IBANs, IP addresses and numbers of seven and more digits, such as those of
    telephones, cards and persons, replaced by their kind in angle brackets.

    Much simpler than the data step `scan_text`, whose library isn't in vLLM's image: what only looks like one of
    these is replaced as well.
    """
    for kind, pattern in _MASKED:
        text = pattern.sub(f"<{kind}>", text)
    return text


def asked(body: bytes) -> dict[str, str]:
    """The model that a request names, and its texts, masked, a line each."""
    request = _json(body)
    return {"model": str(request.get("model", ""))[:256], "prompt": _shown("\n".join(_texts(request)))}


def answered(body: bytes) -> str:
    """The texts of an answer, whole or streamed, masked; several choices each on a line of its own."""
    choices: dict[int, str] = {}
    for event in _events(body):
        parts = event.get("choices") if isinstance(event.get("choices"), list) else [event]
        for part in parts or ():
            if isinstance(part, dict):
                place = part.get("index", 0) if "choices" in event else 0
                choices[place] = choices.get(place, "") + "".join(_texts(part))
    return _shown("\n".join(choices.values()))


def _events(body: bytes) -> Iterator[Mapping[str, Any]]:
    """The answer, or the pieces in which it was streamed. Others, such as the whole at the end, repeat these."""
    if not body.lstrip().startswith((b"data:", b"event:")):
        yield _json(body)
        return
    for line in body.splitlines():
        event = _json(line.partition(b":")[2]) if line.startswith(b"data:") else {}
        if str(event.get("type", "delta")).endswith("delta"):
            yield event


def _json(text: bytes) -> dict[str, Any]:
    """Empty unless it is an object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _texts(value: Any, said: bool = False) -> Iterator[str]:
    """All texts in fields that have some, in their order."""
    if isinstance(value, str):
        if said:
            yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, said)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(each, name in _SAID)


def _shown(text: str) -> str:
    masked = mask(text)
    return masked if len(masked) <= LONGEST else f"{masked[:LONGEST]}…"
