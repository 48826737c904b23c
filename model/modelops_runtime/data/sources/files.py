"""Files on a disk, in an object store or behind HTTP, opened through fsspec; obstore does what is behind s3://, gs:// and
az://."""

import re
from typing import Any

import fsspec
import obstore.exceptions

from modelops_runtime.artifacts.store import client_options

_SCHEMES = ("s3", "gs", "az", "abfss")
UNREADABLE = (OSError, ValueError, ImportError, obstore.exceptions.BaseError)
"""What opening and reading raise."""


def filesystem(uri: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    register_object_stores()
    system_and_path: tuple[Any, str] = fsspec.core.url_to_fs(uri, **_options(uri))
    return system_and_path


def register_object_stores() -> None:
    """Lets fsspec open object stores by obstore, which takes its settings from their usual variables."""
    import obstore.fsspec

    obstore.fsspec.register(list(_SCHEMES))


def _options(uri: str) -> dict[str, Any]:
    return {"client_options": client_options()} if uri.partition("://")[0] in _SCHEMES else {}


def open_file(uri: str, mode: str = "rb", **options: Any) -> Any:
    """A file behind any address, for a `with` statement."""
    register_object_stores()
    return fsspec.open(uri, mode, **options, **_options(uri))


def matching(system: Any, path: str) -> list[str]:
    """Files by a pattern whose * and ? match anything but a slash.

    Not fsspec's `glob`: it asks for folders' heads, which some object stores have no answer to.
    """
    folder = re.split(r"[*?]", path)[0].rpartition("/")[0]
    pattern = "".join({"*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part)) for part in re.split(r"([*?])", path))
    return [name for name in system.find(folder) if re.fullmatch(pattern, name)]


def reason(error: Exception) -> str:
    """Why a file can't be read, without any of its content."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return getattr(error, "strerror", None) or type(error).__name__
