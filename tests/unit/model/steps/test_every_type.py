"""Every step against every type of column that can reach it: rows come out, or a message in words with a final code."""

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modelops_runtime.contract import ContractError, Exit
from modelops_runtime.data import pipeline as pipelines
from modelops_runtime.data import running
from modelops_runtime.data.nested import settled
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.steps import STEPS, Context
from modelops_runtime.data.table import InMemory

ROWS = 30
SALT = b"a salt of sixteen bytes or more"
FINAL = {Exit.CONFIGURATION, Exit.BAD_ROW, Exit.MISSING_COLUMN, Exit.EMPTY, Exit.PRIVACY, Exit.LEAK}
UTC = datetime.UTC


def column(*values: Any, dtype: Any = None) -> pd.Series:
    repeated = [values[number % len(values)] for number in range(ROWS)]
    return pd.Series(repeated, dtype=dtype)


TYPES: dict[str, pd.Series] = {
    "int64": column(1, 2, 3, dtype="int64"),
    "int8": column(1, -2, 3, dtype="int8"),
    "large int64": column(2**63 - 1, -(2**63), 2**53 + 1, dtype="int64"),
    "uint64": column(2**64 - 1, 0, 5, dtype="uint64"),
    "integers with nulls": column(1, None, 2**53 + 1, dtype="Int64"),
    "small integers with nulls": column(1, None, 2, dtype="Int8"),
    "floats": column(0.5, -1.5, 2.5),
    "floats with NaN": column(0.5, np.nan, 2.5),
    "infinite": column(0.5, np.inf, -np.inf),
    "huge": column(1e308, -1e308, 5e-324),
    "float32": column(0.5, 1.5, dtype="float32"),
    "mostly zeros": column(0.0, 0.0, 0.0, 0.0, 7.0),
    "constant": column(3.0),
    "all missing": column(None, dtype="float64"),
    "all missing objects": column(None, dtype=object),
    "all missing texts": column(None, dtype="str"),
    "texts": column("a", "b b", "ü", dtype="str"),
    "texts with nulls": column("a", None, "", dtype="str"),
    "texts of numbers": column("1", "2.5", "1e999", "nan", dtype="str"),
    "texts of times": column("2024-01-01T00:30:00+01:00", "2024-02", None, "0001-01-01T00:00:00+14:00", dtype="str"),
    "booleans": column(True, False),
    "booleans with nulls": column(True, None, False, dtype="boolean"),
    "boolean objects": column(True, None, np.bool_(False), dtype=object),
    "decimals": column(Decimal("1.10"), None, Decimal("2.5"), dtype=object),
    "decimals that are none": column(Decimal("NaN"), Decimal("Infinity"), Decimal(1), dtype=object),
    "times": column(datetime.datetime(2024, 1, 1, 3), None, datetime.datetime(2023, 5, 5), dtype="datetime64[us]"),
    "times with zones": column(datetime.datetime(2024, 1, 1, tzinfo=UTC), dtype="datetime64[ns, Europe/Rome]"),
    "dates": column(datetime.date(2024, 1, 1), None, datetime.date(2024, 2, 29), dtype=object),
    "times of day": column(datetime.time(3, 4), None, dtype=object),
    "durations": column(datetime.timedelta(days=1), None, dtype="timedelta64[ns]"),
    "bytes": column(b"a", b"\xff", dtype=object),
    "categories": column("a", "b", None, dtype="category"),
    "numbers and texts": column(1, "a", None, dtype=object),
    "lists": column([1, 2], None, [], dtype=object),
    "objects": column({"a": 1}, {"b": [1]}, dtype=object),
    "lists of Arrow": pd.Series(pd.arrays.ArrowExtensionArray(pa.array([[1], None, [2]] * 10, pa.list_(pa.int64())))),
}
X = ["x"]
ROW_STEPS: list[dict[str, Any]] = [
    {"check": {"columns": {"x": {"type": kind}}, "on_violation": "drop"}}
    for kind in ("number", "integer", "text", "boolean", "date")
] + [
    {"check": {"columns": {"x": {"minimum": 0, "maximum": 5, "allowed": ["a", 1]}}, "on_violation": "drop"}},
    {"fill": {"columns": X, "by": "constant", "value": 1}},
    {"fill": {"columns": X, "by": "constant", "value": 0.5}},
    {"fill": {"columns": X, "by": "constant", "value": 300}},
    {"fill": {"columns": X, "by": "constant", "value": "a"}},
    {"fill": {"columns": X, "by": "drop"}},
    {"outliers": {"columns": X, "rule": "bounds", "low": 0, "high": 2}},
    {"outliers": {"columns": X, "rule": "bounds", "low": 0, "high": 2, "action": "remove"}},
    {"dates": {"column": "x", "parts": ["year", "hour", "day_of_year"]}},
    {"dates": {"column": "x", "zone": "Pacific/Kiritimati", "keep": True}},
    {"drop": {"columns": X}},
    {"mask": {"columns": X, "keep_last": 1}},
    {"hash": {"columns": X}},
    {"pseudonymise": {"columns": X, "domain": "x"}},
    {"scan_text": {"columns": X}},
]
BEFORE: list[dict[str, Any]] = [
    *ROW_STEPS,
    {"deduplicate": {"columns": X}},
    {"generalise": {"columns": {"x": {"width": 2}}, "k": 2, "rare": "remove"}},
    {"generalise": {"columns": {"x": {"first": 1}}, "k": 2, "rare": "remove"}},
    {"near_duplicates": {"columns": X}},
]
AFTER: list[dict[str, Any]] = [
    {"fill": {"columns": X, "by": "interpolate"}},
    {"fill": {"columns": X, "by": "previous"}},
    {"fill": {"columns": ["n"], "by": "previous", "order": "x"}},
    *({"fill": {"columns": X, "by": by}} for by in ("mean", "median", "most_frequent")),
    *({"outliers": {"columns": X, "rule": rule}} for rule in ("zscore", "iqr")),
    *({"scale": {"columns": X, "by": by}} for by in ("standard", "minmax")),
    *(
        {"encode": {"columns": X, "by": by, "unknown": unknown, "missing": missing}}
        for by in ("one_hot", "ordinal")
        for unknown in ("error", "zeros")
        for missing in ("error", "category", None)
    ),
    {"word_vectors": {"column": "x", "size": 2, "epochs": 1, "least_count": 1}},
]
SPLITS: list[dict[str, Any]] = [
    {"split": {"by": "grouped", "column": "n"}},
    {"split": {"by": "time", "column": "n"}},
]
OF_X: list[dict[str, Any]] = [
    {"split": {}},
    *({"split": {"by": by, "column": "x"}} for by in ("time", "grouped", "stratified")),
]
PIPELINES = [
    *([step, SPLITS[0]] for step in BEFORE),
    *([SPLITS[number % 2], step] for number, step in enumerate(AFTER)),
    *([split] for split in OF_X),
]


def finished(steps: list[dict[str, Any]], frame: pd.DataFrame, **fields: Any) -> pipelines.Prepared:
    """Through the whole pipeline but its sources."""
    pipeline = Pipeline.parse({"sources": [{"uri": "x"}], "steps": steps, **fields})
    context, first = Context(files=["x.csv"], salt=SALT), pipeline.first_global()
    rows = settled(running.apply(pipeline.plan[:first], frame, context, 0), set())
    return pipeline.finish(InMemory(rows), context, lambda _line: None)


@pytest.mark.parametrize("kind", TYPES)
def test_a_step_gives_rows_or_says_in_words_why_not(kind: str) -> None:
    whole = pd.DataFrame({"x": TYPES[kind], "n": range(ROWS)})
    values = {str(value) for value in TYPES[kind] if len(str(value)) > 3}
    for frame in (whole, whole.iloc[:1], whole.iloc[:0]):
        for steps in PIPELINES:
            try:
                prepared = finished(steps, frame)
            except ContractError as error:
                assert error.code in FINAL, (steps, error)
                assert len(str(error)) > 20 and not any(value in str(error) for value in values - {"None", "True"})
                continue
            assert sum(part.count() for part in prepared.parts.values()) <= len(frame)
            for operation in prepared.preprocessing.operations:
                numbers = [value for value in operation.values() if isinstance(value, float)]
                assert np.isfinite(numbers).all(), (steps, operation)
            prepared.preprocessing.text()


def test_every_step_is_tried() -> None:
    tried = {name for steps in PIPELINES for step in steps for name in step}
    elsewhere = {"conversations", "tokens", "encode_text", "image_features"}  # of texts and images: their own tests
    assert tried | elsewhere == STEPS.keys()
