"""Models on the Hugging Face Hub, or on a mirror that `HF_ENDPOINT` names; `HF_TOKEN` opens what is not public."""

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from modelops_runtime.artifacts.extras import optional
from modelops_runtime.artifacts.manifest import damage
from modelops_runtime.contract import ContractError
from modelops_runtime.registry.sources.retry import NotReachable, Refused, retried
from modelops_runtime.registry.sources.source import RemoteFile

TIMEOUT_SECONDS = 30

T = TypeVar("T")


class Hub:
    """`hf://<organization>/<model>[@<revision>]`, at the commit that the revision is now."""

    def __init__(self, uri: str, wait_seconds: float) -> None:
        self._repository, _, revision = uri.removeprefix("hf://").partition("@")
        self._wait_seconds = wait_seconds
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # made for terminals; progress.py has lines
        self._api = optional("huggingface_hub", uri).HfApi()

        def ask() -> Any:
            return self._api.model_info(
                self._repository, revision=revision or None, files_metadata=True, timeout=TIMEOUT_SECONDS
            )

        self._info = self._retried(ask, "the list of its files")

    @property
    def key(self) -> str:
        return f"hf://{self._repository}@{self._info.sha}"

    def files(self) -> Sequence[RemoteFile]:
        return [RemoteFile(file.rfilename, int(file.size or 0)) for file in self._info.siblings]

    def download(self, file: RemoteFile, target: Path) -> None:
        begun = _bytes(target)
        self._retried(lambda: self._attempt(file, target), file.name, target)
        expected = self._digests().get(file.name)
        if begun and expected and (problem := damage(target, file.name, expected, "the Hub")):
            target.unlink()
            raise ContractError(f"{problem}; fetch it again")

    def _attempt(self, file: RemoteFile, target: Path) -> None:
        """The library starts a file from scratch in each process. What the Hub has in Xet comes by it, from many places
        at once; all else is appended to what is there.
        """
        hub = optional("huggingface_hub", self.key)
        url = hub.hf_hub_url(self._repository, file.name, revision=self._info.sha)
        there = hub.get_hf_file_metadata(url, timeout=TIMEOUT_SECONDS)
        if there.xet_file_data and hub.utils.is_xet_available() and not _bytes(target):
            self._by_xet(file, target)
            return
        headers = {**hub.utils.build_hf_headers(), "Accept-Encoding": "identity"}
        if urlsplit(there.location).netloc != urlsplit(url).netloc:
            headers.pop("authorization", None)
        with target.open("ab") as output:
            have = output.tell()
            hub.file_download.http_get(
                there.location, output, resume_size=have, headers=headers, expected_size=there.size
            )

    def _by_xet(self, file: RemoteFile, target: Path) -> None:
        staging = target.parent / ".hub"
        shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed
        where = self._api.hf_hub_download(
            self._repository, file.name, revision=self._info.sha, local_dir=staging, etag_timeout=TIMEOUT_SECONDS
        )
        Path(where).rename(target)
        shutil.rmtree(staging)

    def _digests(self) -> dict[str, str]:
        """The SHA-256 of the large files, which the Hub knows them by."""
        return {file.rfilename: file.lfs.sha256 for file in self._info.siblings if file.lfs}

    def _retried(self, ask: Callable[[], T], what: str, target: Path | None = None) -> T:
        def attempt() -> T:
            begun = _bytes(target)
            try:
                return ask()
            except Exception as error:  # its errors, and those of its HTTP client, have no base of their own
                if getattr(error, "errno", 0) == errno.ENOSPC:
                    raise
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                status = getattr(getattr(error, "response", None), "status_code", 0)
                if 400 <= status < 500 and status not in (408, 429):
                    raise Refused(reason) from error
                raise NotReachable(reason, progress=_bytes(target) > begun) from error

        return retried(attempt, f"hf://{self._repository}", what, self._wait_seconds)


def _bytes(path: Path | None) -> int:
    return path.stat().st_size if path and path.exists() else 0
