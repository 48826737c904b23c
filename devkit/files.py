"""Files that others may read, or run, while they are written: they see the old one or the new one, whole."""

import os
import shutil
import tempfile
from pathlib import Path


def replace_text(path: Path, text: str, mode: int = 0o600) -> None:
    """Writes a file of that mode, by default for its owner alone, in one step."""
    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def replace_link(path: Path, target: Path) -> None:
    """Makes `path` a symbolic link to `target` in one step, whatever was there."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        link = Path(folder, path.name)
        link.symlink_to(target)
        os.replace(link, path)


def replace_copy(path: Path, source: Path) -> None:
    """Makes `path` the file `source`, sharing its bytes where the file system can, in one step."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        copy = Path(folder, path.name)
        try:
            copy.hardlink_to(source)
        except OSError:
            shutil.copy2(source, copy)
        os.replace(copy, path)
