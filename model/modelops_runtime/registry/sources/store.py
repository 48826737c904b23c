"""Models in an object store: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from modelops_runtime.artifacts.store import first_line, open_store
from modelops_runtime.contract import ContractError
from modelops_runtime.registry.sources.retry import NotReachable, Refused, retried
from modelops_runtime.registry.sources.source import CHUNK_BYTES, RemoteFile

PIECE_BYTES = 2**26
"""Asked for at a time: little enough to arrive within the store's time limit of a request."""
_FINAL = re.compile(r"status code: 4(?!08|29)\d\d")
"""What obstore says of answers that a retry won't change."""


class Store:
    """A folder in an object store, opened with the store's usual variables (`AWS_ACCESS_KEY_ID` …)."""

    def __init__(self, uri: str, wait_seconds: float) -> None:
        self._uri = uri.rstrip("/")
        self._wait_seconds = wait_seconds
        self._store = open_store(self._uri, "the model's address", patient=False)
        self._files = retried(self._listed, self._uri, "the list of its files", wait_seconds)

    @property
    def key(self) -> str:
        """Files that are overwritten have new tags."""
        listing = "\n".join(sorted(f"{file.name}\0{file.size}\0{file.tag}" for file in self._files))
        return f"{self._uri}@{hashlib.sha256(listing.encode()).hexdigest()}"

    def files(self) -> Sequence[RemoteFile]:
        return self._files

    def _listed(self) -> list[RemoteFile]:
        with self._errors():
            found = {each["path"]: each for page in self._store.list() for each in page}
        # Some programs put an empty object where a folder is.
        folders = {name[:end] for name in found for end in _slashes(name)}
        return [
            RemoteFile(name, int(each["size"]), tag=_quoted(each["e_tag"] or ""))
            for name, each in found.items()
            if name not in folders
        ]

    def download(self, file: RemoteFile, target: Path) -> None:
        def attempt() -> None:
            have = begun = target.stat().st_size if target.exists() else 0
            with self._errors(lambda: have > begun), target.open("ab") as output:
                while have < file.size:
                    piece = (have, min(have + PIECE_BYTES, file.size))
                    options = {"range": piece, **({"if_match": file.tag} if file.tag else {})}
                    for chunk in self._store.get(file.name, options=options).stream(min_chunk_size=CHUNK_BYTES):
                        have += output.write(chunk)

        retried(attempt, self._uri, file.name, self._wait_seconds)

    @contextmanager
    def _errors(self, progress: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Sorts the store's errors into those that a retry may mend, and others."""
        from obstore import exceptions

        final = (FileNotFoundError, exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
        try:
            yield
        except exceptions.PreconditionError as error:
            raise ContractError(f"{self._uri} was overwritten while it was fetched: fetch it again") from error
        except (*final, exceptions.BaseError) as error:
            reason = first_line(error)
            if isinstance(error, final) or _FINAL.search(reason):
                raise Refused(reason) from error
            raise NotReachable(reason, progress=progress()) from error


def _quoted(tag: str) -> str:
    """A tag as HTTP's If-Match takes it, none for a weak one: Azure lists them without the quotation marks."""
    if not tag or tag.startswith("W/"):
        return ""
    return tag if tag.startswith('"') else f'"{tag}"'


def _slashes(name: str) -> Iterator[int]:
    return (position for position, letter in enumerate(name) if letter == "/")
