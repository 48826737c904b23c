"""Where the rows come from: the image's own sample, or a CSV file."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from modelops_runtime.contract import ConfigurationError
from sample.parameters import Parameters

INPUTS = {"regression": ("x",), "classification": ("x1", "x2")}
TARGET = {"regression": "y", "classification": "label"}
SLOPE, INTERCEPT = 2.0, 1.0


def columns(parameters: Parameters) -> tuple[str, ...]:
    """The columns that rows have: inputs, then the target."""
    return (*INPUTS[parameters.task], TARGET[parameters.task])


def sample(parameters: Parameters) -> pd.DataFrame:
    """The same rows for the same seed.

    Regression: y = 2x + 1 + noise, x uniform in [−1, 1). Classification: clouds of points around the corners of a
    regular polygon, a cloud a class.
    """
    rng = np.random.default_rng(parameters.seed)
    if parameters.task == "regression":
        x = rng.uniform(-1, 1, parameters.samples)
        y = SLOPE * x + INTERCEPT + rng.normal(0, parameters.noise, parameters.samples)
        return pd.DataFrame({"x": x, "y": y})
    label = rng.permutation(parameters.samples) % parameters.classes
    angle = 2 * np.pi * label / parameters.classes
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points += rng.normal(0, parameters.noise, points.shape)
    return pd.DataFrame({"x1": points[:, 0], "x2": points[:, 1], "label": label})


def load(uri: str, parameters: Parameters) -> pd.DataFrame:
    """Rows of the CSV file that `uri` (a path or file:// URI) names; the sample when it is empty.

    Raises ConfigurationError when the URI is of another kind or the file can't be read as rows with the task's columns.
    """
    if not uri:
        return sample(parameters)
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        raise ConfigurationError(f"MODELOPS_DATA_URI is {uri!r}, must be empty, a path or a file:// URI of a CSV file")
    try:
        frame = pd.read_csv(Path(unquote(parts.path)))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"MODELOPS_DATA_URI {uri!r} can't be read as CSV: {error}") from error
    required = columns(parameters)
    missing = [column for column in required if column not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns))
        raise ConfigurationError(f"MODELOPS_DATA_URI {uri!r} lacks column {' and '.join(missing)}; it has {there}")
    return frame[list(required)]
