"""`python -m modelops_runtime convert FOLDER`: a model that plain MLflow logged as ONNX, where that predicts the same.

It needs the model's own packages and those that convert, so it runs in a process of its own: the server needs neither,
where the conversion is used.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modelops_runtime.artifacts.manifest import MIXED
from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.contract import ContractError, Environment, ServeContract
from modelops_runtime.serving.mlflow.flavours import OnnxSession, Way, agrees, load
from modelops_runtime.serving.mlflow.reading import BodyReader
from modelops_runtime.serving.mlflow.rows import Rows
from modelops_runtime.serving.mlflow.signature import NUMBERS, Signature

RANDOM_ROWS = 256
SECONDS = 600
MODEL, CHOICE = "model.onnx", "choice.json"


class Choice(NamedTuple):
    """Which of a conversion's outputs is the prediction, and as what."""

    output: str = ""
    flat: bool = False
    """One value a row, not a row of one."""


def converted(folder: Path, signature: Signature, threads: int) -> Way:
    """The conversion of a model. Raises ContractError with the reason why there is none."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "modelops_runtime", "convert", name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise ContractError(f"the conversion took longer than {SECONDS} s") from None
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason"]
            raise ContractError(next((line for line in lines if line.startswith("error: ")), lines[-1]))
        return Way(read_conversion(Path(name), signature, threads), "onnxruntime", by_row=True)


def read_conversion(folder: Path, signature: Signature, threads: int) -> Any:
    choice = Choice(**json.loads((folder / CHOICE).read_text()))
    session = OnnxSession(folder / MODEL, threads, signature, choice.output)
    return (lambda rows: session(rows).reshape(-1)) if choice.flat else session


def main() -> None:
    from modelops_runtime.serving.mlflow.description import read_description

    env = Environment()
    settings = ServeContract.read(env)
    env.check()
    folder, description = Path(sys.argv[1]), read_description(settings.model_dir)
    signature = description.signature
    if signature.params:
        raise ContractError("a model with parameters has no conversion")
    loaded = load(settings.model_dir, description.flavors, signature, settings.predict_method, settings.threads)
    if not description.example:
        raise ContractError("a conversion is compared on the input example, which the model lacks")
    example = BodyReader(signature, settings.max_batch_rows).read(description.example)
    method = settings.predict_method or description.flavors["python_function"].get("predict_fn") or "predict"
    own, reasons = loaded.ways[-1].predict, []
    for dtype in ("float64", "float32"):
        try:
            with contextlib.redirect_stdout(sys.stderr):
                content = _convert(loaded.framework, loaded.raw, signature, example, dtype)
            (folder / MODEL).write_bytes(content)
            reason = _keep(folder, signature, own, example, method)
        except ImportError as error:
            raise ContractError(f"the image lacks what converts it: {error}") from error
        except Exception as error:  # each converter has its own
            reason = f"{type(error).__name__}: {str(error)[:300]}"
        if not reason:
            print(f"converted with {dtype}", flush=True)
            return
        reasons.append(f"as {dtype}: {reason}")
    raise ContractError("; ".join(reasons))


def _keep(folder: Path, signature: Signature, own: Any, example: Rows, method: str) -> str:
    """Writes which output is the prediction; why none is, where none is."""
    samples = [example, random_rows(signature, example, RANDOM_ROWS)]
    expected = [own(rows) for rows in samples]
    outputs = [one.name for one in OnnxSession(folder / MODEL, 1, signature).session.get_outputs()]
    several = [""] if len(outputs) > 1 and isinstance(expected[0], Mapping) else []
    for output in [*several, *(outputs[1:] if "proba" in method else outputs)]:
        for flat in (False, True):
            (folder / CHOICE).write_text(json.dumps(Choice(output, flat)._asdict()))
            predict = read_conversion(folder, signature, 1)
            with contextlib.suppress(Exception):  # an output of another kind
                if all(agrees(predict(rows), right) for rows, right in zip(samples, expected, strict=True)):
                    return ""
    return f"none of its outputs agrees with the model on the example and {RANDOM_ROWS} random rows"


def random_rows(signature: Signature, example: Rows, count: int) -> Rows:
    """Rows around those of the example, of the signature's types."""
    random = np.random.default_rng(1)
    columns = {name: _around(random, array, count) for name, array in example.columns.items()}
    if example.matrix is not None:
        return Rows(example.names, columns, np.stack(list(columns.values()), axis=1))
    return Rows(example.names, columns)


def _around(random: np.random.Generator, array: Array, count: int) -> Array:
    drawn = array[random.integers(0, len(array), count)]
    if array.dtype.kind == "f":
        spread = np.abs(array).mean() + 1
        return (drawn + random.normal(0, spread, drawn.shape)).astype(array.dtype)
    if array.dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        return random.integers(low, high + 2, drawn.shape).astype(array.dtype)
    if array.dtype.kind == "b":
        return random.integers(0, 2, drawn.shape).astype(bool)
    return drawn


def _convert(framework: str, raw: Any, signature: Signature, example: Rows, dtype: str) -> bytes:
    """Raises whatever the converter raises."""
    package = type(raw).__module__.partition(".")[0]
    if package in ("sklearn", "xgboost", "lightgbm"):
        return _convert_estimator(package, raw, signature, dtype)
    if framework in ("tensorflow", "keras"):
        return _convert_keras(raw)
    if framework == "pytorch":
        return _convert_torch(raw, example)
    raise ContractError(f"there is no conversion of models of {framework}")


def _convert_estimator(package: str, raw: Any, signature: Signature, dtype: str) -> bytes:
    if package == "sklearn":
        from skl2onnx import convert_sklearn
        from skl2onnx.common import data_types as types
    else:
        from onnxmltools.convert.common import data_types as types
    kinds = {"float32": types.FloatTensorType, "float64": types.DoubleTensorType}
    names = [column.name for column in signature.columns]
    if all(column.type in NUMBERS for column in signature.columns):
        width = len(names) or next(iter(signature.tensors.values())).numbers_per_row
        inputs = [("input", kinds[dtype]([None, width]))]
    else:
        inputs = []
        for column in signature.columns:
            if column.type not in (*NUMBERS, "string"):
                raise ContractError(f"the column {column.name} is {column.type}, which has no conversion")
            kind = types.StringTensorType if column.type == "string" else kinds[dtype]
            inputs.append((column.name, kind([None, 1])))
    if package == "xgboost":
        from onnxmltools import convert_xgboost

        model = convert_xgboost(_without_names(raw), initial_types=inputs)
    elif package == "lightgbm":
        from onnxmltools import convert_lightgbm

        model = convert_lightgbm(raw, initial_types=inputs, zipmap=False)
    else:
        options = {id(raw): {"zipmap": False}} if hasattr(raw, "predict_proba") else None
        model = convert_sklearn(raw, initial_types=inputs, options=options)
    content: bytes = model.SerializeToString()
    return content


def _without_names(raw: Any) -> Any:
    """onnxmltools reads features from their names, and knows f0, f1, … only."""
    booster = raw if type(raw).__name__ == "Booster" else raw.get_booster()
    booster.feature_names = None
    return raw


def _convert_keras(raw: Any) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        raw.export(f"{name}/{MODEL}", format="onnx", verbose=False)
        return Path(name, MODEL).read_bytes()


def _convert_torch(raw: Any, example: Rows) -> bytes:
    import torch

    tensors = tuple(torch.from_numpy(array.copy()) for array in example.columns.values() if array.dtype != MIXED)
    names = list(example.names)
    with tempfile.TemporaryDirectory() as name:
        raw.eval()
        torch.onnx.export(
            raw,
            tensors,
            f"{name}/{MODEL}",
            input_names=names,
            dynamic_shapes=tuple({0: torch.export.Dim("rows")} for _tensor in tensors),
            external_data=False,
        )
        return Path(name, MODEL).read_bytes()
