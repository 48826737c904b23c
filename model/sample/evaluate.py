"""The metrics of the test split, by scikit-learn."""

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from modelops_runtime.contract import ConfigurationError


def evaluate(predicted: npt.NDArray[np.float32], actual: npt.NDArray[np.float32], task: str) -> dict[str, float]:
    """Of a regression mse, mae and r2; of a classification accuracy, cross_entropy, and precision, recall and f1 as
    the mean over the classes.

    Raises ConfigurationError when a prediction is not finite: there is nothing to measure.
    """
    if not np.isfinite(predicted).all():
        raise ConfigurationError("a prediction of the test split is not finite: lower learning_rate or scale the data")
    if task == "regression":
        return {
            "mse": float(metrics.mean_squared_error(actual, predicted)),
            "mae": float(metrics.mean_absolute_error(actual, predicted)),
            "r2": float(metrics.r2_score(actual, predicted)),
        }
    labels, classes = actual.argmax(axis=1), list(range(actual.shape[1]))
    probabilities = predicted.astype("float64")
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # float32 sums to 1 only nearly
    guessed = predicted.argmax(axis=1)
    precision, recall, f1, _support = metrics.precision_recall_fscore_support(
        labels, guessed, average="macro", zero_division=0.0
    )
    return {
        "accuracy": float(metrics.accuracy_score(labels, guessed)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "cross_entropy": float(metrics.log_loss(labels, probabilities, labels=classes)),
    }
