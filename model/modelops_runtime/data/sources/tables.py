"""Tables of Delta Lake and Apache Iceberg: what one snapshot of them has.

A snapshot is a list of data files that nobody changes any more. They are read one by one, as files of other formats
are; the table's own log says which they are, what a file lacks, and which of its rows are deleted.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import pyarrow as pa

from modelops_runtime.artifacts.extras import optional
from modelops_runtime.contract import Exit
from modelops_runtime.data import errors


class Snapshot(ABC):
    """One version of a table."""

    version: int
    """Its number, as the table's format has it."""
    pin: Mapping[str, Any]
    """What a source says that has this snapshot, whatever is written to the table meanwhile."""
    content: str
    """Names what is in it: of the same table another one has another."""
    files: list[str]
    """Its data files, the oldest first."""
    schema: pa.Schema

    @abstractmethod
    def read(self, file: str, rows: int) -> Iterator[pa.Table]:
        """What is left of a data file, some rows at a time, with the columns of the schema."""


def snapshot_of(format_: str, uri: str, version: int | None) -> Snapshot:
    """A table's snapshot; without a version the newest. Raises DataError and ConfigurationError."""
    reader = import_module(f"modelops_runtime.data.sources.{format_}")
    snapshot: Snapshot = reader.snapshot(uri, version)
    return snapshot


def library(name: str, uri: str) -> ModuleType:
    """Raises ConfigurationError where the extra `tables` is not installed."""
    return optional(name, uri, extra="tables", remedy="build the image with EXTRAS=tables")


def no_version(uri: str, version: int, there: str) -> errors.DataError:
    return errors.DataError(f"{uri} has no version {version}: {there}", code=Exit.CONFIGURATION)
