"""What is learned from columns of the training split, by scikit-learn where it has it, a block of rows at a time."""

from collections.abc import Container, Sequence
from typing import Any

from modelops_runtime.contract import Exit
from modelops_runtime.data.context import Context
from modelops_runtime.data.errors import DataError
from modelops_runtime.data.table import Rows, added, counted


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
    for block in train.select(columns).blocks():
        for column in columns:
            numbers = context.numbers(block, column).dropna().to_numpy().reshape(-1, 1)
            if len(numbers):
                scalers.setdefault(column, kind()).partial_fit(numbers)
    return scalers


def most_frequent(train: Rows, columns: Sequence[str], context: Context) -> dict[str, float]:
    """The most frequent number by column, the smallest of several. In memory: every distinct number."""
    most_common: dict[str, float] = {}
    for column in columns:

        def counts(frame: Any, column: str = column) -> dict[float, int]:
            return counted(context.numbers(frame, column).dropna().to_numpy())

        of_column = train.select([column]).fold(counts, added)
        if of_column:
            most = max(of_column.values())
            most_common[column] = min(value for value, count in of_column.items() if count == most)
    return most_common


def categories(train: Rows, column: str) -> set[Any]:
    """The distinct values of a column."""

    def values(frame: Any) -> set[Any]:
        return set(frame[column].dropna().unique().tolist())

    return train.select([column]).fold(values, set.union)


def require_values(columns: Sequence[str], there: Container[str]) -> None:
    """Raises DataError for a column without values to learn from."""
    for column in columns:
        if column not in there:
            raise DataError(f"column {column} has no value in the training split", code=Exit.EMPTY)
