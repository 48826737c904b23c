"""What every step is: a declaration (plain data, checked), and what it does to rows; the table of all steps."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator

from modelops_runtime.artifacts.operations import Operation, columns_of
from modelops_runtime.data.context import Context
from modelops_runtime.data.table import Rows


class Step(BaseModel):
    """A declaration. A field that is not there is refused; every problem is reported at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: ClassVar[str]
    takes_nested: ClassVar[bool] = False
    """Whether its columns may have lists and objects."""
    changes_text: ClassVar[bool] = False
    """Whether it gives its columns other texts."""
    protects: ClassVar[bool] = False
    """Whether its columns are personal: nobody is to see a value of them, not even one that it leaves."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions, beside numpy and pandas, whose versions its results may depend on."""
    salted: ClassVar[bool] = False
    """Whether its results depend on the secret salt."""
    addresses: ClassVar[frozenset[str]] = frozenset()
    """Fields that say where something is; what is there, `content` says."""

    @model_validator(mode="after")
    def _names_no_column_twice(self) -> Self:
        columns = getattr(self, "columns", None) or []
        if len(set(columns)) < len(columns):
            raise ValueError("columns must not name one twice")
        return self

    @property
    def rowwise(self) -> bool:
        """Whether a row's result depends on that row alone: such steps run in shards."""
        return False

    @property
    def fitted(self) -> bool:
        """Whether it learns from the training split, and so comes after the split."""
        return False

    @property
    def in_part(self) -> bool:
        """Whether it looks at several rows of one part, and so comes after the split."""
        return False

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        """The rows after this step. Raises DataError."""
        raise NotImplementedError

    @property
    def in_pieces(self) -> bool:
        """Whether it can do its work on rows that are in no one's memory as a whole."""
        return True

    def on(self, rows: Rows, context: Context) -> Rows:
        """The same of rows that may be in pieces. Raises DataError."""
        return rows.map(self.apply, context)

    def content(self) -> str:
        """A hash of what it reads beside the rows, part of the version."""
        return ""

    def operations(self) -> list[Operation]:
        """What a server does to a client's row in place of a step that is not fitted, or what a client sends instead
        (kind SENT). None of a step that changes no values: rows that it leaves out are refused to no client."""
        return []

    @property
    def keeps(self) -> bool:
        """Whether a column stays beside those that are derived from it."""
        return getattr(self, "keep", False) is True

    @property
    def derived(self) -> Mapping[str, Sequence[str]]:
        """The columns that it makes beside each of its columns or in its place; `x_*`: as many as it finds."""
        made = {operation["column"]: columns_of(operation) for operation in self.operations()}
        return {column: [name for name in names if name != column] for column, names in made.items()}

    @property
    def column_of_files(self) -> str | None:
        """The column whose values are addresses of files that it reads: their content is part of the version."""
        return None

    def fit(self, train: Rows, context: Context) -> list[Operation]:
        """What a fitted step learns from the training split: operations, applied in their order to every split."""
        raise NotImplementedError


STEPS: dict[str, type[Step]] = {}
"""Every step by the name under which it is declared."""

S = TypeVar("S", bound=type[Step])


def step(kind: S) -> S:
    """Registers a step; its name is that of the class, in lower case with underscores."""
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__).lstrip("_")
    kind.name = name
    STEPS[name] = kind
    return kind


def canonical(value: Mapping[str, Any]) -> str:
    """JSON with one spelling a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
