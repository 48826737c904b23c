"""What every source of a model's files can do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class RemoteFile:
    """A file of a model."""

    name: str
    """Its path inside the model's folder."""
    size: int
    url: str = ""
    tag: str = ""
    """The store's name for its content, where it has one."""


class Source(Protocol):
    """A model's folder somewhere else. Every call raises ContractError with a plain reason; what may pass is tried
    again."""

    @property
    def key(self) -> str:
        """Identifies the content: another content has another key."""

    def files(self) -> Sequence[RemoteFile]:
        """All files, those in folders too."""

    def download(self, file: RemoteFile, target: Path) -> None:
        """One of the files, in pieces, to `target`. Goes on with what an attempt that broke has left there."""
