"""Model directories for the runtimes other than LiteRT."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelops_runtime.artifacts.manifest import Golden, Manifest, Tensor

WEIGHTS = np.array([[1, 4], [2, 5], [3, 6]], dtype="float32")
BIAS = np.array([1, -1], dtype="float32")


def write_onnx_model(directory: Path, name: str = "dense") -> Manifest:
    """Three numbers in, two out: `inputs @ WEIGHTS + BIAS`."""
    directory.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(BIAS, "b")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), directory / "model.onnx")
    manifest = Manifest(
        name=name,
        run_id="abc",
        framework="pytorch",
        runtime="onnx",
        file="model.onnx",
        inputs=Tensor((-1, 3), "float32"),
        outputs=Tensor((-1, 2), "float32"),
        golden=Golden([[1, 1, 1]], [[7, 14]], 1e-5),
    )
    manifest.write(directory)
    return manifest


def write_keras_model(directory: Path, name: str = "keras") -> Manifest:
    """y = 2x + 1, made by a process of its own: this one needs no TensorFlow."""
    directory.mkdir(parents=True, exist_ok=True)
    program = (
        "import keras, numpy as np; model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]);"
        "model.set_weights([np.array([[2.0]]), np.array([1.0])]); model.save('model.keras')"
    )
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", program], cwd=directory, check=True, env=env)
    manifest = Manifest(
        name=name,
        run_id="abc",
        framework="tensorflow",
        runtime="framework",
        file="model.keras",
        inputs=Tensor((-1, 1), "float32"),
        outputs=Tensor((-1, 1), "float32"),
        golden=Golden([[1.0]], [[3.0]], 1e-5),
    )
    manifest.write(directory)
    return manifest
