"""From the trained Keras model to the directory that serving reads."""

import hashlib
import tempfile
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.contract import ContractError
from model.manifest import Golden, Manifest, Tensor
from model.runtime import LiteRuntime

TOLERANCE = 1e-6
"""How far LiteRT may be from Keras: relative to the size of the prediction, absolute below 1."""
CHECKED_INPUTS = 1000
GOLDEN_INPUTS = [[-1.0], [0.0], [0.5], [1.0]]
GOLDEN_TOLERANCE = 1e-5
FILE = "model.tflite"
SOURCE = "model.keras"


def write_model(model: keras.Model, directory: Path, *, name: str, run_id: str) -> None:
    """Leaves `model.tflite`, `model.keras` and `model.json` in `directory`.

    Raises ContractError when the converted model does not agree with the Keras model.
    """
    model.save(directory / SOURCE)
    (directory / FILE).write_bytes(_converted(model))
    runtime = LiteRuntime(directory / FILE)
    inputs = np.linspace(-10, 10, CHECKED_INPUTS, dtype="float32").reshape(-1, 1)
    difference = disagreement(runtime, model, inputs)
    if not difference <= TOLERANCE:
        raise ContractError(f"the LiteRT model is {difference:.2g} away from the Keras model, at most {TOLERANCE:g}")
    golden = np.array(GOLDEN_INPUTS, dtype="float32")
    outputs = np.asarray(model(golden))
    Manifest(
        name=name,
        run_id=run_id,
        framework="tensorflow",
        runtime="litert",
        file=FILE,
        inputs=Tensor((-1, 1), "float32"),
        outputs=Tensor((-1, 1), "float32"),
        golden=Golden(GOLDEN_INPUTS, outputs.tolist(), GOLDEN_TOLERANCE),
        sha256={file: hashlib.sha256((directory / file).read_bytes()).hexdigest() for file in (FILE, SOURCE)},
    ).write(directory)


def disagreement(runtime: LiteRuntime, model: keras.Model, inputs: npt.NDArray[np.float32]) -> float:
    """Largest difference between the two models' predictions, relative to predictions larger than 1."""
    expected = np.asarray(model(inputs))
    got = runtime.predict(inputs)
    return float(np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected))))


def _converted(model: keras.Model) -> bytes:
    # By an export of our own: from_keras_model makes the same one, but prints a page about it.
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        content: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return content
