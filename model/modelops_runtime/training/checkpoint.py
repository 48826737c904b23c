"""Checkpoints: a stopped training resumes where it left off."""

import io
import json
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from modelops_runtime.artifacts.store import first_line, open_store
from modelops_runtime.contract import ContractError, TrainingContract

FILE = "last.ckpt"
STATE = "state.json"
WEIGHTS = "weights"


@dataclass
class Progress:
    """How far a training is: whole epochs, and steps of the one after them."""

    history: list[dict[str, float]] = field(default_factory=list)
    """A row an epoch that is whole."""
    step: int = 0
    """Steps done of the epoch after those."""
    loss: float = 0.0
    rows: int = 0
    """Sum of the losses of that epoch's rows so far, and their number."""
    weights: bytes = b""
    """The framework's own state: weights and optimizer."""

    def whole(self, epochs: int) -> bool:
        return len(self.history) >= epochs


class Store(Protocol):
    """Where the one checkpoint is kept; writes are atomic."""

    def read(self) -> bytes | None: ...
    def write(self, content: bytes) -> None: ...


class Folder:
    """A folder of this machine: a volume, or scratch space."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def read(self) -> bytes | None:
        try:
            return self._file.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, content: bytes) -> None:
        scratch = self._file.with_suffix(".next")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(content)
            scratch.replace(self._file)
        except OSError as error:
            with suppress(OSError):  # a part of it would keep a full disk full
                scratch.unlink()
            raise ContractError(f"the checkpoint can't be written to {self._file}: {error.strerror}") from error


class ObjectStore:
    """An object store such as s3://, gs:// or az://. An object is put whole."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._store = open_store(uri, "MODELOPS_CHECKPOINT_URI")

    def read(self) -> bytes | None:
        try:
            return bytes(self._store.get(FILE).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise ContractError(f"the checkpoint can't be read from {self._uri}: {first_line(error)}") from error

    def write(self, content: bytes) -> None:
        try:
            self._store.put(FILE, content)
        except Exception as error:
            raise ContractError(f"the checkpoint can't be written to {self._uri}: {first_line(error)}") from error


class WrongOwner(Exception):
    """The checkpoint was written by another run, or with other parameters."""


class Checkpoints:
    """The checkpoint of one `run_id` with one set of parameters: another run's is not resumed.

    The owner is part of the path in an object store, and in the file in any case.
    """

    def __init__(self, settings: TrainingContract, parameters: dict[str, Any]) -> None:
        self._owner = {"run_id": settings.run_id, "framework": settings.framework, "parameters": parameters}
        self._store: Store = Folder(settings.checkpoint_dir)
        if settings.checkpoint_uri:
            self._store = ObjectStore(f"{settings.checkpoint_uri.rstrip('/')}/{settings.run_id}")

    def save(self, progress: Progress) -> None:
        self._store.write(self.pack(progress))

    def pack(self, progress: Progress) -> bytes:
        """One archive: state as JSON, weights as the framework writes them."""
        state = {**vars(progress), "owner": self._owner}
        del state["weights"]
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr(STATE, json.dumps(state))
            archive.writestr(WEIGHTS, progress.weights)
        return content.getvalue()

    def unpack(self, content: bytes) -> Progress:
        """Raises WrongOwner when it is another run's, and whatever the standard library does when it is damaged."""
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            state = json.loads(archive.read(STATE))
            if state.pop("owner") != self._owner:
                raise WrongOwner
            return Progress(**state, weights=archive.read(WEIGHTS))

    def load(self) -> Progress | None:
        """The last checkpoint; None when there is none, it is another run's, or it can't be read (which is printed)."""
        content = self._store.read()
        if content is None:
            return None
        try:
            return self.unpack(content)
        except WrongOwner:
            print("the checkpoint is another run's: starting from the beginning", flush=True)
        except Exception as error:  # whatever a damaged archive makes the standard library raise
            print(f"the checkpoint can't be read ({error}): starting from the beginning", flush=True)
        return None
