"""What makes a published model folder one of MLflow's own: `MLmodel` and the files that it names.

MLflow writes such files with NumPy and pandas, which the publishing image does without; its own `Model` describes the
folder all the same. The loader is in the folder too, because programs that load it have MLflow alone.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import mlflow
import yaml
from mlflow.models import Model

from modelops_runtime.artifacts.manifest import FILE_NAME, MIXED, Manifest, text_columns
from modelops_runtime.artifacts.packages import served_with
from modelops_runtime.contract import ConfigurationError, is_number

MLMODEL = "MLmodel"
PACKAGE = "modelops_runtime"
LOADER = ("agreement", "manifest", "operations", "paths", "preprocessing", "runtimes")
"""Modules of `artifacts` that predict. They need all of `contract` besides."""
PREPROCESSING = "preprocessing.json"
COLUMN_TYPES = {"float32": "float", "float64": "double", "int32": "integer", "int64": "long", MIXED: "double"}
"""MLflow's types of columns by the inputs' element type."""


def write(model: Path, folder: Path, **identity: Any) -> bool:
    """Writes into `folder`, which is empty, what the folder `model` lacks to be one of MLflow's; whether that's
    possible. `identity`: what MLflow's `Model` says of where it comes from.

    A file that the training wrote itself is left as it is.
    """
    if not (model / FILE_NAME).is_file() or (model / MLMODEL).exists():
        return False
    manifest = Manifest.read(model)
    if not served_with(manifest.runtime, manifest.framework):
        print(f"MLflow can't load a model of the runtime {manifest.runtime}: it gets no {MLMODEL}", flush=True)
        return False
    columns = _columns(model, manifest)
    described = Model(
        saved_input_example_info=_write_example(folder, manifest, columns),
        model_size_bytes=sum((model / name).stat().st_size for name in manifest.files),
        **identity,
    )
    described.add_flavor(
        "python_function",
        loader_module=_write_loader(folder / "code"),
        code="code",
        env=write_environment(folder, _packages(manifest), _python(manifest)),
        python_version=_python(manifest),
    )
    if manifest.runtime == "onnx" and columns is None:
        described.add_flavor("onnx", data=manifest.file, providers=["CPUExecutionProvider"], onnx_session_options=None)
    content = {**described.to_dict(), "signature": _signature(manifest, columns)}
    (folder / MLMODEL).write_text(yaml.safe_dump(content, sort_keys=False))
    leave_what_is_there(model, folder)
    return True


def leave_what_is_there(model: Path, folder: Path) -> None:
    """Removes from `folder` what the folder `model` has itself."""
    for path in [path for path in folder.rglob("*") if path.is_file() and (model / path.relative_to(folder)).exists()]:
        print(f"{path.relative_to(folder)} is left as the training wrote it", flush=True)
        path.unlink()


def _columns(model: Path, manifest: Manifest) -> dict[str, str] | None:
    """The columns that a client sends and MLflow's types of them; None where the inputs have no names.

    Raises ConfigurationError.
    """
    if PREPROCESSING not in manifest.extra_files:
        return None
    try:
        content = json.loads((model / PREPROCESSING).read_bytes())
        texts = text_columns(content["operations"])
        number = COLUMN_TYPES[manifest.inputs.dtype]
        return {name: "string" if name in texts else number for name in content["inputs"]}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        problem = f"{PREPROCESSING}: {type(error).__name__}: {error}"
        raise ConfigurationError(f"the model can't be served: {problem}") from error


def _signature(manifest: Manifest, columns: Mapping[str, str] | None) -> dict[str, Any]:
    """As MLflow's `ModelSignature.to_dict` gives it: JSON in YAML."""
    outputs = manifest.outputs.shape
    inputs = [_tensor(manifest.inputs.shape, manifest.inputs.dtype)]
    if columns is not None:
        inputs = [{"type": kind, "name": name, "required": True} for name, kind in columns.items()]
    return {
        "inputs": json.dumps(inputs),
        "outputs": json.dumps([_tensor(outputs[:1] if outputs[1:] == (1,) else outputs, manifest.outputs.dtype)]),
        "params": None,
    }


def _tensor(shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}


def _write_example(folder: Path, manifest: Manifest, columns: Mapping[str, str] | None) -> dict[str, str]:
    """The golden prediction's inputs, as an example and as a request to a server of MLflow's; how MLflow reads them."""
    names = {"artifact_path": "input_example.json", "serving_input_path": "serving_input_example.json"}
    example: Any = manifest.golden.inputs
    if columns is None:
        request, kind = {"inputs": example}, {"type": "ndarray"}
    else:
        # A whole number would be read as an integer, which MLflow doesn't take for a `double`.
        rows = [[_example(*value) for value in zip(columns.values(), row, strict=False)] for row in example]
        example = {"columns": list(columns), "data": rows}
        request, kind = {"dataframe_split": example}, {"type": "dataframe", "pandas_orient": "split"}
    (folder / names["artifact_path"]).write_text(json.dumps(example))
    (folder / names["serving_input_path"]).write_text(json.dumps(request, indent=2))
    return {**names, **kind}


def _example(kind: str, value: Any) -> Any:
    return float(value) if kind in ("float", "double") and is_number(value) else value


def write_environment(folder: Path, packages: Mapping[str, str], python: str) -> dict[str, str]:
    """What has to be installed, in MLflow's three forms; where the two of them are that `MLmodel` names."""
    requirements = [f"mlflow=={mlflow.__version__}", *(f"{name}=={version}" for name, version in packages.items())]
    conda = {
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": requirements}],
        "name": "mlflow-env",
    }
    virtualenv = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements))
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda, sort_keys=False))
    (folder / "python_env.yaml").write_text(yaml.safe_dump(virtualenv, sort_keys=False))
    return {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}


def _packages(manifest: Manifest) -> dict[str, str]:
    packages = manifest.versions or served_with(manifest.runtime, manifest.framework)
    return {name: version for name, version in packages.items() if name != "python"}


def _python(manifest: Manifest) -> str:
    return manifest.versions.get("python") or platform.python_version()


def _write_loader(folder: Path) -> str:
    """This package's modules that predict, and the name of the one that loads.

    They are a package with a name of its own, made of their content: another version of this package may be installed
    where the model is loaded, and models of several versions may be loaded by one process.
    """
    contract = (file for file in files(f"{PACKAGE}.contract").iterdir() if file.name.endswith(".py"))
    artifacts = (files(f"{PACKAGE}.artifacts") / f"{name}.py" for name in ("__init__", *LOADER))
    sources = {
        **{f"contract/{file.name}": file.read_text(encoding="utf-8") for file in contract},
        **{f"artifacts/{file.name}": file.read_text(encoding="utf-8") for file in artifacts},
        "__init__.py": '"""Loads the model above: modules of modelops-runtime."""\n',
    }
    digest = hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:12]
    package = f"modelops_loader_{digest}"
    for name, source in sources.items():
        path = folder / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.replace(PACKAGE, package), encoding="utf-8")
    return f"{package}.artifacts.runtimes"
