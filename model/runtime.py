"""Predictions: a model file in LiteRT, and the golden prediction that shows that it answers right."""

import threading
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from model.contract import ContractError
from model.manifest import Manifest

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


RUNTIMES = {"litert": LiteRuntime}


def load(directory: Path, manifest: Manifest, threads: int) -> Runtime:
    """The model that the manifest describes, after its golden prediction.

    Raises ContractError when the runtime is unknown, the file is not a model, or it predicts something else.
    """
    make = RUNTIMES.get(manifest.runtime)
    if make is None:
        raise ContractError(f"runtime {manifest.runtime!r} is unknown; there is {', '.join(sorted(RUNTIMES))}")
    runtime = make(directory / manifest.file, threads)
    check_golden(runtime, manifest)
    return runtime


def check_golden(runtime: Runtime, manifest: Manifest) -> None:
    """Raises ContractError when the model does not give the prediction that the manifest promises."""
    golden = manifest.golden
    try:
        inputs = np.array(golden.inputs, dtype=manifest.inputs.dtype)
        expected = np.array(golden.outputs, dtype=manifest.outputs.dtype)
        got = runtime.predict(inputs)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ContractError(f"the golden prediction of {manifest.name} can't be made: {error}") from error
    if got.shape != expected.shape:
        raise ContractError(f"the golden prediction has the shape {got.shape}, the manifest says {expected.shape}")
    if got.dtype != expected.dtype:
        raise ContractError(f"the golden prediction is {got.dtype}, the manifest says {expected.dtype}")
    difference = np.max(np.abs(got.astype("float64") - expected.astype("float64")))
    if not difference <= golden.tolerance:
        raise ContractError(
            f"the golden prediction of {manifest.name} is wrong: {difference:.3g} away from what the manifest says,"
            f" at most {golden.tolerance:g}"
        )


def largest_batch_seconds(runtime: Runtime, manifest: Manifest, rows: int) -> float:
    """How long the largest allowed request keeps the runtime busy; best of three."""
    inputs = np.resize(
        np.array(manifest.golden.inputs, dtype=manifest.inputs.dtype), (rows, *manifest.inputs.shape[1:])
    )
    times = []
    for _attempt in range(3):
        started = time.perf_counter()
        runtime.predict(inputs)
        times.append(time.perf_counter() - started)
    return min(times)
