"""Small model directories, made without a training: LiteRT's, ONNX' and Keras'."""

import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from modelops_runtime.artifacts.manifest import Bins, Golden, Manifest, Tensor

WEIGHTS = np.array([[1, 4], [2, 5], [3, 6]], dtype="float32")
BIAS = np.array([1, -1], dtype="float32")


def dense_model(weights: np.ndarray, bias: np.ndarray) -> bytes:
    """A LiteRT model of one fully connected layer: `inputs @ weights.T + bias`."""
    outputs, inputs = weights.shape
    buffers = [schema.BufferT() for _number in range(3)]
    buffers[1].data = np.frombuffer(weights.astype("<f4").tobytes(), "uint8")
    buffers[2].data = np.frombuffer(bias.astype("<f4").tobytes(), "uint8")

    def tensor(name: str, shape: list[int], buffer: int, signature: list[int] | None = None) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.shapeSignature, made.buffer = name, shape, signature, buffer
        made.type = schema.TensorType.FLOAT32
        return made

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("input", [1, inputs], 0, [-1, inputs]),
        tensor("weights", [outputs, inputs], 1),
        tensor("bias", [outputs], 2),
        tensor("output", [1, outputs], 0, [-1, outputs]),
    ]
    graph.inputs, graph.outputs, graph.operators = [0], [3], [operator]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def write_model(
    directory: Path,
    *,
    name: str = "line",
    weights: tuple[tuple[float, ...], ...] = ((2.0,),),
    bias: tuple[float, ...] = (1.0,),
    golden_error: float = 0.0,
    baseline: tuple[Bins, ...] = (),
) -> Manifest:
    """A model directory; with the defaults y = 2x + 1. `golden_error` makes its golden prediction wrong by so much."""
    directory.mkdir(parents=True, exist_ok=True)
    matrix, offset = np.array(weights), np.array(bias)
    content = dense_model(matrix, offset)
    (directory / "model.tflite").write_bytes(content)
    inputs = [[float(row + column) for column in range(matrix.shape[1])] for row in range(3)]
    outputs = (np.array(inputs) @ matrix.T + offset + golden_error).tolist()
    manifest = Manifest(
        name=name,
        run_id="abc123def456",
        framework="tensorflow",
        runtime="litert",
        file="model.tflite",
        inputs=Tensor((-1, matrix.shape[1]), "float32"),
        outputs=Tensor((-1, matrix.shape[0]), "float32"),
        golden=Golden(inputs, outputs, 1e-5),
        sha256={"model.tflite": hashlib.sha256(content).hexdigest()},
        baseline=baseline,
    )
    manifest.write(directory)
    return manifest


def model_archive(folder: Path, name: str, golden_error: float = 0.0) -> str:
    """A model of y = 2x + 1 as text for an environment variable. With a `golden_error` no server starts on it."""
    write_model(folder, name=name, golden_error=golden_error)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:xz") as target:
        for file in folder.iterdir():
            target.add(file, file.name)
    return base64.b64encode(archive.getvalue()).decode()


def write_onnx_model(directory: Path, name: str = "dense") -> Manifest:
    """Three numbers in, two out: `inputs @ WEIGHTS + BIAS`."""
    import onnx  # here: most tests need none of it
    from onnx import TensorProto, helper, numpy_helper

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
