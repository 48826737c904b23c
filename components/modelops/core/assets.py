"""The library's asset files, as text."""

from functools import cache
from pathlib import Path

_LIBRARY = Path(__file__).resolve().parents[1]


@cache
def asset(path: str) -> str:
    """Text of one file, by its path under `modelops/`."""
    return (_LIBRARY / path).read_text(encoding="utf-8")


@cache
def assets(folder: str) -> dict[str, str]:
    """Text of each file in a folder under `modelops/`, by file name."""
    return {file.name: file.read_text(encoding="utf-8") for file in sorted((_LIBRARY / folder).iterdir())}
