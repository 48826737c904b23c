"""`model.json`: what a model directory holds and how to tell that it answers right.

Standard library only: training writes it, fetching and serving read it.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.contract import ContractError

FILE_NAME = "model.json"
DTYPES = ("float32", "float64", "int32", "int64")


@dataclass(frozen=True)
class Tensor:
    """Shape (first dimension −1: any number of rows) and element type of an input or output."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def numbers_per_row(self) -> int:
        return math.prod(self.shape[1:])


@dataclass(frozen=True)
class Golden:
    """A prediction known to be right. Serving becomes ready only after giving it, within `tolerance`."""

    inputs: list[Any]
    outputs: list[Any]
    tolerance: float


@dataclass(frozen=True)
class Manifest:
    name: str
    run_id: str
    framework: str
    runtime: str
    file: str
    inputs: Tensor
    outputs: Tensor
    golden: Golden
    sha256: dict[str, str] = field(default_factory=dict)
    """Digest of each file of the model directory, by name; empty when whoever made the model left it out."""

    def write(self, directory: Path) -> None:
        content = {
            "name": self.name,
            "run_id": self.run_id,
            "framework": self.framework,
            "runtime": self.runtime,
            "file": self.file,
            "inputs": {"shape": list(self.inputs.shape), "dtype": self.inputs.dtype},
            "outputs": {"shape": list(self.outputs.shape), "dtype": self.outputs.dtype},
            "golden": vars(self.golden),
            "sha256": self.sha256,
        }
        (directory / FILE_NAME).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """Raises ContractError naming every problem: no manifest, not JSON, a field missing or of the wrong kind."""
        path = directory / FILE_NAME
        try:
            content = json.loads(path.read_bytes())
        except OSError as error:
            raise ContractError(f"there is no model in {directory}: {path}: {error.strerror}") from error
        except ValueError as error:
            raise ContractError(f"{path} is not JSON: {error}") from error
        problems = _problems(content)
        if problems:
            raise ContractError(*(f"{path}: {problem}" for problem in problems))
        return cls(
            **{key: content[key] for key in ("name", "run_id", "framework", "runtime", "file")},
            inputs=Tensor(tuple(content["inputs"]["shape"]), content["inputs"]["dtype"]),
            outputs=Tensor(tuple(content["outputs"]["shape"]), content["outputs"]["dtype"]),
            golden=Golden(**{key: content["golden"][key] for key in ("inputs", "outputs", "tolerance")}),
            sha256=content.get("sha256", {}),
        )


def _problems(content: object) -> list[str]:
    if not isinstance(content, dict):
        return ["must be a JSON object"]
    problems = [
        f"{key} must be a non-empty string"
        for key in ("name", "run_id", "framework", "runtime", "file")
        if not (isinstance(content.get(key), str) and content[key])
    ]
    if not problems and (content["file"] in (".", "..", FILE_NAME) or "/" in content["file"]):
        problems.append("file must be the plain name of a file beside the manifest")
    problems += [problem for key in ("inputs", "outputs") for problem in _tensor_problems(key, content.get(key))]
    golden = content.get("golden")
    if not isinstance(golden, dict) or not all(
        isinstance(golden.get(key), list) and golden[key] for key in ("inputs", "outputs")
    ):
        problems.append("golden must have non-empty lists inputs and outputs")
    elif not isinstance(golden.get("tolerance"), (int, float)) or not golden["tolerance"] >= 0:
        problems.append("golden.tolerance must be a number, at least 0")
    digests = content.get("sha256", {})
    if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
        problems.append("sha256 must map file names to digests")
    return problems


def _tensor_problems(key: str, tensor: object) -> list[str]:
    if not isinstance(tensor, dict):
        return [f"{key} must be an object with shape and dtype"]
    problems = []
    shape = tensor.get("shape")
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 8
        or shape[0] != -1
        or not all(type(size) is int and size > 0 for size in shape[1:])
    ):
        problems.append(f"{key}.shape must be a list of 1 to 8 sizes: -1 (any number of rows), then positive numbers")
    if tensor.get("dtype") not in DTYPES:
        problems.append(f"{key}.dtype must be one of {', '.join(DTYPES)}")
    return problems
