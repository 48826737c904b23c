"""Folders to download into, which outlast a process that is killed: the next one goes on where it was."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelops_runtime.registry.sources.retry import Unreachable


@contextmanager
def resumed(parent: Path, name: str) -> Iterator[Path]:
    """The folder `name` in `parent`, with what an earlier attempt left there. It is gone afterwards, unless the attempt
    breaks off for a reason that passes.

    One process has it at a time; another that comes meanwhile gets a folder of its own.
    """
    folder = parent / name
    lock = _lock(folder)
    if lock is None:
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=parent, ignore_cleanup_errors=True) as other:
            yield Path(other)
        return
    try:
        yield folder
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, Unreachable):
            _remove(folder, lock)
        with contextlib.suppress(OSError):  # something is in it
            folder.rmdir()
        raise
    else:
        _remove(folder, lock)
    finally:
        os.close(lock)


def _lock(folder: Path) -> int | None:
    """Makes the folder if need be, and locks it: an open file until whose end no other process has it. None where
    another has it, or the file system knows no locks."""
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        with contextlib.suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(folder, opened):
                return opened
        os.close(opened)
    return None


def _is(folder: Path, opened: int) -> bool:
    """Whether the folder is still the one that was opened: its holder may move it into place."""
    return os.path.samestat(folder.stat(), os.fstat(opened))


def _remove(folder: Path, opened: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        if _is(folder, opened):
            shutil.rmtree(folder, ignore_errors=True)
