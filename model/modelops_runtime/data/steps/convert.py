"""Dates, categories and scales."""

from typing import Literal

import pandas as pd
from pydantic import Field

from modelops_runtime.artifacts.preprocessing import Operation
from modelops_runtime.data import fitting
from modelops_runtime.data.context import Context
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.table import Rows


@step
class Dates(Step):
    """An ISO 8601 date or time becomes numbers: `<column>_year` and so on; weekday 0 is Monday. A missing one stays
    missing in each."""

    column: str
    parts: list[Literal["year", "month", "day", "weekday", "hour", "minute", "day_of_year"]] = Field(
        default=["year", "month", "day", "weekday"], min_length=1
    )
    keep: bool = False
    """Whether the column itself stays."""

    @property
    def rowwise(self) -> bool:
        return True

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, [self.column])
        times = pd.to_datetime(frame[self.column], errors="coerce", format="ISO8601", utc=True)
        wrong = times.isna() & frame[self.column].notna()
        if wrong.any():
            raise context.bad_row(frame.index[wrong.to_numpy().argmax()], self.column, "must be an ISO 8601 date")
        expanded = frame.copy() if self.keep else frame.drop(columns=self.column)
        for part in self.parts:
            expanded[f"{self.column}_{part}"] = getattr(times.dt, "day_of_week" if part == "weekday" else part).astype(
                "float64"
            )
        return expanded


@step
class Encode(Step):
    """Categories of the training split become numbers: a column each (`one_hot`), or their place in order (`ordinal`).

    A category that the training split does not have fails the run, or gives zeros (ordinal: −1).
    """

    columns: list[str] = Field(min_length=1)
    by: Literal["one_hot", "ordinal"] = "one_hot"
    unknown: Literal["error", "zeros"] = "error"

    @property
    def fitted(self) -> bool:
        return True

    def fit(self, train: Rows, context: Context) -> list[Operation]:
        context.require(train, self.columns)
        operations: list[Operation] = []
        for column in self.columns:
            values = fitting.categories(train, column)
            fitting.require_values([column], [column] if values else [])
            # A column of whole numbers with a missing value arrives as floats.
            categories = sorted({value if isinstance(value, str) else float(value) for value in values})
            operations.append({"column": column, "kind": self.by, "categories": categories, "unknown": self.unknown})
        return operations


@step
class Scale(Step):
    """`standard`: z = (x − μ)/σ, σ of the population, as scikit-learn has it. `minmax`: (x − min)/(max − min). Fitted
    on the training split. A constant column becomes 0."""

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
        operations: list[Operation] = []
        for column in self.columns:
            scaler = scalers[column]
            if self.by == "standard":
                fitted = {"mean": float(scaler.mean_[0]), "deviation": float(scaler.scale_[0])}
            else:
                fitted = {"minimum": float(scaler.data_min_[0]), "maximum": float(scaler.data_max_[0])}
            operations.append({"column": column, "kind": self.by, **fitted})
        return operations
