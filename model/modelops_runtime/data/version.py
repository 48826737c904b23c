"""What decides the rows of a version beside the declaration: code, libraries, and what the sources have."""

import hashlib
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from re import Pattern
from typing import Any

from modelops_runtime.data import errors
from modelops_runtime.data.sources.files import UNREADABLE, filesystem, open_file, reason

BLOCK_BYTES = 2**20
COMMON = ("numpy", "pandas", "pyarrow")
"""Libraries that each pipeline uses."""


def code_version(libraries: Iterable[str] = ()) -> str:
    """A hash of this code and of the libraries whose results it hands on."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    served = [package / "artifacts" / name for name in ("operations.py", "preprocessing.py")]
    for file in sorted([*(package / "data").rglob("*.py"), *served]):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    for library in sorted({*COMMON, *libraries}):
        digest.update(f"{library} {_installed(library)}\0".encode())
    digest.update(" ".join(platform.python_version_tuple()[:2]).encode())
    return digest.hexdigest()


def _installed(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "none"  # the step that needs it says so


def state(files: Iterable[str]) -> list[list[str]]:
    """What a file system says of files without reading them: another one where somebody has changed them."""
    found = []
    for file in files:
        try:
            system, path = filesystem(file)
            system.invalidate_cache()
            info = system.info(path)
        except UNREADABLE as error:
            raise errors.unreadable(file, reason(error)) from error
        told = (info.get(key) for key in ("size", "mtime", "e_tag", "ETag", "last_modified"))
        found.append([file, *(str(each) for each in told if each is not None)])
    return found


def digest_of(folder: Path, files: Pattern[str]) -> str:
    """A hash of the files of a folder whose names match; of a folder that is not there, as of an empty one."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if file.is_file() and files.fullmatch(file.name):
            with file.open("rb") as stream:
                digest.update(file.name.encode() + b"\0" + _digest(stream))
    return digest.hexdigest()


class NamedFiles:
    """A hash of the contents of files that rows name, in the order of the rows; where they are is no part of it."""

    def __init__(self) -> None:
        self._digest, self._known = hashlib.sha256(), dict[str, bytes]()

    def add(self, addresses: Iterable[Any]) -> None:
        for address in map(str, addresses):
            if address not in self._known:
                self._known[address] = self._of(address)
            self._digest.update(self._known[address])

    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def _of(self, address: str) -> bytes:
        try:
            with open_file(address) as stream:
                return _digest(stream)
        except UNREADABLE:
            return b"\0" * 32  # the step that reads it says so, with its row, or never gets it


def _digest(stream: Any) -> bytes:
    digest = hashlib.sha256()
    while block := stream.read(BLOCK_BYTES):
        digest.update(block)
    return digest.digest()
