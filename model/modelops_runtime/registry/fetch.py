"""The fetching container, `modelops-fetch`: a model version's files, whole or not at all.

Contract and exit codes: docs/model.md.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from modelops_runtime.artifacts import manifest
from modelops_runtime.artifacts.manifest import Manifest
from modelops_runtime.contract import ContractError, Environment, FetchContract
from modelops_runtime.registry.cache import Cache
from modelops_runtime.registry.client import Registry, RemoteFile, Unreachable

KNOWN_WAIT_SECONDS = 5
"""How long a registry is waited for that is asked only whether a known version is still the right one."""


def parse_model_uri(uri: str) -> tuple[str, str | None, str | None]:
    """Name and alias or version of `models:/name@alias` or `models:/name/3`."""
    path = uri.removeprefix("models:/")
    if "@" in path:
        name, alias = path.split("@", 1)
        return name, alias, None
    name, version = path.split("/", 1)
    return name, None, version


def fetch(settings: FetchContract) -> Manifest:
    """Leaves the manifest and the files it names in `model_dir`; with a cache, links to where they are there.

    The folder is a mount point, so it can't be renamed into place as one: the manifest comes last, and without a
    manifest there is no model. Raises ContractError; what was in the folder before then stays.
    """
    if settings.cache_dir is not None:
        return _fetch_through(Cache(settings.cache_dir), settings)
    registry = Registry(settings.tracking_uri, settings.wait_seconds)
    artifact_uri = registry.artifact_uri(*parse_model_uri(settings.model_uri))
    settings.model_dir.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=settings.model_dir))
    try:
        version_manifest = download(registry, artifact_uri, scratch, settings)
        (settings.model_dir / manifest.FILE_NAME).unlink(missing_ok=True)
        for name in (*version_manifest.files, manifest.FILE_NAME):
            (scratch / name).rename(settings.model_dir / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return version_manifest


def _fetch_through(cache: Cache, settings: FetchContract) -> Manifest:
    """What is in the cache is not downloaded again; what isn't, goes there first."""
    registry, artifact_uri = _located(cache, settings)
    version_manifest = _cached(cache, artifact_uri)
    if version_manifest is None:
        with cache.incoming() as scratch:
            version_manifest = download(registry, artifact_uri, scratch, settings, cache.make_room)
            cache.keep(scratch, artifact_uri)
    cache.remember(settings.model_uri, artifact_uri)
    entry = cache.find(artifact_uri)
    if entry is None:
        raise ContractError(f"{settings.model_uri} was removed from the cache just now: it is full")
    settings.model_dir.mkdir(parents=True, exist_ok=True)
    for name in (manifest.FILE_NAME, *version_manifest.files):
        (settings.model_dir / name).unlink(missing_ok=True)
    for name in (*version_manifest.files, manifest.FILE_NAME):
        (settings.model_dir / name).symlink_to(entry / name)
    return version_manifest


def _located(cache: Cache, settings: FetchContract) -> tuple[Registry, str]:
    """Where the version's files are. A registry that doesn't answer is not needed for what is in the cache."""
    cached_uri = cache.recall(settings.model_uri)
    wait = settings.wait_seconds if cached_uri is None else min(settings.wait_seconds, KNOWN_WAIT_SECONDS)
    registry = Registry(settings.tracking_uri, wait)
    try:
        return registry, registry.artifact_uri(*parse_model_uri(settings.model_uri))
    except Unreachable as error:
        if cached_uri is None:
            raise
        print(f"{error}; taking what {settings.model_uri} was the last time, from the cache", flush=True)
        return registry, cached_uri


def _cached(cache: Cache, artifact_uri: str) -> Manifest | None:
    """The version in the cache, whole; one that is damaged is removed."""
    entry = cache.find(artifact_uri)
    if entry is None:
        return None
    try:
        version_manifest = Manifest.read(entry)
        for name in version_manifest.files:
            version_manifest.verify(entry, name)
    except ContractError as error:
        print(f"the cache's copy is not usable, fetching again: {error}", flush=True)
        cache.drop(artifact_uri)
        return None
    print("in the cache already", flush=True)
    return version_manifest


def download(
    registry: Registry,
    artifact_uri: str,
    folder: Path,
    settings: FetchContract,
    make_room: Callable[[int], None] = lambda _: None,
) -> Manifest:
    """The files of a version as the registry has them, checked against its manifest."""
    files = {file.name: file for file in registry.files(artifact_uri)}
    registry.download(_wanted(files, manifest.FILE_NAME, settings), folder / manifest.FILE_NAME)
    version_manifest = Manifest.read(folder)
    needed = [_wanted(files, name, settings) for name in version_manifest.files]
    make_room(sum(file.size for file in needed))
    for file in needed:
        registry.download(file, folder / file.name)
        version_manifest.verify(folder, file.name)
    return version_manifest


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


def main() -> None:
    env = Environment()
    settings = FetchContract.read(env)
    env.check()
    version_manifest = fetch(settings)
    size = sum((settings.model_dir / name).stat().st_size for name in version_manifest.files)
    print(
        f"fetched {settings.model_uri}: {version_manifest.name}, run {version_manifest.run_id}, {size} bytes",
        flush=True,
    )
