"""Tables of answers, in the format of MLflow's: `{"columns": […], "data": [[…], …]}`."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelops_runtime.artifacts.results import write_json
from modelops_runtime.contract import ConfigurationError

FOLDER = "evaluation"
"""In the output folder; publishing takes it from there."""
ANSWERS, HARNESS = "answers.json", "harness.json"
TEXTS = ("id", "prompt", "reference", "answer")
MEASURES = ("tokens", "seconds", "ended")
"""Columns that are no scores."""

Table = list[dict[str, Any]]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_json(path, {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]})


def read(path: Path) -> Table:
    """Raises ConfigurationError."""
    try:
        content = json.loads(path.read_bytes())
        rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
        return [{**row, "id": str(row["id"])} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} can't be read as a table of answers: {error!r}") from error


def scores(row: dict[str, Any]) -> dict[str, float]:
    """The numbers in a row that judge its answer."""
    return {
        name: float(value)
        for name, value in row.items()
        if name not in (*TEXTS, *MEASURES) and isinstance(value, (int, float)) and math.isfinite(value)
    }
