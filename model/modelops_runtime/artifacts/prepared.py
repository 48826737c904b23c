"""The files of a version of prepared data, as its `report.json` lists them.

The report comes last, so that a version without one is not whole. Readers take the files that it lists, and no others:
in an object store an attempt that was killed may have left some beside them.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelops_runtime.contract import ContractError

REPORT = "report.json"
PROFILE_DATA, PROFILE_PAGE = "profile.json", "profile.html"
PARTS = ("train", "validation", "test")
BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class File:
    """A file of a version."""

    name: str
    """Relative to the version's folder."""
    size: int
    sha256: str

    def require(self, content: bytes) -> bytes:
        """The content. Raises ContractError when it is not what was published."""
        self._compare(len(content), hashlib.sha256(content).hexdigest())
        return content

    def require_at(self, folder: Path) -> Path:
        """The file in a copy of the version. Raises ContractError when it is not what was published."""
        path, digest = folder / self.name, hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while block := stream.read(BLOCK_BYTES):
                    digest.update(block)
                self._compare(stream.tell(), digest.hexdigest())
        except FileNotFoundError:
            raise gone(self.name) from None
        return path

    def _compare(self, size: int, sha256: str) -> None:
        if (size, sha256) != (self.size, self.sha256):
            raise ContractError(
                f"{self.name} has {size:,} bytes and another content than {REPORT} says ({self.size:,} bytes):"
                " remove the version, and prepare it again"
            )


def gone(name: str) -> ContractError:
    return ContractError(f"{name} is not there, but {REPORT} lists it: prepare the version again")


def listed(report: bytes) -> list[File]:
    """The files that a report lists, in the order of their rows. Raises ContractError when it lists none."""
    try:
        return [File(each["name"], each["bytes"], each["sha256"]) for each in json.loads(report)["files"]]
    except (ValueError, KeyError, TypeError):
        problem = f"{REPORT} lists no files: it is damaged, or of an earlier release; prepare the data again"
        raise ContractError(problem) from None


def of_folder(folder: Path) -> list[File] | None:
    """The files of a version on this machine; None where no report lists them, as in a folder that somebody made by
    hand. There it is whole all the same: on a file system a version appears at once."""
    try:
        report = (folder / REPORT).read_bytes()
        return listed(report) if "files" in json.loads(report) else None
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise ContractError(f"{REPORT} is damaged: prepare the data again") from None


def entry(name: str, blocks: Callable[[int], bytes]) -> dict[str, str | int]:
    """A file's place in a report; `blocks` reads a number of bytes of it."""
    digest, size = hashlib.sha256(), 0
    while block := blocks(BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    return {"name": name, "bytes": size, "sha256": digest.hexdigest()}


def of_part(files: Sequence[File], part: str) -> list[File]:
    """The Parquet files of `train`, `validation` or `test`, in the order of their rows."""
    return [file for file in files if file.name.startswith(f"{part}/") and file.name.endswith(".parquet")]


def named(files: Sequence[File], name: str) -> File | None:
    """The file of this name, in whichever folder: in an object store each attempt has its own."""
    return next((file for file in files if file.name.rpartition("/")[2] == name), None)


def rows_of(folder: Path, part: str) -> list[Path]:
    """The Parquet files of a part of a version on this machine, each checked; of a folder without a report, which
    somebody made by hand, all. Raises ContractError."""
    files = of_folder(folder)
    if files is None:
        return sorted(folder.glob(f"{part}/**/*.parquet"))
    return [file.require_at(folder) for file in of_part(files, part)]
