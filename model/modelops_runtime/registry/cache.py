"""Model versions that were fetched before, kept on a volume that the pods of a service share.

An entry is a folder named by where the version's files are in the registry, which never changes for a version. It comes
into its place by one rename, whole or not at all, so that pods that fetch at the same time don't disturb each other.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = 2**26
"""Bytes that stay free."""


class Cache:
    """A cache folder. Every method takes it as another pod may just have left it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, artifact_uri: str) -> Path | None:
        """The folder with a version's files, which counts as used now; None when it isn't there."""
        entry = self._entry(artifact_uri)
        try:
            os.utime(entry)
        except FileNotFoundError:
            return None
        return entry

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A folder to download into; what is not kept is gone afterwards."""
        scratch = Path(tempfile.mkdtemp(prefix=".incoming-", dir=self._folder))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def keep(self, scratch: Path, artifact_uri: str) -> Path:
        """Makes a download the version's entry; where another pod was faster, its one is as good."""
        entry = self._entry(artifact_uri)
        scratch.chmod(0o755)
        try:
            scratch.rename(entry)
        except OSError:
            if not entry.is_dir():
                raise
        return entry

    def drop(self, artifact_uri: str) -> None:
        """Forgets a version."""
        shutil.rmtree(self._entry(artifact_uri), ignore_errors=True)

    def remember(self, model_uri: str, artifact_uri: str) -> None:
        """Notes where a model URI led to, for when the registry can't say."""
        note = self._note(model_uri)
        with tempfile.NamedTemporaryFile("w", dir=self._folder, prefix=".note-", delete=False) as file:
            file.write(artifact_uri)
        os.replace(file.name, note)

    def recall(self, model_uri: str) -> str | None:
        """Where a model URI led to the last time, if that version is still here."""
        with contextlib.suppress(FileNotFoundError):
            artifact_uri = self._note(model_uri).read_text()
            if self._entry(artifact_uri).is_dir():
                return artifact_uri
        return None

    def make_room(self, needed: int) -> None:
        """Removes what was used longest ago until `needed` bytes fit, or nothing is left to remove."""
        entries = sorted(self._folder.glob("model-*"), key=lambda entry: entry.stat().st_mtime)
        for entry in entries:
            if shutil.disk_usage(self._folder).free >= needed + ROOM:
                return
            print(f"the cache is full: removing {entry.name}, used longest ago", flush=True)
            shutil.rmtree(entry, ignore_errors=True)

    def _entry(self, artifact_uri: str) -> Path:
        return self._folder / f"model-{_digest(artifact_uri)}"

    def _note(self, model_uri: str) -> Path:
        return self._folder / f".uri-{_digest(model_uri)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
