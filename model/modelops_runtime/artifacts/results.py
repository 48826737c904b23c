"""The output folder of a training container, for programs that write their results into it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from modelops_runtime.contract import ConfigurationError, is_number


def output_dir() -> Path:
    """MODELOPS_OUTPUT_DIR; the model belongs into its folder `model`."""
    return Path(os.environ.get("MODELOPS_OUTPUT_DIR") or "/modelops/output")


def write_metrics(metrics: Mapping[str, float], folder: str | Path | None = None) -> None:
    """Writes `metrics.json`, which must be the last of a training's results. NumPy's numbers are taken as well.

    Raises ConfigurationError naming what is not a finite number.
    """
    numbers = {name: value.item() if hasattr(value, "item") else value for name, value in metrics.items()}
    wrong = [
        f"metric {name} is {value!r}, must be a finite number"
        for name, value in numbers.items()
        if not is_number(value)
    ]
    if wrong:
        raise ConfigurationError(*wrong)
    write_json(Path(folder or output_dir()) / "metrics.json", numbers)


def write_json(path: Path, content: object) -> None:
    """Writes atomically: readers see all of the file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    scratch.replace(path)
