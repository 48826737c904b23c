"""The destination of a pipeline: a folder, or a prefix in an object store."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet

from modelops_runtime.artifacts.preprocessing import FILE_NAME
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.data.nested import to_arrow, to_pandas
from modelops_runtime.data.sources.files import filesystem

REPORT = "report.json"
LATEST = "latest.json"


class Place:
    """The destination: a folder, or a prefix in an object store."""

    def __init__(self, uri: str) -> None:
        """Raises ConfigurationError when there is no such kind of place."""
        try:
            self._system, path = filesystem(uri)
        except (ValueError, ImportError, OSError) as error:
            raise ConfigurationError(
                f"--destination is {uri!r}, must be a folder or an s3://, gs://, az:// or abfss:// address: {error}"
            ) from error
        self._uri = uri
        self._root = str(path).rstrip("/")
        self._local = "file" in (self._system.protocol if isinstance(self._system.protocol, tuple) else [])

    def __reduce__(self) -> tuple[Any, ...]:
        return Place, (self._uri,)

    def has(self, name: str) -> bool:
        self._system.invalidate_cache()
        return bool(self._system.exists(f"{self._root}/{name}"))

    def names(self, folder: str) -> list[str]:
        """Files under `folder`, relative to the place, in order."""
        self._system.invalidate_cache()
        return sorted(name[len(self._root) + 1 :] for name in self._system.find(f"{self._root}/{folder}"))

    def read_text(self, name: str) -> str:
        with self._system.open(f"{self._root}/{name}", "rb") as stream:
            return str(stream.read().decode())

    def write_text(self, name: str, text: str) -> None:
        with self._whole(name) as stream:
            stream.write(text.encode())

    def read_table(self, name: str, columns: list[str] | None = None) -> Any:
        with self._system.open(f"{self._root}/{name}", "rb") as stream:
            return to_pandas(pyarrow.parquet.read_table(stream, columns=columns, use_pandas_metadata=True))

    def read_schema(self, name: str) -> Any:
        """A table without its rows."""
        with self._system.open(f"{self._root}/{name}", "rb") as stream:
            return to_pandas(pyarrow.parquet.ParquetFile(stream).schema_arrow.empty_table())

    def write_table(self, name: str, frame: Any, *, index: bool = False) -> None:
        with self._whole(name) as stream:
            pyarrow.parquet.write_table(to_arrow(frame, index=index), stream)

    def remove(self, folder: str) -> None:
        if self._local:
            self._system.rm(f"{self._root}/{folder}", recursive=True)
            return
        # Each file alone: fsspec would remove the folder too, which Azure says is not there.
        for name in self.names(folder):
            self._system.rm_file(f"{self._root}/{name}")

    def mark_latest(self, version: str) -> None:
        """Says which version is the newest."""
        self.write_text(LATEST, json.dumps({"data_version": version}) + "\n")

    def publish(self, version: str, prepared: Any) -> None:
        """All of a version, or nothing of it."""
        if not self._local:
            self._write_version(version, version, prepared)
            return
        Path(self._root).mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=self._root))
        try:
            self._write_version(folder.name, version, prepared)
            folder.chmod(0o755)
            folder.rename(Path(self._root, version))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _write_version(self, folder: str, version: str, prepared: Any) -> None:
        print(f"writing {version}", flush=True)
        for name, rows in prepared.parts.items():
            rows.write(self, f"{folder}/{name}")
        self.write_text(f"{folder}/{FILE_NAME}", prepared.preprocessing.text())
        report = {"data_version": version, **prepared.report}
        self.write_text(f"{folder}/{REPORT}", json.dumps(report, indent=2) + "\n")

    @contextmanager
    def _whole(self, name: str) -> Iterator[Any]:
        """A file that appears when all of it is written."""
        path = f"{self._root}/{name}"
        if not self._local:
            with self._system.open(path, "wb") as stream:
                yield stream
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(f"{path}.{os.getpid()}.tmp")
        with temporary.open("wb") as stream:
            yield stream
        temporary.replace(path)
