"""Models that were fetched before, kept on a volume that pods share.

An entry is a folder named by the key of its content, which never changes. It comes into its place by one rename, whole
or not at all, so that pods that fetch at the same time don't disturb each other. A pod notes what it uses, and keeps
the note fresh as long as it runs (`hold.py`): nobody removes what has a fresh note.
"""

import contextlib
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelops_runtime.contract import ContractError
from modelops_runtime.registry.scratch import resumed

ROOM = 2**26
"""Bytes that stay free."""
FRESH_SECONDS = 600
"""How long a note counts after it was last renewed: longer than a node may be cut off from the volume."""
RENEW_SECONDS = FRESH_SECONDS / 10
LEFT_SECONDS = 7200
"""How long nothing has changed in a folder that a pod which was killed has left."""
_USES = ".uses"


class Full(ContractError):
    """What doesn't fit, although nothing is left that may be removed."""


class Cache:
    """A cache folder. Every method takes it as another pod may just have left it."""

    def __init__(self, folder: Path, pod: str = "") -> None:
        """`pod` names who uses it; in a pod that is the host's name."""
        self._folder = folder
        self._pod = pod or socket.gethostname()
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> Path | None:
        """The folder with a model's files, which counts as used now; None when it isn't there."""
        entry = self._entry(key)
        try:
            os.utime(entry)
        except FileNotFoundError:
            return None
        return entry

    def claim(self, key: str) -> None:
        """Notes that this pod uses a model: from now on no other pod removes it. It need not be there yet."""
        note = self._use(self._entry(key))
        while True:
            with contextlib.suppress(
                FileNotFoundError, FileExistsError
            ):  # the last other pod left, and its folder with it
                note.parent.mkdir(parents=True, exist_ok=True)
                note.touch()
                return

    def release(self, key: str) -> None:
        """Takes the note away."""
        self._forget(self._use(self._entry(key)))

    def renew(self) -> None:
        """Keeps the notes of this pod fresh."""
        for note in self._notes():
            with contextlib.suppress(FileNotFoundError):
                os.utime(note)

    def leave(self) -> None:
        """Takes all notes of this pod away."""
        for note in self._notes():
            self._forget(note)

    @contextmanager
    def incoming(self, key: str) -> Iterator[Path]:
        """A folder to download into, with what this pod had of the model when it broke off; what is not kept is gone
        afterwards."""
        with resumed(self._folder, f".incoming-{_digest(key)}-{self._pod}") as scratch:
            yield scratch

    def keep(self, scratch: Path, key: str, *, damaged: bool = False) -> Path:
        """Makes a download the model's entry; where another pod was faster, its one is as good, unless it is damaged.

        Pods that use a damaged one find the new one in its place.
        """
        entry = self._entry(key)
        scratch.chmod(0o755)
        if damaged:
            self._remove(entry)
        try:
            scratch.rename(entry)
        except OSError:
            if not entry.is_dir():
                raise
        return entry

    def remember(self, model_uri: str, key: str) -> None:
        """Notes where a model URI led to, for when the registry can't say."""
        note = self._note(model_uri)
        with tempfile.NamedTemporaryFile("w", dir=self._folder, prefix=".note-", delete=False) as file:
            file.write(key)
        os.replace(file.name, note)

    def recall(self, model_uri: str) -> str | None:
        """The key that a model URI led to the last time, if that model is still here."""
        with contextlib.suppress(FileNotFoundError):
            key = self._note(model_uri).read_text()
            if self._entry(key).is_dir():
                return key
        return None

    def make_room(self, needed: int) -> None:
        """Removes what was used longest ago and no pod uses now, until `needed` bytes fit. Raises Full if they never
        do."""
        for left in [*self._folder.glob(".incoming-*"), *self._folder.glob(".removed-*")]:
            if self._now() - _written_at(left) > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        entries = sorted(self._folder.glob("model-*"), key=_used_at)
        while shutil.disk_usage(self._folder).free < needed + ROOM:
            unused = next((entry for entry in entries if not self._in_use(entry)), None)
            if unused is None:
                raise Full(f"the cache has no room for {needed} bytes beside the models that pods use")
            entries.remove(unused)
            print(f"the cache is full: removing {unused.name}, used longest ago", flush=True)
            self._remove(unused, spared=True)

    def _remove(self, entry: Path, *, spared: bool = False) -> None:
        """With `spared`, an entry that a pod has just begun to use stays.

        That pod notes first and looks for the entry then; here it goes out of sight first. So either the note is seen,
        or the entry isn't.
        """
        away = Path(tempfile.mkdtemp(prefix=".removed-", dir=self._folder), entry.name)
        with contextlib.suppress(FileNotFoundError):
            entry.rename(away)
            if spared and self._in_use(entry):
                with contextlib.suppress(OSError):  # fetched again meanwhile
                    away.rename(entry)
        shutil.rmtree(away.parent, ignore_errors=True)

    def _in_use(self, entry: Path) -> bool:
        """Whether a pod has renewed its note lately."""
        now = self._now()
        for note in (self._folder / _USES / entry.name).glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if now - note.stat().st_mtime < FRESH_SECONDS:
                    return True
        return False

    def _now(self) -> float:
        """The time by the volume's own clock, by which the notes are dated."""
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".clock-") as clock:
            return Path(clock.name).stat().st_mtime

    def _entry(self, key: str) -> Path:
        return self._folder / f"model-{_digest(key)}"

    def _use(self, entry: Path) -> Path:
        return self._folder / _USES / entry.name / self._pod

    def _notes(self) -> list[Path]:
        return list((self._folder / _USES).glob(f"*/{self._pod}"))

    def _forget(self, note: Path) -> None:
        note.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other pods have notes there
            note.parent.rmdir()
            note.parent.parent.rmdir()

    def _note(self, model_uri: str) -> Path:
        return self._folder / f".uri-{_digest(model_uri)}"


def _used_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0


def _written_at(folder: Path) -> float:
    """When anything in a folder was written last. Another pod may be removing it: what is gone counts as old."""
    paths = (Path(parent, name) for parent, folders, files in os.walk(folder) for name in (*folders, *files))
    return max(map(_used_at, (folder, *paths)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
