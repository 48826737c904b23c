"""Dates, categories and scales."""

from typing import ClassVar, Literal

import pandas as pd
from pydantic import Field, model_validator

from modelops_runtime.artifacts.operations import Operation, zone_of
from modelops_runtime.data import fitting
from modelops_runtime.data.context import Context
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.table import Rows
from modelops_runtime.data.transform import transform


@step
class Dates(Step):
    """An ISO 8601 date or time becomes numbers: `<column>_year` and so on; weekday 0 is Monday. A missing one stays
    missing in each. A model's clients send the date, as text.

    The parts are those that are written: `2024-01-01T00:30:00+01:00` is the first of January, 0 h, wherever it is read.
    With a `zone`, a time with an offset is converted to it first; one without is taken as a time of that zone."""

    column: str
    parts: list[Literal["year", "month", "day", "weekday", "hour", "minute", "day_of_year"]] = Field(
        default=["year", "month", "day", "weekday"], min_length=1
    )
    zone: str | None = None
    """A time zone's name in the IANA database, such as `Europe/Rome`."""
    keep: bool = False
    """Whether the column itself stays."""

    @model_validator(mode="after")
    def _parts_and_zone_exist(self) -> "Dates":
        if len(set(self.parts)) < len(self.parts):
            raise ValueError("parts must not name one twice")
        if self.zone is not None and zone_of(self.zone) is None:
            raise ValueError(f"zone is {self.zone!r}, must be a name of the IANA database, such as Europe/Rome")
        return self

    @property
    def rowwise(self) -> bool:
        return True

    def operations(self) -> list[Operation]:
        zone = {} if self.zone is None else {"zone": self.zone}
        return [{"column": self.column, "kind": "dates", "parts": list(self.parts), **zone, "keep": self.keep}]

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        [operation] = self.operations()
        return transform(operation, frame, context)


@step
class Encode(Step):
    """Categories of the training split become numbers: a column each (`one_hot`), or their place in order (`ordinal`).

    A category that the training split does not have fails the run, or gives zeros (ordinal: −1). So does a missing
    value, or it is a category of its own: the column `<column>_missing` (ordinal: the place after the last). A model's
    clients send the same categories, and `null` where a missing value has a number.
    """

    columns: list[str] = Field(min_length=1)
    by: Literal["one_hot", "ordinal"] = "one_hot"
    unknown: Literal["error", "zeros"] = "error"
    missing: Literal["error", "zeros", "category"] | None = None
    """Default: as `unknown`."""

    @property
    def fitted(self) -> bool:
        return True

    def fit(self, train: Rows, context: Context) -> list[Operation]:
        context.require(train, self.columns)
        operations: list[Operation] = []
        for column in self.columns:
            categories = sorted(fitting.distinct(train, column))
            fitting.require_values([column], [column] if categories else [])
            treatment = {"unknown": self.unknown, "missing": self.missing or self.unknown}
            operations.append({"column": column, "kind": self.by, "categories": categories, **treatment})
        return operations


_OF_MINMAX = {"minimum": "data_min_", "maximum": "data_max_"}


@step
class Scale(Step):
    """`standard`: z = (x − μ)/σ, σ of the population, as scikit-learn has it. `minmax`: (x − min)/(max − min). Fitted
    on the training split. A constant column becomes 0."""

    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)
    columns: list[str] = Field(min_length=1)
    by: Literal["standard", "minmax"] = "standard"

    @property
    def fitted(self) -> bool:
        return True

    def fit(self, train: Rows, context: Context) -> list[Operation]:
        context.require(train, self.columns)
        fit = fitting.standard if self.by == "standard" else fitting.minmax
        scalers = fit(train, self.columns, context)
        fitting.require_values(self.columns, scalers)
        names = {"mean": "mean_", "deviation": "scale_"} if self.by == "standard" else _OF_MINMAX
        fitted = {
            column: {name: float(getattr(scaler, field)[0]) for name, field in names.items()}
            for column, scaler in scalers.items()
        }
        return [{"column": column, "kind": self.by, **fitted[column]} for column in self.columns]
