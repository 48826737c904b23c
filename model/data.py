"""Where the rows come from: the image's own sample, or a CSV file."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from model.contract import ConfigurationError
from model.parameters import Parameters

COLUMNS = ("x", "y")
SLOPE, INTERCEPT = 2.0, 1.0


def sample(parameters: Parameters) -> pd.DataFrame:
    """y = 2x + 1 + noise, x uniform in [−1, 1): the same rows for the same seed."""
    rng = np.random.default_rng(parameters.seed)
    x = rng.uniform(-1, 1, parameters.samples)
    y = SLOPE * x + INTERCEPT + rng.normal(0, parameters.noise, parameters.samples)
    return pd.DataFrame({"x": x, "y": y})


def load(uri: str, parameters: Parameters) -> pd.DataFrame:
    """Rows of the CSV file that `uri` (a path or file:// URI) names; the sample when it is empty.

    Raises ConfigurationError when the URI is of another kind or the file can't be read as rows with columns x and y.
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
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns))
        raise ConfigurationError(f"MODELOPS_DATA_URI {uri!r} lacks column {' and '.join(missing)}; it has {there}")
    return frame[list(COLUMNS)]
