"""Folders of images: one folder a label."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def files(system: Any, path: str) -> list[str]:
    """The images under a folder."""
    return [name for name in system.find(path) if name.lower().endswith(SUFFIXES)]


def read(file: str) -> Iterator[pd.DataFrame]:
    """An image's address and label."""
    yield pd.DataFrame({"uri": [file], "label": [file.split("/")[-2]]})
