"""What a training left in the output folder, checked before anything is published."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelops_runtime.artifacts import language_model
from modelops_runtime.artifacts.language_model import LanguageModel
from modelops_runtime.artifacts.manifest import FILE_NAME, FOREIGN, Manifest
from modelops_runtime.artifacts.results import flat
from modelops_runtime.contract import ConfigurationError, ContractError, TrainingContract, is_number

LOADED_BYTES = 200 * 2**20
"""Of the largest model that is loaded to check it: the publishing container has 1 GiB of memory."""


@dataclass(frozen=True)
class Outputs:
    """What training left, besides the model itself."""

    metrics: dict[str, float]
    history: list[dict[str, Any]]
    parameters: dict[str, Any]
    """The parameters used, defaults included, if the training wrote them; else the parameters it was started with."""


def read_outputs(training: TrainingContract) -> Outputs:
    """Raises ConfigurationError naming what breaks the contract: no model, or nothing to judge it by.

    For less than that no training is lost: what is wrong with the rest is printed and left out.
    """
    output = training.output_dir
    metrics = _read_json(output / "metrics.json")
    problems = []
    if not isinstance(metrics, dict):
        problems.append(f"{output}/metrics.json must be a JSON object of numbers by name")
    if not any((output / "model").glob("*")):
        problems.append(f"the training left no model in {output}/model")
    if problems:
        raise ConfigurationError(*problems)
    numbers, left_out = flat(metrics)
    for name, problem in left_out.items():
        _say_left_out(f"{name} in metrics.json {problem}")
    return Outputs(numbers, _history(output), _parameters(training))


def check_model(folder: Path) -> None:
    """Whether a server can start with the model: its manifest, its files and, where this image can load it without
    running code of the training's, its golden prediction; of a language model, its weights' format and its tokenizer.

    Raises ConfigurationError: only another training can help. A folder of another server's kind is let through.
    """
    if (folder / language_model.FILE_NAME).is_file():
        _check_language_model(folder)
        return
    if not (folder / FILE_NAME).is_file():
        kind = next((f"{kind} ({file})" for file, kind in FOREIGN.items() if (folder / file).is_file()), "")
        if not kind:
            raise ConfigurationError(
                f"the training left no {FILE_NAME} in its folder {folder.name}, which says how to serve the model:"
                " modelops_runtime.write_model writes it, docs/model.md has its fields"
            )
        print(
            f"the model has no {FILE_NAME} and is {kind}: it is fetched whole, for a server that knows it", flush=True
        )
        return
    try:
        manifest = Manifest.read(folder)
        for name in manifest.files:
            manifest.verify(folder, name)
        unchecked = _check_golden(folder, manifest)
    except ContractError as error:
        raise ConfigurationError(*(f"the model can't be served: {problem}" for problem in error.problems)) from error
    if unchecked:
        print(f"the golden prediction is left to who wrote the model, and to the server: {unchecked}", flush=True)


def _check_language_model(folder: Path) -> None:
    try:
        tuned = LanguageModel.read(folder)
    except ContractError as error:
        raise ConfigurationError(*(f"the model can't be served: {problem}" for problem in error.problems)) from error
    if not (folder / language_model.TOKENIZER).is_file():
        raise ConfigurationError(f"the model can't be served: {folder} has no {language_model.TOKENIZER}")
    if not tuned.base.license:
        print(f"the licence of {tuned.base.uri} is not known: neither its card nor its configuration names one")


def _check_golden(folder: Path, manifest: Manifest) -> str:
    """Why the model can't be loaded here; empty where its prediction is right. Raises ContractError where it is not."""
    try:
        from modelops_runtime.artifacts.runtimes import RUNTIMES, load
    except ImportError as error:
        return f"this image has no {error.name}"
    if manifest.runtime not in RUNTIMES:
        return (
            f"a model of the runtime {manifest.runtime} may run code, and this container has an account at the registry"
        )
    if sum((folder / name).stat().st_size for name in manifest.files) > LOADED_BYTES:
        return f"the model has more than {LOADED_BYTES // 2**20} MiB"
    try:
        load(folder, manifest, 1)
    except ContractError as error:
        if isinstance(error.__cause__, ImportError):
            return f"this image has no runtime {manifest.runtime}"
        raise
    return ""


def _history(output: Path) -> list[dict[str, Any]]:
    rows = _optional(output / "history.json", list, [])
    good = [row for row in rows if isinstance(row, dict) and _is_epoch(row.get("epoch"))]
    if len(good) < len(rows):
        _say_left_out(f"history.json has {len(rows) - len(good)} rows that are no objects with a number `epoch`")
    return good


def _is_epoch(value: object) -> bool:
    return is_number(value) and abs(value) < 2**63  # type: ignore[arg-type]  # MLflow's steps have 64 bits


def _parameters(training: TrainingContract) -> dict[str, Any]:
    parameters: dict[str, Any] = _optional(training.output_dir / "parameters.json", dict, training.parameters)
    return parameters


def _optional(path: Path, kind: type, default: Any) -> Any:
    try:
        content = _read_json(path, default)
    except ConfigurationError as error:
        _say_left_out(str(error))
        return default
    if isinstance(content, kind):
        return content
    _say_left_out(f"{path.name} must be a JSON {'object' if kind is dict else 'list'}")
    return default


def _say_left_out(problem: str) -> None:
    print(f"left out: {problem}", flush=True)


def _read_json(path: Path, default: Any = None) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        if default is None:
            raise ConfigurationError(f"the training left no {path}") from None
        return default
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
