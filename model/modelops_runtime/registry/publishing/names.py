"""Any text as a name that MLflow takes for a metric or a parameter.

What MLflow takes is in its `mlflow/utils/validation.py` (3.17): letters and digits of any alphabet, `_`, `-`, `.`, `/`,
`:` and spaces (`validate_param_and_metric_name`); nothing that means something else as a path (`path_not_unique`); at
most 250 characters (`MAX_ENTITY_KEY_LENGTH`).

Such a name stays as it is. In any other, each refused character becomes `_xHHHH_`, its code point in hexadecimal, as
SQL/XML (ISO/IEC 9075-14) writes names: `MAP@10` is `MAP_x0040_10`. An underscore that would begin such an escape is
escaped itself, so no two names become one, and the original can be read back. What is empty or too long even so ends
in a digest instead.
"""

import hashlib
import re
from functools import lru_cache

MAX_CHARACTERS = 250
_REFUSED = re.compile(r"[^\w.\- :/]")
_REFUSED_AS_PATH = re.compile(r"[^\w\- :]")
_REST_OF_ESCAPE = re.compile("x[0-9A-F]{4,}_")
_DIGEST_DIGITS = 32
"""More than an escape has, of which the longest, U+10FFFF, has 6: so no digest equals a name that is spelled out."""


@lru_cache(maxsize=10_000)
def mlflow_name(name: str) -> str:
    """The name in MLflow."""
    if 0 < len(name) <= MAX_CHARACTERS and len(escaped := _escaped(name)) <= MAX_CHARACTERS:
        return escaped
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_DIGITS].upper()
    end = f"_x{digest}_"
    return re.sub(r"[^\w\-]", "_", name[: MAX_CHARACTERS - len(end)]) + end


def _escaped(name: str) -> str:
    refused = _REFUSED_AS_PATH if name.startswith("..") or {"", ".", ".."} & {*name.split("/")} else _REFUSED
    escaped = ""
    # From the end on: whether an underscore would begin an escape depends on what follows it once that is escaped.
    for character in reversed(name):
        if refused.match(character) or (character == "_" and _REST_OF_ESCAPE.match(escaped)):
            character = f"_x{ord(character):04X}_"
        escaped = character + escaped
    return escaped


def say_renamed(names: list[str], most: int = 10) -> None:
    """Prints what MLflow calls those names that it refuses."""
    renamed = [name for name in names if mlflow_name(name) != name]
    for name in renamed[:most]:
        print(f"MLflow takes no {name!r}: there it is {mlflow_name(name)}", flush=True)
    if len(renamed) > most:
        print(f"and {len(renamed) - most} more names that MLflow refuses, escaped in the same way", flush=True)
