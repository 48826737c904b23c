"""An operation of `preprocessing.json` on a table: what a server does to a client's row, done to many."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from modelops_runtime.artifacts.manifest import takes_text
from modelops_runtime.artifacts.operations import BadValue, Operation, apply, columns_of
from modelops_runtime.contract import Exit
from modelops_runtime.data.context import Context
from modelops_runtime.data.errors import DataError

Cells = npt.NDArray[Any]
_ADVICE = {
    "missing": "is missing: fill it before, or say missing: category or missing: zeros",
    "category": "has a category that the training split does not have (unknown: zeros would let it pass)",
}


def transform(operation: Operation, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
    """The frame with an operation's results in place of its column. Raises DataError."""
    column, names = operation["column"], columns_of(operation)
    context.require(frame, [column])
    if twice := {*names} & {*frame.columns} - {column}:
        files = ", ".join(context.files) or "the data"
        problem = f"{files} has a column {min(twice)} already, which {operation['kind']} makes of {column}"
        raise DataError(f"{problem}: leave it out by the step drop before", code=Exit.CONFIGURATION)
    values = frame[column]
    if operation["kind"] == "fill" and _stays_whole(values, operation["value"]):
        return frame.assign(**{column: values.fillna(int(operation["value"]))})
    places, each = _each_once(operation, values)
    try:
        arrays = [array[places] for array in apply(operation, cells_of(operation, each, context))]
    except BadValue as error:
        rule = _ADVICE.get(error.rule, "must be an ISO 8601 date or time")
        raise context.bad_row(each.index[error.rows[0]], column, rule) from None
    at = list(frame.columns).index(column)
    made = {
        name: values if name == column and operation["kind"] == "dates" else _column(array, frame.index)
        for name, array in zip(names, arrays, strict=True)
    }
    return pd.concat([frame.iloc[:, :at], pd.DataFrame(made, index=frame.index), frame.iloc[:, at + 1 :]], axis=1)


def _each_once(operation: Operation, values: pd.Series) -> tuple[Any, pd.DataFrame]:
    """Where each row's value is in a table of the values that are computed: of texts, each where it first appears,
    because Python's objects cost more than all else."""
    if not takes_text(operation) or not isinstance(values.dtype, pd.StringDtype):
        return slice(None), values.to_frame()
    places, _texts = pd.factorize(values, use_na_sentinel=False)
    return places, values.drop_duplicates().to_frame()


def _stays_whole(column: pd.Series, value: float | str) -> bool:
    """Whether a column of whole numbers, which float64 may not have exactly, can stay one when it is filled."""
    if not pd.api.types.is_integer_dtype(column.dtype) or isinstance(value, str) or not float(value).is_integer():
        return False
    limits = np.iinfo(getattr(column.dtype, "numpy_dtype", column.dtype))
    return bool(limits.min <= value <= limits.max)


def cells_of(operation: Operation, frame: pd.DataFrame, context: Context) -> Cells:
    """The column's values as the operation takes them. Raises DataError."""
    column, kind = operation["column"], operation["kind"]
    if not takes_text(operation):
        # What is infinite is outside of every range, and clipped.
        return np.asarray(context.numbers(frame, column, finite=kind != "clip"))
    cells = _objects(frame[column])
    if kind not in ("dates", "first"):
        for index, cell in zip(frame.index, cells, strict=True):
            if cell is not None and not isinstance(cell, str):
                raise context.bad_row(index, column, "must be text")
    return cells


def _objects(column: pd.Series) -> Cells:
    """Python's own objects, None where a value is missing."""
    there = column.notna().to_numpy(dtype=bool)
    cells = np.full(len(column), None, dtype=object)
    cells[there] = column[there].astype(object).to_numpy(dtype=object)
    return cells


def _column(cells: Cells, index: Any) -> pd.Series:
    return pd.Series(cells, index=index, dtype="str" if cells.dtype == object else None)
