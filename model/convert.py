"""From the trained model to the directory that serving reads, checked to answer the same."""

import hashlib
from pathlib import Path

import numpy as np

from model.agreement import CHECKED_INPUTS, TOLERANCES, reason_against
from model.contract import TrainingContract
from model.frameworks import Model
from model.manifest import Bins, Golden, Manifest, Tensor
from model.parameters import Parameters
from model.runtime import RUNTIMES, Runtime

GOLDEN_VALUES = (-1.0, 0.0, 0.5, 1.0)
GOLDEN_TOLERANCE = 1e-5


def write_model(
    model: Model,
    directory: Path,
    settings: TrainingContract,
    parameters: Parameters,
    baseline: tuple[Bins, ...] = (),
) -> None:
    """Leaves the framework's own model, `model.json` and, where it predicts the same, what is served in `directory`.

    The manifest says what serves it: a slim runtime, or the framework itself where the model can't be converted.
    """
    golden = np.array([[value] * parameters.inputs for value in GOLDEN_VALUES], dtype="float32")
    outputs = model.predict(golden)
    inputs = np.random.default_rng(0).uniform(-10, 10, (CHECKED_INPUTS, parameters.inputs)).astype("float32")
    source = model.save(directory)
    served = directory / model.served_file

    def convert() -> Runtime:
        model.convert(served)
        return RUNTIMES[model.served_by](served, 1)

    reason = reason_against(convert, model.predict, inputs, TOLERANCES[model.served_by])
    if reason:
        served.unlink(missing_ok=True)
        print(
            f"to be served by {settings.framework} itself (image target serve-framework): {reason}",
            flush=True,
        )
    files = [*([] if reason else [served.name]), *source]
    Manifest(
        name=settings.model_name,
        run_id=settings.run_id,
        framework=settings.framework,
        runtime="framework" if reason else model.served_by,
        file=files[0],
        inputs=Tensor((-1, parameters.inputs), "float32"),
        outputs=Tensor((-1, parameters.outputs), "float32"),
        golden=Golden(golden.tolist(), outputs.tolist(), GOLDEN_TOLERANCE),
        sha256={file: hashlib.sha256((directory / file).read_bytes()).hexdigest() for file in files},
        extra_files=source[1:] if reason else (),
        baseline=baseline,
    ).write(directory)
