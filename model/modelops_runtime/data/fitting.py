"""What is learned from columns of the training split, by scikit-learn where it has it, a block of rows at a time."""

import math
from collections.abc import Container, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from modelops_runtime.artifacts.operations import Operation
from modelops_runtime.contract import Exit
from modelops_runtime.data.context import LARGEST_WHOLE, Context
from modelops_runtime.data.errors import DataError
from modelops_runtime.data.table import Rows, added


def standard(train: Rows, columns: Sequence[str], context: Context) -> dict[str, Any]:
    """A fitted StandardScaler by column, without the columns that have no value. Raises DataError: not a number."""
    from sklearn.preprocessing import StandardScaler

    return _fitted(StandardScaler, train, columns, context)


def minmax(train: Rows, columns: Sequence[str], context: Context) -> dict[str, Any]:
    """A fitted MinMaxScaler by column, without the columns that have no value. Raises DataError: not a number."""
    from sklearn.preprocessing import MinMaxScaler

    return _fitted(MinMaxScaler, train, columns, context)


def _fitted(kind: Any, train: Rows, columns: Sequence[str], context: Context) -> dict[str, Any]:
    scalers: dict[str, Any] = {}
    ends: dict[str, tuple[float, float]] = {}
    for block in train.select(columns).blocks():
        for column in columns:
            numbers = context.numbers(block, column).dropna().to_numpy().reshape(-1, 1)
            if len(numbers):
                low, high = ends.get(column, (math.inf, -math.inf))
                ends[column] = (min(low, float(numbers.min())), max(high, float(numbers.max())))
                with np.errstate(over="ignore", invalid="ignore"):
                    scalers.setdefault(column, kind()).partial_fit(numbers)
    for column, (low, high) in ends.items():
        _settle(scalers[column], column, low, high)
    return scalers


def _settle(scaler: Any, column: str, low: float, high: float) -> None:
    """What scikit-learn leaves open: a constant's mean is the constant itself, though sums of it would round. Raises
    DataError where a variance is beyond float64, for which it would take 1."""
    if not hasattr(scaler, "var_"):
        return
    if low == high:
        scaler.mean_, scaler.var_, scaler.scale_ = np.array([low]), np.array([0.0]), np.array([1.0])
    elif not math.isfinite(scaler.var_[0]):
        raise _too_large(column)


def _too_large(column: str) -> DataError:
    problem = "has values that are too large to learn from: clip them by outliers with rule: bounds"
    return DataError(f"column {column} {problem}", code=Exit.BAD_ROW)


def most_frequent(train: Rows, columns: Sequence[str]) -> dict[str, float | str]:
    """The most frequent value by column, the smallest of several. In memory: every distinct value."""
    most_common: dict[str, float | str] = {}
    for column in columns:
        of_column = distinct(train, column)
        if of_column:
            most = max(of_column.values())
            most_common[column] = min(value for value, count in of_column.items() if count == most)
    return most_common


def distinct(train: Rows, column: str) -> dict[Any, int]:
    """How often a column has each value: texts, or numbers as float64. Raises DataError: it has both, or others."""

    def counts(frame: Any) -> dict[Any, int]:
        of_frame: dict[Any, int] = {}
        for value, count in frame[column].value_counts(dropna=True).items():
            added(of_frame, {_category(value, column): count})
        return of_frame

    of_column = train.select([column]).fold(counts, added)
    if len({isinstance(value, str) for value in of_column}) > 1:
        raise DataError(f"column {column} has texts and numbers: give it one type in its source", code=Exit.BAD_ROW)
    return of_column


def _category(value: Any, column: str) -> float | str:
    """Raises DataError for what a client can't send as a text or a number."""
    if isinstance(value, str):
        return value
    problem = "values that are neither text nor numbers (dates become numbers by the step dates)"
    if isinstance(value, Real | Decimal | np.bool_):
        number = float(value)
        if abs(number) <= LARGEST_WHOLE:
            return number
        problem = "numbers beyond 2^53, which double precision mixes up: give it the type text in its source"
    raise DataError(f"column {column} has {problem}", code=Exit.BAD_ROW)


def require_values(columns: Sequence[str], there: Container[str]) -> None:
    """Raises DataError for a column without values to learn from."""
    for column in columns:
        if column not in there:
            raise DataError(f"column {column} has no value in the training split", code=Exit.EMPTY)


def finite(operations: list[Operation]) -> list[Operation]:
    """The same. Raises DataError where sums or differences of the training split's values are beyond float64."""
    for operation in operations:
        numbers = [value for value in operation.values() if isinstance(value, float)]
        if operation["kind"] == "minmax":
            numbers.append(operation["maximum"] - operation["minimum"])
        if not all(map(math.isfinite, numbers)):
            raise _too_large(operation["column"])
    return operations
