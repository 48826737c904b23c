"""Duplicates, missing values, outliers and the check of a schema."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from model.contract import Exit
from model.preprocessing import Operation
from model.steps.base import Context, Step, step
from model.steps.errors import DataError

Columns = list[str]


@step
class Deduplicate(Step):
    """Keeps one of the rows that are equal in `columns` (default: in all)."""

    columns: Columns | None = None
    keep: Literal["first", "last"] = "first"

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, self.columns or [])
        return frame.drop_duplicates(subset=self.columns, keep=self.keep)


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

    def fit(self, train: pd.DataFrame, context: Context) -> list[Operation]:
        operations: list[Operation] = []
        for column in self.columns:
            numbers = context.numbers(train, column).dropna()
            if numbers.empty:
                raise DataError(f"column {column} has no value in the training split", code=Exit.EMPTY)
            value = {"mean": numbers.mean, "median": numbers.median, "most_frequent": lambda n=numbers: n.mode()[0]}
            operations.append({"column": column, "kind": "fill", "value": float(value[self.by]())})
        return operations


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

    def fit(self, train: pd.DataFrame, context: Context) -> list[Operation]:
        operations: list[Operation] = []
        for column in self.columns:
            numbers = context.numbers(train, column).dropna().to_numpy()
            if not len(numbers):
                raise DataError(f"column {column} has no value in the training split", code=Exit.EMPTY)
            if self.rule == "zscore":
                middle, reach = numbers.mean(), (self.factor or 3.0) * numbers.std()
                low, high = middle - reach, middle + reach
            else:
                first, third = np.quantile(numbers, [0.25, 0.75])
                reach = (self.factor or 1.5) * (third - first)
                low, high = first - reach, third + reach
            operations.append({"column": column, "kind": "clip", "low": float(low), "high": float(high)})
        return operations


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
        found = [(~there, "must be there")] if self.required else []
        if self.type is not None:
            found.append((there & ~self._of_type(column, numbers), f"must be of the type {self.type}"))
        if self.minimum is not None:
            found.append((there & ~(numbers >= self.minimum), f"must be at least {self.minimum:g}"))
        if self.maximum is not None:
            found.append((there & ~(numbers <= self.maximum), f"must be at most {self.maximum:g}"))
        if self.allowed is not None:
            found.append((there & ~column.isin(self.allowed), "must be one of the allowed values"))
        return found

    def _of_type(self, column: pd.Series, numbers: pd.Series) -> pd.Series:
        if self.type == "number":
            return np.isfinite(numbers)
        if self.type == "integer":
            return np.isfinite(numbers) & (numbers == numbers.round())
        if self.type == "date":
            return pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True).notna()
        wanted: Any = str if self.type == "text" else (bool, np.bool_)
        return column.map(lambda value: isinstance(value, wanted)).astype(bool)


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
        found: list[tuple[int, str, str]] = []
        for column, rule in self.columns.items():
            for broken, words in rule.violations(frame[column]):
                found += [(index, column, words) for index in frame.index[broken.to_numpy(dtype=bool)]]
        found.sort()
        problems = []
        for index, column, words in found:
            file, row = context.origin(index)
            context.report.append({"violation": words, "file": file, "row": row, "column": column})
            problems.append(f"{file}, row {row}, column {column}: {words}")
        if found and self.on_violation == "fail":
            raise DataError(*problems, code=Exit.BAD_ROW)
        return frame.drop(index=[index for index, _column, _words in found])
