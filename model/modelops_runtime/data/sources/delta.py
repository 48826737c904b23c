"""Tables of Delta Lake, whose log delta-rs reads."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from modelops_runtime.artifacts.store import client_options, is_store
from modelops_runtime.data import errors
from modelops_runtime.data.sources import parquet
from modelops_runtime.data.sources.files import filesystem
from modelops_runtime.data.sources.tables import Snapshot, library, no_version

_FEATURES = {"deletionVectors", "timestampNtz", "typeWidening", "typeWidening-preview", "v2Checkpoint"} | {
    "vacuumProtocolCheck"
}
"""What a table may ask of its readers, beside mapped columns."""
Positions = npt.NDArray[np.int64]


def snapshot(uri: str, version: int | None) -> "Delta":
    """Raises DataError and ConfigurationError."""
    deltalake: Any = library("deltalake", uri)
    failures: Any = library("deltalake.exceptions", uri)
    options = {name: str(value).lower() for name, value in client_options().items()} if is_store(uri) else {}
    try:
        table = deltalake.DeltaTable(uri, storage_options=options)
        newest = table.version()
        if version is not None:
            if version > newest:
                raise no_version(uri, version, f"its newest is {newest}")
            table.load_as_version(version)
        _require_readable(uri, table)
        return Delta(uri, table)
    except failures.TableNotFoundError:
        raise errors.unreadable(uri, "there is no Delta Lake table: no folder _delta_log with a commit") from None
    except failures.DeltaError as error:
        kept = "" if version is None else f", or the log of version {version} is no longer kept"
        raise errors.unreadable(uri, f"its log can't be read ({type(error).__name__}){kept}") from None


def _require_readable(uri: str, table: Any) -> None:
    """Raises DataError for a table that would be read wrongly."""
    asked = set(table.protocol().reader_features or ()) - _FEATURES - {"columnMapping"}
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        asked.add("columnMapping")
    if asked:
        advice = "write a copy of it without, such as by CREATE TABLE AS SELECT"
        raise errors.doubt(uri, f"is a table with {', '.join(sorted(asked))}, which is not read here: {advice}")


class Delta(Snapshot):
    """See Snapshot."""

    def __init__(self, uri: str, table: Any) -> None:
        self.version = table.version()
        self.pin = {"table_version": self.version}
        self.content = f"delta {table.metadata().id} {self.version}"
        self.schema = pa.schema(table.schema().to_arrow())
        system, path = filesystem(uri)
        root = str(system.unstrip_protocol(path)).rstrip("/")
        actions = pa.table(table.get_add_actions()).select(["modification_time", "path", *_partitioned(table)])
        self._partitions: dict[str, dict[str, Any]] = {}
        for action in sorted(actions.to_pylist(), key=lambda action: (action["modification_time"], action["path"])):
            name = unquote(action["path"])
            file = name if "://" in name else f"{root}/{name}"
            self._partitions[file] = action.get("partition") or {}
        self.files = list(self._partitions)
        self._deleted = self._deletions(uri, table)

    def _deletions(self, uri: str, table: Any) -> dict[str, Positions]:
        """The rows that are deleted of each file. Raises DataError."""
        deleted: dict[str, Positions] = {}
        for batch in pa.RecordBatchReader.from_stream(table.deletion_vectors()):
            for address, kept in zip(batch["filepath"].to_pylist(), batch["selection_vector"], strict=True):
                file = next((file for file in self.files if _relative(file) == _relative(unquote(address))), None)
                if file is None:
                    raise errors.unreadable(uri, "it has deleted rows of a file that its log does not list")
                deleted[file] = np.flatnonzero(~kept.values.to_numpy(zero_copy_only=False))
        return deleted

    def read(self, file: str, rows: int) -> Iterator[pa.Table]:
        first, deleted = 0, self._deleted.get(file, np.empty(0, dtype="int64"))
        for table in parquet.read(file, rows):
            kept = ~np.isin(np.arange(first, first + len(table)), deleted)
            first += len(table)
            columns = [self._column(table, entry, self._partitions[file]) for entry in self.schema]
            yield pa.Table.from_arrays(columns, schema=self.schema).filter(pa.array(kept))

    @staticmethod
    def _column(table: pa.Table, entry: pa.Field, partition: dict[str, Any]) -> Any:
        if entry.name in partition:
            return pa.repeat(pa.scalar(partition[entry.name], entry.type), len(table))
        if entry.name not in table.column_names:
            return pa.nulls(len(table), entry.type)
        return table.column(entry.name).cast(entry.type)


def _partitioned(table: Any) -> list[str]:
    return ["partition"] if table.metadata().partition_columns else []


def _relative(address: str) -> str:
    """An address without what one library writes in another way than the other: its scheme."""
    return address.partition("://")[2].lstrip("/") if "://" in address else address.lstrip("/")
