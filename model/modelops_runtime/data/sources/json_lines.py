"""JSON lines: an object a line."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from modelops_runtime.data import errors
from modelops_runtime.data.nested import is_unicode, parsed
from modelops_runtime.data.sources.files import open_file


def read(file: str, rows: int) -> Iterator[pd.DataFrame]:
    with open_file(file, "rt", encoding="utf-8-sig") as stream:
        pending: list[dict[str, Any]] = []
        lines = (line for line in stream if line.strip())
        for number, line in enumerate(lines):
            try:
                value = parsed(line)
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise errors.bad_row(file, number, "(all)", "must be a JSON object a line")
            for name, cell in value.items():
                if not is_unicode(name if not isinstance(cell, str) else name + cell):
                    column = name if is_unicode(name) else "(all)"
                    raise errors.bad_row(file, number, column, "has half a surrogate pair, which is no character")
            pending.append(value)
            if len(pending) == rows:
                yield pd.DataFrame(pending)
                pending = []
        if pending:
            yield pd.DataFrame(pending)
