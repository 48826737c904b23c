"""What decides the rows of a version beside the declaration: code, libraries, and what the sources have."""

import hashlib
import itertools
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from re import Pattern
from typing import Any

from obstore.fsspec import FsspecStore

from modelops_runtime.data import errors
from modelops_runtime.data.sources.files import filesystem, open_file, reason, unreadable

BLOCK_BYTES = 2**20
FEW_FILES = 3
"""So many in one folder are asked for one by one."""
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


def state(files: Sequence[str]) -> list[list[str]]:
    """What a file system says of files without reading them: another one where somebody has changed them."""
    found = []
    for folder, together in itertools.groupby(files, key=lambda file: file.rpartition("/")[0]):
        names = list(together)
        try:
            infos = _infos(folder, names)
        except unreadable() as error:
            raise errors.unreadable(names[0], reason(error)) from error
        for file, info in zip(names, infos, strict=True):
            told = (info.get(key) for key in ("size", "mtime", "e_tag", "ETag", "last_modified"))
            found.append([file, *(str(each) for each in told if each is not None)])
    return found


def _infos(folder: str, files: Sequence[str]) -> list[Any]:
    """What is known of files in one folder; in an object store by one request for many."""
    system, path = filesystem(folder if len(files) > FEW_FILES else files[0])
    system.invalidate_cache()
    if len(files) > FEW_FILES and isinstance(system, FsspecStore):
        listed = {entry["name"]: entry for entry in system.ls(path, detail=True)}
        return [listed.get(filesystem(file)[1], {}) for file in files]
    return [system.info(filesystem(file)[1]) for file in files]


def changed(before: Iterable[list[str]], after: Iterable[list[str]]) -> str | None:
    """The first file whose state is another; None where none is."""
    differing = {tuple(each) for each in before} ^ {tuple(each) for each in after}
    return min(differing)[0] if differing else None


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
        except unreadable():
            return b"\0" * 32  # the step that reads it says so, with its row, or never gets it


def _digest(stream: Any) -> bytes:
    digest = hashlib.sha256()
    while block := stream.read(BLOCK_BYTES):
        digest.update(block)
    return digest.digest()
