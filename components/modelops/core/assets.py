"""Files of the library, in their native formats, as text."""

from functools import cache
from pathlib import Path

_LIBRARY = Path(__file__).resolve().parents[1]


@cache
def asset(path: str) -> str:
    """Text of a file of the library, by its path below `modelops/`."""
    return (_LIBRARY / path).read_text(encoding="utf-8")


@cache
def assets(folder: str) -> dict[str, str]:
    """Text of each file in a folder of the library, by file name."""
    return {file.name: file.read_text(encoding="utf-8") for file in sorted((_LIBRARY / folder).iterdir())}
