"""From the trained model to the directory that serving reads, checked to answer the same."""

import hashlib
from pathlib import Path

import numpy as np

from model.contract import ContractError, TrainingContract
from model.frameworks import Model
from model.manifest import Golden, Manifest, Tensor
from model.parameters import Parameters
from model.preprocess import Array
from model.runtime import RUNTIMES, Runtime

TOLERANCE = 1e-5
"""How far what is served may be from what was trained: relative to the size of the prediction, absolute below 1."""
CHECKED_INPUTS = 1000
GOLDEN_VALUES = (-1.0, 0.0, 0.5, 1.0)
GOLDEN_TOLERANCE = 1e-5


def write_model(model: Model, directory: Path, settings: TrainingContract, parameters: Parameters) -> None:
    """Leaves the served file, its source and `model.json` in `directory`.

    Raises ContractError when what would be served does not agree with what was trained.
    """
    inputs = np.random.default_rng(0).uniform(-10, 10, (CHECKED_INPUTS, parameters.inputs)).astype("float32")
    golden = np.array([[value] * parameters.inputs for value in GOLDEN_VALUES], dtype="float32")
    expected, outputs = model.predict(inputs), model.predict(golden)
    exported = model.export(directory)
    difference = disagreement(RUNTIMES[exported.runtime](directory / exported.file), inputs, expected)
    if not difference <= TOLERANCE:
        raise ContractError(
            f"{exported.file} is {difference:.2g} away from the {settings.framework} model, at most {TOLERANCE:g}"
        )
    Manifest(
        name=settings.model_name,
        run_id=settings.run_id,
        framework=settings.framework,
        runtime=exported.runtime,
        file=exported.file,
        inputs=Tensor((-1, parameters.inputs), "float32"),
        outputs=Tensor((-1, parameters.outputs), "float32"),
        golden=Golden(golden.tolist(), outputs.tolist(), GOLDEN_TOLERANCE),
        sha256={
            file: hashlib.sha256((directory / file).read_bytes()).hexdigest()
            for file in (exported.file, exported.source)
        },
    ).write(directory)


def disagreement(runtime: Runtime, inputs: Array, expected: Array) -> float:
    """Largest difference between the runtime's predictions and those expected, relative to those larger than 1."""
    return float(np.max(np.abs(runtime.predict(inputs) - expected) / np.maximum(1, np.abs(expected))))
