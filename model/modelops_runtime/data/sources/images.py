"""Folders of images: one folder a label."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from modelops_runtime.contract import Exit
from modelops_runtime.data import errors
from modelops_runtime.data.nested import is_unicode
from modelops_runtime.data.sources.files import under

SUFFIXES = tuple(
    f".{suffix}"
    for suffix in "apng bmp dib gif j2k jfif jp2 jpe jpeg jpg pam pbm pgm png pnm ppm tif tiff webp".split()
)
_UNREAD = (".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".jxl")
"""Kinds that OpenCV doesn't read, or doesn't turn upright. Leaving them out would choose rows by camera."""
AT_ONCE = 1_000
"""Images of a portion: so many rows of features are in memory at a time, and in a shard's file."""
_SYSTEM = {"__macosx", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "lost+found"}
_SYSTEM |= {"system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini"}


def files(system: Any, folder: str) -> tuple[list[str], dict[str, Any]]:
    """The images in the folders under `folder`; how many other files are left out, and which folders have no image.
    Raises DataError."""
    uri = system.unstrip_protocol(folder)
    try:
        present, folders, hidden = under(system, folder, _is_hidden)
    except (FileNotFoundError, NotADirectoryError) as error:
        if isinstance(error, NotADirectoryError) or system.isfile(folder):
            raise errors.unreadable(uri, "it is a file, must be a folder (an archive must be unpacked)") from None
        raise
    names = [name for name in present if name.lower().endswith(SUFFIXES)]
    left_out = {"hidden_files": hidden, "other_files": len(present) - len(names)}
    if unread := sorted(name_in(folder, name) for name in present if name.lower().endswith(_UNREAD)):
        counted = f"{len(unread)} {'image' if len(unread) == 1 else 'images'}"
        raise errors.unreadable(
            uri, f"it has {counted} in AVIF, HEIF or JPEG XL, such as {unread[0]!r}: convert to PNG, or take them out"
        )
    if not names:
        counts = f"{left_out['hidden_files']} hidden and {left_out['other_files']} other files are left out"
        raise errors.unreadable(uri, f"there is no image in it ({counts})")
    if strange := sum(not is_unicode(name) for name in names):
        raise errors.unreadable(uri, f"names of {strange} of its images are not UTF-8")
    if without := sorted(name_in(folder, name) for name in names if "/" not in name_in(folder, name)):
        raise errors.DataError(
            f"{uri} has {len(without)} {'image' if len(without) == 1 else 'images'} outside of a folder, such as"
            f" {without[0]!r}: the folder is the label, so move them into one",
            code=Exit.CONFIGURATION,
        )
    return names, {**left_out, **_without_images(folder, folders, names)}


def _without_images(folder: str, folders: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """The folders that would be labels if they, or one in them, had an image."""
    with_some = {str(parent) for name in names for parent in PurePosixPath(name_in(folder, name)).parents}
    empty = {name_in(folder, each) for each in folders} - with_some
    outermost = sorted(each for each in empty if not empty.intersection(map(str, PurePosixPath(each).parents)))
    return {"without_images": [each for each in outermost if is_unicode(each)]} if outermost else {}


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
