"""A folder with a model: which of its files serving needs, and whether they are whole."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelops_runtime.artifacts import language_model
from modelops_runtime.artifacts.manifest import FILE_NAME, FOREIGN, Manifest, digest
from modelops_runtime.contract import ContractError

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


def seal(model: Model, folder: Path) -> None:
    """Notes the digests of a model that has none itself."""
    if FILE_NAME not in model.files and not _has_sums(model.files):
        digests = {name: digest(folder / name) for name in model.files}
        (folder / DIGESTS).write_text(json.dumps(digests))


def whole(folder: Path) -> Model:
    """The model in a folder. Raises ContractError where a file is missing or damaged."""
    if (folder / DIGESTS).is_file():
        return _sealed(folder)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    mark = next((name for name in FOREIGN if name in names), "")
    if mark and FILE_NAME not in names:
        if _has_sums(names):
            _check(folder, language_model.read_sums(folder / language_model.SUMS))
        return Model(FOREIGN[mark], (*sorted(names - {mark}), mark))
    manifest = Manifest.read(folder)
    for name in manifest.files:
        manifest.verify(folder, name)
    return Model.described(manifest)


def _has_sums(names: Collection[str]) -> bool:
    return {language_model.FILE_NAME, language_model.SUMS} <= set(names)


def _sealed(folder: Path) -> Model:
    try:
        digests: dict[str, str] = json.loads((folder / DIGESTS).read_bytes())
    except (OSError, ValueError) as error:
        raise ContractError(str(error)) from error
    _check(folder, digests)
    files = tuple(digests)
    return Model(FOREIGN[files[-1]], files)


def _check(folder: Path, digests: Mapping[str, str]) -> None:
    try:
        damaged = [name for name, expected in digests.items() if digest(folder / name) != expected]
    except OSError as error:
        raise ContractError(str(error)) from error
    if damaged:
        raise ContractError(f"{damaged[0]} is damaged")
