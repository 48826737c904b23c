"""Texts from an object store, on this machine."""

import tempfile
from pathlib import Path

from modelops_runtime.registry.sources.store import Store


def copied(uri: str, wait_seconds: float, suffix: str = "") -> Path | None:
    """A copy of one file of JSON lines or Parquet, or of a folder's files that end in `suffix`; None if there is none.

    It is this process's own, since texts are small beside the weights.
    """
    parent, _, name = uri.rstrip("/").rpartition("/")
    single = name.endswith((".jsonl", ".parquet"))
    store = Store(parent if single else uri, wait_seconds)
    place = Path(tempfile.mkdtemp(prefix="texts-"))
    wanted = [file for file in store.files() if (file.name == name if single else file.name.endswith(suffix))]
    for file in wanted:
        target = place / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        store.download(file, target)
    if not wanted:
        return None
    return place / name if single else place
