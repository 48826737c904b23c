"""Whether a converted model may replace the original: it has to predict the same."""

from collections.abc import Callable

from modelops_runtime.artifacts.agreement import disagreement
from modelops_runtime.artifacts.runtimes import Array, Runtime

TOLERANCES = {"litert": 1e-6, "onnx": 1e-5}
"""How far a converted model may be from the original, by runtime, as `disagreement` measures it. LiteRT runs
TensorFlow's own kernels; ONNX Runtime adds up in another order than PyTorch and MXNet do."""
CHECKED_INPUTS = 1000


def reason_against(
    convert: Callable[[], Runtime],
    original: Callable[[Array], Array],
    exact: Callable[[Array], Array],
    inputs: Array,
    tolerance: float,
) -> str:
    """Why the model that `convert` makes can't be served in place of the original; empty when it can.

    It may be `tolerance` away from the original, or from what the original predicts in double precision (`exact`)
    as far as the original itself: single precision alone takes some models, of large weights, further than that.
    """
    try:
        got = convert().predict(inputs)
    except Exception as error:  # whatever a converter raises: the original can be served all the same
        lines = str(error).strip().splitlines() or [""]
        return f"it can't be converted: {type(error).__name__}: {lines[0][:300]}"
    predicted = original(inputs)
    difference = disagreement(got, predicted)
    if not difference <= tolerance:
        precise = exact(inputs)
        if disagreement(got, precise) <= max(tolerance, disagreement(predicted, precise)):
            return ""
        return f"the converted model is {difference:.2g} away from the original, at most {tolerance:g} is allowed"
    return ""
