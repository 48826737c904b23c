"""The output folder of a training container, for programs that write their results into it."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelops_runtime.contract import is_number


def output_dir() -> Path:
    """MODELOPS_OUTPUT_DIR; the model belongs into its folder `model`."""
    return Path(os.environ.get("MODELOPS_OUTPUT_DIR") or "/modelops/output")


def write_metrics(metrics: Mapping[str, Any], folder: str | Path | None = None) -> None:
    """Writes `metrics.json`, which must be the last of a training's results. NumPy's numbers are taken as well.

    Metrics of classes and slices may be in objects of their own: `{"f1": {"spam": 0.9}}` is the metric `f1[spam]`.
    What is not a finite number is written as null and told, and never published: a training is not lost for it.
    """
    numbers, left_out = flat(metrics)
    for name, problem in left_out.items():
        print(f"metric {name} {problem}: it is left out", flush=True)
    write_json(Path(folder or output_dir()) / "metrics.json", {**numbers, **dict.fromkeys(left_out)})


def flat(metrics: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics by name, those in objects as `f1[spam]`; and what is wrong with each that is left out."""
    numbers: dict[str, float] = {}
    left_out: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = [(str(name), value) for name, value in metrics.items()][::-1]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{name}[{key}]", inner) for key, inner in value.items()][::-1]
            continue
        number = _plain(value)
        if name in numbers or name in left_out:
            left_out[name] = "is there twice, by itself and in an object"
            numbers.pop(name, None)
        elif is_number(number):
            numbers[name] = number
        else:
            left_out[name] = f"is {json.dumps(number, default=repr)[:100]}, must be a finite number"
    return numbers, left_out


def _plain(value: Any) -> Any:
    """Python's own number instead of NumPy's or a tensor of one."""
    with contextlib.suppress(AttributeError, RuntimeError, TypeError, ValueError):
        return value.item()
    return value


def write_json(path: Path, content: object) -> None:
    """Writes atomically: readers see all of the file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    scratch.replace(path)
