"""The base model of a fine-tuning: what references may name one, and its files in a folder of this machine."""

import contextlib
import fcntl
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modelops_runtime.artifacts import language_model
from modelops_runtime.artifacts.manifest import damage
from modelops_runtime.contract import ConfigurationError, ContractError, Environment, FetchContract
from modelops_runtime.contract.environment import HTTP_URL
from modelops_runtime.registry.fetch import get, source_of
from modelops_runtime.registry.scratch import resumed
from modelops_runtime.registry.sources import progress
from modelops_runtime.registry.sources.source import RemoteFile

_FIXED = {
    "hf": (r"hf://[^/\s@?#]+/[^/\s@?#]+@[0-9a-f]{40}", "hf://<organization>/<model>@<commit of 40 digits>"),
    "models": (
        r"models:/([^/\s@?#]+(@run-[^/\s@?#]+|/[1-9][0-9]*)|m-[0-9a-f]{32})",
        "models:/<name>/<version> or models:/<name>@run-<id>",
    ),
    "runs": (r"runs:/[0-9a-f]{32}/[^\s?#]+", "runs:/<run id>/<path>"),
    "oci": (r"oci://[^\s@?#]+@sha256:[0-9a-f]{64}", "oci://<registry>/<repository>@sha256:<digest>"),
}
"""References that say which files they stand for."""
_PLACES = ("s3", "gs", "az", "pvc", "file")
"""Addresses of files that others can replace."""
_MOUNTED = ("oci", "pvc")
_LEFT_OUT = (*language_model.PICKLED, ".gguf", ".onnx", ".tflite")
"""Endings of files on the Hub that a tuning makes no use of: other formats of the same weights."""


@dataclass(frozen=True)
class Settings:
    """Where a base comes from and goes to."""

    uri: str
    digest: str | None
    """What its files must be together."""
    mounted: Path | None
    """Where the pod has it already."""
    cache: Path | None
    """A volume that keeps it for other runs."""
    tracking_uri: str
    wait_seconds: float

    @classmethod
    def read(cls, env: Environment, uri: str, digest: str | None) -> "Settings":
        mounted = env.text("MODELOPS_BASE_DIR", "")
        cache = env.text("MODELOPS_BASES_DIR", "") or env.text("MODELOPS_CACHE_DIR", "")
        registered = uri.startswith(("models:/", "runs:/")) and not mounted
        url = env.text(
            "MLFLOW_TRACKING_URI", None if registered else "", pattern=HTTP_URL, rule="an http:// or https:// URL"
        )
        if uri.startswith(tuple(f"{form}://" for form in _MOUNTED)) and not mounted:
            env.problems.append(f"parameter base_model is {uri}, which pods mount: give it as TrainingJob's base_model")
        return cls(
            uri=uri,
            digest=digest,
            mounted=Path(mounted) if mounted else None,
            cache=Path(cache) if cache else None,
            tracking_uri=url,
            wait_seconds=env.number("MODELOPS_REGISTRY_WAIT_SECONDS", 60, minimum=0, maximum=3600),
        )


def problem_of(uri: str, digest: str | None) -> str | None:
    """What is wrong with a reference to a base: it has to say which files it stands for, today and later."""
    form = uri.partition(":")[0]
    if form in _FIXED:
        pattern, shape = _FIXED[form]
        return None if re.fullmatch(pattern, uri) else f"base_model is {uri!r}, must name what never moves: {shape}"
    if form in _PLACES and re.fullmatch(r"[a-z0-9]+://[^\s?#@]+/?[^\s?#@]*", uri):
        missing = f"base_digest must be given for a base_model at {form}://, where files can be replaced: sha256:…"
        return None if digest else missing
    if re.match(r"[a-z0-9]+://[^/]*@", uri):
        return "base_model has a login in its address: give it by the variables of the object store"
    shapes = ", ".join([*(shape for _, shape in _FIXED.values()), *(f"{place}://…" for place in _PLACES[:-1])])
    return f"base_model is {uri!r}, must be {shapes}"


def fetched(settings: Settings) -> Path:
    """The folder with the base's files, whole. All processes of a pod may ask at the same time."""
    if settings.mounted:
        return settings.mounted
    if settings.uri.startswith("file://"):
        return Path(unquote(urlsplit(settings.uri).path))
    name = f"base-{hashlib.sha256(settings.uri.encode()).hexdigest()[:16]}"
    parent = settings.cache or Path(tempfile.gettempdir(), "modelops-bases")
    parent.mkdir(parents=True, exist_ok=True)
    place = parent / name
    with _alone(name):
        if not place.is_dir():
            _fetch(settings, place)
    return place


def described(settings: Settings, place: Path) -> language_model.Base:
    """What the files are. Raises ConfigurationError where they are not those that the parameters promise."""
    digest = None
    if settings.digest or not settings.uri.startswith("hf://"):
        digest = _digest(place)
    if settings.digest not in (None, digest):
        raise ConfigurationError(
            f"parameter base_digest is {settings.digest}, but the files of {settings.uri} have {digest}"
        )
    return language_model.Base(settings.uri, None if settings.uri.startswith("hf://") else digest, _license(place))


def model_in(place: Path, uri: str) -> Path:
    """The folder that Transformers loads: the place itself, or the one of an MLflow model that has its files."""
    found = [path.parent for path in sorted(place.rglob(language_model.MODEL), key=lambda path: len(path.parts))]
    if not found and next(place.rglob(language_model.ADAPTER), None):
        raise ConfigurationError(f"parameter base_model: {uri} is an adapter; name the model that it was made for")
    if not found:
        raise ConfigurationError(
            f"parameter base_model: {uri} has no {language_model.MODEL}: it is no model of Transformers"
        )
    if not list(found[0].glob("*.safetensors")):
        pickled = [path.name for path in language_model.files(found[0]) if language_model.is_pickled(path.name)]
        has = f"; it has {', '.join(pickled)}, which can run code" if pickled else ""
        raise ConfigurationError(f"parameter base_model: {uri} has no weights in .safetensors{has}")
    return found[0]


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process of this pod at a time. Pods that share a volume may fetch twice: the first to end wins."""
    with Path(tempfile.gettempdir(), f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(settings: Settings, place: Path) -> None:
    contract = FetchContract(settings.uri, settings.tracking_uri, place, None, settings.wait_seconds, 2**50)
    source = source_of(contract, settings.wait_seconds)
    wanted = [file for file in source.files() if not settings.uri.startswith("hf://") or _is_wanted(file)]
    if not any(file.name.endswith(".safetensors") for file in wanted):
        raise ConfigurationError(f"parameter base_model: {settings.uri} has no weights in .safetensors")
    with resumed(place.parent, f".{place.name}") as scratch:
        with progress.reported(scratch, sum(file.size for file in wanted)):
            for file in wanted:
                get(source, file, scratch)
        _check(scratch, settings.uri)
        with contextlib.suppress(OSError):  # another pod was quicker
            scratch.rename(place)


def _check(folder: Path, uri: str) -> None:
    """Compares the files with the digests that a published model has. Raises ContractError."""
    if not (folder / language_model.SUMS).is_file():
        return
    expected = language_model.read_sums(folder / language_model.SUMS)
    for file in language_model.files(folder):
        name = file.relative_to(folder).as_posix()
        if problem := damage(file, name, expected.get(name), language_model.SUMS):
            raise ContractError(f"{uri}: {problem}")


def _is_wanted(file: RemoteFile) -> bool:
    """Whether a tuning makes use of a file, or the model's next user: licences stay with it."""
    return not file.name.endswith(_LEFT_OUT) and not any(part.startswith(".") for part in file.name.split("/"))


def _digest(place: Path) -> str:
    """The digest of all files, remembered beside a fetched base: gigabytes take minutes."""
    note = place.with_name(f".{place.name}.digest")
    with contextlib.suppress(OSError):
        return note.read_text()
    digest = language_model.digest(place)
    if place.name.startswith("base-"):
        with contextlib.suppress(OSError):
            note.write_text(digest)
    return digest


def _license(place: Path) -> str | None:
    """The licence that the model's card names, or its configuration; of a tuned model, that of its own base."""
    for description in place.rglob(language_model.FILE_NAME):
        with contextlib.suppress(ContractError):
            return language_model.LanguageModel.read(description.parent).base.license
    for card in place.rglob("README.md"):
        if match := re.search(r"^license:\s*(\S.*)$", card.read_text(errors="replace").partition("\n---")[0], re.M):
            return match[1].strip("\"' ")
    for config in place.rglob(language_model.MODEL):
        with contextlib.suppress(ValueError, AttributeError):
            license = json.loads(config.read_bytes()).get("license")
            return license if isinstance(license, str) else None
    return None


def main() -> None:
    """`modelops-fetch-base`: the base is in MODELOPS_BASES_DIR when the training starts, which has no credentials."""
    env = Environment()
    uri = env.text("MODELOPS_BASE_MODEL")
    settings = Settings.read(env, uri, None)
    env.check()
    print(f"{uri} is in {fetched(settings)}", flush=True)
