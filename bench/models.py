"""The models that are served: the sample itself, and a larger one for which batches may pay. Needs TensorFlow.

python -m bench.models line|wide FOLDER
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WIDTH = 256


def line(folder: Path) -> None:
    """y = 2x + 1, as the training container leaves it."""
    import keras
    import numpy as np

    from model.convert import write_model
    from model.manifest import baseline_of

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.set_weights([np.array([[2.0]]), np.array([1.0])])
    inputs = np.random.default_rng(7).normal(0.5, 1, (500, 1)).astype("float32")
    write_model(model, folder, name="line", run_id="bench", baseline=baseline_of(np.asarray(model(inputs)).tolist()))


def wide(folder: Path) -> None:
    """256 numbers through two layers of 1,024 to 10: 1.3 million weights, which a batch reads once for all its rows."""
    import keras
    import numpy as np

    from model.convert import _converted
    from model.manifest import Golden, Manifest, Tensor

    layers = [keras.layers.Dense(1024, "relu") for _layer in range(2)]
    model = keras.Sequential([keras.Input((WIDTH,)), *layers, keras.layers.Dense(10, "softmax")])
    (folder / "model.tflite").write_bytes(_converted(model))
    golden = np.full((1, WIDTH), 0.5, "float32")
    Manifest(
        name="wide",
        run_id="bench",
        framework="tensorflow",
        runtime="litert",
        file="model.tflite",
        inputs=Tensor((-1, WIDTH), "float32"),
        outputs=Tensor((-1, 10), "float32"),
        golden=Golden(golden.tolist(), np.asarray(model(golden)).tolist(), 1e-4),
    ).write(folder)


if __name__ == "__main__":
    place = Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    {"line": line, "wide": wide}[sys.argv[1]](place)
