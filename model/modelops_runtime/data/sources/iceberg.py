"""Tables of Apache Iceberg, read by PyIceberg: it follows a column's number, whatever its name was, and leaves out the
rows that are deleted."""

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from modelops_runtime.data import errors
from modelops_runtime.data.sources.columns import normal
from modelops_runtime.data.sources.files import filesystem, open_file, reason, unreadable
from modelops_runtime.data.sources.tables import Snapshot, library, no_version

_METADATA = re.compile(r"(?:v(\d+)|(\d+)-[^/]*?)(?:\.gz)?\.metadata\.json(?:\.gz)?")
_ENDS = (".metadata.json", ".gz.metadata.json")
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss"}
"""Other names of the stores' addresses, as Hadoop has them."""


def snapshot(uri: str, version: int | None) -> "Iceberg":
    """Raises DataError and ConfigurationError."""
    library("pyiceberg.io.pyarrow", uri)
    from pyiceberg.exceptions import ValidationError

    location = uri if ".metadata.json" in uri else _newest(uri)
    try:
        return Iceberg(uri, location, version)
    except errors.DataError:
        raise
    except unreadable() as error:
        why = "it has equality deletes: compact it before" if "equality delete" in str(error) else reason(error)
        raise errors.unreadable(location, why) from None
    except (ValidationError, NotImplementedError) as error:
        raise errors.unreadable(location, f"it is no Iceberg metadata that is known ({type(error).__name__})") from None


def _newest(uri: str) -> str:
    """The metadata file of a table's folder: the one its hint names, else that of the highest number. Raises
    DataError."""
    system, path = filesystem(uri)
    folder = f"{path.rstrip('/')}/metadata"
    try:
        names = [str(name) for name in system.find(folder)]
        numbers = {name: number for name in names if (number := _number(name)) is not None}
        if f"{folder}/version-hint.text" in names:
            with open_file(str(system.unstrip_protocol(f"{folder}/version-hint.text"))) as stream:
                hint = stream.read().decode().strip()
            said = {hint, *(f"{prefix}{hint}{end}" for prefix in ("v", "") for end in _ENDS)}
            names = [name for name in names if name.rpartition("/")[2] in said]
        else:
            newest = max(numbers.values(), default=0)
            names = [name for name, number in numbers.items() if number == newest]
    except unreadable() as error:
        raise errors.unreadable(uri, reason(error)) from error
    if not names:
        raise errors.unreadable(uri, "there is no Iceberg table: no folder metadata with a file *.metadata.json")
    if len(names) > 1:
        raise errors.doubt(uri, "has several newest metadata files: give the uri of the one that its catalog names")
    return str(system.unstrip_protocol(names[0]))


def _number(name: str) -> int | None:
    found = _METADATA.fullmatch(name.rpartition("/")[2])
    return int(found[1] or found[2]) if found else None


class Iceberg(Snapshot):
    """See Snapshot."""

    def __init__(self, uri: str, location: str, version: int | None) -> None:
        from pyiceberg.io.pyarrow import schema_to_pyarrow
        from pyiceberg.serializers import FromInputFile
        from pyiceberg.table import DataScan

        self._io = _files()
        self._metadata: Any = FromInputFile.table_metadata(self._io.new_input(location))
        if version is not None and self._metadata.snapshot_by_id(version) is None:
            raise no_version(uri, version, "table_version is the id of a snapshot that its metadata still has")
        scan = DataScan(self._metadata, self._io, snapshot_id=version)
        found = scan.snapshot()
        self._schema = scan.projection()
        self.version = found.snapshot_id if found else 0
        self.pin = {"uri": location, "table_version": version}
        self.content = f"iceberg {self._metadata.table_uuid} {self.version} {self._schema.schema_id}"
        arrow = schema_to_pyarrow(self._schema, include_field_ids=False)
        self.schema = pa.schema([(entry.name, normal(entry.type)) for entry in arrow])
        order = self._order(found) if found else {}
        tasks = sorted(scan.plan_files(), key=lambda task: (*order[task.file.file_path], task.file.file_path))
        self._tasks = {task.file.file_path: task for task in tasks}
        self.files = list(self._tasks)

    def _order(self, found: Any) -> dict[str, tuple[int, int]]:
        """When each data file came into the table."""
        times = {each.snapshot_id: each.timestamp_ms for each in self._metadata.snapshots}
        return {
            entry.data_file.file_path: (entry.sequence_number or 0, times.get(entry.snapshot_id, 0))
            for manifest in found.manifests(self._io)
            for entry in manifest.fetch_manifest_entry(self._io)
        }

    def read(self, file: str, rows: int) -> Iterator[pa.Table]:
        from pyiceberg.expressions import AlwaysTrue
        from pyiceberg.io.pyarrow import ArrowScan, _read_all_delete_files

        task = self._tasks[file]
        scan = ArrowScan(self._metadata, self._io, self._schema, AlwaysTrue())
        # Its public methods have a whole file in memory, and several files at once.
        deleted = _read_all_delete_files(self._io, [task])
        for batch in scan._record_batches_from_scan_tasks_and_deletes([task], deleted):
            table = pa.Table.from_batches([batch]).cast(self.schema)
            for start in range(0, len(table), rows):
                yield table.slice(start, rows)


def _files() -> Any:
    """PyIceberg's access to files, by the one file system that all sources have."""
    from pyiceberg.io.fsspec import FsspecFileIO, FsspecInputFile

    def new_input(location: str) -> Any:
        scheme, _, rest = location.partition("://")
        system, path = filesystem(f"{_SCHEMES.get(scheme, scheme)}://{rest}" if rest else location)
        return FsspecInputFile(location=path, fs=system)

    files: Any = FsspecFileIO({})
    files.new_input = new_input
    return files
