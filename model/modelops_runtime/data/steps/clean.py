"""Duplicates, missing values, outliers and the check of a schema."""

from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from modelops_runtime.artifacts.operations import Operation, moment
from modelops_runtime.contract import Exit
from modelops_runtime.data import fitting, quantiles
from modelops_runtime.data.context import Context, as_numbers, beyond_float
from modelops_runtime.data.errors import DataError
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.steps.split import Split, times
from modelops_runtime.data.table import InMemory, Rows
from modelops_runtime.data.transform import transform
from modelops_runtime.data.violations import Violations

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
    """Missing values, of numbers and texts: `mean`, `median` or `most_frequent` of the training split, or a `constant`.
    A model's server fills them in its clients' rows too.

    Of rows alone: the row is left out (`drop`), or the gap is closed from its neighbours in the same part, on the line
    between the one before and the one after (`interpolate`) or by the one before (`previous`), in the order of the
    column `order`, else of the rows. These two come after the split, so that no test row fills a training row. After a
    split by time, use `previous` in the order of its column: `interpolate` looks at later rows. A client has no
    neighbours, so it sends a value, unless another `fill` follows."""

    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)
    columns: Columns = Field(min_length=1)
    by: Literal["mean", "median", "most_frequent", "constant", "interpolate", "previous", "drop"]
    value: float | str | None = None
    """What a constant is."""
    order: str | None = None
    """A column of numbers or ISO 8601 times, whose order is that of the neighbours."""

    @model_validator(mode="after")
    def _fields_are_of_its_kind(self) -> "Fill":
        if (self.by == "constant") != (self.value is not None):
            raise ValueError("value must be given with by: constant, and only then")
        if self.order is not None and not self.in_part:
            raise ValueError("order must be given with by: interpolate or previous only")
        return self

    @property
    def rowwise(self) -> bool:
        return self.by in ("constant", "drop")

    @property
    def fitted(self) -> bool:
        return self.by in ("mean", "median", "most_frequent")

    @property
    def in_part(self) -> bool:
        return self.by in ("interpolate", "previous")

    @property
    def in_pieces(self) -> bool:
        return not self.in_part

    def operations(self) -> list[Operation]:
        constant = self.columns if self.by == "constant" else []
        return [{"column": column, "kind": "fill", "value": self.value} for column in constant]

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, self.columns)
        if self.by == "drop":
            return frame.dropna(subset=self.columns)
        if self.in_part:
            return self._from_neighbours(frame, context)
        for operation in self.operations():
            frame = transform(operation, frame, context)
        return frame

    def looks_ahead(self, split: Split) -> str:
        """Why it must not follow a split by time: what it fills would know the future. Empty: it may."""
        if split.by != "time" or not self.in_part:
            return ""
        if self.by == "interpolate":
            return f"looks at later rows, after a split by time: must be by previous, with order {split.column}"
        return "" if self.order == split.column else f"must have order: {split.column}, after a split by its time"

    def _from_neighbours(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        keys = np.arange(len(frame)) if self.order is None else times(frame, self.order, context, "order by it")
        ordered = frame.iloc[np.argsort(keys, kind="stable")]
        for column in self.columns:
            if self.by == "previous":
                filled = ordered[column].ffill()
            else:
                filled = context.numbers(ordered, column).interpolate(method="linear", limit_direction="both")
            ordered = ordered.assign(**{column: filled})
        return ordered.loc[frame.index]

    def fit(self, train: Rows, context: Context) -> list[Operation]:
        context.require(train, self.columns)
        if self.by == "mean":
            scalers = fitting.standard(train, self.columns, context)
            values: dict[str, Any] = {name: float(scaler.mean_[0]) for name, scaler in scalers.items()}
        elif self.by == "median":
            medians = quantiles.quantiles(train, self.columns, [0.5], context)
            values = {name: median for name, [median] in medians.items()}
        else:
            values = fitting.most_frequent(train, self.columns)
        fitting.require_values(self.columns, values)
        return [{"column": column, "kind": "fill", "value": values[column]} for column in self.columns]


@step
class Outliers(Step):
    """Values outside of a range are set to its end (`clip`), or their rows left out (`remove`).

    The range: `low` to `high` (rule bounds); from the training split, mean ± `factor`·σ (rule zscore, default 3), or
    the quartiles widened by `factor` times their distance (rule iqr, default 1.5: Tukey's fences). A fitted rule clips
    alone: a server answers for every row, clipped in the same way. Missing values stay; infinite ones are outside of
    `low` and `high`. iqr refuses a column at least half of which is one value: its range would be that value alone.
    """

    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)
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

    def operations(self) -> list[Operation]:
        clipped = self.columns if self.rule == "bounds" and self.action == "clip" else []
        return [{"column": column, "kind": "clip", "low": self.low, "high": self.high} for column in clipped]

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        kept = pd.Series(True, index=frame.index)
        for column in self.columns if self.action == "remove" else []:
            numbers = context.numbers(frame, column, finite=False)
            kept &= numbers.isna() | numbers.between(self.low, self.high)
        for operation in self.operations():
            frame = transform(operation, frame, context)
        return frame[kept]

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
            quartiles = quantiles.quantiles(train, self.columns, [0, 0.25, 0.75, 1], context)
            ends = {}
            for name, [least, first, third, most] in quartiles.items():
                if first == third and least < most:
                    raise DataError(
                        f"column {name}: at least half of the training split has one value, so iqr would make the"
                        " column constant: use rule: bounds or zscore",
                        code=Exit.BAD_ROW,
                    )
                ends[name] = (first - factor * (third - first), third + factor * (third - first))
        fitting.require_values(self.columns, ends)
        return [
            {"column": column, "kind": "clip", "low": float(ends[column][0]), "high": float(ends[column][1])}
            for column in self.columns
        ]


class Rule(BaseModel):
    """What the values of one column must be."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    type: Literal["number", "integer", "text", "boolean", "date"] | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    allowed: list[str | int | float] | None = None
    required: bool = True
    """Whether a value must be there."""

    def violations(self, column: pd.Series) -> list[tuple[pd.Series, str]]:
        """Pairs of (whether a row breaks the rule, the rule)."""
        there = column.notna()
        numbers = as_numbers(column)
        violations = [(~there, "must be there")] if self.required else []
        if self.type is not None:
            violations.append((there & ~self._of_type(column, numbers), f"must be of the type {self.type}"))
        if beyond_float(column).any():
            numbers = column.astype(object).where(there, np.nan)  # Python compares these exactly
        if self.minimum is not None:
            violations.append((there & ~(numbers >= self.minimum), f"must be at least {_written(self.minimum)}"))
        if self.maximum is not None:
            violations.append((there & ~(numbers <= self.maximum), f"must be at most {_written(self.maximum)}"))
        if self.allowed is not None:
            violations.append((there & ~column.isin(self.allowed), "must be one of the allowed values"))
        return violations

    def _of_type(self, column: pd.Series, numbers: pd.Series) -> pd.Series:
        if self.type == "number":
            return np.isfinite(numbers)
        if self.type == "integer":
            return np.isfinite(numbers) & (numbers == numbers.round())
        if self.type == "date":
            return column.map(_is_date).astype(bool)
        expected_type: Any = str if self.type == "text" else (bool, np.bool_)
        return column.map(lambda value: isinstance(value, expected_type)).astype(bool)


def _written(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _is_date(value: object) -> bool:
    try:
        moment(value)
    except ValueError:
        return False
    return True


@step
class Check(Step):
    """A schema: each named column is there and keeps its rule. Violations are counted, and the first hundred reported
    with file, row and column; then the run fails, or the rows are left out."""

    columns: dict[str, Rule] = Field(min_length=1)
    on_violation: Literal["fail", "drop"] = "fail"

    @property
    def rowwise(self) -> bool:
        return True

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, list(self.columns))
        violations, broken_rows = Violations(context), np.zeros(len(frame), dtype=bool)
        for column, rule in self.columns.items():
            for broken, words in rule.violations(frame[column]):
                of_rows = broken.to_numpy(dtype=bool)
                violations.add_all(frame.index[of_rows], column, words, words)
                broken_rows |= of_rows
        listed = violations.settle(self.on_violation)
        context.report.append({"violations": listed, "count": violations.counts.total()})
        return frame[~broken_rows]
