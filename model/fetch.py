"""The fetching container, `python -m model.fetch`: a model version's files, whole or not at all.

Contract and exit codes: docs/model.md.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path

from model import contract, manifest
from model.contract import ContractError, Environment, FetchContract
from model.manifest import Manifest
from model.registry import Registry, RemoteFile


def parse_model_uri(uri: str) -> tuple[str, str | None, str | None]:
    """Name and alias or version of `models:/name@alias` or `models:/name/3`."""
    path = uri.removeprefix("models:/")
    if "@" in path:
        name, alias = path.split("@", 1)
        return name, alias, None
    name, version = path.split("/", 1)
    return name, None, version


def fetch(settings: FetchContract) -> Manifest:
    """Leaves the manifest and the files it names in `model_dir`.

    The folder is a mount point, so it can't be renamed into place as one: the manifest is moved last, and without a
    manifest there is no model. Raises ContractError; what was in the folder before then stays.
    """
    registry = Registry(settings.tracking_uri, settings.wait_seconds)
    artifact_uri = registry.artifact_uri(*parse_model_uri(settings.model_uri))
    files = {file.name: file for file in registry.files(artifact_uri)}
    settings.model_dir.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=settings.model_dir))
    try:
        registry.download(_wanted(files, manifest.FILE_NAME, settings), scratch / manifest.FILE_NAME)
        described = Manifest.read(scratch)
        for name in described.files:
            registry.download(_wanted(files, name, settings), scratch / name)
            _verify(described, scratch, name)
        (settings.model_dir / manifest.FILE_NAME).unlink(missing_ok=True)
        for name in (*described.files, manifest.FILE_NAME):
            (scratch / name).rename(settings.model_dir / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return described


def _wanted(files: dict[str, RemoteFile], name: str, settings: FetchContract) -> RemoteFile:
    if name not in files:
        there = ", ".join(sorted(files)) or "no file"
        raise ContractError(f"{settings.model_uri} has no {name}; it has {there}")
    if files[name].size > settings.max_bytes:
        raise ContractError(
            f"{settings.model_uri}: {name} has {files[name].size} bytes, at most {settings.max_bytes} are allowed"
            " (MODELOPS_MODEL_MAX_BYTES)"
        )
    return files[name]


def _verify(described: Manifest, folder: Path, name: str) -> None:
    expected = described.sha256.get(name)
    with (folder / name).open("rb") as content:
        got = hashlib.file_digest(content, "sha256").hexdigest()
    if expected not in (None, got):
        raise ContractError(f"{name} is damaged: its SHA-256 is {got}, the manifest says {expected}")


def main() -> None:
    env = Environment()
    settings = FetchContract.read(env)
    env.check()
    described = fetch(settings)
    size = sum((settings.model_dir / name).stat().st_size for name in described.files)
    print(f"fetched {settings.model_uri}: {described.name}, run {described.run_id}, {size} bytes", flush=True)


if __name__ == "__main__":
    contract.run(main)
