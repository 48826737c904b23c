"""The models that are served: the sample, and a larger one for which batching may pay off. Needs TensorFlow.

python -m bench.models line|wide FOLDER
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WIDTH = 256


def line(folder: Path) -> None:
    """The sample, as the training container exports it."""
    with tempfile.TemporaryDirectory() as output:
        variables = {
            "RUN_ID": "bench",
            "MODEL_NAME": "line",
            "OUTPUT_DIR": output,
            "CHECKPOINT_DIR": f"{output}/checkpoints",
        }
        env = {**os.environ, **{f"MODELOPS_{name}": value for name, value in variables.items()}}
        subprocess.run([sys.executable, "-m", "sample.train"], env=env, check=True)
        shutil.copytree(Path(output, "model"), folder, dirs_exist_ok=True)


def wide(folder: Path) -> None:
    """256 inputs, two layers of 1,024, 10 outputs: 1.3 million weights, which a batch reads once for all its rows."""
    import keras
    import numpy as np
    import tensorflow as tf

    from modelops_runtime.artifacts.manifest import Golden, Manifest, Tensor

    layers = [keras.layers.Dense(1024, "relu") for _layer in range(2)]
    model = keras.Sequential([keras.Input((WIDTH,)), *layers, keras.layers.Dense(10, "softmax")])
    with tempfile.TemporaryDirectory() as exported:
        model.export(exported, verbose=False)
        (folder / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(exported).convert())
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
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    {"line": line, "wide": wide}[sys.argv[1]](folder)
