"""Texts from an object store, on this machine."""

import tempfile
from pathlib import Path

from modelops_runtime.artifacts import prepared
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.registry.sources.store import Store


def copied(uri: str, wait_seconds: float, *, texts: bool = True) -> Path:
    """A copy of one file of JSON lines or Parquet, or of a folder: of a version of texts with what its report lists,
    otherwise whole. Raises ConfigurationError when there is nothing, or a version that is not whole.

    It is this process's own, since texts are small beside the weights.
    """
    parent, _, name = uri.rstrip("/").rpartition("/")
    single = name.endswith((".jsonl", ".parquet"))
    store = Store(parent if single else uri, wait_seconds)
    place = Path(tempfile.mkdtemp(prefix="texts-"))
    there = {file.name: file for file in store.files()}

    def fetch(name: str) -> Path:
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        store.download(there[name], target)
        return target

    if single:
        if name not in there:
            raise ConfigurationError(f"{uri} is not there")
        return fetch(name)
    if texts:
        if prepared.REPORT not in there:
            raise ConfigurationError(f"{uri} has no {prepared.REPORT}: it is no version, or not a whole one")
        for file in prepared.listed(fetch(prepared.REPORT).read_bytes()):
            if file.name in there:
                fetch(file.name)
        return place
    if not there:
        raise ConfigurationError(f"{uri} has no files")
    for each in there:
        fetch(each)
    return place
