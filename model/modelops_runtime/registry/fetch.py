"""The fetching container, `modelops-fetch`: a model version's files, whole or not at all.

Contract and exit codes: docs/model.md.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from modelops_runtime.artifacts import language_model
from modelops_runtime.artifacts.manifest import FILE_NAME, FOREIGN, Manifest, damage
from modelops_runtime.artifacts.paths import inside
from modelops_runtime.artifacts.store import is_store
from modelops_runtime.contract import ContractError, Environment, FetchContract
from modelops_runtime.registry.cache import RENEW_SECONDS, Cache, Full
from modelops_runtime.registry.check import require
from modelops_runtime.registry.scratch import resumed
from modelops_runtime.registry.sources import mlflow, progress
from modelops_runtime.registry.sources.client import Registry
from modelops_runtime.registry.sources.folder import Model, seal, whole
from modelops_runtime.registry.sources.hub import Hub
from modelops_runtime.registry.sources.retry import Unreachable
from modelops_runtime.registry.sources.source import RemoteFile, Source
from modelops_runtime.registry.sources.store import Store

KNOWN_WAIT_SECONDS = 5
"""How long a registry is waited for that is asked only whether a known version is still the right one."""
LISTED = 10
"""How many files a message names."""


def source_of(settings: FetchContract, wait_seconds: float) -> Source:
    """Where the files of the model URI are."""
    uri = settings.model_uri
    if is_store(uri):
        return Store(uri, wait_seconds)
    if uri.startswith("hf://"):
        return Hub(uri, wait_seconds)
    return mlflow.located(Registry(settings.tracking_uri, wait_seconds), uri, wait_seconds)


Find = Callable[[FetchContract, float], Source]
"""Like `source_of`."""


def fetch(settings: FetchContract, find: Find = source_of) -> Model:
    """Leaves a version's files in `model_dir`; with a cache or a mounted folder, links to where they are there.

    The folder is a mount point, so it can't be renamed into place as one: the file by which a server knows the model
    comes last, and without it there is no model. Raises ContractError; what was in the folder before then stays.
    """
    if settings.model_uri.startswith("file://"):
        return _linked(Path(unquote(urlsplit(settings.model_uri).path)), settings)
    if settings.cache_dir is None:
        return _fetch(find(settings, settings.wait_seconds), settings)
    cache = Cache(settings.cache_dir)
    source = _source_beside(cache, settings, find)
    try:
        return _fetch_through(cache, source, settings)
    except Full as full:
        print(f"{full}: fetching into the pod's own folder", flush=True)
        return _fetch(source, settings)


def _fetch(source: Source, settings: FetchContract) -> Model:
    settings.model_dir.mkdir(parents=True, exist_ok=True)
    name = f".fetch-{hashlib.sha256(source.key.encode()).hexdigest()[:16]}"
    for left in settings.model_dir.glob(".fetch-*"):
        if left.name != name:
            shutil.rmtree(left, ignore_errors=True)
    with resumed(settings.model_dir, name) as scratch:
        with _room_in(settings.model_dir):
            model = download(source, scratch, settings)
        _place(model, settings.model_dir, lambda name, target: (scratch / name).rename(target))
    return model


def _linked(folder: Path, settings: FetchContract) -> Model:
    """The model in a folder that is mounted already, checked where it has a manifest."""
    try:
        model = whole(folder)
        for name in model.files:
            (folder / name).open("rb").close()
    except PermissionError as error:
        who = f"the user {os.geteuid()}, who serves"
        raise ContractError(f"{error.filename} can't be read by {who}: give it to all, chmod -R a+rX") from error
    if folder.resolve() != settings.model_dir.resolve():
        _link(model, folder, settings.model_dir)
    return model


def _link(model: Model, folder: Path, model_dir: Path) -> None:
    model_dir.mkdir(parents=True, exist_ok=True)
    _place(model, model_dir, lambda name, target: target.symlink_to(folder / name))


def _place(model: Model, folder: Path, put: Callable[[str, Path], object]) -> None:
    """Puts each file in its place, first of all taking away the one that says that a model is there."""
    (folder / model.files[-1]).unlink(missing_ok=True)
    for name in model.files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        put(name, target)


def _fetch_through(cache: Cache, source: Source, settings: FetchContract) -> Model:
    """What is in the cache is not downloaded again; what isn't, goes there first."""
    cache.claim(source.key)
    try:
        with progress.repeated(cache.renew, RENEW_SECONDS), _room_in(settings.cache_dir):
            model = _cached(cache, source.key)
            if model is None:
                damaged = cache.find(source.key) is not None
                with cache.incoming(source.key) as scratch:
                    model = download(source, scratch, settings, cache.make_room)
                    seal(model, scratch)
                    cache.keep(scratch, source.key, damaged=damaged)
        cache.remember(settings.model_uri, source.key)
        entry = cache.find(source.key)
        if entry is None:
            raise ContractError(f"{settings.model_uri} was removed from the cache just now")
        _link(model, entry, settings.model_dir)
    except BaseException:
        cache.release(source.key)
        raise
    return model


@contextmanager
def _room_in(folder: Path | None) -> Iterator[None]:
    """Raises Full where the disk is full: pods that fetch at the same time may fill what each found free in a cache."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise Full(f"there is no room left in {folder}") from error


@dataclass(frozen=True)
class _Unasked:
    """The source that a model URI led to the last time, when it doesn't answer: its key alone is known."""

    key: str
    error: Unreachable

    def files(self) -> Sequence[RemoteFile]:
        raise self.error

    def download(self, file: RemoteFile, target: Path) -> None:
        raise self.error


def _source_beside(cache: Cache, settings: FetchContract, find: Find) -> Source:
    """Where the files are. A registry that doesn't answer is not needed for what is in the cache."""
    known = cache.recall(settings.model_uri)
    if known is None:
        return find(settings, settings.wait_seconds)
    try:
        return find(settings, min(settings.wait_seconds, KNOWN_WAIT_SECONDS))
    except Unreachable as error:
        print(f"{error}; taking what {settings.model_uri} was the last time, from the cache", flush=True)
        return _Unasked(known, error)


def _cached(cache: Cache, key: str) -> Model | None:
    """The model in the cache, whole."""
    entry = cache.find(key)
    if entry is None:
        return None
    try:
        model = whole(entry)
    except ContractError as error:
        print(f"the cache's copy is not usable, fetching again: {error}", flush=True)
        return None
    print("in the cache already", flush=True)
    return model


def download(
    source: Source, folder: Path, settings: FetchContract, make_room: Callable[[int], None] = lambda _: None
) -> Model:
    """The files of a version, checked against the digests that it has."""
    contents = listed(source, folder, settings)
    total = sum(file.size for file in contents.files)
    make_room(total - progress.size(folder))
    with progress.reported(folder, total):
        for file in contents.files:
            contents.get(source, file, folder)
    return contents.model


@dataclass(frozen=True)
class Contents:
    """What a version consists of, as far as serving needs it."""

    model: Model
    files: Sequence[RemoteFile]
    """In the order of the model's own list."""
    digests: Mapping[str, str]
    """The SHA-256 of files, by name, as far as the version has them: of a model that only other servers know, none."""
    names: str
    """The file that has the digests."""

    def get(self, source: Source, file: RemoteFile, folder: Path) -> None:
        """Downloads a file into the folder, unless an earlier attempt did. Raises ContractError where it is damaged."""
        get(source, file, folder)
        expected = self.digests.get(file.name)
        if expected is not None and (problem := damage(folder / file.name, file.name, expected, self.names)):
            raise ContractError(problem)


def listed(source: Source, folder: Path, settings: FetchContract) -> Contents:
    """Reads what a version consists of; files that say so come into the folder."""
    files = {file.name: file for file in source.files()}
    for name in files:
        if clash := next((str(parent) for parent in PurePosixPath(name).parents if str(parent) in files), None):
            raise ContractError(f"{settings.model_uri} has {clash} both as a file and as a folder, of {name}")
    mark = next((name for name in FOREIGN if name in files), "")
    if mark and FILE_NAME not in files:
        names = tuple(sorted(files, key=lambda name: (name == mark, name)))
        model, sums = Model(FOREIGN[mark], names), language_model.SUMS
        digests = _sums(source, files, folder, settings) if language_model.FILE_NAME in files else {}
    else:
        get(source, _wanted(files, FILE_NAME, settings), folder)
        manifest = Manifest.read(folder)
        model, digests, sums = Model.described(manifest), manifest.sha256, "the manifest"
    return Contents(model, [_wanted(files, name, settings) for name in model.files], digests, sums)


def _sums(source: Source, files: Mapping[str, RemoteFile], folder: Path, settings: FetchContract) -> Mapping[str, str]:
    """The digests of a language model's files. One that was not published has none. Raises ContractError."""
    if pickled := [name for name in files if language_model.is_pickled(name)]:
        raise ContractError(f"{settings.model_uri} has {', '.join(sorted(pickled)[:LISTED])}: pickles can run code")
    if language_model.SUMS not in files:
        return {}
    get(source, _wanted(files, language_model.SUMS, settings), folder)
    sums = language_model.read_sums(folder / language_model.SUMS)
    for name in sums:
        _wanted(files, name, settings)
    if unknown := [name for name in files if name not in sums and name != language_model.SUMS]:
        raise ContractError(f"{settings.model_uri} has {', '.join(unknown[:LISTED])}: not in {language_model.SUMS}")
    return sums


def get(source: Source, file: RemoteFile, folder: Path) -> None:
    """Downloads a file into the folder, going on with what an earlier attempt left there. Raises ContractError."""
    target = folder / inside(file.name)
    have = target.stat().st_size if target.is_file() else -1
    if have > file.size:
        target.unlink()
    if have != file.size:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.download(file, target)


def _wanted(files: Mapping[str, RemoteFile], name: str, settings: FetchContract) -> RemoteFile:
    if name not in files:
        more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
        there = ", ".join(sorted(files)[:LISTED]) + more or "no file"
        raise ContractError(f"{settings.model_uri} has no {name}; it has {there}")
    return bound(files[name], settings)


def bound(file: RemoteFile, settings: FetchContract) -> RemoteFile:
    """The file. Raises ContractError where it is too large."""
    if file.size > settings.max_bytes:
        raise ContractError(
            f"{settings.model_uri}: {file.name} has {file.size} bytes, at most {settings.max_bytes} are allowed"
            " (MODELOPS_MODEL_MAX_BYTES)"
        )
    return file


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
