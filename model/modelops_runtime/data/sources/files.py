"""Files on a disk, in an object store or behind HTTP, opened through fsspec; obstore does what is behind s3://, gs://
and az://."""

import bz2
import errno
import gzip
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import aiohttp
import fsspec
import obstore.exceptions
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
UNREADABLE = (OSError, ValueError, ImportError, obstore.exceptions.BaseError, aiohttp.ClientError, *_DAMAGED)
"""What opening and reading raise."""
_opened: fsspec.core.OpenFile | None = None


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
    import obstore.fsspec

    obstore.fsspec.register(list(_SCHEMES))


def _options(uri: str) -> dict[str, Any]:
    return {"client_options": client_options()} if uri.partition("://")[0] in _SCHEMES else {}


def open_file(uri: str, mode: str = "rb", **options: Any) -> Any:
    """A file behind any address, for a `with` statement. Not by `fsspec.open`, which takes a name with `*` for many."""
    global _opened
    system, path = filesystem(uri)
    _opened = OpenFile(system, path, mode, **options)
    return _opened


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
    except UNREADABLE:
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


def matching(system: Any, path: str) -> list[str]:
    """Files by a pattern whose * and ? match anything but a slash.

    Not fsspec's `glob`: it asks for folders' heads, which some object stores have no answer to.
    """
    folder = re.split(r"[*?]", path)[0].rpartition("/")[0]
    pattern = "".join({"*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part)) for part in re.split(r"([*?])", path))
    return [name for name in system.find(folder) if re.fullmatch(pattern, name)]


def under(system: Any, folder: str, leave_out: Callable[[str], bool]) -> tuple[list[str], int]:
    """All files under a folder, but those for whose path in it `leave_out` holds; and how many those are. Raises
    OSError for a folder on this machine that can't be read, of which fsspec's `find` would say nothing."""
    start = len(folder) + 1
    if "file" not in system.protocol:
        names = system.find(folder)
    else:
        names = []

        def refuse(error: OSError) -> None:
            if not leave_out(str(error.filename)[start:]):
                raise error

        for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
            for link in (f"{parent}/{name}" for name in folders if os.path.islink(f"{parent}/{name}")):
                if Path(parent).resolve().is_relative_to(Path(link).resolve()):
                    refuse(OSError(errno.ELOOP, "a folder in it is a link to one above", link))
            names += [f"{parent}/{file}" for file in files]
    kept = [name for name in names if not leave_out(name[start:])]
    return kept, len(names) - len(kept)


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
    if isinstance(error, UnicodeError):
        return "it is not of its source's encoding"
    if isinstance(error, ImportError):
        return f"a package for it is not installed ({error.name})"
    why = getattr(error, "strerror", None)
    return str(why or f"its storage says {type(error).__name__}")
