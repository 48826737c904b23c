"""From the sample's trained model to the folder that the server reads."""

from pathlib import Path

import numpy as np

from modelops_runtime.artifacts import export
from modelops_runtime.artifacts.parity import CHECKED_INPUTS
from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.contract import TrainingContract
from sample.dataset import Dataset
from sample.frameworks import Model
from sample.preprocess import Array

GOLDEN_VALUES = (-1.0, 0.0, 0.5, 1.0)


def write_model(
    model: Model, directory: Path, settings: TrainingContract, rows: Dataset, test_predictions: Array | None = None
) -> None:
    """With prepared data the model goes out with its preprocessing: the server takes what clients have."""
    random = np.random.default_rng(0)
    inputs = random.uniform(-10, 10, (CHECKED_INPUTS, rows.parameters.inputs)).astype("float32")
    if rows.preprocessing:  # prepared columns have a scale of their own
        inputs = rows.train[0][random.integers(0, len(rows.train[0]), CHECKED_INPUTS)]
    names = tuple(f"x{number}" for number in range(rows.parameters.inputs))
    clients = rows.preprocessing or Preprocessing(names, names, ())
    export.write_model(
        directory,
        model,
        [clients.example(value) for value in GOLDEN_VALUES],
        name=settings.model_name,
        run_id=settings.run_id,
        framework=settings.framework,
        labels=rows.labels,
        preprocessing=rows.preprocessing,
        test_predictions=test_predictions,
        training_rows=rows.train[0] if rows.preprocessing else None,
        parity_rows=inputs,
    )
