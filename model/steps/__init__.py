"""Steps from raw data to training, validation and test rows, each declared as data: `{"scale": {"columns": ["age"]}}`.

The names and fields of all steps are in docs/data-steps.md, which `python -m docs.data_steps` writes.
"""

from model.steps import clean, convert, encoders, images, protect, split, text
from model.steps.base import STEPS, Context, Step
from model.steps.errors import DataError

__all__ = [
    "STEPS",
    "Context",
    "DataError",
    "Step",
    "clean",
    "convert",
    "encoders",
    "images",
    "protect",
    "split",
    "text",
]
