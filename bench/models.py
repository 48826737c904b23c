"""The models that are served: the sample, a larger one for which batching may pay off, one of a megabyte, and one of a
table behind a preprocessing. Needs TensorFlow.

python -m bench.models line|wide|megabyte|table FOLDER
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WIDTH = MEGABYTE_WIDTH = 256
NUMBERS, TEXTS = 90, 10
"""Columns of the table."""
CATEGORIES = [f"category-{number}" for number in range(8)]


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
    _dense(folder, "wide", WIDTH, [1024, 1024])


def megabyte(folder: Path) -> None:
    """256 inputs, two layers, 10 outputs: 264,000 weights of four bytes."""
    _dense(folder, "megabyte", MEGABYTE_WIDTH, [512, 256])


def table(folder: Path) -> None:
    """90 columns of numbers and 10 of text, scaled and encoded, for a small network."""
    from modelops_runtime.artifacts.operations import columns_of
    from modelops_runtime.artifacts.preprocessing import Preprocessing

    names = [f"column_{number}" for number in range(NUMBERS + TEXTS)]
    operations: list[dict[str, Any]] = [
        {"column": name, "kind": "standard", "mean": 3.0, "deviation": 2.0} for name in names[:NUMBERS]
    ]
    operations += [{"column": name, "kind": "one_hot", "categories": CATEGORIES} for name in names[NUMBERS:]]
    outputs = [column for operation in operations for column in columns_of(operation)]
    _dense(folder, "table", len(outputs), [64], Preprocessing(tuple(names), tuple(outputs), tuple(operations)))


def table_row() -> list[Any]:
    """A row that the table's model takes."""
    return [*(0.5 * number for number in range(NUMBERS)), *(CATEGORIES[number % 8] for number in range(TEXTS))]


def _dense(folder: Path, name: str, width: int, layers: list[int], preprocessing: Any = None) -> None:
    """A network of dense layers and 10 classes, of random weights."""
    import keras
    import numpy as np
    import tensorflow as tf

    from modelops_runtime.artifacts.manifest import MIXED, Golden, Manifest, Tensor
    from modelops_runtime.artifacts.preprocessing import FILE_NAME

    hidden = [keras.layers.Dense(size, "relu") for size in layers]
    model = keras.Sequential([keras.Input((width,)), *hidden, keras.layers.Dense(10, "softmax")])
    with tempfile.TemporaryDirectory() as exported:
        model.export(exported, verbose=False)
        (folder / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(exported).convert())
    rows: Any = np.full((1, width), 0.5, "float32")
    more: dict[str, Any] = {}
    taken, inputs = rows, Tensor((-1, width), "float32")
    if preprocessing is not None:
        preprocessing.write(folder)
        rows = np.array([table_row()], dtype=MIXED)
        taken, inputs = preprocessing.transform(rows), Tensor((-1, rows.shape[1]), MIXED)
        files = {each: hashlib.sha256((folder / each).read_bytes()).hexdigest() for each in ("model.tflite", FILE_NAME)}
        more = {"extra_files": (FILE_NAME,), "sha256": files}
    Manifest(
        name=name,
        run_id="bench",
        framework="tensorflow",
        runtime="litert",
        file="model.tflite",
        inputs=inputs,
        outputs=Tensor((-1, 10), "float32"),
        golden=Golden(rows.tolist(), np.asarray(model(taken)).tolist(), 1e-4),
        **more,
    ).write(folder)


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    {"line": line, "wide": wide, "megabyte": megabyte, "table": table}[sys.argv[1]](folder)
