"""The fetching container, `modelops-fetch`: a model version's files, whole or not at all.

Contract and exit codes: docs/model.md.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelops_runtime.artifacts.manifest import FILE_NAME, FOREIGN, Manifest, digest
from modelops_runtime.contract import ContractError, Environment, FetchContract
from modelops_runtime.registry.cache import Cache
from modelops_runtime.registry.check import require
from modelops_runtime.registry.client import Registry, RemoteFile, Unreachable

KNOWN_WAIT_SECONDS = 5
"""How long a registry is waited for that is asked only whether a known version is still the right one."""
DIGESTS = ".digests.json"
"""In a cache's entry without a manifest: the digest of each of its files."""


@dataclass(frozen=True)
class Model:
    """The files of a model version that serving needs: those that its manifest names, or all of them where another
    server's kind of model has none."""

    name: str
    files: tuple[str, ...]
    """The one by which a server knows the folder comes last: a folder that has it is whole."""
    run_id: str = ""

    @classmethod
    def described(cls, manifest: Manifest) -> "Model":
        return cls(manifest.name, (*manifest.files, FILE_NAME), manifest.run_id)


def parse_model_uri(uri: str) -> tuple[str, str | None, str | None]:
    """Name and alias or version of `models:/name@alias` or `models:/name/3`."""
    path = uri.removeprefix("models:/")
    if "@" in path:
        name, alias = path.split("@", 1)
        return name, alias, None
    name, version = path.split("/", 1)
    return name, None, version


def fetch(settings: FetchContract) -> Model:
    """Leaves a version's files in `model_dir`; with a cache, links to where they are there.

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
        model = download(registry, artifact_uri, scratch, settings)
        _place(model, settings.model_dir, lambda name, target: (scratch / name).rename(target))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return model


def _place(model: Model, folder: Path, put: Callable[[str, Path], object]) -> None:
    """Puts each file in its place, first of all taking away the one that says that a model is there."""
    (folder / model.files[-1]).unlink(missing_ok=True)
    for name in model.files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        put(name, target)


def _fetch_through(cache: Cache, settings: FetchContract) -> Model:
    """What is in the cache is not downloaded again; what isn't, goes there first."""
    registry, artifact_uri = _located(cache, settings)
    model = _cached(cache, artifact_uri)
    if model is None:
        with cache.incoming() as scratch:
            model = download(registry, artifact_uri, scratch, settings, cache.make_room)
            if FILE_NAME not in model.files:
                digests = {name: digest(scratch / name) for name in model.files}
                (scratch / DIGESTS).write_text(json.dumps(digests))
            cache.keep(scratch, artifact_uri)
    cache.remember(settings.model_uri, artifact_uri)
    entry = cache.find(artifact_uri)
    if entry is None:
        raise ContractError(f"{settings.model_uri} was removed from the cache just now: it is full")
    settings.model_dir.mkdir(parents=True, exist_ok=True)
    _place(model, settings.model_dir, lambda name, target: target.symlink_to(entry / name))
    return model


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


def _cached(cache: Cache, artifact_uri: str) -> Model | None:
    """The version in the cache, whole; one that is damaged is removed."""
    entry = cache.find(artifact_uri)
    if entry is None:
        return None
    try:
        model = _whole(entry)
    except ContractError as error:
        print(f"the cache's copy is not usable, fetching again: {error}", flush=True)
        cache.drop(artifact_uri)
        return None
    print("in the cache already", flush=True)
    return model


def _whole(entry: Path) -> Model:
    """The model of a cache's entry. Raises ContractError where a file is missing or damaged."""
    if not (entry / DIGESTS).is_file():
        manifest = Manifest.read(entry)
        for name in manifest.files:
            manifest.verify(entry, name)
        return Model.described(manifest)
    try:
        digests: dict[str, str] = json.loads((entry / DIGESTS).read_bytes())
        damaged = [name for name, expected in digests.items() if digest(entry / name) != expected]
    except (OSError, ValueError) as error:
        raise ContractError(str(error)) from error
    if damaged:
        raise ContractError(f"{damaged[0]} is damaged")
    files = tuple(digests)
    return Model(FOREIGN[files[-1]], files)


def download(
    registry: Registry,
    artifact_uri: str,
    folder: Path,
    settings: FetchContract,
    make_room: Callable[[int], None] = lambda _: None,
) -> Model:
    """The files of a version as the registry has them, checked against its manifest where it has one."""
    files = {file.name: file for file in registry.files(artifact_uri)}
    mark = next((name for name in FOREIGN if name in files), "")
    if mark and FILE_NAME not in files:
        return _download_all(registry, artifact_uri, folder, settings, mark, make_room)
    registry.download(_wanted(files, FILE_NAME, settings), folder / FILE_NAME)
    manifest = Manifest.read(folder)
    needed = [_wanted(files, name, settings) for name in manifest.files]
    make_room(sum(file.size for file in needed))
    for file in needed:
        registry.download(file, folder / file.name)
        manifest.verify(folder, file.name)
    return Model.described(manifest)


def _download_all(
    registry: Registry,
    artifact_uri: str,
    folder: Path,
    settings: FetchContract,
    mark: str,
    make_room: Callable[[int], None],
) -> Model:
    """All the files of a version, those of its folders too. Their sizes are checked; there are no digests."""
    files = {file.name: file for file in registry.files(artifact_uri, deep=True)}
    needed = [_wanted(files, name, settings) for name in sorted(files, key=lambda name: (name == mark, name))]
    make_room(sum(file.size for file in needed))
    for file in needed:
        path = PurePosixPath(file.name)
        if path.is_absolute() or ".." in path.parts:
            raise ContractError(f"{settings.model_uri}: {file.name} is not a path inside the model's folder")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        registry.download(file, folder / path)
    return Model(FOREIGN[mark], tuple(file.name for file in needed))


def _wanted(files: Mapping[str, RemoteFile], name: str, settings: FetchContract) -> RemoteFile:
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
    compared = env.text("MODELOPS_REQUIREMENTS", "", pattern="refuse|warn", rule="refuse or warn") == "refuse"
    env.check()
    model = fetch(settings)
    if compared and model.files[-1] == "MLmodel":
        require(settings.model_dir)
    size = sum((settings.model_dir / name).stat().st_size for name in model.files)
    run = f", run {model.run_id}" if model.run_id else ""
    print(f"fetched {settings.model_uri}: {model.name}{run}, {size} bytes", flush=True)
