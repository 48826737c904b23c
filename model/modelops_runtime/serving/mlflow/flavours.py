"""Loads a model and finds the quickest way to its predictions.

MLflow's own way builds a table and checks it against the signature, for each request: a hundred times what the models
of a small request need. The signature is checked already when rows come here, so the model itself is asked; with an
array of numbers where it is known to take one as it takes the table.
"""

import inspect
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modelops_runtime.artifacts.agreement import RELATIVE, disagreement
from modelops_runtime.artifacts.runtimes import Array, onnx_session
from modelops_runtime.contract import ContractError
from modelops_runtime.serving.mlflow.outputs import outputs_of
from modelops_runtime.serving.mlflow.rows import Rows
from modelops_runtime.serving.mlflow.signature import Signature

Predict = Callable[[Rows], Any]
_ARRAYS = ("sklearn", "xgboost", "lightgbm")
"""Packages whose models take an array of numbers as they take a table of the same columns."""
_BY_NAME = ("ColumnTransformer", "FunctionTransformer", "ColumnSelector")
"""Of scikit-learn, those that may ask for columns by name, or run other people's code."""


class Way(NamedTuple):
    predict: Predict
    name: str
    by_row: bool = False
    """Whether a row's prediction is known not to depend on the others of a call."""


class Loaded(NamedTuple):
    ways: list[Way]
    """The quickest first. The last is MLflow's own."""
    framework: str
    raw: Any = None
    """The model of the framework itself."""


def load(folder: Path, flavors: Mapping[str, Any], signature: Signature, method: str, threads: int) -> Loaded:
    """Raises ContractError when the model can't be loaded, or has no such method."""
    if "onnx" in flavors and not method:
        return Loaded([Way(OnnxSession(folder / flavors["onnx"]["data"], threads, signature), "onnxruntime")], "onnx")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        import mlflow.pyfunc

        model = mlflow.pyfunc.load_model(str(folder))
    except Exception as error:  # whatever the model's own code raises
        raise ContractError(f"the model can't be loaded: {type(error).__name__}: {error}") from error
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    framework = next((name for name in flavors if name != "python_function"), "pyfunc")
    _set_threads(framework, threads)
    implementation = model._model_impl
    raw = implementation.get_raw_model() if hasattr(implementation, "get_raw_model") else None
    stored = flavors["python_function"].get("predict_fn") or "predict"
    if method and method != stored:
        function = _method(raw, method, framework)
    elif _of_hints(model):
        function = model.predict
    else:
        function = getattr(implementation, stored)
    ways = [Way(_table_way(function, signature), "pyfunc")]
    quick = _array_method(raw, method or stored) if signature.columns else None
    if quick is not None:
        name = f"{type(raw).__module__.partition('.')[0]}.{type(raw).__name__}"
        ways.insert(0, Way(_matrix_way(quick), name, by_row=True))
    if signature.tensors and framework in ("tensorflow", "keras") and not method:
        graph = _graph_way(raw, signature)
        if graph is not None:
            ways.insert(0, Way(graph, "tf.function"))
    return Loaded(ways, framework, raw)


def _method(raw: Any, name: str, framework: str) -> Callable[..., Any]:
    """Raises ContractError."""
    function = getattr(raw, name, None)
    if callable(function):
        found: Callable[..., Any] = function
        return found
    known = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")
    there = [one for one in known if callable(getattr(raw, one, None))]
    has = f"it has {', '.join(there)}" if there else "models of this kind have none to choose from"
    raise ContractError(f"MODELOPS_PREDICT_METHOD is {name!r}, which the model ({framework}) has not: {has}")


def _of_hints(model: Any) -> bool:
    """Whether MLflow makes what the model takes from its type hints, or from its example."""
    metadata = model.metadata
    return bool(metadata._is_signature_from_type_hint() or metadata._is_type_hint_from_example())


def _set_threads(framework: str, threads: int) -> None:
    if framework == "pytorch":
        import torch

        torch.set_num_threads(threads)


def _table_way(function: Callable[..., Any], signature: Signature) -> Predict:
    takes = inspect.signature(function).parameters.get("params")
    with_params = bool(signature.params) and takes is not None
    make = frame_maker(signature) if signature.columns else _tensor_maker(signature)

    def predict(rows: Rows) -> Any:
        made = make(rows)
        return function(made, params=dict(rows.params)) if with_params else function(made)

    return predict


def _tensor_maker(signature: Signature) -> Callable[[Rows], Any]:
    """Makes an array, or one by name."""

    def tensors(rows: Rows) -> Any:
        arrays = {name: array.astype(str) if name in signature.texts else array for name, array in rows.columns.items()}
        return arrays if signature.named else arrays[rows.names[0]]

    return tensors


def frame_maker(signature: Signature) -> Callable[[Rows], Any]:
    """Makes pandas' table of a request's columns, of the signature's types."""
    import pandas

    texts = {column.name for column in signature.columns if column.type == "string"}
    labels = {column.name: column.label for column in signature.columns}
    index = pandas.Index(labels.values())
    named = all(name == label for name, label in labels.items())

    def frame(rows: Rows) -> Any:
        if rows.matrix is not None:
            return pandas.DataFrame(rows.matrix, columns=index, copy=False)
        # Lists of text become what this pandas has for text, as they did when the model was trained.
        columns = {name: array.tolist() if name in texts else array for name, array in rows.columns.items()}
        made = pandas.DataFrame(columns, copy=False)
        if not named:
            made.columns = pandas.Index([labels[name] for name in rows.names])
        return made

    return frame


def _matrix_way(function: Callable[..., Any]) -> Predict:
    def predict(rows: Rows) -> Any:
        if rows.matrix is None:
            raise TypeError("the columns are no matrix")
        return function(rows.matrix)

    return predict


def _array_method(raw: Any, name: str) -> Callable[..., Any] | None:
    """The model's own method, where it takes an array as it takes a table: none of its parts knows columns' names."""
    package = type(raw).__module__.partition(".")[0]
    if package not in _ARRAYS or not _is_plain(raw):
        return None
    if type(raw).__name__ == "Booster":
        if package == "xgboost" and name == "predict":
            return lambda matrix: raw.inplace_predict(matrix, validate_features=False)
        return getattr(raw, name, None) if package == "lightgbm" else None
    return getattr(raw, name, None)


def _is_plain(model: Any, depth: int = 0) -> bool:
    """Whether a model and all models in it are of the known packages, and none selects columns by name."""
    kind = type(model)
    if kind.__module__.partition(".")[0] not in _ARRAYS or kind.__name__ in _BY_NAME or depth > 20:
        return False
    if not hasattr(model, "get_params"):
        return True
    parts = [part for part in model.get_params(deep=False).values() if not isinstance(part, str | int | float)]
    flat = [one for part in parts for one in (part if isinstance(part, list | tuple) else [part])]
    steps = [one for part in flat for one in (part if isinstance(part, tuple) else [part])]
    if any(callable(one) and not hasattr(one, "get_params") for one in steps):
        return False
    return all(_is_plain(one, depth + 1) for one in steps if hasattr(one, "get_params"))


def _graph_way(raw: Any, signature: Signature) -> Predict | None:
    """A Keras model as one graph: its own `predict` sets up a loop over batches for each call."""
    if not hasattr(raw, "layers"):
        return None
    import tensorflow as tf

    call = tf.function(lambda inputs: raw(inputs, training=False), reduce_retracing=True)
    named = signature.named

    def predict(rows: Rows) -> Any:
        tensors = {name: tf.convert_to_tensor(array) for name, array in rows.columns.items()}
        outputs = call(tensors if named else tensors[rows.names[0]])
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), outputs)

    return predict


class OnnxSession:
    """A session of ONNX Runtime whose inputs are the signature's tensors, or columns, or one matrix of columns."""

    def __init__(self, path: Path, threads: int, signature: Signature, output: str = "") -> None:
        """`output`: the one that is wanted, of several. Raises ContractError."""
        try:
            self.session = onnx_session(path, threads)
        except ImportError as error:
            raise ContractError(f"an ONNX model needs ONNX Runtime, which is not in this image: {error}") from error
        inputs = self.session.get_inputs()
        self._inputs = {one.name: _DTYPES.get(one.type, "object") for one in inputs}
        self._only = inputs[0].name if len(inputs) == 1 else ""
        self._outputs = [output] if output else [one.name for one in self.session.get_outputs()]
        self._columns = bool(signature.columns) and all(len(one.shape) == 2 for one in inputs)
        self._matrix = bool(signature.columns) and len(inputs) == 1 and len(inputs[0].shape) == 2

    def __call__(self, rows: Rows) -> Any:
        if self._matrix:
            feeds = {self._only: _matrix(rows)}
        elif self._only:
            feeds = {self._only: next(iter(rows.columns.values()))}
        else:
            feeds = {name: rows.columns[name] for name in self._inputs}
            if self._columns:
                feeds = {name: column.reshape(-1, 1) for name, column in feeds.items()}
        feeds = {name: array.astype(self._inputs[name], copy=False) for name, array in feeds.items()}
        outputs = self.session.run(self._outputs, feeds)
        return outputs[0] if len(outputs) == 1 else dict(zip(self._outputs, outputs, strict=True))


_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}


def onnx_inputs(path: Path) -> list[dict[str, Any]]:
    """A signature's inputs, of a model that has none itself. Raises ContractError."""
    session = OnnxSession(path, 1, Signature()).session
    return [
        {
            "name": one.name,
            "type": "tensor",
            "tensor-spec": {
                "dtype": _DTYPES.get(one.type, "str"),
                "shape": [-1, *(size if isinstance(size, int) else -1 for size in one.shape[1:])],
            },
        }
        for one in session.get_inputs()
    ]


def _matrix(rows: Rows) -> Array:
    return rows.matrix if rows.matrix is not None else np.stack([rows.columns[name] for name in rows.names], axis=1)


def agrees(got: Any, expected: Any) -> bool:
    """Whether two predictions of the same rows are the same, to the rule of `agreement.py`."""
    ours, theirs = outputs_of(got).arrays, outputs_of(expected).arrays
    if len(ours) != len(theirs):
        return False
    return all(_same(one, other) for one, other in zip(ours.values(), theirs.values(), strict=True))


def _same(one: Array, other: Array) -> bool:
    if one.dtype.kind == "O" or other.dtype.kind == "O":
        return bool(one.tolist() == other.tolist())
    if one.dtype.kind != other.dtype.kind:
        return False
    return disagreement(one, other) <= RELATIVE
