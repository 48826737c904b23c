"""Files on a disk, in an object store or behind HTTP, opened through fsspec; obstore does what is behind s3://, gs://
and az://."""

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import fsspec
import obstore.exceptions
import obstore.fsspec
import pyarrow as pa
from fsspec.core import OpenFile

from modelops_runtime.artifacts.store import client_options

_SCHEMES = ("s3", "gs", "az", "abfss")
Compression = Literal["none", "gzip", "bz2", "xz", "zip", "zstd"]
SUFFIXES: dict[str, Compression] = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zip": "zip", ".zst": "zstd"}
MAGIC: dict[bytes, Compression] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_DAMAGED = (gzip.BadGzipFile, zlib.error, EOFError, lzma.LZMAError, zipfile.BadZipFile)
_opened: fsspec.core.OpenFile | None = None


def unreadable() -> tuple[type[Exception], ...]:
    """What opening and reading raise."""
    import aiohttp  # asked for when something is raised: it takes as long to load as half of pandas

    return (OSError, ValueError, ImportError, obstore.exceptions.BaseError, aiohttp.ClientError, *_DAMAGED)


def filesystem(uri: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it, as it is written: no sign in a name is special."""
    register_object_stores()
    scheme = fsspec.core.split_protocol(uri)[0] or "file"
    if scheme not in ("file", *_SCHEMES):
        system_and_path: tuple[Any, str] = fsspec.core.url_to_fs(uri)
        return system_and_path
    # Not by `url_to_fs`, which takes a name with `::` for several addresses.
    system = fsspec.filesystem(scheme, **_options(uri))
    return system, system._strip_protocol(uri)


def register_object_stores() -> None:
    """Lets fsspec open object stores by obstore, which takes its settings from their usual variables."""
    obstore.fsspec.register(list(_SCHEMES))
    # Which a file that could not be opened lacks, so that Python would print a traceback when it closes it.
    obstore.fsspec.BufferedFile._reader = io.BytesIO()  # type: ignore[assignment]


def _options(uri: str) -> dict[str, Any]:
    return {"client_options": client_options()} if uri.partition("://")[0] in _SCHEMES else {}


def open_file(uri: str) -> OpenFile:
    """A file behind any address, for a `with` statement. Not by `fsspec.open`, which takes a name with `*` for many.
    Raises OSError for what is no file: a folder, and on this machine a pipe, whose end may never come."""
    global _opened
    _opened = _File(*filesystem(uri))
    return _opened


class _File(OpenFile):  # type: ignore[misc]
    def __enter__(self) -> Any:
        known = {}
        if is_local(self.fs):
            if not (stat.S_ISREG(mode := os.stat(self.path).st_mode) or stat.S_ISDIR(mode)):
                raise Unreadable("it is a pipe or a device, must be a file")
        elif isinstance(self.fs, obstore.fsspec.FsspecStore):
            # Which would open a folder as an empty file.
            info = self.fs.info(self.path) if "/" in self.path else {"type": "directory"}
            if info["type"] == "directory":
                raise IsADirectoryError(errno.EISDIR, "a folder", self.path)
            known = {"size": info["size"]}
        self.fobjects = [self.fs.open(self.path, "rb", **known)]
        return self.fobjects[0]


def part_read() -> float | None:
    """How much of the file that was opened last has been read, from 0 to 1: of its own bytes, compressed or not."""
    raw = next(iter(_opened.fobjects), None) if _opened else None
    size = getattr(raw, "size", None)
    if raw is None or not size:
        return None
    return 1.0 if raw.closed else float(raw.tell() / size)


def size(uri: str) -> int | None:
    """The bytes of a file; None where there is no such number."""
    try:
        system, path = filesystem(uri)
        return system.size(path) or None
    except unreadable():
        return None


@contextmanager
def open_content(uri: str, compression: Compression) -> Iterator[Any]:
    """What is in a compressed file, as a binary stream; of an archive, its only file."""
    with open_file(uri) as stream:
        if compression == "none":
            yield stream
        elif compression == "gzip":
            with gzip.open(stream) as content:
                yield content
        elif compression == "bz2":
            with bz2.open(stream) as content:
                yield content
        elif compression == "xz":
            with lzma.open(stream) as content:
                yield content
        elif compression == "zstd":
            with pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd") as content:
                yield content
        else:
            with zipfile.ZipFile(stream) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
                if len(names) != 1:
                    raise Unreadable(f"the archive has {len(names)} files, must have one")
                with archive.open(names[0]) as content:
                    yield content


class Unreadable(ValueError):
    """Says why, without any content."""


def is_local(system: Any) -> bool:
    """Whether a file system is this machine's."""
    return "file" in system.protocol


def matching(system: Any, path: str) -> list[str]:
    """Files by a pattern whose * and ? match anything but a slash, and as in a shell no dot that a name begins with.

    Looks into the folders that match and no others. Not fsspec's `glob`: it asks for folders' heads, which some object
    stores have no answer to. Raises what reading raises, of a folder that can't be read too.
    """
    beginning = re.split(r"[*?]", path)[0].rpartition("/")[0]
    *folders, last = path[len(beginning) :].removeprefix("/").split("/")
    files, below = _listed(system, beginning or "/" if is_local(system) else beginning)
    for part in folders:
        there = [_listed_if_there(system, name) for name in below if _matches(part, name)]
        files, below = [name for some, _ in there for name in some], [name for _, some in there for name in some]
    return [name for name in files if _matches(last, name)]


def _matches(part: str, name: str) -> bool:
    pattern = "".join({"*": "[^/]*", "?": "[^/]"}.get(sign, re.escape(sign)) for sign in re.split(r"([*?])", part))
    beginning = r"(?!\.)" if part.startswith(("*", "?")) else ""
    return bool(re.fullmatch(beginning + pattern, name.rpartition("/")[2]))


def _listed(system: Any, folder: str) -> tuple[list[str], list[str]]:
    """The files in a folder, and the folders in it."""
    if is_local(system):
        entries = [(entry.path, entry.is_dir()) for entry in os.scandir(folder)]
    else:
        there = [each for each in system.ls(folder, detail=True) if each["name"].rstrip("/") != folder]
        entries = [(each["name"].rstrip("/"), each["type"] == "directory" or _marks(system, each)) for each in there]
    files = [name for name, is_folder in entries if not is_folder]
    return files, list(dict.fromkeys(name for name, is_folder in entries if is_folder))


def _listed_if_there(system: Any, folder: str) -> tuple[list[str], list[str]]:
    """In a store there may be nothing but the object that stands for a folder."""
    try:
        return _listed(system, folder)
    except FileNotFoundError:
        return [], []


def _marks(system: Any, entry: Any) -> bool:
    """Whether an object stands for a folder: its key ends in a slash, which a listing doesn't show."""
    try:
        return bool(entry["size"] == 0 and system.info(entry["name"])["type"] == "directory")
    except FileNotFoundError:
        return True


def under(system: Any, folder: str, leave_out: Callable[[str], bool]) -> tuple[list[str], list[str], int]:
    """All files and all folders under a folder, but those for whose path in it `leave_out` holds; and how many such
    files there are. Raises OSError for a folder that can't be read, of which fsspec's `find` would say nothing."""
    files, folders = _walked(folder, leave_out) if is_local(system) else _all_listed(system, folder)
    start = len(folder) + 1
    kept = [name for name in files if not leave_out(name[start:])]
    return kept, [name for name in folders if not leave_out(name[start:])], len(files) - len(kept)


def _all_listed(system: Any, top: str) -> tuple[list[str], list[str]]:
    files, folders = _listed(system, top)
    for folder in folders:  # which grows
        more, below = _listed_if_there(system, folder)
        files += more
        folders += below
    return files, folders


def _walked(top: str, leave_out: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    files, folders = list[str](), list[str]()

    def refuse(error: OSError) -> None:
        if not leave_out(str(error.filename)[len(top) + 1 :]):
            raise error

    for parent, names, others in os.walk(top, onerror=refuse, followlinks=True):
        above = [Path(parent), *Path(parent).parents][: parent[len(top) :].count("/") + 1]
        for link in (f"{parent}/{name}" for name in names if os.path.islink(f"{parent}/{name}")):
            if any(each.resolve().is_relative_to(Path(link).resolve()) for each in above):
                refuse(OSError(errno.ELOOP, "a folder in it is a link to one above", link))
        files += [f"{parent}/{name}" for name in others]
        folders += [f"{parent}/{name}" for name in names]
    return files, folders


def reason(error: Exception) -> str:
    """Why a file can't be read, without any of its content."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder: name its files, as in folder/*.csv"
    if isinstance(error, PermissionError):
        return "this program may not read it"
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, _DAMAGED) or "data stream" in str(error) or "compress" in str(error):
        return "its compression is another, or it is cut off"
    if isinstance(error, pa.ArrowInvalid):
        return "it is not of its source's format, or damaged"
    if isinstance(error, obstore.exceptions.InvalidPathError) or "parse path" in str(error):
        return "a name there has an empty part, . or .. as a part, or a control character: rename it"
    if isinstance(error, obstore.exceptions.GenericError) and re.search("NoSuchBucket|404 Not Found", str(error)):
        return "there is no such bucket"
    if isinstance(error, NotADirectoryError):
        return "it is a file, must be a folder"
    if isinstance(error, UnicodeError):
        return "it is not of its source's encoding"
    if isinstance(error, ImportError):
        return f"a package for it is not installed ({error.name})"
    why = getattr(error, "strerror", None)
    return str(why or f"its storage says {type(error).__name__}")
