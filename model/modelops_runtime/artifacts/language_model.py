"""A language model's folder: an adapter or a whole model as Transformers and PEFT save it, and what it was made from.

Standard library only: fine-tuning writes it; publishing, evaluation and serving read it.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from modelops_runtime.artifacts.manifest import digest as digest_of_file
from modelops_runtime.artifacts.results import write_json
from modelops_runtime.contract import ContractError

FILE_NAME = "language-model.json"
ADAPTER = "adapter_config.json"
MODEL = "config.json"
TOKENIZER = "tokenizer_config.json"
SUMS = "SHA256SUMS"
"""In a published folder: the digest of every other file, as `sha256sum` prints and checks it."""
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".msgpack")
"""Endings of weights in formats that can run code when they are loaded, or that nothing here loads."""
_PICKLES = re.compile(rb"\x80[\x02-\x05]|PK\x03\x04")
"""How pickles begin, by themselves or in PyTorch's archives."""
_REVISION = re.compile(r"hf://\S+@[0-9a-f]{40}")

HEADER_BYTES = 100_000_000
"""The format's own limit."""

Kind = Literal["adapter", "model"]


@dataclass(frozen=True)
class Base:
    """The model that was tuned."""

    uri: str
    """A reference that always stands for the same files."""
    digest: str | None
    """Over all its files; None for `hf://`, whose commit says it."""
    license: str | None


@dataclass(frozen=True)
class LanguageModel:
    """What `language-model.json` says."""

    kind: Kind
    base: Base
    context_length: int
    """Most tokens of a request and its answer."""

    def write(self, folder: Path) -> None:
        """Checks the folder, then writes the file that says what it is."""
        check(folder, self.kind)
        write_json(folder / FILE_NAME, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "LanguageModel":
        """Raises ContractError where the file or a file that it promises is missing, or weights are pickled."""
        model = cls.parse(folder / FILE_NAME)
        check(folder, model.kind)
        return model

    @classmethod
    def parse(cls, path: Path) -> "LanguageModel":
        """What the file says. Raises ContractError."""
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
            model = cls(content["kind"], Base(**content["base"]), int(content["context_length"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ContractError(f"{path} can't be read as a language model's description: {error!r}") from error
        if not (model.base.digest or _REVISION.fullmatch(model.base.uri)):
            raise ContractError(f"{path}: the base {model.base.uri!r} has neither a commit of the Hub nor a digest")
        return model


def check(folder: Path, kind: str) -> None:
    """Raises ContractError unless the folder has safetensors alone, and what goes with them."""
    needed = {"adapter": ADAPTER, "model": MODEL}.get(kind)
    if needed is None:
        raise ContractError(f"{folder}: kind is {kind!r}, must be adapter or model")
    names = [path.relative_to(folder).as_posix() for path in files(folder)]
    if needed not in names:
        raise ContractError(f"{folder} has no {needed}, which {'an' if kind == 'adapter' else 'a'} {kind} has")
    if not sum(len(tensors(folder / name)) for name in names if name.endswith(".safetensors")):
        raise ContractError(f"{folder} has no weights in .safetensors")
    if pickled := [name for name in names if is_pickled(name) or _begins_as_pickle(folder / name)]:
        raise ContractError(f"{folder} has {', '.join(pickled)}: weights must be .safetensors, which can't run code")


def tensors(path: Path) -> list[str]:
    """The names of the tensors in a file. Raises ContractError where it is no safetensors file."""
    try:
        with path.open("rb") as content:
            (size,) = struct.unpack("<Q", content.read(8))
            if size > HEADER_BYTES:
                raise ValueError("its header is too long")
            header: dict[str, Any] = json.loads(content.read(size))
        header.pop("__metadata__", None)
        end = 8 + size + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if end != path.stat().st_size:
            raise ValueError(f"it has {path.stat().st_size} bytes, its header says {end}")
        return list(header)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, struct.error) as error:
        raise ContractError(f"{path} is not in the format safetensors: {error}") from error


def is_pickled(name: str) -> bool:
    return name.lower().endswith(PICKLED)


def _begins_as_pickle(path: Path) -> bool:
    with path.open("rb") as content:
        return _PICKLES.match(content.read(4)) is not None


def files(folder: Path) -> list[Path]:
    """All files of a folder, in the order of their names; hidden ones are no part of a model, nor are their digests."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path != folder / SUMS)
    visible = (path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix().encode())


def digest(folder: Path) -> str:
    """`sha256:…` over the names and contents of all files: of the lines that `sha256sum` prints for them in order."""
    return digest_of(digests(folder).items())


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file, by its name."""
    return {path.relative_to(folder).as_posix(): digest_of_file(path) for path in files(folder)}


def digest_of(named: Iterable[tuple[str, str]]) -> str:
    return f"sha256:{hashlib.sha256(sums(named).encode()).hexdigest()}"


def sums(named: Iterable[tuple[str, str]]) -> str:
    """The lines that `sha256sum` prints, of pairs of name and digest."""
    return "".join(f"{hexadecimal}  {name}\n" for name, hexadecimal in named)


def read_sums(path: Path) -> Mapping[str, str]:
    """The digests in a file that `sums` wrote. Raises ContractError."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [re.fullmatch(r"([0-9a-f]{64})  (\S.*)", line) for line in lines]
    if not lines or not all(found):
        raise ContractError(f"{path.name} is damaged: it must have a line with digest and name for each file")
    return {match[2]: match[1] for match in found if match}
