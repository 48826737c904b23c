"""Steps from raw data to training, validation and test rows, each declared as data: `{"scale": {"columns": ["age"]}}`.

The names and fields of all steps are in docs/data-steps.md, which `python -m docs.data_steps` writes.
"""

from modelops_runtime.data.context import Context
from modelops_runtime.data.errors import DataError
from modelops_runtime.data.step import STEPS, Step
from modelops_runtime.data.steps import (
    clean,
    conversations,
    convert,
    encoders,
    generalise,
    images,
    near_duplicates,
    protect,
    scan_text,
    split,
    text,
    tokens,
)

__all__ = [
    "STEPS",
    "Context",
    "DataError",
    "Step",
    "clean",
    "conversations",
    "convert",
    "encoders",
    "generalise",
    "images",
    "near_duplicates",
    "protect",
    "scan_text",
    "split",
    "text",
    "tokens",
]
