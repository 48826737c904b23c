"""Predictions: a model in one of the runtimes, and the golden prediction that shows that it answers right.

A runtime is imported when a model needs it: the slim serving image has LiteRT alone.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from modelops_runtime.artifacts.agreement import RELATIVE, disagreement
from modelops_runtime.artifacts.manifest import MIXED, Manifest
from modelops_runtime.artifacts.preprocessing import FILE_NAME as PREPROCESSING
from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.contract import ContractError

Array = npt.NDArray[Any]


class Runtime(Protocol):
    """Predicts rows; may be called from any thread."""

    def predict(self, inputs: Array) -> Array: ...


class LiteRuntime:
    """A LiteRT (TensorFlow Lite) model with one input and one output."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises ContractError when the file is no such model."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (OSError, ValueError, RuntimeError) as error:
            raise ContractError(f"{path} is not a LiteRT model: {error}") from error
        if len(inputs) != 1 or len(outputs) != 1:
            raise ContractError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs, must have one of each")
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        self._shape: tuple[int, ...] = ()
        self._lock = threading.Lock()

    def predict(self, inputs: Array) -> Array:
        with self._lock:
            if inputs.shape != self._shape:
                self._shape = ()  # stays so when the resize fails halfway
                self._interpreter.resize_tensor_input(self._input, inputs.shape)
                self._interpreter.allocate_tensors()
                self._shape = inputs.shape
            self._interpreter.set_tensor(self._input, inputs)
            self._interpreter.invoke()
            outputs: Array = self._interpreter.get_tensor(self._output)
            return outputs


def onnx_session(path: Path, threads: int) -> Any:
    """ONNX Runtime's session. Raises ContractError when the file is no ONNX model, ImportError without the package."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no base of their own
        raise ContractError(f"{path} is not an ONNX model: {error}") from error


class OnnxRuntime:
    """An ONNX model with one input and one output."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises ContractError when the file is no such model."""
        self._session = onnx_session(path, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ContractError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs, must have one of each")
        self._input, self._outputs = inputs[0].name, [outputs[0].name]

    def predict(self, inputs: Array) -> Array:
        outputs: Array = self._session.run(self._outputs, {self._input: inputs})[0]
        return outputs


class KerasRuntime:
    """A Keras model in TensorFlow itself: for what LiteRT can't express."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises ContractError when the file is no such model."""
        import keras
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):  # it runs already, in this process, with the threads that it has
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        try:
            model = keras.models.load_model(path, compile=False)
        except (OSError, ValueError, TypeError) as error:
            raise ContractError(f"{path} is not a Keras model: {error}") from error
        # reduce_retracing: one graph for any number of rows, instead of one a number.
        self._call = tf.function(model, reduce_retracing=True)
        self._tensor = tf.convert_to_tensor

    def predict(self, inputs: Array) -> Array:
        outputs: Array = self._call(self._tensor(inputs)).numpy()
        return outputs


class TorchRuntime:
    """A PyTorch program (`torch.export.save`) in PyTorch itself: for what ONNX can't express."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises ContractError when the file is no such program."""
        import torch

        torch.set_num_threads(threads)
        try:
            self._module = torch.export.load(str(path)).module()
        except Exception as error:  # zip, pickle and schema errors alike
            raise ContractError(f"{path} is not an exported PyTorch program: {error}") from error
        self._from_numpy, self._no_grad = torch.from_numpy, torch.no_grad

    def predict(self, inputs: Array) -> Array:
        with self._no_grad():
            outputs: Array = self._module(self._from_numpy(inputs)).numpy()
        return outputs


class MxnetRuntime:
    """A Gluon model (`HybridBlock.export`: `…-symbol.json` and, beside it, `…-0000.params`) in MXNet itself."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises ContractError when the files are no such model."""
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        import mxnet

        weights = path.with_name(path.name.removesuffix("-symbol.json") + "-0000.params")
        try:
            self._block = mxnet.gluon.SymbolBlock.imports(str(path), ["data"], str(weights))
        except Exception as error:  # MXNetError, and what Python's reading raises
            raise ContractError(f"{path} is not a Gluon model: {error}") from error
        self._array = mxnet.nd.array
        self._lock = threading.Lock()

    def predict(self, inputs: Array) -> Array:
        with self._lock:
            outputs: Array = self._block(self._array(inputs, dtype=inputs.dtype)).asnumpy()
        return outputs


class Preprocessed:
    """A model behind what was fitted with its training data: takes the raw values that clients send."""

    def __init__(self, model: Runtime, preprocessing: Preprocessing) -> None:
        self.model = model
        self.preprocessing = preprocessing

    def predict(self, inputs: Array) -> Array:
        """Raises BadValue."""
        return self.model.predict(self.preprocessing.transform(inputs))


FRAMEWORKS: dict[str, Callable[[Path, int], Runtime]] = {
    "mxnet": MxnetRuntime,
    "pytorch": TorchRuntime,
    "tensorflow": KerasRuntime,
}
RUNTIMES: dict[str, Callable[[Path, int], Runtime]] = {"litert": LiteRuntime, "onnx": OnnxRuntime}
IMAGES = {"litert": "serve", "onnx": "serve-onnx", "framework": "serve-framework"}
"""Target of model/Dockerfile that has the runtime."""


def load(directory: Path, manifest: Manifest, threads: int) -> Runtime:
    """The model that the manifest describes, after its golden prediction.

    Raises ContractError when the runtime is unknown or not in this image, the file is not a model, or it predicts
    something else.
    """
    if manifest.runtime not in IMAGES:
        raise ContractError(f"runtime {manifest.runtime!r} is unknown; there is {', '.join(sorted(IMAGES))}")
    make = FRAMEWORKS.get(manifest.framework) if manifest.runtime == "framework" else RUNTIMES[manifest.runtime]
    if make is None:
        raise ContractError(f"framework {manifest.framework!r} is unknown; there is {', '.join(sorted(FRAMEWORKS))}")
    try:
        runtime = make(directory / manifest.file, threads)
    except ImportError as error:
        raise ContractError(
            f"{manifest.name} needs the runtime {manifest.runtime!r} ({manifest.framework}), which is not in this"
            f" image: serve it with one that is built from the target {IMAGES[manifest.runtime]} ({error})"
        ) from error
    if PREPROCESSING in manifest.extra_files:
        runtime = Preprocessed(runtime, read_preprocessing(directory, manifest))
    elif manifest.inputs.dtype == MIXED:
        raise ContractError(f"{manifest.name} takes text, and the manifest's extra_files lack {PREPROCESSING}")
    check_golden(runtime, manifest)
    return runtime


class PythonFunction:
    """A model as `mlflow.pyfunc.load_model` gives it to its user: predicts what `/api/predict` answers."""

    def __init__(self, manifest: Manifest, runtime: Runtime) -> None:
        self._dtype = manifest.inputs.dtype
        self._one_column = manifest.outputs.shape[1:] == (1,)
        self._runtime = runtime

    def predict(self, model_input: Any) -> Array:
        """Of an array or a data frame, whose columns MLflow has put in the signature's order."""
        outputs = self._runtime.predict(np.asarray(model_input, dtype=self._dtype))
        return outputs[:, 0] if self._one_column else outputs


def _load_pyfunc(path: str) -> PythonFunction:
    """What MLflow calls in the `loader_module` of an `MLmodel`."""
    manifest = Manifest.read(Path(path))
    return PythonFunction(manifest, load(Path(path), manifest, 1))


def read_preprocessing(directory: Path, manifest: Manifest) -> Preprocessing:
    """Raises ContractError when it is not for the manifest's inputs."""
    preprocessing = Preprocessing.read(directory / PREPROCESSING)
    if bool(preprocessing.text_inputs()) != (manifest.inputs.dtype == MIXED):
        texts = ", ".join(preprocessing.inputs[place] for place in sorted(preprocessing.text_inputs())) or "no column"
        rule = f"must be {MIXED} where a column is text, and only there"
        raise ContractError(f"{PREPROCESSING} has text in {texts}: the manifest's inputs.dtype {rule}")
    if manifest.inputs.shape[1:] != (len(preprocessing.inputs),):
        raise ContractError(
            f"{PREPROCESSING} takes {len(preprocessing.inputs)} columns, the manifest says {manifest.inputs.shape[1:]}"
        )
    return preprocessing


def check_golden(runtime: Runtime, manifest: Manifest) -> None:
    """Raises ContractError when the model does not give the prediction that the manifest promises."""
    golden = manifest.golden
    try:
        inputs = np.array(golden.inputs, dtype=manifest.inputs.dtype)
        expected = np.array(golden.outputs, dtype=manifest.outputs.dtype)
        got = runtime.predict(inputs)
    except Exception as error:  # each runtime has its own
        raise ContractError(f"the golden prediction of {manifest.name} can't be made: {error}") from error
    if got.shape != expected.shape:
        raise ContractError(f"the golden prediction has the shape {got.shape}, the manifest says {expected.shape}")
    if got.dtype != expected.dtype:
        raise ContractError(f"the golden prediction is {got.dtype}, the manifest says {expected.dtype}")
    if not disagreement(got, expected, golden.tolerance / RELATIVE) <= RELATIVE:
        difference = np.max(np.abs(got.astype("float64") - expected.astype("float64")))
        raise ContractError(
            f"the golden prediction of {manifest.name} is wrong: {difference:.3g} away from what the manifest says, at"
            f" most {golden.tolerance:g} is allowed, or {RELATIVE:g} of the largest in its output column"
        )


def request_seconds(runtime: Runtime, manifest: Manifest, rows: int) -> float:
    """How long a request of so many rows keeps the runtime busy; best of three."""
    inputs = np.resize(
        np.array(manifest.golden.inputs, dtype=manifest.inputs.dtype), (rows, *manifest.inputs.shape[1:])
    )
    times = []
    for _attempt in range(3):
        started = time.perf_counter()
        runtime.predict(inputs)
        times.append(time.perf_counter() - started)
    return min(times)
