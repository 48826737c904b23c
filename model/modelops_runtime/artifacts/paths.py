"""Paths and files of a model's folder, whoever made it."""

import errno
import os
from io import BufferedReader
from pathlib import Path, PurePosixPath
from unicodedata import category

from modelops_runtime.contract import ContractError

MOST_PATH_BYTES = 1024
"""Of a file's path in a model's folder, as in object stores."""
MOST_NAME_BYTES = 255
"""Of a file's or a folder's name, as on disks."""
LONGEST_SHOWN = 100
"""How many characters of a path a message has."""


def inside(name: object) -> PurePosixPath:
    """The path of a file in a model's folder, whoever says that the file is there.

    Raises ContractError where it leads out of the folder, or no disk takes it.
    """
    if isinstance(name, str) and all(map(is_name, name.split("/"))) and len(name.encode()) <= MOST_PATH_BYTES:
        return PurePosixPath(name)
    shown = name if isinstance(name, str) and name.isprintable() else ascii(name)
    raise ContractError(f"{shown[:LONGEST_SHOWN]} is not a path inside the model's folder")


def is_name(part: str) -> bool:
    """Whether it is the name of a file or a folder in a folder."""
    if part in ("", ".", "..") or any(category(letter) in ("Cc", "Cs") for letter in part):
        return False
    return len(part.encode()) <= MOST_NAME_BYTES


def opened(file: Path) -> BufferedReader:
    """The file, to read. Raises OSError; also where it is no regular file, since a pipe or a device may never end."""
    if file.exists() and not file.is_file():
        code = errno.EISDIR if file.is_dir() else errno.EINVAL
        raise OSError(code, os.strerror(code) if file.is_dir() else "it is no regular file", str(file))
    return file.open("rb")
