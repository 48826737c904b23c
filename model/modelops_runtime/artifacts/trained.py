"""Trained models of several libraries behind one interface: how each predicts, is saved and converted.

A library is imported when a model of it is written.
"""

import shutil
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from modelops_runtime.artifacts.runtimes import RUNTIMES, Array
from modelops_runtime.contract import ContractError

SUFFIXES = {".tflite": "litert", ".onnx": "onnx"}
PACKAGES = {"litert": "ai-edge-litert", "onnx": "onnxruntime"}


class TrainedModel(Protocol):
    """What `write_model` needs of a model."""

    framework: str
    served_by: str
    """The runtime that serves the converted model: `litert` or `onnx`."""
    served_file: str
    """Name of the file that `convert` writes."""

    def predict(self, inputs: Array) -> Array:
        """Predictions, of a classification probabilities."""

    def exact(self, inputs: Array) -> Array:
        """The same in double precision, where the library offers it."""

    def save(self, folder: Path) -> tuple[str, ...]:
        """Writes the model as its framework serves it; names of the files, the one to load first. Empty where no
        framework serves it."""

    def convert(self, file: Path) -> None:
        """Writes the model for `served_by`; may raise anything."""


def trained_model(model: Any, example: Array) -> TrainedModel:
    """The model behind the interface; `example` has rows as it takes them. Raises ContractError for an unknown kind."""
    if isinstance(model, (str, Path)):
        return ModelFile(Path(model))
    if hasattr(model, "served_by"):
        trained: TrainedModel = model
        return trained
    bases = {base.__module__.split(".")[0] for base in type(model).__mro__}
    for library, (kind, packages) in _KINDS.items():
        if library in bases:
            for package in packages:
                try:
                    import_module(package.replace("-", "_"))
                except ImportError as error:
                    raise _missing(f"a {library} model", package, error) from error
            return kind(model, example)
    raise ContractError(
        f"a model of {type(model).__module__} is of no known kind: give a .tflite or .onnx file, or a scikit-learn,"
        " Keras or PyTorch model"
    )


class ModelFile:
    """A model that was converted before."""

    def __init__(self, path: Path) -> None:
        if path.suffix not in SUFFIXES:
            raise ContractError(f"{path} must be a {' or '.join(SUFFIXES)} file")
        if not path.is_file():
            raise ContractError(f"{path} is not a file")
        self._path, self.served_by, self.served_file = path, SUFFIXES[path.suffix], f"model{path.suffix}"
        self.framework = {"litert": "tensorflow", "onnx": "onnx"}[self.served_by]
        try:
            self._runtime = RUNTIMES[self.served_by](path, 1)
        except ImportError as error:
            raise _missing(path.suffix, PACKAGES[self.served_by], error) from error

    def predict(self, inputs: Array) -> Array:
        try:
            return self._runtime.predict(inputs)
        except Exception as error:  # each runtime has its own
            raise ContractError(f"{self._path} does not predict the example: {error}") from error

    def exact(self, inputs: Array) -> Array:
        return self.predict(inputs)

    def save(self, folder: Path) -> tuple[str, ...]:
        return ()

    def convert(self, file: Path) -> None:
        if not (file.exists() and file.samefile(self._path)):
            shutil.copyfile(self._path, file)


class SklearnModel:
    """A fitted scikit-learn estimator or pipeline, served as ONNX. A classifier predicts probabilities."""

    framework, served_by, served_file = "sklearn", "onnx", "model.onnx"

    def __init__(self, model: Any, example: Array) -> None:
        self._model, self._example = model, example
        self._classifier = hasattr(model, "predict_proba")
        self.labels: tuple[str | int | float, ...] = ()
        if self._classifier:
            self.labels = tuple(np.asarray(model.classes_).tolist())

    def predict(self, inputs: Array) -> Array:
        predicted = self._model.predict_proba(inputs) if self._classifier else self._model.predict(inputs)
        return np.asarray(predicted, self._example.dtype).reshape(len(inputs), -1)

    def exact(self, inputs: Array) -> Array:
        return self.predict(inputs)

    def save(self, folder: Path) -> tuple[str, ...]:
        return ()

    def convert(self, file: Path) -> None:
        from skl2onnx import to_onnx
        from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs

        options = {id(self._model): {"zipmap": False}} if self._classifier else None
        converted = to_onnx(self._model, self._example[:1], options=options)
        if self._classifier:
            converted = select_model_inputs_outputs(converted, outputs=["probabilities"])
        file.write_bytes(converted.SerializeToString())


class KerasModel:
    """A Keras model on TensorFlow, served by LiteRT, or as `model.keras` where the conversion differs."""

    framework, served_by, served_file = "tensorflow", "litert", "model.tflite"

    def __init__(self, model: Any, _example: Array | None = None) -> None:
        self._model = model

    def predict(self, inputs: Array) -> Array:
        return np.asarray(self._model(inputs, training=False))

    def exact(self, inputs: Array) -> Array:
        return self.predict(inputs)

    def save(self, folder: Path) -> tuple[str, ...]:
        self._model.save(folder / "model.keras")
        return ("model.keras",)

    def convert(self, file: Path) -> None:
        import tensorflow as tf

        # from_keras_model makes the same file, but prints a page about it.
        with tempfile.TemporaryDirectory() as scratch:
            self._model.export(scratch, verbose=False)
            file.write_bytes(tf.lite.TFLiteConverter.from_saved_model(scratch).convert())


class TorchModel:
    """A PyTorch module, served as ONNX, or as `model.pt2` where the conversion differs."""

    framework, served_by, served_file = "pytorch", "onnx", "model.onnx"

    def __init__(self, model: Any, example: Array) -> None:
        self._model = model.cpu().eval()
        self._example = np.resize(example, (2, *example.shape[1:]))  # of one row, the export fixes the number of rows

    def predict(self, inputs: Array) -> Array:
        import torch

        with torch.no_grad():
            outputs = self._model(torch.from_numpy(inputs))
        if not isinstance(outputs, torch.Tensor):
            raise ContractError(f"the model returns a {type(outputs).__name__}, must return one tensor")
        predicted: Array = outputs.numpy()
        return predicted

    def exact(self, inputs: Array) -> Array:
        return self.predict(inputs)

    def save(self, folder: Path) -> tuple[str, ...]:
        import torch

        torch.export.save(self._program(), str(folder / "model.pt2"))
        return ("model.pt2",)

    def convert(self, file: Path) -> None:
        import torch

        converted = torch.onnx.export(self._program(), input_names=["input"], output_names=["output"], verbose=False)
        converted.save(str(file), external_data=False)

    def _program(self) -> Any:
        """The module for any number of rows."""
        import torch

        rows = torch.export.Dim("rows", min=1)
        return torch.export.export(self._model, (torch.from_numpy(self._example),), dynamic_shapes=({0: rows},))


def _missing(what: str, package: str, error: ImportError) -> ContractError:
    return ContractError(f"{what} needs the package {package}: {error}")


_KINDS: dict[str, tuple[Callable[[Any, Array], TrainedModel], tuple[str, ...]]] = {
    "sklearn": (SklearnModel, ("skl2onnx", "onnxruntime")),
    "keras": (KerasModel, ("tensorflow", "ai-edge-litert")),
    "torch": (TorchModel, ("onnxscript", "onnxruntime")),
}
"""By library: the class, and the packages that convert it and serve the conversion."""
