"""From the trained model to the directory that serving reads, checked to answer the same."""

import hashlib
from pathlib import Path

import numpy as np

from modelops_runtime.artifacts.manifest import Bins, Golden, Manifest, Tensor, features_of
from modelops_runtime.artifacts.parity import CHECKED_INPUTS, TOLERANCES, reason_against
from modelops_runtime.artifacts.preprocessing import FILE_NAME as PREPROCESSING
from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.artifacts.runtimes import RUNTIMES, Runtime
from modelops_runtime.contract import TrainingContract
from sample.dataset import Dataset
from sample.frameworks import Model

GOLDEN_VALUES = (-1.0, 0.0, 0.5, 1.0)
GOLDEN_TOLERANCE = 1e-5


def write_model(
    model: Model,
    directory: Path,
    settings: TrainingContract,
    rows: Dataset,
    baseline: tuple[Bins, ...] = (),
) -> None:
    """Leaves the framework's own model, `model.json` and, where it predicts the same, what is served in `directory`.
    With prepared data also its preprocessing: then the server takes what clients have, and not what the model takes.

    The manifest says what serves it: a slim runtime, or the framework itself where the model can't be converted.
    """
    parameters, preprocessing = rows.parameters, rows.preprocessing or _nothing(rows.parameters.inputs)
    golden = [preprocessing.example(value) for value in GOLDEN_VALUES]
    texts = preprocessing.text_inputs()
    outputs = model.predict(preprocessing.transform(np.array(golden, dtype="object" if texts else "float64")))
    chance = np.random.default_rng(0)
    inputs = chance.uniform(-10, 10, (CHECKED_INPUTS, parameters.inputs)).astype("float32")
    if rows.preprocessing:  # prepared columns have a measure of their own
        inputs = rows.train[0][chance.integers(0, len(rows.train[0]), CHECKED_INPUTS)]
    source = model.save(directory)
    served = directory / model.served_file

    def convert() -> Runtime:
        model.convert(served)
        return RUNTIMES[model.served_by](served, 1)

    reason = reason_against(convert, model.predict, model.exact, inputs, TOLERANCES[model.served_by])
    if reason:
        served.unlink(missing_ok=True)
        print(
            f"to be served by {settings.framework} itself (image target serve-framework): {reason}",
            flush=True,
        )
    files = [*([] if reason else [served.name]), *source]
    needed = source[1:] if reason else ()
    dtype = "float32"
    if rows.preprocessing:
        rows.preprocessing.write(directory)
        files, needed = [*files, PREPROCESSING], (*needed, PREPROCESSING)
        dtype = "object" if texts else "float64"
    Manifest(
        name=settings.model_name,
        run_id=settings.run_id,
        framework=settings.framework,
        runtime="framework" if reason else model.served_by,
        file=files[0],
        inputs=Tensor((-1, len(preprocessing.inputs)), dtype),
        outputs=Tensor((-1, parameters.outputs), "float32"),
        golden=Golden(golden, outputs.tolist(), GOLDEN_TOLERANCE),
        sha256={file: hashlib.sha256((directory / file).read_bytes()).hexdigest() for file in files},
        extra_files=needed,
        baseline=baseline,
        features=features_of(preprocessing.outputs, rows.train[0].tolist()) if rows.preprocessing else {},
        labels=rows.labels,
    ).write(directory)


def _nothing(columns: int) -> Preprocessing:
    """The preprocessing of rows that are what the model takes."""
    names = tuple(f"x{number}" for number in range(columns))
    return Preprocessing(names, names, ())
