"""Duplicates, missing values, outliers and the check of a schema."""

from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from modelops_runtime.artifacts.preprocessing import Operation
from modelops_runtime.contract import Exit
from modelops_runtime.data import fitting, quantiles
from modelops_runtime.data.context import Context
from modelops_runtime.data.errors import DataError
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.table import InMemory, Rows

Columns = list[str]


@step
class Deduplicate(Step):
    """Keeps one of the rows that are equal in `columns` (default: in all)."""

    takes_nested: ClassVar[bool] = True
    columns: Columns | None = None
    keep: Literal["first", "last"] = "first"

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        [left] = self.on(InMemory(frame), context).frames()
        return left

    def on(self, rows: Rows, context: Context) -> Rows:
        context.require(rows, self.columns or [])
        return rows.distinct(self.columns, self.keep, context)


@step
class Fill(Step):
    """Missing values: `mean`, `median` or `most_frequent` of the training split, a `constant`, the line between the
    neighbours (`interpolate`, of rows in their order), or the row is left out (`drop`)."""

    columns: Columns = Field(min_length=1)
    by: Literal["mean", "median", "most_frequent", "constant", "interpolate", "drop"]
    value: float | str | None = None
    """What a constant is."""

    @model_validator(mode="after")
    def _value_is_that_of_a_constant(self) -> "Fill":
        if (self.by == "constant") != (self.value is not None):
            raise ValueError("value must be given with by: constant, and only then")
        return self

    @property
    def rowwise(self) -> bool:
        return self.by in ("constant", "drop")

    @property
    def fitted(self) -> bool:
        return self.by in ("mean", "median", "most_frequent")

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, self.columns)
        if self.by == "drop":
            return frame.dropna(subset=self.columns)
        filled = frame.copy()
        for column in self.columns:
            if self.by == "interpolate":
                filled[column] = context.numbers(frame, column).interpolate(method="linear", limit_direction="both")
            else:
                filled[column] = frame[column].fillna(self.value)
        return filled

    @property
    def in_pieces(self) -> bool:
        return self.by != "interpolate"

    def fit(self, train: Rows, context: Context) -> list[Operation]:
        context.require(train, self.columns)
        if self.by == "mean":
            values = {name: scaler.mean_[0] for name, scaler in fitting.standard(train, self.columns, context).items()}
        elif self.by == "median":
            medians = quantiles.quantiles(train, self.columns, [0.5], context)
            values = {name: median for name, [median] in medians.items()}
        else:
            values = fitting.most_frequent(train, self.columns, context)
        fitting.require_values(self.columns, values)
        return [{"column": column, "kind": "fill", "value": float(values[column])} for column in self.columns]


@step
class Outliers(Step):
    """Values outside of a range are set to its end (`clip`), or their rows left out (`remove`).

    The range: `low` to `high` (rule bounds); from the training split, mean ± `factor`·σ (rule zscore, default 3), or
    the quartiles widened by `factor` times their distance (rule iqr, default 1.5: Tukey's fences). A fitted rule clips
    alone: a server answers for every row. Missing values stay.
    """

    columns: Columns = Field(min_length=1)
    rule: Literal["bounds", "zscore", "iqr"]
    action: Literal["clip", "remove"] = "clip"
    low: float | None = None
    high: float | None = None
    factor: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _fits_its_rule(self) -> "Outliers":
        bounds = self.rule == "bounds"
        if bounds and (self.low is None or self.high is None or self.low > self.high):
            raise ValueError("low and high must be given with rule: bounds, low at most high")
        if not bounds and (self.low is not None or self.high is not None):
            raise ValueError("low and high must be given with rule: bounds only")
        if bounds and self.factor is not None:
            raise ValueError("factor must not be given with rule: bounds")
        if not bounds and self.action == "remove":
            raise ValueError("action must be clip with a rule that is fitted")
        return self

    @property
    def rowwise(self) -> bool:
        return self.rule == "bounds"

    @property
    def fitted(self) -> bool:
        return self.rule != "bounds"

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        kept = pd.Series(True, index=frame.index)
        clipped = frame.copy()
        for column in self.columns:
            numbers = context.numbers(frame, column)
            clipped[column] = numbers.clip(self.low, self.high)
            kept &= numbers.isna() | numbers.between(self.low, self.high)
        return frame[kept] if self.action == "remove" else clipped

    def fit(self, train: Rows, context: Context) -> list[Operation]:
        context.require(train, self.columns)
        if self.rule == "zscore":
            factor, scalers = self.factor or 3.0, fitting.standard(train, self.columns, context)
            ends = {
                name: (
                    scaler.mean_[0] - factor * scaler.var_[0] ** 0.5,
                    scaler.mean_[0] + factor * scaler.var_[0] ** 0.5,
                )
                for name, scaler in scalers.items()
            }
        else:
            factor = self.factor or 1.5
            quartiles = quantiles.quantiles(train, self.columns, [0.25, 0.75], context)
            ends = {
                name: (first - factor * (third - first), third + factor * (third - first))
                for name, [first, third] in quartiles.items()
            }
        fitting.require_values(self.columns, ends)
        return [
            {"column": column, "kind": "clip", "low": float(ends[column][0]), "high": float(ends[column][1])}
            for column in self.columns
        ]


class Rule(BaseModel):
    """What the values of one column must be."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    type: Literal["number", "integer", "text", "boolean", "date"] | None = None
    minimum: float | None = None
    maximum: float | None = None
    allowed: list[str | float] | None = None
    required: bool = True
    """Whether a value must be there."""

    def violations(self, column: pd.Series) -> list[tuple[pd.Series, str]]:
        """Pairs of (whether a row breaks the rule, the rule)."""
        there = column.notna()
        numbers = pd.to_numeric(column, errors="coerce").astype("float64")
        violations = [(~there, "must be there")] if self.required else []
        if self.type is not None:
            violations.append((there & ~self._of_type(column, numbers), f"must be of the type {self.type}"))
        if self.minimum is not None:
            violations.append((there & ~(numbers >= self.minimum), f"must be at least {self.minimum:g}"))
        if self.maximum is not None:
            violations.append((there & ~(numbers <= self.maximum), f"must be at most {self.maximum:g}"))
        if self.allowed is not None:
            violations.append((there & ~column.isin(self.allowed), "must be one of the allowed values"))
        return violations

    def _of_type(self, column: pd.Series, numbers: pd.Series) -> pd.Series:
        if self.type == "number":
            return np.isfinite(numbers)
        if self.type == "integer":
            return np.isfinite(numbers) & (numbers == numbers.round())
        if self.type == "date":
            return pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True).notna()
        expected_type: Any = str if self.type == "text" else (bool, np.bool_)
        return column.map(lambda value: isinstance(value, expected_type)).astype(bool)


@step
class Check(Step):
    """A schema: each named column is there and keeps its rule. Every violation is reported with file, row and column;
    then the run fails, or the rows are left out."""

    columns: dict[str, Rule] = Field(min_length=1)
    on_violation: Literal["fail", "drop"] = "fail"

    @property
    def rowwise(self) -> bool:
        return True

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, list(self.columns))
        violations: list[tuple[int, str, str]] = []
        for column, rule in self.columns.items():
            for broken, words in rule.violations(frame[column]):
                violations += [(index, column, words) for index in frame.index[broken.to_numpy(dtype=bool)]]
        violations.sort()
        problems = []
        for index, column, words in violations:
            file, row = context.origin(index)
            context.report.append({"violation": words, "file": file, "row": row, "column": column})
            problems.append(f"{file}, row {row}, column {column}: {words}")
        if violations and self.on_violation == "fail":
            raise DataError(*problems, code=Exit.BAD_ROW)
        return frame.drop(index=[index for index, _column, _words in violations])
