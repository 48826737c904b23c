"""What was probably meant by a wrong name or value, for the errors of `validation`."""

import difflib
import json
import shlex
from collections.abc import Collection, Mapping, Sequence

import pulumi

from modelops.core.wire import LARGEST

_FEW = 8
"""So many names are listed whole."""


def nearest(word: str, known: Collection[str]) -> list[str]:
    """The fields of that name inside others, or else the names that look like `word`; at most three."""
    if inside := [name for name in known if name.endswith(f".{word}")]:
        return inside[:3]
    spelled = {name.lower(): name for name in known}
    return [spelled[match] for match in difflib.get_close_matches(word.lower(), spelled)]


def known_names(word: str, known: Collection[str], page: str) -> str:
    """The names near `word`; with none near, all of them or, where they are too many, the docs' page with them."""
    if near := nearest(word, known):
        return f"did you mean {_or(near)}?"
    return f"valid names are {', '.join(sorted(known))}" if len(known) <= _FEW else f"{page} lists them"


def one_of(value: object, choices: Sequence[str]) -> str:
    """The rule for one of a few words, with those near `value`."""
    rule = f"must be one of {', '.join(choices)}"
    near = nearest(value, choices) if isinstance(value, str) else []
    return f"{rule}; did you mean {_or(near)}?" if near else rule


def as_scalar(value: object, kind: type) -> str:
    """How to write `value` as a text, number or truth value; empty if that is anyone's guess."""
    if kind is str and isinstance(value, bool | int | float):
        if not abs(value) <= LARGEST:  # NaN neither
            return ""
        whole = isinstance(value, float) and value.is_integer()
        return f": write {json.dumps(json.dumps(int(value) if whole else value))}"
    if kind is str or not isinstance(value, str):
        return ""
    try:
        parsed = json.loads(value.lower())
    except ValueError:
        return ""
    fits = type(parsed) is kind or (kind is float and type(parsed) is int)
    return f": write {parsed}, without quotes" if fits else ""


def as_list(field: str, value: object) -> str:
    """How to write `value` as a list: the words of a command, or a list of one."""
    if not isinstance(value, str):
        return ": put it in [ ]" if isinstance(value, Mapping | bool | int | float) else ""
    words = [value]
    if field.endswith(("command", "arguments")):
        try:
            words = shlex.split(value)
        except ValueError:  # an open quote
            return ""
    return f": write {json.dumps(words, ensure_ascii=False)}"


def as_output(field: str, resource: pulumi.Resource) -> str:
    """Which output of `resource` to give instead of the resource itself."""
    kind = type(resource)
    properties = [name for name, found in vars(kind).items() if isinstance(found, property)]
    names = [name for name in properties or kind.__annotations__ if not name.startswith("_")]
    if "metadata" in names:
        return 'must be its name, metadata["name"], or another of its outputs'
    leaf = field.rpartition(".")[2]
    if likely := [leaf] if leaf in names else nearest(leaf, names):
        return f"must be its {_or(likely)}"
    return ", ".join(["must be one of its outputs", *([_or(names)] if names else [])])


def _or(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
