"""Reading environment variables; what several contracts allow in them."""

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelops_runtime.contract.exits import ConfigurationError

HTTP_URL = r"https?://[^\s/]+(/\S*)?"


class Environment:
    """Reads variables and collects what is wrong with them; `check` then raises once for all of it."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = os.environ if values is None else values
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None, *, pattern: str = "", rule: str = "") -> str:
        value = self._values.get(name, "")
        if not value and default is None:
            self.problems.append(f"{name} is not set")
        elif value and pattern and not re.fullmatch(pattern, value):
            self.problems.append(f"{name} is {value!r}, must be {rule}")
        return value or default or ""

    def path(self, name: str, default: str) -> Path:
        return Path(self.text(name, default))

    def number(self, name: str, default: float, *, minimum: float, maximum: float) -> float:
        value = self._values.get(name, "")
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not minimum <= number <= maximum:
            self.problems.append(f"{name} is {value!r}, must be a number from {minimum:g} to {maximum:g}")
            return default
        return number

    def integer(self, name: str, default: int, *, minimum: int, maximum: int) -> int:
        number = self.number(name, default, minimum=minimum, maximum=maximum)
        if number != int(number):
            self.problems.append(f"{name} is {self._values[name]!r}, must be a whole number")
        return int(number)

    def json_object(self, name: str) -> dict[str, Any]:
        """A JSON object; unset means an empty one."""
        try:
            value = json.loads(self._values.get(name, "") or "{}")
        except ValueError as error:
            self.problems.append(f"{name} is not JSON: {error}")
            return {}
        if not isinstance(value, dict):
            self.problems.append(f"{name} must be a JSON object, not {type(value).__name__}")
            return {}
        return value

    def switch(self, name: str) -> bool:
        """`true` or `false`; unset means false."""
        return self.text(name, "false", pattern="true|false", rule="true or false") == "true"

    def check(self) -> None:
        if self.problems:
            raise ConfigurationError(*self.problems)


def is_number(value: object) -> bool:
    """A finite number from JSON, of double precision's range; true and false are none."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?"
NAME_RULE = "letters, digits, '.', '_' and '-', starting and ending with a letter or digit, at most 128 long"
