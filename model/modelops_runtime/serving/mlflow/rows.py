"""A request's rows, as arrays that become what the model takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelops_runtime.artifacts.runtimes import Array


class Rows:
    """Columns or tensors by name. `matrix`: all columns at once, where they are numbers of one type."""

    __slots__ = ("_columns", "matrix", "missing", "names", "params")

    def __init__(
        self,
        names: Sequence[str],
        columns: Mapping[str, Array] | None = None,
        matrix: Array | None = None,
        params: Mapping[str, Any] | None = None,
        missing: str = "",
    ) -> None:
        """`missing`: a place where a value is missing."""
        self.names = names
        self._columns = columns
        self.matrix = matrix
        self.params = params or {}
        self.missing = missing

    def __len__(self) -> int:
        return len(self.matrix) if self.matrix is not None else len(next(iter(self.columns.values())))

    @property
    def columns(self) -> Mapping[str, Array]:
        if self._columns is None:
            assert self.matrix is not None
            self._columns = {name: self.matrix[:, number] for number, name in enumerate(self.names)}
        return self._columns

    def joins(self, other: "Rows") -> bool:
        """Whether both can be rows of one prediction."""
        return (
            (self.matrix is None) == (other.matrix is None)
            and self.names == other.names
            and self.params == other.params
            and all(self.columns[name].shape[1:] == other.columns[name].shape[1:] for name in self.names)
        )


def joined(requests: Sequence[Rows]) -> Rows:
    """The rows of all, one after another; each joins the first."""
    first = requests[0]
    if first.matrix is not None:
        matrices = [rows.matrix for rows in requests if rows.matrix is not None]
        return Rows(first.names, None, np.concatenate(matrices), first.params)
    columns = {name: np.concatenate([rows.columns[name] for rows in requests]) for name in first.names}
    return Rows(first.names, columns, None, first.params)
