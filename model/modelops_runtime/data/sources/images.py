"""Folders of images: one folder a label."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from modelops_runtime.contract import Exit
from modelops_runtime.data import errors
from modelops_runtime.data.nested import is_unicode
from modelops_runtime.data.sources.files import under

SUFFIXES = tuple(f".{suffix}" for suffix in "bmp dib gif jfif jp2 jpe jpeg jpg pgm png pnm ppm tif tiff webp".split())
AT_ONCE = 1_000
"""Images of a portion: so many rows of features are in memory at a time, and in a shard's file."""
_SYSTEM = {"__macosx", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "lost+found"}
_SYSTEM |= {"system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini"}


def files(system: Any, folder: str) -> tuple[list[str], dict[str, int]]:
    """The images in the folders under `folder`, and how many other files are left out. Raises DataError."""
    present, hidden = under(system, folder, _is_hidden)
    names = [name for name in present if name.lower().endswith(SUFFIXES)]
    left_out = {"hidden_files": hidden, "other_files": len(present) - len(names)}
    uri = system.unstrip_protocol(folder)
    if not names:
        counts = f"{left_out['hidden_files']} hidden and {left_out['other_files']} other files are left out"
        raise errors.unreadable(uri, f"there is no image in it ({counts})")
    if strange := sum(not is_unicode(name) for name in names):
        raise errors.unreadable(uri, f"names of {strange} of its images are not UTF-8")
    if without := sorted(name[len(folder) + 1 :] for name in names if "/" not in name[len(folder) + 1 :]):
        raise errors.DataError(
            f"{uri} has {len(without)} {'image' if len(without) == 1 else 'images'} outside of a folder, such as"
            f" {without[0]!r}: the folder is the label, so move them into one",
            code=Exit.CONFIGURATION,
        )
    return names, left_out


def portions(files: Sequence[str], shards: int) -> list[range]:
    """The numbers of the images that a worker takes at once."""
    size = max(1, min(AT_ONCE, -(-len(files) // shards)))
    return [range(start, min(start + size, len(files))) for start in range(0, len(files), size)]


def rows(folder: str, files: Sequence[str]) -> pa.Table:
    """The images' addresses and labels."""
    labels = [name_in(folder, file).rpartition("/")[0] for file in files]
    return pa.table({"uri": pa.array(files, pa.string()), "label": pa.array(labels, pa.string())})


def name_in(folder: str, file: str) -> str:
    """An image's path in the source's folder."""
    return file[len(folder) + 1 :]


def _is_hidden(path: str) -> bool:
    """Whether a file is none of the user's: what editors, operating systems and archives leave behind."""
    return any(part.startswith(".") or part.lower() in _SYSTEM for part in path.split("/"))
