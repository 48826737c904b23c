"""What a training learns from: the image's own sample, a CSV file, or a version that `modelops-prepare` made.

A version brings its split and what was fitted on it: nothing is cleaned or split again, and the model goes out with the
preprocessing, so that its server does to a client's raw values what was done to these rows.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from modelops_runtime.artifacts import prepared as versions
from modelops_runtime.artifacts.prepared import PARTS, REPORT
from modelops_runtime.artifacts.preprocessing import FILE_NAME, Preprocessing
from modelops_runtime.artifacts.store import first_line, is_store, open_store
from modelops_runtime.contract import ConfigurationError, ContractError
from sample import data, preprocess
from sample.parameters import SMALLEST_SPLIT, Parameters
from sample.preprocess import Array

MOST_CLASSES = 100
Examples = tuple[Array, Array]
"""Inputs and targets."""
Label = str | int | float


@dataclass(frozen=True)
class Dataset:
    """Three parts without a row in common, as models take them."""

    train: Examples
    validation: Examples
    test: Examples
    parameters: Parameters
    """For rows of this shape."""
    preprocessing: Preprocessing | None = None
    """What was done to a client's row to make it one of these; None where that was nothing."""
    labels: tuple[Label, ...] = ()
    """Names of the classes, where the data has them."""

    def __str__(self) -> str:
        sizes = [len(part[0]) for part in (self.train, self.validation, self.test)]
        return f"{sizes[0]} training, {sizes[1]} validation, {sizes[2]} test rows"


def read(uri: str, parameters: Parameters) -> Dataset:
    """The data behind `MODELOPS_DATA_URI`: a folder or an address in a store has a version; else it is a CSV file.

    Raises ConfigurationError when it can't be learned from, ContractError when it can't be reached.
    """
    if is_store(uri) or (uri and _folder(uri).is_dir()):
        return prepared(Version(uri), parameters)
    raw = data.load(uri, parameters)
    rows = preprocess.clean(raw)
    if len(rows) < len(raw):
        print(f"left out {len(raw) - len(rows)} of {len(raw)} rows: a column is missing or not a finite number")
    split = preprocess.split(rows, parameters)
    train, validation, test = (
        preprocess.arrays(part, parameters) for part in (split.train, split.validation, split.test)
    )
    return Dataset(train, validation, test, parameters)


def _folder(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path) if uri.startswith("file://") else uri)


class Version:
    """A version of prepared data, in a folder or an object store."""

    def __init__(self, uri: str) -> None:
        """Raises ConfigurationError when there is no version, ContractError when it is damaged."""
        self._uri = uri
        address = uri if is_store(uri) else _folder(uri).resolve().as_uri()
        self._store = open_store(address, "MODELOPS_DATA_URI")
        report = self._content(REPORT)
        if report is None:
            latest = self._content("latest.json")
            what = (
                f"has versions, and must name one of them: {latest.decode().strip()}" if latest else f"has no {REPORT}"
            )
            raise ConfigurationError(f"MODELOPS_DATA_URI {uri!r} {what}")
        self._files = versions.listed(report) if is_store(uri) else versions.of_folder(_folder(uri))

    def preprocessing(self) -> Preprocessing:
        """Raises ConfigurationError when there is none, ContractError when it is damaged."""
        if self._files is None:
            content = self._content(FILE_NAME)
        else:
            file = versions.named(self._files, FILE_NAME)
            content = None if file is None else self._published(file)
        if content is None:
            raise ConfigurationError(f"MODELOPS_DATA_URI {self._uri!r} has no {FILE_NAME}")
        return Preprocessing.parse(content, FILE_NAME)

    def part(self, name: str) -> pd.DataFrame:
        """The rows of a part, of all its files in their order. Raises ConfigurationError when there is none."""
        if self._files is None:
            contents = [path.read_bytes() for path in versions.rows_of(_folder(self._uri), name)]
        else:
            contents = [self._published(file) for file in versions.of_part(self._files, name)]
        if not contents:
            raise ConfigurationError(f"MODELOPS_DATA_URI {self._uri!r} has no rows in the part {name}")
        return pd.concat([pd.read_parquet(io.BytesIO(content)) for content in contents], ignore_index=True)

    def _published(self, file: versions.File) -> bytes:
        content = self._content(file.name)
        if content is None:
            raise versions.gone(file.name)
        return file.require(content)

    def _content(self, name: str) -> bytes | None:
        try:
            return bytes(self._store.get(name).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise ContractError(f"{self._uri}/{name} can't be read: {first_line(error)}") from error


def prepared(version: Version, parameters: Parameters) -> Dataset:
    """A version as models take it. Raises ConfigurationError naming part, row (from 0) and column, never a value."""
    preprocessing = version.preprocessing()
    frames = {part: version.part(part) for part in PARTS}
    targets = [column for column in frames["train"].columns if column not in preprocessing.outputs]
    if len(targets) != 1:
        raise ConfigurationError(
            f"the prepared data has {len(targets)} columns beside the model's inputs, must have one: its target"
        )
    for part, frame in frames.items():
        if len(frame) < SMALLEST_SPLIT:
            raise ConfigurationError(f"the part {part} has {len(frame)} rows, must have at least {SMALLEST_SPLIT}")
    labels = _labels(frames["train"][targets[0]]) if parameters.task == "classification" else ()
    shaped = parameters.for_rows(len(preprocessing.outputs), len(labels))
    parts = [
        (_numbers(frame, preprocessing.outputs, part), _targets(frame[targets[0]], labels, part))
        for part, frame in frames.items()
    ]
    return Dataset(parts[0], parts[1], parts[2], shaped, preprocessing, labels)


def _numbers(frame: pd.DataFrame, columns: Sequence[str], part: str) -> Array:
    """By way of float64, as `Preprocessing.transform` goes: the same numbers to the last bit."""
    texts = [column for column in columns if not pd.api.types.is_numeric_dtype(frame[column])]
    if texts:
        raise ConfigurationError(
            *(f"column {column} of the prepared data is text: encode, convert or drop it" for column in texts)
        )
    wide = np.stack([frame[column].to_numpy(dtype="float64", na_value=np.nan) for column in columns], axis=1)
    with np.errstate(over="ignore"):
        numbers: Array = wide.astype("float32")
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        row, column = wrong[0]
        raise ConfigurationError(
            f"{part}, row {row}, column {columns[column]}: is missing or too large for float32; fill, clip or scale it"
        )
    return numbers


def _labels(column: pd.Series) -> tuple[Label, ...]:
    """The labels of the training split in their order: text, or numbers."""
    if column.isna().any():
        raise ConfigurationError(
            f"train, row {int(column.isna().to_numpy().argmax())}, column {column.name}: has no label"
        )
    labels = tuple(sorted(_label(value) for value in column.unique()))
    if not 2 <= len(labels) <= MOST_CLASSES:
        raise ConfigurationError(
            f"column {column.name} has {len(labels)} labels in the training split, must have 2 to {MOST_CLASSES}"
        )
    return labels


def _label(value: Any) -> Any:
    if isinstance(value, str):
        return value
    number = float(value)
    return int(number) if number.is_integer() else number


def _targets(column: pd.Series, labels: tuple[Label, ...], part: str) -> Array:
    """Of a classification a column a label, with a 1 in the right one; else the numbers themselves."""
    if not labels:
        return _numbers(column.to_frame(), [str(column.name)], part)
    places = {label: place for place, label in enumerate(labels)}
    codes = np.array([-1 if pd.isna(value) else places.get(_label(value), -1) for value in column])
    if (codes < 0).any():
        row = int((codes < 0).argmax())
        raise ConfigurationError(f"{part}, row {row}, column {column.name}: is no label of the training split")
    hot: Array = np.eye(len(labels), dtype="float32")[codes]
    return hot
