"""`preprocessing.json`: what a client's row goes through before it is a row of the training data.

NumPy alone: the slim serving image applies it. Pipeline and server apply each operation with the same function to the
same float64 numbers, so that they agree to the last bit.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from modelops_runtime.artifacts.manifest import text_columns
from modelops_runtime.artifacts.operations import (
    Array,
    Operation,
    applied,
    are_alike,
    columns_of,
    on_missing,
    problem_of,
)
from modelops_runtime.contract import ContractError

FILE_NAME = "preprocessing.json"
DTYPES = ("float32", "float64")
SENT = "sent"
"""Kind of an entry for what no server does: `column` is sent `as` these words say. Not in the file."""


@dataclass(frozen=True)
class Preprocessing:
    """The operations, in their order, and the columns before and after."""

    inputs: tuple[str, ...]
    """The columns that a client sends, in this order."""
    outputs: tuple[str, ...]
    """The columns that the model takes, in this order."""
    operations: tuple[Operation, ...]
    dtype: str = "float32"
    """Element type that the model takes."""
    sent_as: Mapping[str, str] = field(default_factory=dict)
    """What a client sends in inputs that are not raw values, in words."""

    @classmethod
    def of(cls, outputs: Sequence[str], done: Sequence[Operation]) -> "Preprocessing":
        """What makes `outputs` of a client's row, of all that was done to the data.

        Walks backwards: a column is made by the operation that has it among its results, of that one's column, up to
        the raw column, or to a step that no server does (SENT): its result is what a client sends.
        """
        inputs, needed, sent_as = list(outputs), list[Operation](), dict[str, str]()
        for operation in reversed(done):
            if operation["kind"] == SENT:
                names = [name for name in inputs if _is_of(name, operation)]
                sent_as = {**dict.fromkeys(names, str(operation["as"])), **sent_as}
                continue
            results = [name for name in inputs if name in columns_of(operation)]
            if not results:
                continue
            if sent_as.keys() & {*results, operation["column"]}:
                # Its column would have to come twice: as it was, and as a later step left it.
                as_made = f"as {operation['kind']} makes it of {operation['column']}"
                sent_as = {**dict.fromkeys(results, as_made), **sent_as}
                continue
            inputs[inputs.index(results[0])] = operation["column"]
            inputs = [name for name in inputs if name == operation["column"] or name not in results]
            needed.insert(0, operation)
        return cls(tuple(inputs), tuple(outputs), tuple(needed), sent_as=sent_as)

    def transform(self, rows: Array) -> Array:
        """Rows of `inputs` (shape: rows × inputs; of the element type `object` where there is text) as the model takes
        them (rows × outputs). Raises BadValue."""
        columns = {name: rows[:, place] for place, name in enumerate(self.inputs)}
        for taken, made, apply_all in self._passes:
            columns.update(zip(made, apply_all([columns.pop(name) for name in taken]), strict=True))
        # By way of float64: a column that no operation touched may be of the type `object` still.
        outputs = np.array([columns[name] for name in self.outputs], dtype="float64")
        return outputs.T.astype(self.dtype, order="C")

    @cached_property
    def _passes(self) -> list[tuple[list[str], list[str], Callable[[Sequence[Array]], list[Array]]]]:
        """The columns that go into each pass over the rows, those that come out, and what makes them: alike operations
        that follow each other are one pass, for a hundred columns one by one take far longer than the model does."""
        passes: list[list[Operation]] = []
        for operation in self.operations:
            columns = {each["column"] for each in passes[-1]} if passes else set()
            if columns and operation["column"] not in columns and are_alike(passes[-1][0], operation):
                passes[-1].append(operation)
            else:
                passes.append([operation])
        return [
            ([each["column"] for each in found], [name for each in found for name in columns_of(each)], applied(found))
            for found in passes
        ]

    def text_inputs(self) -> frozenset[int]:
        """The places among `inputs` of those that are text."""
        texts = text_columns(self.operations)
        return frozenset(place for place, column in enumerate(self.inputs) if column in texts)

    def missing_inputs(self) -> frozenset[int]:
        """The places among `inputs` of those that may be missing: something is made of a missing value."""
        return frozenset(place for place, column in enumerate(self.inputs) if self._takes_missing(column, 0))

    def _takes_missing(self, column: str, first: int) -> bool:
        for number, operation in enumerate(self.operations[first:], start=first):
            if operation["column"] != column:
                continue
            kind = operation["kind"]
            if kind in ("fill", "words"):
                return True
            if kind in ("one_hot", "ordinal"):
                return on_missing(operation) != "error"
            if kind == "dates":
                return all(self._takes_missing(name, number + 1) for name in columns_of(operation))
        return column not in self.outputs

    def empty_texts(self) -> frozenset[int]:
        """The places of `missing_inputs` where an empty text can mean a missing one: it is no category."""
        categories = {operation["column"] for operation in self.operations if "" in operation.get("categories", ())}
        return frozenset(place for place in self.missing_inputs() if self.inputs[place] not in categories)

    def input_of(self, column: str) -> str:
        """The input that a column is made of."""
        for operation in reversed(self.operations):
            if column in columns_of(operation):
                column = operation["column"]
        return column

    def example(self, value: float) -> list[Any]:
        """A row that a client could send, and no row of the data: a scaled column has what becomes `value` or, of
        minmax, (value + 1)/2; categories and words are the first known ones, a date is the first of January 2024."""
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
            if kind == "dates":
                return "2024-01-01"
            if kind == "standard":
                return operation["mean"] + value * operation["deviation"]
            if kind == "minmax":
                return operation["minimum"] + (value + 1) / 2 * (operation["maximum"] - operation["minimum"])
        texts = [operation.get("value", "") for operation in self.operations if operation["column"] == column]
        return texts[0] if column in text_columns(self.operations) else value

    def write(self, directory: Path) -> None:
        (directory / FILE_NAME).write_text(self.text())

    def text(self) -> str:
        """The content of the file."""
        content = {
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "operations": [dict(operation) for operation in self.operations],
            "dtype": self.dtype,
            **({"sent_as": dict(self.sent_as)} if self.sent_as else {}),
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
            sent_as=content.get("sent_as", {}),
        )


def _is_of(name: str, sent: Operation) -> bool:
    """Whether an entry of the kind SENT is about a column: its own, or numbers `<column>_0` and so on."""
    column = sent["column"]
    return bool(re.fullmatch(re.escape(column) + r"_\d+", name)) if sent.get("vector") else name == column


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
    sent_as = content.get("sent_as", {})
    if not isinstance(sent_as, dict) or not all(isinstance(words, str) for words in sent_as.values()):
        problems.append("sent_as must be texts by column")
    operations = content.get("operations")
    if problems or not isinstance(operations, list):
        return problems or ["operations must be a list"]
    columns = set(content["inputs"])
    for number, operation in enumerate(operations):
        problem = problem_of(operation, columns)
        if problem:
            return [f"operations[{number}] {problem}"]
        columns.discard(operation["column"])
        columns.update(columns_of(operation))
    missing = sorted(set(content["outputs"]) - columns)
    return [f"outputs has {', '.join(missing)}, which no operation leaves"] if missing else []
