"""From the trained Keras model to the directory that serving reads."""

import hashlib
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from model.agreement import CHECKED_INPUTS, reason_against
from model.manifest import Bins, Golden, Manifest, Tensor
from model.runtime import LiteRuntime

GOLDEN_INPUTS = [[-1.0], [0.0], [0.5], [1.0]]
GOLDEN_TOLERANCE = 1e-5
FILE = "model.tflite"
SOURCE = "model.keras"


def write_model(
    model: keras.Model, directory: Path, *, name: str, run_id: str, baseline: tuple[Bins, ...] = ()
) -> None:
    """Leaves `model.keras`, `model.json` and, where LiteRT predicts the same as Keras, `model.tflite` in `directory`.

    The manifest says which of the two is served: LiteRT, or Keras itself where the model can't be converted.
    """
    model.save(directory / SOURCE)

    def convert() -> LiteRuntime:
        (directory / FILE).write_bytes(_converted(model))
        return LiteRuntime(directory / FILE)

    inputs = np.linspace(-10, 10, CHECKED_INPUTS, dtype="float32").reshape(-1, 1)
    reason = reason_against(convert, lambda rows: np.asarray(model(rows)), inputs)
    if reason:
        (directory / FILE).unlink(missing_ok=True)
        print(f"to be served by TensorFlow itself (image target serve-framework): {reason}", flush=True)
    files = [file for file in (FILE, SOURCE) if (directory / file).exists()]
    golden = np.array(GOLDEN_INPUTS, dtype="float32")
    Manifest(
        name=name,
        run_id=run_id,
        framework="tensorflow",
        runtime="framework" if reason else "litert",
        file=files[0],
        inputs=Tensor((-1, 1), "float32"),
        outputs=Tensor((-1, 1), "float32"),
        golden=Golden(GOLDEN_INPUTS, np.asarray(model(golden)).tolist(), GOLDEN_TOLERANCE),
        sha256={file: hashlib.sha256((directory / file).read_bytes()).hexdigest() for file in files},
        baseline=baseline,
    ).write(directory)


def _converted(model: keras.Model) -> bytes:
    # By an export of our own: from_keras_model makes the same one, but prints a page about it.
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        content: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return content
