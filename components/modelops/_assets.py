"""The files that the library carries, in their native formats."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent / "assets"


@cache
def asset(path: str) -> str:
    """Text of `assets/<path>`."""
    return (_FOLDER / path).read_text(encoding="utf-8")


@cache
def source(module: str) -> str:
    """Text of a module of this library, for a place where the library is not installed."""
    return (_FOLDER.parent / module).read_text(encoding="utf-8")


@cache
def assets(folder: str) -> dict[str, str]:
    """Text of each file in `assets/<folder>` by file name."""
    return {file.name: file.read_text(encoding="utf-8") for file in sorted((_FOLDER / folder).iterdir())}
