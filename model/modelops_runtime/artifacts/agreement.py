"""The one rule by which predictions are compared: of a conversion with its original, and of a served model with its
golden prediction.

A difference is measured against the largest expected value in its output column, as the normwise relative error is
(Higham, Accuracy and Stability of Numerical Algorithms, 1.2): a small prediction that is the difference of two large
numbers has their rounding error, and so has a quantized one, whose steps are as wide for small values as for large.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

RELATIVE = 1e-5
"""How far a golden prediction may be off for its size: what `numpy.allclose` allows. Single precision rounds by up to
6e-8; other processors and numbers of threads add up in another order, which makes some tens of that in deep models."""
_SMALLEST = np.finfo("float64").tiny


def disagreement(got: Array, expected: Array, least: float = 1.0) -> float:
    """The largest difference between predictions, as a part of the largest expected value in its column, or of `least`
    where that is larger.

    Infinite where the shapes differ, not a number where a prediction is none. Whole numbers, such as labels, have no
    rounding error: they are measured by `least` alone.
    """
    if got.shape != expected.shape:
        return float("inf")
    difference, sizes = np.abs(got.astype("float64") - expected.astype("float64")), np.abs(expected.astype("float64"))
    scale = np.max(sizes, axis=tuple(range(max(1, sizes.ndim - 1))), initial=0)
    if expected.dtype.kind != "f":
        scale = np.zeros_like(scale)
    return float(np.max(difference / np.maximum(scale, max(least, _SMALLEST)), initial=0))
