"""What a training left in the output folder, checked before anything is published."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelops_runtime.contract import ConfigurationError, TrainingContract, is_number


@dataclass(frozen=True)
class Outputs:
    """What training left, besides the model itself."""

    metrics: dict[str, float]
    history: list[dict[str, float]]
    parameters: dict[str, Any]
    """The parameters used, defaults included, if the training wrote them; else the parameters it was started with."""


def read_outputs(training: TrainingContract) -> Outputs:
    """Raises ConfigurationError naming what breaks the contract."""
    output = training.output_dir
    metrics = _read_json(output / "metrics.json")
    history = _read_json(output / "history.json", default=[])
    parameters = _read_json(output / "parameters.json", default=training.parameters)
    problems = []
    if not isinstance(metrics, dict) or not all(is_number(value) for value in metrics.values()):
        problems.append(f"{output}/metrics.json must be a JSON object of finite numbers")
    if not isinstance(history, list) or not all(
        isinstance(row, dict) and is_number(row.get("epoch")) for row in history
    ):
        problems.append(f"{output}/history.json must be a list of objects with an epoch")
    if not isinstance(parameters, dict):
        problems.append(f"{output}/parameters.json must be a JSON object")
    if not any((output / "model").glob("*")):
        problems.append(f"the training left no model in {output}/model")
    if problems:
        raise ConfigurationError(*problems)
    return Outputs(metrics, history, parameters)


def _read_json(path: Path, default: Any = None) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        if default is None:
            raise ConfigurationError(f"the training left no {path}") from None
        return default
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from None
