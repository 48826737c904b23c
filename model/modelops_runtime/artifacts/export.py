"""`write_model`: from a trained model to the folder that the server reads, checked to predict the same."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelops_runtime.artifacts.agreement import RELATIVE
from modelops_runtime.artifacts.manifest import (
    DTYPES,
    MIXED,
    Golden,
    Manifest,
    Tensor,
    baseline_of,
    features_of,
)
from modelops_runtime.artifacts.manifest import FILE_NAME as MANIFEST
from modelops_runtime.artifacts.packages import installed
from modelops_runtime.artifacts.parity import TOLERANCES, reason_against
from modelops_runtime.artifacts.preprocessing import FILE_NAME as PREPROCESSING
from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.artifacts.runtimes import FRAMEWORKS, IMAGES, RUNTIMES, Array, Runtime, load
from modelops_runtime.artifacts.trained import TrainedModel, trained_model
from modelops_runtime.contract import ContractError

GOLDEN_ROWS = 4


def write_model(
    folder: str | Path,
    model: Any,
    example: Any,
    *,
    name: str = "",
    run_id: str = "",
    framework: str = "",
    dtype: str = "",
    labels: Sequence[str | int | float] = (),
    feature_names: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    test_predictions: Any = None,
    training_rows: Any = None,
    parity_rows: Any = None,
    tolerance: float | None = None,
) -> Manifest:
    """Writes what the server needs: the model's files, `preprocessing.json` where there is one, `model.json` last.

    `model`: path of a .tflite or .onnx file, a fitted scikit-learn, Keras or PyTorch model, or a `TrainedModel`. A
    model that is converted is served by its framework where the conversion predicts something else.
    `example`: rows as clients send them. The server starts only if it predicts the first four right; they are in the
    published manifest, so take no row that is secret. They are compared with the original model, unless `parity_rows`
    has other rows, as the model takes them.
    `name`, `run_id`, `framework`: default MODELOPS_MODEL_NAME, MODELOPS_RUN_ID and what the model is made with.
    `dtype`: element type of the inputs; default that of the example, float32 for float64.
    `labels`: names of the classes; default those of a scikit-learn classifier.
    `feature_names`: names of the input columns; a `preprocessing` has its own.
    `test_predictions`: predictions of the test split, against which the server measures drift.
    `training_rows`: rows as the model takes them, for the drift of features; needs names.
    `tolerance`: how far the server may be from the example's predictions, besides 1e-5 of the largest in their output
    column; default 1e-5, or twice the difference that a conversion makes. For a quantized model give one step of its
    output: another processor may round to the next one.

    Raises ContractError when the model can't be served, or a library for its conversion is not installed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    if feature_names and preprocessing is None:
        preprocessing = Preprocessing(tuple(feature_names), tuple(feature_names), (), dtype or "float32")
    if training_rows is not None and preprocessing is None:
        raise ContractError("training_rows needs feature_names or a preprocessing: drift is measured by name")
    rows, values = _example(example, preprocessing, dtype)
    taken = values if preprocessing is None else preprocessing.transform(values)
    trained = trained_model(model, taken)
    outputs = trained.predict(taken[:GOLDEN_ROWS])
    framework = framework or trained.framework
    parity = taken if parity_rows is None else np.asarray(parity_rows, taken.dtype)
    source = trained.save(folder)
    reason = _convert(trained, folder, parity)
    if reason:
        if not source or framework not in FRAMEWORKS:
            raise ContractError(f"the model can't be served: {reason}")
        print(f"to be served by {framework} itself (image target {IMAGES['framework']}): {reason}", flush=True)
    files = [*([] if reason else [trained.served_file]), *source]
    needed = source[1:] if reason else ()
    if preprocessing is not None:
        preprocessing.write(folder)
        files, needed = [*files, PREPROCESSING], (*needed, PREPROCESSING)
    if tolerance is None:
        tolerance = (
            RELATIVE if reason else max(RELATIVE, 2 * _difference(trained, folder, taken[:GOLDEN_ROWS], outputs))
        )
    manifest = Manifest(
        name=name or os.environ.get("MODELOPS_MODEL_NAME") or "model",
        run_id=run_id or os.environ.get("MODELOPS_RUN_ID") or "local",
        framework=framework,
        runtime="framework" if reason else trained.served_by,
        file=files[0],
        inputs=Tensor((-1, *values.shape[1:]), str(values.dtype)),
        outputs=Tensor((-1, *outputs.shape[1:]), str(outputs.dtype)),
        golden=Golden(rows, outputs.tolist(), tolerance),
        sha256={file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files},
        extra_files=needed,
        baseline=() if test_predictions is None else baseline_of(_columns(test_predictions)),
        features={} if training_rows is None else features_of(preprocessing.outputs, _columns(training_rows)),  # type: ignore[union-attr]
        labels=tuple(labels) or getattr(trained, "labels", ()),
        versions=installed("framework" if reason else trained.served_by, framework),
    )
    manifest.write(folder)
    try:
        load(folder, Manifest.read(folder), 1)
    except ContractError:
        (folder / MANIFEST).unlink()
        raise
    return manifest


def _example(example: Any, preprocessing: Preprocessing | None, dtype: str) -> tuple[list[Any], Array]:
    """The golden rows as the client sends them, and all rows with the element type of the inputs."""
    text = preprocessing is not None and preprocessing.text_inputs()
    values = np.asarray(example, MIXED if text else None)
    rows = (example if isinstance(example, list) else values.tolist())[:GOLDEN_ROWS]
    if values.ndim < 2 or not len(values):
        raise ContractError(f"the example has the shape {values.shape}, must be rows of values")
    if preprocessing is not None:
        if values.shape[1:] != (len(preprocessing.inputs),):
            raise ContractError(
                f"the example's rows have {values.shape[-1]} columns, their names are {len(preprocessing.inputs)}"
            )
        dtype = MIXED if text else "float64"
    dtype = dtype or ("float32" if values.dtype == "float64" else str(values.dtype))
    if dtype not in (*DTYPES, MIXED) or (dtype == MIXED and not text):
        raise ContractError(f"the example's element type is {dtype}, must be one of {', '.join(DTYPES)}")
    return rows, values.astype(dtype)


def _convert(trained: TrainedModel, folder: Path, rows: Array) -> str:
    """Writes the file that is served; why it can't be, if it can't."""
    served = folder / trained.served_file

    def convert() -> Runtime:
        trained.convert(served)
        return RUNTIMES[trained.served_by](served, 1)

    reason = reason_against(convert, trained.predict, trained.exact, rows, TOLERANCES[trained.served_by])
    if reason:
        served.unlink(missing_ok=True)
    return reason


def _difference(trained: TrainedModel, folder: Path, rows: Array, outputs: Array) -> float:
    """How far the file that is served is from the original: the parity check's rows, and so its bounds, are others."""
    served = RUNTIMES[trained.served_by](folder / trained.served_file, 1).predict(rows)
    return float(np.max(np.abs(served.astype("float64") - outputs.astype("float64")), initial=0))


def _columns(rows: Any) -> list[list[float]]:
    """Rows as flat lists: a row of one number may come without its own list."""
    values = np.asarray(rows)
    flat: list[list[float]] = values.reshape(len(values), -1).tolist()
    return flat
