"""The part of MLflow's REST API that the serving image needs, on the standard library.

The MLflow library would make the serving image several times larger.
"""

import base64
import errno
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, TypeVar

from modelops_runtime.artifacts.paths import LONGEST_SHOWN, inside
from modelops_runtime.contract import ContractError
from modelops_runtime.registry.sources.retry import NotReachable, Refused, retried
from modelops_runtime.registry.sources.source import CHUNK_BYTES, RemoteFile

TIMEOUT_SECONDS = 30
BYTES_PER_SECOND = 20 * 2**20
"""At which a server at least passes a file on to its store, or from there: it answers when it has all of it."""
MOST_BYTES = 64 * 2**20
"""Of an answer that is no file."""
MOST_FILES = 100_000
API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


T = TypeVar("T")


class Registry:
    """A tracking server. Every call raises ContractError with a plain reason; those that may pass are tried again."""

    def __init__(self, tracking_uri: str, wait_seconds: float, account: str = "MLFLOW_TRACKING") -> None:
        """`account` is the prefix of the variables with the user name and password."""
        self._base = tracking_uri.rstrip("/")
        self._headers = credentials(account)
        self._wait_seconds = wait_seconds

    def version(self, name: str, alias: str | None, version: str | None) -> str:
        """The version that an alias names. `version` is ignored when there is an `alias`."""
        if alias is None:
            return version or ""
        answer = self.get("registered-models/alias", {"name": name, "alias": alias}, f"models:/{name}@{alias}")
        return str(answer.get("model_version", {}).get("version", ""))

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Points the model's alias to this version, wherever it pointed before."""
        content = {"name": name, "alias": alias, "version": version}
        self.post("registered-models/alias", content, f"alias {alias} of models:/{name}/{version}")

    def artifact_uri(self, name: str, alias: str | None, version: str | None) -> str:
        """Where the model version's files are."""
        version = self.version(name, alias, version)
        what = f"models:/{name}/{version}"
        answer = self.get("model-versions/get-download-uri", {"name": name, "version": version}, what)
        return str(answer.get("artifact_uri", ""))

    def files(self, artifact_uri: str, *, deep: bool = False) -> list[RemoteFile]:
        """The plain files of an artifact folder; with `deep` those of its folders too, `/` in their names."""
        root, base = self._proxied(artifact_uri)
        files: list[RemoteFile] = []
        folders = [""]
        while folders:
            inner = folders.pop()
            folder = "/".join(filter(None, (base, inner)))
            listing = self._answer(f"{root}?{urllib.parse.urlencode({'path': folder})}", f"the files of {artifact_uri}")
            for name, size in _entries(listing):
                path = str(inside(f"{inner}/{name}" if inner else name))
                if size is not None:
                    url = f"{root}/{urllib.parse.quote(folder)}/{urllib.parse.quote(name)}"
                    files.append(RemoteFile(name=path, size=size, url=url))
                elif deep:
                    folders.append(path)
            if len(files) + len(folders) > MOST_FILES:
                raise ContractError(f"{artifact_uri} has more than {MOST_FILES} files")
        return files

    def download(self, file: RemoteFile, target: Path) -> None:
        """Raises ContractError when the file is not as long as the registry announced."""

        def attempt() -> None:
            have = target.stat().st_size if target.exists() else 0
            request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})
            with self._opened(request, file.size) as response:
                got = have if response.status == 206 else 0
                with target.open("ab" if got else "wb") as output:
                    # Not more of them than announced, whatever comes.
                    while got <= file.size and (chunk := response.read(CHUNK_BYTES)):
                        got += output.write(chunk)
            if got != file.size:
                if got > file.size:
                    target.unlink()
                raise NotReachable(f"{got} bytes came, the registry lists {file.size}")

        self._retried(attempt, file.name)

    def upload(self, path: Path, artifact_uri: str, name: str) -> None:
        """Uploads a file into an artifact folder, replacing one of the same name."""
        root, folder = self._proxied(artifact_uri)
        url = f"{root}/{urllib.parse.quote(folder)}/{urllib.parse.quote(name)}"

        def attempt() -> None:
            with path.open("rb") as content:
                size = path.stat().st_size
                headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
                request = urllib.request.Request(url, content, headers, method="PUT")
                with self._opened(request, size):
                    pass

        self._retried(attempt, name)

    def get(self, method: str, query: dict[str, str], what: str) -> dict[str, Any]:
        """The answer of a method of the API; `what` names the thing in messages."""
        return self._answer(f"{self._base}{API}/{method}?{urllib.parse.urlencode(query)}", what)

    def post(self, method: str, content: dict[str, Any], what: str) -> dict[str, Any]:
        """The answer of a method of the API that takes JSON."""
        return self._answer(f"{self._base}{API}/{method}", what, content)

    def _proxied(self, artifact_uri: str) -> tuple[str, str]:
        parts = urllib.parse.urlsplit(artifact_uri)
        if parts.scheme == "mlflow-artifacts":
            base = f"{urllib.parse.urlsplit(self._base).scheme}://{parts.netloc}" if parts.netloc else self._base
            return base + ARTIFACTS, parts.path.strip("/")
        prefix, separator, folder = parts.path.partition(ARTIFACTS)
        if parts.scheme in ("http", "https") and separator:
            return f"{parts.scheme}://{parts.netloc}{prefix}{ARTIFACTS}", folder.strip("/")
        raise ContractError(
            f"the model's files are at {artifact_uri!r}: only artifacts served by the MLflow server (--serve-artifacts,"
            " an mlflow-artifacts:/ URI) can be fetched"
        )

    def _answer(self, url: str, what: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a GET, or to a POST of `content`."""
        body = None if content is None else json.dumps(content).encode()

        def attempt() -> dict[str, Any]:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            with self._opened(request) as response:
                text = response.read(MOST_BYTES + 1)
            if len(text) > MOST_BYTES:
                raise ContractError(f"{self._base} answers with more than {MOST_BYTES} bytes: {what}")
            if response.length:  # of a read with a limit, Python doesn't tell that less came than was announced
                raise NotReachable(f"the answer broke off after {len(text)} bytes, {response.length} are missing")
            try:
                answer = json.loads(text)
            except ValueError:
                answer = None
            if not isinstance(answer, dict):
                raise ContractError(f"{self._base} does not answer like an MLflow server: {what} gave no JSON object")
            return answer

        return self._retried(attempt, what)

    def _retried(self, attempt: Callable[[], T], what: str) -> T:
        return retried(attempt, f"the registry {self._base}", what, self._wait_seconds)

    @contextmanager
    def _opened(self, request: urllib.request.Request, size: int = 0) -> Iterator[HTTPResponse]:
        """The answer. `size` is that of the file that goes to or fro."""
        # Credentials go to the registry only, not to other hosts that it names or redirects to.
        if request.full_url.startswith(f"{self._base}/"):
            for name, value in self._headers.items():
                request.add_unredirected_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS + size // BYTES_PER_SECOND) as response:
                yield response
        except urllib.error.HTTPError as error:
            message = _message(error)
            if error.code >= 500 or error.code in (408, 429):
                raise NotReachable(message) from None
            raise Refused(message) from None
        except (OSError, HTTPException) as error:
            if getattr(error, "errno", 0) == errno.ENOSPC:
                raise
            raise NotReachable(str(getattr(error, "reason", "") or error)) from None


def _entries(listing: dict[str, Any]) -> Iterator[tuple[str, int | None]]:
    """The names in a folder's listing, each with its size; None of a folder. Raises ContractError."""
    entries = listing.get("files", [])
    for entry in entries if isinstance(entries, list) else [entries]:
        try:
            name, size = str(inside(entry["path"])), None if entry.get("is_dir") else int(entry.get("file_size", 0))
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            size = -1
        if size is not None and size < 0:
            raise ContractError(f"the registry lists what is no file: {ascii(entry)[:LONGEST_SHOWN]}")
        yield name, size


def credentials(account: str = "MLFLOW_TRACKING") -> dict[str, str]:
    """The header made of `<account>_USERNAME` and `<account>_PASSWORD`, or of `<account>_TOKEN`, as MLflow's own
    clients make it; none where they are not set."""
    user, password = os.environ.get(f"{account}_USERNAME"), os.environ.get(f"{account}_PASSWORD")
    if user and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    token = os.environ.get(f"{account}_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _message(error: urllib.error.HTTPError) -> str:
    """MLflow's own words when it gave some."""
    try:
        return f"{json.loads(error.read(100_000))['message']} (HTTP {error.code})"
    except (ValueError, KeyError, TypeError, OSError, HTTPException):
        return f"HTTP {error.code} {error.reason}"
