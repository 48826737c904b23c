"""A language model's folder: an adapter or a whole model as Transformers and PEFT save it, and what it was made from.

Standard library only: fine-tuning writes it; publishing, evaluation and serving read it.
"""

import hashlib
import json
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from modelops_runtime.artifacts.manifest import digest as digest_of_file
from modelops_runtime.artifacts.results import write_json
from modelops_runtime.contract import ContractError

FILE_NAME = "language-model.json"
ADAPTER = "adapter_config.json"
MODEL = "config.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
"""Endings of weights in formats that can run code when they are loaded, or that nothing here loads."""

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
        path = folder / FILE_NAME
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
            model = cls(content["kind"], Base(**content["base"]), int(content["context_length"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ContractError(f"{path} can't be read as a language model's description: {error!r}") from error
        check(folder, model.kind)
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
    if pickled := [name for name in names if is_pickled(name)]:
        raise ContractError(f"{folder} has {', '.join(pickled)}: weights must be .safetensors, which can't run code")


def tensors(path: Path) -> list[str]:
    """The names of the tensors in a file. Raises ContractError where it is no safetensors file."""
    try:
        with path.open("rb") as content:
            (size,) = struct.unpack("<Q", content.read(8))
            if size > HEADER_BYTES:
                raise ValueError("its header is too long")
            header: dict[str, Any] = json.loads(content.read(size))
        return [name for name in header if name != "__metadata__"]
    except (OSError, ValueError, TypeError, struct.error) as error:
        raise ContractError(f"{path} is not in the format safetensors: {error}") from error


def is_pickled(name: str) -> bool:
    return name.endswith(PICKLED)


def files(folder: Path) -> list[Path]:
    """All files of a folder, in the order of their names; hidden ones are no part of a model."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    visible = (path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix().encode())


def digest(folder: Path) -> str:
    """`sha256:…` over the names and contents of all files: of the lines that `sha256sum` prints for them in order."""
    return digest_of((path.relative_to(folder).as_posix(), digest_of_file(path)) for path in files(folder))


def digest_of(named: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"{hexadecimal}  {name}\n" for name, hexadecimal in named)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
