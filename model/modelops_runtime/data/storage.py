"""The destination of a pipeline: a folder, or a prefix in an object store."""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet

from modelops_runtime.artifacts import prepared as versions
from modelops_runtime.artifacts.prepared import PROFILE_DATA, PROFILE_PAGE, REPORT
from modelops_runtime.artifacts.preprocessing import FILE_NAME
from modelops_runtime.artifacts.store import first_line, open_store
from modelops_runtime.contract import ConfigurationError, ContractError
from modelops_runtime.data.nested import to_arrow, to_pandas
from modelops_runtime.data.sources.files import filesystem

LATEST = "latest.json"
_OF_PIECES: dict[str, Any] = {"compression": "lz4", "use_dictionary": False}
"""Of files that the next step reads, once: a third of the processor time, and no more bytes."""
ABOUT = (FILE_NAME, PROFILE_DATA, PROFILE_PAGE)
"""What stands beside a version's parts."""


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

    def create_text(self, name: str, text: str) -> bool:
        """Whether there was no such file, alone in its folder: the first one's stays."""
        if not self._local:
            return self._put_new(name, text)
        path = Path(self._root, name)
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent.parent))
        try:
            Path(folder, path.name).write_text(text)
            folder.chmod(0o755)
            folder.rename(path.parent)
        except OSError:
            if not path.exists():
                raise
            return False
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return True

    def _put_new(self, name: str, text: str) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        store = open_store(self._uri, "--destination")
        try:
            store.put(name, text.encode(), mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError, FileExistsError):
            return self.read_text(name) == text  # the answer to a first try may have been lost
        except Exception as error:  # obstore's exceptions have no base of their own
            raise ContractError(f"{self._uri}/{name} can't be written: {first_line(error)}") from error
        return True

    def read_table(self, name: str, columns: list[str] | None = None) -> Any:
        with self._system.open(f"{self._root}/{name}", "rb") as stream:
            return to_pandas(pyarrow.parquet.read_table(stream, columns=columns, use_pandas_metadata=True))

    def read_schema(self, name: str) -> Any:
        """A table without its rows."""
        with self._system.open(f"{self._root}/{name}", "rb") as stream:
            return to_pandas(pyarrow.parquet.ParquetFile(stream).schema_arrow.empty_table())

    def write_table(self, name: str, frame: Any, *, index: bool = False) -> None:
        with self._whole(name) as stream:
            pyarrow.parquet.write_table(to_arrow(frame, index=index), stream, **(_OF_PIECES if index else {}))

    def remove(self, folder: str) -> None:
        if self._local:
            with suppress(FileNotFoundError):
                shutil.rmtree(f"{self._root}/{folder}")
            return
        # Each file alone: fsspec would remove the folder too, which Azure says is not there.
        for name in self.names(folder):
            self._remove_file(name)

    def _remove_file(self, name: str) -> None:
        with suppress(FileNotFoundError):  # another run removes it too
            self._system.rm_file(f"{self._root}/{name}")

    def mark_latest(self, version: str) -> None:
        """Says which version is the newest."""
        self.write_text(LATEST, json.dumps({"data_version": version}) + "\n")

    def publish(self, version: str, prepared: Any) -> None:
        """All of a version, or nothing of it. What another run published meanwhile stays, and this run's is removed."""
        print(f"writing {version}", flush=True)
        published = self._rename(version, prepared) if self._local else self._upload(version, prepared)
        if not published:
            print(f"another run has published {version} meanwhile: it stays", flush=True)
        self.clean(version)

    def _rename(self, version: str, prepared: Any) -> bool:
        """A folder of this attempt's own, which then gets the version's name."""
        Path(self._root).mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=self._root))
        try:
            report = self._write_version(folder.name, version, "", prepared)
            self.write_text(f"{folder.name}/{REPORT}", report)
            folder.chmod(0o755)
            folder.rename(Path(self._root, version))
        except OSError:
            if self.has(f"{version}/{REPORT}"):
                return False
            if Path(self._root, version).exists():
                raise ContractError(f"{self._uri}/{version} is there without a {REPORT}: remove it") from None
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return True

    def _upload(self, version: str, prepared: Any) -> bool:
        """Files under names of this attempt's own; then the report, which lists them, unless there is one already."""
        report = self._write_version(version, version, f"/{secrets.token_hex(4)}", prepared)
        return self._put_new(f"{version}/{REPORT}", report)

    def _write_version(self, folder: str, version: str, attempt: str, prepared: Any) -> str:
        """The report of what it wrote."""
        for name, rows in prepared.parts.items():
            rows.write(self, f"{folder}/{name}{attempt}")
        written = [name for part in prepared.parts for name in self.names(f"{folder}/{part}{attempt}")]
        for name, text in {FILE_NAME: prepared.preprocessing.text(), **prepared.profile.files(version)}.items():
            # In an object store beside the copy that has its plain name, and can be of another attempt.
            written.append(f"{folder}/about{attempt}/{name}" if attempt else f"{folder}/{name}")
            self.write_text(written[-1], text)
        files = [self._entry(name, folder) for name in written]
        return json.dumps({"data_version": version, **prepared.report, "files": files}, indent=2) + "\n"

    def _entry(self, name: str, folder: str) -> dict[str, str | int]:
        with self._system.open(f"{self._root}/{name}", "rb") as stream:
            return versions.entry(name.removeprefix(f"{folder}/"), stream.read)

    def clean(self, version: str) -> None:
        """Removes what is of a published version's other attempts, which can't be published any more."""
        if self._local:
            for folder in Path(self._root).glob(f".{version}-*"):
                shutil.rmtree(folder, ignore_errors=True)
            return
        try:
            files = versions.listed(self.read_text(f"{version}/{REPORT}").encode())
        except ContractError:
            return  # of a release that listed no files
        kept = {f"{version}/{name}" for name in (REPORT, *ABOUT, *(file.name for file in files))}
        for name in self.names(version):
            if name not in kept:
                self._remove_file(name)
        for name in ABOUT:
            if file := versions.named(files, name):
                self.write_text(f"{version}/{name}", self.read_text(f"{version}/{file.name}"))

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
