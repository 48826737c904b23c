"""`preprocessing.json`: what was fitted on the training split, applied alike to prepared data and to a client's rows.

NumPy alone: the slim serving image applies it. Both sides call `apply` with the same float64 numbers, so that they
agree to the last bit.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelops_runtime.artifacts.manifest import text_columns
from modelops_runtime.contract import ContractError, is_number

FILE_NAME = "preprocessing.json"
Array = npt.NDArray[Any]
DTYPES = ("float32", "float64")
NUMBERS = {
    "fill": ("value",),
    "clip": ("low", "high"),
    "standard": ("mean", "deviation"),
    "minmax": ("minimum", "maximum"),
    "one_hot": (),
    "ordinal": (),
    "words": (),
}
"""Kinds of operations, each with the numbers that it needs; `one_hot` and `ordinal` have `categories`, `words` has
`size` and `vectors`: that many numbers for each known word."""
_WORD = re.compile(r"\w+")

Operation = Mapping[str, Any]
"""One fitted operation on one column: `column`, `kind` and the numbers listed in NUMBERS."""


class UnknownCategory(ValueError):
    """A value that the training split does not have. `rows` are the positions where one stands."""

    def __init__(self, column: str, rows: Sequence[int]) -> None:
        super().__init__(f"column {column} has a value that the training split does not have")
        self.column = column
        self.rows = rows


def columns_of(operation: Operation) -> list[str]:
    """The columns that replace an operation's column."""
    if operation["kind"] == "one_hot":
        return [f"{operation['column']}={category}" for category in operation["categories"]]
    if operation["kind"] == "words":
        return [f"{operation['column']}_{number}" for number in range(operation["size"])]
    return [operation["column"]]


def apply(operation: Operation, values: Array) -> list[Array]:
    """The columns (see `columns_of`) that `values`, one column of any length, becomes: float64.

    standard: z = (x − μ)/σ, σ being the population's. minmax: (x − min)/(max − min). A constant column becomes 0.
    clip and the scalings leave NaN as it is; one_hot leaves zeros where the category is unknown and `unknown` is zeros.
    words: the mean of the known words' vectors, zeros where there is none.

    Raises UnknownCategory.
    """
    kind = operation["kind"]
    if kind in ("one_hot", "ordinal"):
        return _encoded(operation, values)
    if kind == "words":
        return list(np.array([_mean_vector(operation, text) for text in values]).reshape(len(values), -1).T)
    numbers = values.astype("float64")
    if kind == "fill":
        return [np.where(np.isnan(numbers), operation["value"], numbers)]
    if kind == "clip":
        return [np.clip(numbers, operation["low"], operation["high"])]
    if kind == "standard":
        return [(numbers - operation["mean"]) / (operation["deviation"] or 1.0)]
    span = operation["maximum"] - operation["minimum"]
    return [(numbers - operation["minimum"]) / (span or 1.0)]


def _encoded(operation: Operation, values: Array) -> list[Array]:
    categories = operation["categories"]
    matches = np.stack([np.asarray(values == category, dtype=bool) for category in categories])
    unknown = np.flatnonzero(~matches.any(axis=0))
    if len(unknown) and operation.get("unknown", "error") == "error":
        raise UnknownCategory(operation["column"], unknown.tolist())
    if operation["kind"] == "one_hot":
        return [column.astype("float64") for column in matches]
    codes = matches.argmax(axis=0).astype("float64")
    codes[unknown] = -1
    return [codes]


def words(text: object) -> list[str]:
    """The words of a text, in lower case; none of a missing one."""
    return [] if text is None or text != text else _WORD.findall(str(text).lower())


def _mean_vector(operation: Operation, text: object) -> Array:
    vectors = operation["vectors"]
    known_vectors = [vectors[word] for word in words(text) if word in vectors]
    return np.mean(np.array(known_vectors, dtype="float64"), axis=0) if known_vectors else np.zeros(operation["size"])


@dataclass(frozen=True)
class Preprocessing:
    """The fitted operations, in their order, and the columns before and after."""

    inputs: tuple[str, ...]
    """The columns that a client sends, in this order."""
    outputs: tuple[str, ...]
    """The columns that the model takes, in this order."""
    operations: tuple[Operation, ...]
    dtype: str = "float32"
    """Element type that the model takes."""

    def transform(self, rows: Array) -> Array:
        """Rows of `inputs` (shape: rows × inputs; of the element type `object` where there is text) as the model takes
        them (rows × outputs). Raises UnknownCategory."""
        columns = {name: rows[:, place] for place, name in enumerate(self.inputs)}
        for operation in self.operations:
            results = apply(operation, columns.pop(operation["column"]))
            columns.update(zip(columns_of(operation), results, strict=True))
        # By way of float64: a column that no operation touched may be of the type `object` still.
        return np.stack([columns[name].astype("float64") for name in self.outputs], axis=1).astype(self.dtype)

    def text_inputs(self) -> frozenset[int]:
        """The places among `inputs` of those that are text."""
        texts = text_columns(self.operations)
        return frozenset(place for place, column in enumerate(self.inputs) if column in texts)

    def example(self, value: float) -> list[Any]:
        """A row that a client could send, and no row of the data: a scaled column has what becomes `value` or, of
        minmax, (value + 1)/2; categories and words are the first known ones."""
        return [self._example(column, value) for column in self.inputs]

    def _example(self, column: str, value: float) -> Any:
        for operation in self.operations:
            if operation["column"] != column:
                continue
            kind = operation["kind"]
            if kind in ("one_hot", "ordinal"):
                return operation["categories"][0]
            if kind == "words":
                return min(operation["vectors"])
            if kind == "standard":
                return operation["mean"] + value * operation["deviation"]
            if kind == "minmax":
                return operation["minimum"] + (value + 1) / 2 * (operation["maximum"] - operation["minimum"])
        return value

    def write(self, directory: Path) -> None:
        (directory / FILE_NAME).write_text(self.text())

    def text(self) -> str:
        """The content of the file."""
        content = {
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "operations": [dict(operation) for operation in self.operations],
            "dtype": self.dtype,
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Preprocessing":
        """Raises ContractError naming what is not as agreed."""
        try:
            return cls.parse(path.read_bytes(), str(path))
        except OSError as error:
            raise ContractError(f"{path}: {error.strerror}") from error

    @classmethod
    def parse(cls, text: bytes, where: str) -> "Preprocessing":
        """From the content of a file that errors call `where`. Raises ContractError naming what is not as agreed."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ContractError(f"{where} is not JSON: {error}") from error
        problems = _problems(content)
        if problems:
            raise ContractError(*(f"{where}: {problem}" for problem in problems))
        return cls(
            inputs=tuple(content["inputs"]),
            outputs=tuple(content["outputs"]),
            operations=tuple(content["operations"]),
            dtype=content["dtype"],
        )


def _problems(content: object) -> list[str]:
    if not isinstance(content, dict):
        return ["must be a JSON object"]
    problems = []
    for key in ("inputs", "outputs"):
        names = content.get(key)
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            problems.append(f"{key} must be a list of columns' names")
        elif len(set(names)) < len(names):
            problems.append(f"{key} must not name a column twice")
    if content.get("dtype") not in DTYPES:
        problems.append(f"dtype must be one of {', '.join(DTYPES)}")
    operations = content.get("operations")
    if problems or not isinstance(operations, list):
        return problems or ["operations must be a list"]
    columns = set(content["inputs"])
    for number, operation in enumerate(operations):
        problem = _operation_problem(operation, columns)
        if problem:
            return [f"operations[{number}] {problem}"]
        columns.discard(operation["column"])
        columns.update(columns_of(operation))
    missing = sorted(set(content["outputs"]) - columns)
    return [f"outputs has {', '.join(missing)}, which no operation leaves"] if missing else []


def _operation_problem(operation: object, columns: set[str]) -> str:
    if not isinstance(operation, dict) or operation.get("kind") not in NUMBERS:
        return f"must have a kind of {', '.join(sorted(NUMBERS))}"
    if operation.get("column") not in columns:
        return "must name a column that is there"
    if not all(is_number(operation.get(key)) for key in NUMBERS[operation["kind"]]):
        return f"must have the numbers {' and '.join(NUMBERS[operation['kind']])}"
    if operation["kind"] == "words":
        return _words_problem(operation.get("size"), operation.get("vectors"))
    if not NUMBERS[operation["kind"]]:
        categories = operation.get("categories")
        if not isinstance(categories, list) or not categories:
            return "must have a list of categories"
        if not all(isinstance(category, str) or is_number(category) for category in categories):
            return "must have text or numbers as categories"
    return ""


def _words_problem(size: object, vectors: object) -> str:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        return "must have a size of at least 1"
    if not isinstance(vectors, dict) or not vectors:
        return "must have vectors by word"
    if not all(
        isinstance(vector, list) and len(vector) == size and all(map(is_number, vector)) for vector in vectors.values()
    ):
        return f"must have {size} numbers for each word"
    return ""
