"""Checkpoints of a fine-tuning: the Trainer's own folders, of which the newest whole one is kept.

Weights, optimizer, schedule and every process's random states are in a folder that gets its name when all of it is
written; `last.json`, replaced atomically, says which folder counts and whose it is.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol

from modelops_runtime.artifacts.results import write_json
from modelops_runtime.artifacts.store import first_line, open_store
from modelops_runtime.contract import ConfigurationError, ContractError, TrainingContract
from modelops_runtime.registry.sources.store import Store

POINTER = "last.json"
WRITING = ".writing"
"""Where the Trainer writes, beside the folders that are whole."""


class Place(Protocol):
    """Where checkpoints are kept."""

    def pointer(self) -> dict[str, Any] | None:
        """What `last.json` says; None where there is none."""

    def folder(self, name: str) -> Path:
        """The checkpoint on this machine."""

    def bring(self, written: Path) -> None:
        """Takes what this machine has written; called for each machine, once all have written."""

    def point(self, content: dict[str, Any]) -> None:
        """Makes a checkpoint count, and removes the others."""


class Checkpoints:
    """The checkpoint of one run with one set of parameters and processes: another's is not resumed."""

    def __init__(self, settings: TrainingContract, parameters: dict[str, Any], processes: int) -> None:
        self._owner = {"run_id": settings.run_id, "parameters": parameters, "processes": processes}
        self.writing = settings.checkpoint_dir / WRITING
        """The Trainer's output folder."""
        self._place: Place = _Folder(settings.checkpoint_dir)
        if settings.checkpoint_uri:
            self._place = _Remote(f"{settings.checkpoint_uri.rstrip('/')}/{settings.run_id}")

    def last(self) -> str:
        """The name of the checkpoint to resume from; empty where there is none, or another run's (which is printed)."""
        pointer = self._place.pointer()
        if pointer is None:
            return ""
        if pointer.get("owner") != self._owner:
            print("the checkpoint is another run's: starting from the beginning", flush=True)
            return ""
        return str(pointer["checkpoint"])

    def folder(self, name: str) -> Path:
        """A checkpoint's folder on this machine. Raises ConfigurationError where this worker doesn't see it."""
        folder = self._place.folder(name)
        if not folder.is_dir():
            raise ConfigurationError(
                f"{folder} is not there: all workers need the same checkpoints, on a volume that they share or at"
                " MODELOPS_CHECKPOINT_URI"
            )
        return folder

    def bring(self, name: str) -> None:
        self._place.bring(self.writing / name)

    def point(self, name: str) -> None:
        self._place.point({"checkpoint": name, "owner": self._owner})


class _Folder:
    """A volume that all workers share."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def pointer(self) -> dict[str, Any] | None:
        return _parsed((self._root / POINTER).read_text() if (self._root / POINTER).exists() else "")

    def folder(self, name: str) -> Path:
        return self._root / name

    def bring(self, written: Path) -> None:
        shutil.rmtree(self._root / written.name, ignore_errors=True)  # a killed run got as far as this, and no further
        written.rename(self._root / written.name)

    def point(self, content: dict[str, Any]) -> None:
        write_json(self._root / POINTER, content)
        for old in self._root.glob("checkpoint-*"):
            if old.name != content["checkpoint"]:
                shutil.rmtree(old, ignore_errors=True)


class _Remote:
    """An object store. What each machine has written goes there as it is, in pieces."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._store = open_store(uri, "MODELOPS_CHECKPOINT_URI")
        self._here = Path(tempfile.mkdtemp(prefix="checkpoint-"))

    def pointer(self) -> dict[str, Any] | None:
        try:
            return _parsed(bytes(self._store.get(POINTER).bytes()).decode())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise ContractError(f"the checkpoint can't be read from {self._uri}: {first_line(error)}") from error

    def folder(self, name: str) -> Path:
        place = self._here / name
        source = Store(f"{self._uri}/{name}", wait_seconds=60)
        for file in source.files():
            (place / file.name).parent.mkdir(parents=True, exist_ok=True)
            source.download(file, place / file.name)
        return place

    def bring(self, written: Path) -> None:
        try:
            for path in sorted(each for each in written.rglob("*") if each.is_file()):
                self._store.put(f"{written.name}/{path.relative_to(written).as_posix()}", path)
        except Exception as error:
            raise ContractError(f"the checkpoint can't be written to {self._uri}: {first_line(error)}") from error
        shutil.rmtree(written)

    def point(self, content: dict[str, Any]) -> None:
        try:
            self._store.put(POINTER, json.dumps(content).encode())
            there = [file["path"] for page in self._store.list() for file in page]
            old = [path for path in there if path != POINTER and not path.startswith(f"{content['checkpoint']}/")]
            if old:
                self._store.delete(old)
        except Exception as error:
            raise ContractError(f"the checkpoint can't be written to {self._uri}: {first_line(error)}") from error


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) and "checkpoint" in content else None
