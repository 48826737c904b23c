"""The metrics of the test split."""

import keras
import numpy as np
import numpy.typing as npt

METRICS = {"mse": keras.metrics.MeanSquaredError, "mae": keras.metrics.MeanAbsoluteError, "r2": keras.metrics.R2Score}


def evaluate(predicted: npt.NDArray[np.float32], actual: npt.NDArray[np.float32]) -> dict[str, float]:
    """Mean squared error, mean absolute error and R², by Keras' own metrics (the image has them already)."""
    metrics = {}
    for name, make in METRICS.items():
        metric = make()
        metric.update_state(actual, predicted)
        metrics[name] = float(metric.result())
    return metrics
