"""From raw rows to clean, split ones."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from modelops_runtime.contract import ConfigurationError
from sample.parameters import SMALLEST_SPLIT, Parameters

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Split:
    """Three disjoint parts of the rows."""

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame

    def __str__(self) -> str:
        return f"{len(self.train)} training, {len(self.validation)} validation, {len(self.test)} test rows"


def clean(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers only: rows where a column is missing, not a number or too large for float32 are left out."""
    numbers = frame.apply(pd.to_numeric, errors="coerce").astype("float64")
    fits = (numbers.abs() <= np.finfo("float32").max).all(axis=1)
    return numbers[fits].reset_index(drop=True)


def split(frame: pd.DataFrame, parameters: Parameters) -> Split:
    """Shuffled by the seed, then cut: test rows first, validation rows next, the rest trains.

    Raises ConfigurationError when a part would get fewer than SMALLEST_SPLIT rows.
    """
    order = np.random.default_rng([parameters.seed, 1]).permutation(len(frame))
    test_rows = round(len(frame) * parameters.test_fraction)
    validation_rows = round(len(frame) * parameters.validation_fraction)
    cuts = np.split(order, [test_rows, test_rows + validation_rows])
    if min(map(len, cuts)) < SMALLEST_SPLIT:
        raise ConfigurationError(
            f"{len(frame)} usable rows give {len(cuts[2])} for training, {len(cuts[1])} for validation and"
            f" {len(cuts[0])} for the test: each part needs at least {SMALLEST_SPLIT}"
        )
    test, validation, train = (frame.iloc[cut].reset_index(drop=True) for cut in cuts)
    return Split(train=train, validation=validation, test=test)


def arrays(frame: pd.DataFrame, parameters: Parameters) -> tuple[Array, Array]:
    """Inputs and targets as models take them, float32: of a classification, a column a class with a 1 in the right one.

    Raises ConfigurationError when a label is no class.
    """
    inputs, target = frame.iloc[:, :-1].to_numpy("float32"), frame.iloc[:, -1].to_numpy()
    if parameters.task == "regression":
        return inputs, target.astype("float32").reshape(-1, 1)
    wrong = target[~np.isin(target, np.arange(parameters.classes))]
    if len(wrong):
        raise ConfigurationError(f"label {wrong[0]:g} is none of the classes 0 to {parameters.classes - 1}")
    return inputs, np.eye(parameters.classes, dtype="float32")[target.astype(int)]
