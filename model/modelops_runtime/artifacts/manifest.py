"""`model.json`: what a model directory holds and how to tell that it answers right.

Standard library only: training writes it, fetching and serving read it.
"""

import hashlib
import itertools
import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from modelops_runtime.artifacts.paths import is_name, opened
from modelops_runtime.contract import ContractError, is_number

FILE_NAME = "model.json"
FOREIGN = {
    "MLmodel": "an MLflow model",
    "adapter_config.json": "an adapter",
    "config.json": "a Transformers model",
}
"""Files by which other servers know a folder that has no manifest."""
DTYPES = ("float32", "float64", "int32", "int64")
MIXED = "object"
"""Element type, as NumPy has it, of inputs some columns of which are text: `preprocessing.json` says which."""
REQUIREMENT = r"[A-Za-z0-9][A-Za-z0-9._+!-]*"
"""Of a package's name, or its version."""
ROWS_PER_BIN = 20
"""With fewer test rows a bin, chance alone would look like drift."""
MOST_BINS = 10
BASELINE_COLUMNS = 16
"""Most output columns with a baseline: each costs the server a set of time series."""
MOST_FEATURES = 32
"""Most features with a baseline: each costs the server a time series, and a count a row."""


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
    """A prediction known to be right. Serving becomes ready only after giving it, within `tolerance`, or within the
    relative tolerance that any prediction has (`agreement.py`)."""

    inputs: list[Any]
    outputs: list[Any]
    tolerance: float


@dataclass(frozen=True)
class Bins:
    """How the predictions in one output column were spread over the numbers when the model was tested.

    `edges` part the numbers into one bin more than there are edges; one that equals an edge is in the bin below it.
    `fractions` has each bin's share of the predictions.
    """

    edges: tuple[float, ...]
    fractions: tuple[float, ...]


def baseline_of(predictions: Sequence[Sequence[float]]) -> tuple[Bins, ...]:
    """What `Manifest.baseline` takes: bins of about equally many of the test split's predictions, a set a column.

    `predictions` has a flat row of finite numbers for each row of the test split.
    """
    columns = zip(*(row[:BASELINE_COLUMNS] for row in predictions), strict=True)
    return tuple(_bins(sorted(map(float, column))) for column in columns)


def features_of(names: Sequence[str], rows: Sequence[Sequence[float]]) -> dict[str, Bins]:
    """What `Manifest.features` takes, of the training rows as the model takes them: `names` are their columns'."""
    columns = zip(*(row[:MOST_FEATURES] for row in rows), strict=True)
    return {name: _bins(sorted(map(float, column))) for name, column in zip(names, columns, strict=False)}


def _bins(values: list[float]) -> Bins:
    bin_count = min(MOST_BINS, max(2, len(values) // ROWS_PER_BIN))
    quantiles = {values[math.ceil(len(values) * part / bin_count) - 1] for part in range(1, bin_count)}
    edges = sorted(quantiles - {values[-1]}) or [values[-1]]
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_left(edges, value)] += 1
    return Bins(tuple(edges), tuple(count / len(values) for count in counts))


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
    """Digest of each file of the model directory, by name; may be empty."""
    extra_files: tuple[str, ...] = ()
    """What the runtime needs besides `file`: weights that are kept apart from the graph."""
    baseline: tuple[Bins, ...] = ()
    """Of each output column, up to 16; what drift is measured against. Empty: drift isn't measured."""
    features: Mapping[str, Bins] = field(default_factory=dict)
    """How the columns that the model takes were spread in the training set, by name, up to 32 of them. Empty: drift of
    features isn't measured. Only with a preprocessing."""
    labels: tuple[str | int | float, ...] = ()
    """What the classes are called whose probabilities the output columns are. Empty: the manifest doesn't say."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of Python (`python`) and of the packages with which the golden prediction was made. Empty: the manifest doesn't
    say."""

    @property
    def files(self) -> tuple[str, ...]:
        """What serving needs besides the manifest."""
        return (self.file, *self.extra_files)

    def write(self, directory: Path) -> None:
        content: dict[str, Any] = {
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
        if self.extra_files:
            content["extra_files"] = list(self.extra_files)
        if self.baseline:
            content["baseline"] = [asdict(bins) for bins in self.baseline]
        if self.features:
            content["features"] = {name: asdict(bins) for name, bins in self.features.items()}
        if self.labels:
            content["labels"] = list(self.labels)
        if self.versions:
            content["versions"] = dict(self.versions)
        (directory / FILE_NAME).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """Raises ContractError naming every problem: no manifest, not JSON, a field missing or of the wrong kind."""
        path = directory / FILE_NAME
        try:
            with opened(path) as file:
                content = json.loads(file.read())
        except OSError as error:
            raise ContractError(f"there is no model in {directory}: {FILE_NAME}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ContractError(f"{FILE_NAME} is not JSON: {error}") from error
        problems = _problems(content)
        if problems:
            raise ContractError(*(f"{FILE_NAME}: {problem}" for problem in problems))
        return cls(
            **{key: content[key] for key in ("name", "run_id", "framework", "runtime", "file")},
            inputs=Tensor(tuple(content["inputs"]["shape"]), content["inputs"]["dtype"]),
            outputs=Tensor(tuple(content["outputs"]["shape"]), content["outputs"]["dtype"]),
            golden=Golden(**{key: content["golden"][key] for key in ("inputs", "outputs", "tolerance")}),
            sha256=content.get("sha256", {}),
            extra_files=tuple(content.get("extra_files", [])),
            baseline=tuple(map(_read_bins, content.get("baseline", []))),
            features={name: _read_bins(bins) for name, bins in content.get("features", {}).items()},
            labels=tuple(content.get("labels", [])),
            versions=content.get("versions", {}),
        )

    def verify(self, directory: Path, name: str) -> None:
        """Raises ContractError when a file is missing or has another digest than the manifest says."""
        try:
            problem = damage(directory / name, name, self.sha256.get(name), "the manifest")
        except OSError as error:
            raise ContractError(f"{name}, which {FILE_NAME} names, can't be read: {error.strerror}") from error
        if problem:
            raise ContractError(problem)


def text_columns(operations: Iterable[Mapping[str, Any]]) -> set[str]:
    """The columns before any operation of `preprocessing.json` that are text: the first one on a column says so."""
    kinds: dict[str, bool] = {}
    for operation in operations:
        kinds.setdefault(operation["column"], takes_text(operation))
    return {column for column, is_text in kinds.items() if is_text}


def takes_text(operation: Mapping[str, Any]) -> bool:
    """Whether an operation of `preprocessing.json` takes text; dates are ISO 8601 text."""
    values = [operation.get("value"), *operation.get("categories", [])]
    return operation["kind"] in ("words", "dates", "first") or any(isinstance(value, str) for value in values)


def digest(file: Path) -> str:
    """The SHA-256 of a file's content. Raises OSError."""
    with opened(file) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def damage(file: Path, name: str, expected: str | None, source: str) -> str | None:
    """Says that a file isn't the one that `source` knows by its SHA-256; None where it is, or has no known one. Raises
    OSError."""
    got = digest(file)
    return None if expected in (None, got) else f"{name} is damaged: its SHA-256 is {got}, {source} says {expected}"


def _problems(content: object) -> list[str]:
    if not isinstance(content, dict):
        return ["must be a JSON object"]
    problems = [
        f"{key} must be a non-empty string"
        for key in ("name", "run_id", "framework", "runtime", "file")
        if not (isinstance(content.get(key), str) and content[key])
    ]
    if not problems and not _plain_name(content["file"]):
        problems.append("file must be the plain name of a file beside the manifest")
    extra = content.get("extra_files", [])
    if not isinstance(extra, list) or not all(isinstance(name, str) and _plain_name(name) for name in extra):
        problems.append("extra_files must be a list of plain names of files beside the manifest")
    problems += [problem for key in ("inputs", "outputs") for problem in _tensor_problems(key, content.get(key))]
    golden = content.get("golden")
    if not isinstance(golden, dict) or not all(
        isinstance(golden.get(key), list) and golden[key] for key in ("inputs", "outputs")
    ):
        problems.append("golden must have non-empty lists inputs and outputs")
    elif not is_number(golden.get("tolerance")) or golden["tolerance"] < 0:
        problems.append("golden.tolerance must be a number, at least 0")
    digests = content.get("sha256", {})
    if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
        problems.append("sha256 must map file names to digests")
    baseline = content.get("baseline", [])
    if not isinstance(baseline, list) or len(baseline) > BASELINE_COLUMNS or not all(map(_are_bins, baseline)):
        problems.append(
            f"baseline must be a list of up to {BASELINE_COLUMNS} objects of rising numbers `edges` and, one more of"
            " them, `fractions` that add up to 1"
        )
    features = content.get("features", {})
    if not isinstance(features, dict) or len(features) > MOST_FEATURES or not all(map(_are_bins, features.values())):
        problems.append(f"features must be an object of up to {MOST_FEATURES} objects as those of baseline")
    versions = content.get("versions", {})
    if not isinstance(versions, dict) or not all(
        isinstance(text, str) and re.fullmatch(REQUIREMENT, text) for item in versions.items() for text in item
    ):
        problems.append("versions must map names of packages to versions")
    problem = _labels_problem(content.get("labels", []))
    return [*problems, problem] if problem else problems


def _labels_problem(labels: object) -> str:
    if isinstance(labels, list) and all(isinstance(label, str) or is_number(label) for label in labels):
        return ""
    return "labels must be a list of text or numbers"


def _plain_name(name: str) -> bool:
    return name != FILE_NAME and "/" not in name and is_name(name)


def _read_bins(bins: Any) -> Bins:
    return Bins(tuple(map(float, bins["edges"])), tuple(map(float, bins["fractions"])))


def _are_bins(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    edges, fractions = value.get("edges"), value.get("fractions")
    return (
        isinstance(edges, list)
        and isinstance(fractions, list)
        and all(is_number(number) for number in [*edges, *fractions])
        and 1 <= len(edges) == len(fractions) - 1 < 100
        and all(low < high for low, high in itertools.pairwise(edges))
        and min(fractions) >= 0
        and abs(sum(fractions) - 1) < 1e-6
    )


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
    dtypes = (*DTYPES, MIXED) if key == "inputs" else DTYPES
    if tensor.get("dtype") not in dtypes:
        problems.append(f"{key}.dtype must be one of {', '.join(dtypes)}")
    return problems
