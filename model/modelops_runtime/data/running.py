"""The steps of a pipeline, one after another, on rows in one memory or in pieces."""

from collections.abc import Iterable

import pandas as pd
import pyarrow

from modelops_runtime.contract import Exit
from modelops_runtime.data import errors
from modelops_runtime.data.context import Context
from modelops_runtime.data.declared import named
from modelops_runtime.data.nested import is_nested
from modelops_runtime.data.step import Step
from modelops_runtime.data.steps.generalise import Generalise, Promise
from modelops_runtime.data.table import Rows


def apply(steps: list[Step], frame: pd.DataFrame, context: Context, first: int) -> pd.DataFrame:
    for number, step in enumerate(steps, start=first):
        before = len(frame)
        begin(number, step, before, context)
        require_single(step, [name for name in named(step) if name in frame and is_nested(frame[name])], context)
        frame = step.apply(frame, context)
        entry = {"step": number, "name": step.name, "rows_before": before, "rows_after": len(frame)}
        context.report.append(entry)
    return frame


def on(steps: list[Step], rows: Rows, context: Context, first: int, promises: list[Promise]) -> Rows:
    for number, step in enumerate(steps, start=first):
        before, columns = rows.count(), rows.columns
        begin(number, step, before, context)
        require_single(step, rows.nested, context)
        rows = step.on(rows, context)
        entry = {"step": number, "name": step.name, "rows_before": before, "rows_after": rows.count()}
        context.report.append(entry)
        for promise in promises:
            promise.follow(step.name, named(step), columns, rows.columns, removed=rows.count() < before)
        if isinstance(step, Generalise):
            promises.append(Promise(step, rows))
    return rows


def begin(number: int, step: Step, rows: int, context: Context) -> None:
    """Says so, and gives back the memory that Arrow would keep of the step before."""
    context.progress.doing(f"steps[{number}] ({step.name}) of {rows:,} rows")
    pyarrow.default_memory_pool().release_unused()


def require_single(step: Step, nested: Iterable[str], context: Context) -> None:
    """Raises DataError when a step is to treat lists or objects as if they were numbers or texts."""
    for column in nested:
        if column in named(step) and not step.takes_nested:
            files = ", ".join(context.files) or "the data"
            raise errors.DataError(
                f"{files}, column {column} has lists or objects, which {step.name} can't take: of messages, scan_text"
                " masks each text, and conversations checks them",
                code=Exit.BAD_ROW,
            )
