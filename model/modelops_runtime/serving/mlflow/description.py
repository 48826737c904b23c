"""What `MLmodel` and the files beside it say of a model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modelops_runtime.contract import ContractError
from modelops_runtime.serving.mlflow.flavours import onnx_inputs
from modelops_runtime.serving.mlflow.signature import Signature, read_signature

FILE_NAME = "MLmodel"


class Description(NamedTuple):
    """What MLmodel says."""

    run_id: str
    flavors: Mapping[str, Any]
    signature: Signature
    example: bytes
    """A request, as MLflow's clients send it; empty if there is none."""


def read_description(folder: Path) -> Description:
    """Raises ContractError when it can't be read, or says too little to check requests."""
    try:
        import yaml
    except ImportError as error:
        raise ContractError(
            "this image can't serve models that plain MLflow logged: build one with mlflow_image"
        ) from error
    try:
        content = yaml.safe_load((folder / FILE_NAME).read_text())
        flavors = content["flavors"]
        example = _example(folder, content.get("saved_input_example_info") or {})
        inputs, params, outputs = (
            _listed(content.get("signature") or {}, key) for key in ("inputs", "params", "outputs")
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise ContractError(f"{FILE_NAME} can't be read: {error}") from error
    if "python_function" not in flavors and "onnx" not in flavors:
        raise ContractError(f"{FILE_NAME} has no python_function flavour, it has {', '.join(flavors)}")
    if not inputs and "onnx" in flavors:
        inputs = onnx_inputs(folder / flavors["onnx"]["data"])
    if not inputs and example:
        inputs = _inferred(example)
    if not inputs:
        raise ContractError(
            f"{FILE_NAME} has neither a signature nor an input example, so requests can't be checked: log the model"
            " with input_example=X[:5], or with signature=mlflow.models.infer_signature(X, model.predict(X))"
        )
    run_id = str(content.get("run_id") or "")
    signature = read_signature(inputs, params, outputs)
    return Description(run_id, flavors, signature, _as_rows(example, signature) if example else b"")


def _listed(signature: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(signature.get(key) or "[]")
    return found


def _example(folder: Path, info: Mapping[str, Any]) -> bytes:
    name = info.get("serving_input_path") or "serving_input_example.json"
    if (folder / name).is_file():
        return json.dumps(_read_json(folder / name)).encode()
    name = info.get("artifact_path")
    if not name:
        return b""
    content = _read_json(folder / name)
    if info.get("type") == "dataframe":
        form = "dataframe_split" if info.get("pandas_orient") == "split" else "dataframe_records"
        return json.dumps({form: content}).encode()
    return json.dumps({"inputs": content.get("inputs", content) if isinstance(content, dict) else content}).encode()


def _read_json(path: Path) -> Any:
    """As MLflow writes it, a missing number as `NaN`, which JSON has not."""
    return json.loads(path.read_bytes(), parse_constant=lambda text: None if text == "NaN" else float(text))


def _as_rows(example: bytes, signature: Signature) -> bytes:
    """An example may be one row: an object of its values, or its only value."""
    content = json.loads(example)
    inputs = content.get("inputs")
    if not signature.columns or inputs is None or isinstance(inputs, list):
        return example
    if isinstance(inputs, dict) and signature.named:
        lists = {column.name for column in signature.columns if column.listed}
        if all(
            isinstance(values, list) and (name not in lists or all(isinstance(value, list) for value in values))
            for name, values in inputs.items()
        ):
            return example
    return json.dumps({**content, "inputs": [inputs]}).encode()


def _inferred(example: bytes) -> list[dict[str, Any]]:
    """A signature's inputs, of the input example alone."""
    import pandas
    from mlflow.models import infer_signature

    content = json.loads(example)
    if "dataframe_split" in content:
        made: Any = pandas.DataFrame(**content["dataframe_split"])
    elif "dataframe_records" in content:
        made = pandas.DataFrame(content["dataframe_records"])
    else:
        made = content["inputs"]
        made = {name: np.array(one) for name, one in made.items()} if isinstance(made, dict) else np.array(made)
    inputs: list[dict[str, Any]] = infer_signature(made).inputs.to_dict()
    return inputs
