"""The texts that a language model learns from: their formats, and the report's part about them.

The formats and their columns are TRL's.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from modelops_runtime.contract import Exit
from modelops_runtime.data import nested, quantiles
from modelops_runtime.data.context import Context
from modelops_runtime.data.errors import DataError
from modelops_runtime.data.nested import absent
from modelops_runtime.data.step import Step
from modelops_runtime.data.table import Rows
from modelops_runtime.data.violations import Violations, first

MESSAGES, PROMPT_COMPLETION, PREFERENCE, TEXT = "messages", "prompt_completion", "preference", "text"
FORMATS: Mapping[str, Sequence[str]] = {
    MESSAGES: ("messages",),
    PROMPT_COMPLETION: ("prompt", "completion"),
    PREFERENCE: ("prompt", "chosen", "rejected"),
    TEXT: ("text",),
}
COLUMNS = tuple(dict.fromkeys(column for columns in FORMATS.values() for column in columns))
TOKENS = "tokens"
"""The column with each row's number of tokens."""
SHARES = {"median": 0.5, "p95": 0.95, "p99": 0.99}


def rows(frame: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """The cells of each row that are texts or messages, without missing ones."""
    names = [name for name in COLUMNS if name in frame.columns]
    for cells in zip(*(frame[name] for name in names), strict=True) if names else ({} for _row in range(len(frame))):
        yield {name: cell for name, cell in zip(names, cells, strict=True) if not absent(cell)}


def settle(violations: Violations, on_violation: str, context: Context) -> None:
    """Reports them. Raises DataError where they fail the run."""
    listed = violations.settle(on_violation)
    context.report.append({"texts": {"dropped": dict(violations.counts), "violations": listed}})


def summary(context: Context, report: Mapping[str, Any], parts: Mapping[str, Rows]) -> dict[str, Any]:
    """The report's part: the same however many workers there were. `report` is what it has of all steps."""
    counted: dict[str, Counter[str]] = {"formats": Counter(), "dropped": Counter(), "left_out_fields": Counter()}
    violations: list[dict[str, Any]] = []
    tokenizer: Mapping[str, Any] = {}
    for entry in context.report:
        texts = entry.get("texts", {})
        for key, counter in counted.items():
            counter.update(texts.get(key, {}))
        violations += texts.get("violations", [])
        tokenizer = texts.get("tokenizer", tokenizer)
    duplicates: Counter[str] = Counter()
    for step in report["steps"]:
        if step["name"] in ("deduplicate", "near_duplicates"):
            name = "duplicates" if step["name"] == "deduplicate" else "near_duplicates"
            duplicates[name] += step["rows_before"] - step["rows_after"]
    masked: Counter[str] = Counter()
    for column in report["protected"]:
        if column["by"] == "scan_text" and column["action"] == "redact":
            masked.update(column["found"])
    return {
        "formats": dict(sorted(counted["formats"].items())),
        "tokenizer": dict(tokenizer) or None,
        "tokens": {name: _lengths(part, context) for name, part in parts.items() if TOKENS in part.columns},
        "dropped": dict(sorted((counted["dropped"] + duplicates).items())),
        "masked": dict(sorted(masked.items())),
        "left_out_fields": dict(sorted(counted["left_out_fields"].items())),
        "violations": first(violations),
    }


def _lengths(part: Rows, context: Context) -> dict[str, Any]:
    """How many tokens a part has, and how they are distributed over its rows."""
    column = part.select([TOKENS])
    total, least, most = column.fold(_extent, _extents)
    shares = quantiles.quantiles(column, [TOKENS], list(SHARES.values()), context)[TOKENS]
    return {"total": total, "min": least, **dict(zip(SHARES, shares, strict=True)), "max": most}


def _extent(frame: pd.DataFrame) -> tuple[int, int, int]:
    """Sum, minimum and maximum of the only column."""
    numbers = frame.iloc[:, 0].tolist()
    return sum(numbers), min(numbers, default=2**62), max(numbers, default=0)


def _extents(one: tuple[int, int, int], other: tuple[int, int, int]) -> tuple[int, int, int]:
    return one[0] + other[0], min(one[1], other[1]), max(one[2], other[2])


def misplaced(said: str, step: Step, named: Sequence[str], before: Sequence[str]) -> list[str]:
    """Problems of a step for language models, or beside one, with the steps that come before it."""
    problems = []
    asks = step.name == "tokens" or (step.name == "near_duplicates" and not named)
    if asks and "conversations" not in before:
        problems.append(f"{said} must be after conversations, which says what the texts are")
    if step.name in ("conversations", "tokens") and step.name in before:
        problems.append(f"{said} must be there once")
    if "tokens" in before:
        of_texts = step.name == "conversations" or {*named} & {*COLUMNS, "tools"}
        if step.changes_text and of_texts:
            problems.append(f"{said} changes texts whose tokens are counted: must be before tokens")
        if step.name == "drop" and TOKENS in named:
            problems.append(f"{said} must not drop {TOKENS}, of which the report is made")
    return problems


def require_one_format(context: Context) -> None:
    """Raises DataError when rows have several formats: a training takes one."""
    formats, first = Counter[str](), dict[str, int]()
    for entry in context.report:
        found = entry.get("texts", {})
        formats.update(found.get("formats", {}))
        for name, place in found.get("first", {}).items():
            first[name] = min(place, first.get(name, place))
    if len(formats) > 1:
        counts = ", ".join(
            "{} {} from {}, row {}".format(f"{count:,}", name, *context.origin(first[name]))
            for name, count in sorted(formats.items())
        )
        raise DataError(
            f"rows have several formats ({counts}), and a training takes one: give each its own pipeline, or say"
            " as_messages: true in conversations, which makes messages of prompt and completion",
            code=Exit.BAD_ROW,
        )


def parsed(cell: Any) -> Any:
    """What JSON text has, or the cell itself. Raises ValueError."""
    return nested.parsed(cell) if isinstance(cell, str) else cell
