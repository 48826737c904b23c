"""Models on the Hugging Face Hub, or on a mirror that `HF_ENDPOINT` names; `HF_TOKEN` opens what is not public."""

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from modelops_runtime.artifacts.extras import optional
from modelops_runtime.registry.sources.progress import size
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
        # In a folder of its own, where the library keeps what it has of a file that breaks off.
        staging = target.parent / ".hub"

        def ask() -> str:
            where = self._api.hf_hub_download(
                self._repository, file.name, revision=self._info.sha, local_dir=staging, etag_timeout=TIMEOUT_SECONDS
            )
            return str(where)

        Path(self._retried(ask, file.name, staging)).rename(target)
        shutil.rmtree(staging)

    def _retried(self, ask: Callable[[], T], what: str, staging: Path | None = None) -> T:
        def attempt() -> T:
            begun = size(staging) if staging else 0
            try:
                return ask()
            except Exception as error:  # its errors, and those of its HTTP client, have no base of their own
                if getattr(error, "errno", 0) == errno.ENOSPC:
                    raise
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                status = getattr(getattr(error, "response", None), "status_code", 0)
                if 400 <= status < 500 and status not in (408, 429):
                    raise Refused(reason) from error
                raise NotReachable(reason, progress=staging is not None and size(staging) > begun) from error

        return retried(attempt, f"hf://{self._repository}", what, self._wait_seconds)
