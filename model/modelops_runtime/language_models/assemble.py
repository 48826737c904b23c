"""The container that prepares a language model for vLLM, `modelops-assemble`.

It fetches the model; the base, if the model is an adapter; and further adapters. Then it writes the file of arguments
with which the engine starts. Contract: docs/model.md.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelops_runtime.artifacts.language_model import ADAPTER, FILE_NAME, MODEL, Base, LanguageModel, digest, is_pickled
from modelops_runtime.contract import AssembleContract, ContractError, Environment, FetchContract
from modelops_runtime.registry.fetch import fetch, source_of
from modelops_runtime.registry.sources.source import RemoteFile, Source

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Of adapters: those for which vLLM makes room."""
MOST_AT_ONCE = 8
"""Adapters that may be in one batch: each takes memory of the GPU."""
_UNUSED = (".gguf", ".onnx", ".ot", ".tflite", ".mlmodel")
_TEMPLATE, _TOKENIZER = "chat_template.jinja", "tokenizer_config.json"


@dataclass(frozen=True)
class Weights:
    """A source without the files that vLLM doesn't need: the same weights in other formats."""

    source: Source

    @property
    def key(self) -> str:
        return f"{self.source.key}#safetensors"

    def files(self) -> Sequence[RemoteFile]:
        return [file for file in self.source.files() if not (is_pickled(file.name) or file.name.endswith(_UNUSED))]

    def download(self, file: RemoteFile, target: Path) -> None:
        self.source.download(file, target)


def weights_of(settings: FetchContract, wait_seconds: float) -> Source:
    return Weights(source_of(settings, wait_seconds))


@dataclass(frozen=True)
class Adapter:
    """One that the engine serves under a name of its own."""

    name: str
    folder: Path

    @property
    def rank(self) -> int:
        config = _json(self.folder / ADAPTER)
        return max(int(config.get("r", RANKS[0])), *map(int, config.get("rank_pattern", {}).values()), 0)


def assemble(settings: AssembleContract) -> dict[str, Any]:
    """Fetches all that is to be served. Returns vLLM's arguments. Raises ContractError."""
    model = _fetched(settings.fetch)
    adapters = [
        Adapter(each.name, _fetched(_elsewhere(settings, each.uri, settings.engine_dir / "adapters" / each.folder)))
        for each in settings.adapters
    ]
    for adapter in adapters:
        if not (adapter.folder / ADAPTER).is_file():
            raise ContractError(f"adapter {adapter.name} is a whole model: it has no {ADAPTER}")
    if not (model / ADAPTER).is_file():
        for adapter in adapters:
            _check_base(adapter.name, adapter.folder, Base(settings.source_uri, None, None), model, settings)
        return _arguments(model, settings.model_name, adapters)
    base = _base_of(model, settings)
    for adapter in adapters:
        _check_base(adapter.name, adapter.folder, base, None, settings)
    folder = _fetched(_elsewhere(settings, settings.base_uri or base.uri, settings.engine_dir / "base"))
    if (folder / ADAPTER).is_file():
        raise ContractError(f"{base.uri}, the base of {settings.source_uri}, is an adapter itself: merge it first")
    own = Adapter(settings.model_name, model)
    served = [own, *adapters]
    arguments = _arguments(folder, _name_of_base(base.uri, {each.name for each in served}), served)
    # The adapter was trained with these, which may be others than its base has.
    if (model / _TOKENIZER).is_file():
        arguments["tokenizer"] = str(model)
    if (model / _TEMPLATE).is_file():
        arguments["chat-template"] = str(model / _TEMPLATE)
    return arguments


def _fetched(settings: FetchContract) -> Path:
    """The folder in which the model's files are, which may be inside of the one that was fetched."""
    try:
        fetch(settings, weights_of)
    except ContractError as error:
        if not settings.model_uri.startswith("file://"):
            raise
        raise ContractError(f"the mounted model {settings.model_dir}: {error}") from error
    top = settings.model_dir
    marks = [path for name in (ADAPTER, MODEL) for path in top.rglob(name)]
    if not marks:
        raise ContractError(f"{settings.model_uri} is no language model: it has neither {MODEL} nor {ADAPTER}")
    folder = min(marks, key=lambda path: (len(path.parts), path.name != ADAPTER)).parent
    if not any(folder.glob("*.safetensors")):
        raise ContractError(f"{settings.model_uri} has no weights in .safetensors, and others can run code")
    return folder


def _elsewhere(settings: AssembleContract, uri: str, folder: Path) -> FetchContract:
    return replace(settings.fetch, model_uri=uri, model_dir=folder)


def _base_of(adapter: Path, settings: AssembleContract) -> Base:
    """The base that an adapter was made for, which the arguments may have named instead."""
    found = _said_base(adapter)
    if settings.base_uri:
        return found or Base(settings.base_uri, None, None)
    if found is None:
        said = _json(adapter / ADAPTER).get("base_model_name_or_path")
        raise ContractError(
            f"{settings.source_uri} is an adapter whose base is not known for sure: it has no {FILE_NAME}, and its"
            f" {ADAPTER} says {said!r} without a commit. Name the base in vllm.base_model_uri"
        )
    if found.uri.partition(":")[0] in ("pvc", "oci"):
        raise ContractError(
            f"{settings.source_uri} is an adapter of {found.uri}, which a pod can only mount: name it in"
            " vllm.base_model_uri"
        )
    return found


def _said_base(adapter: Path) -> Base | None:
    """The base that an adapter names, with the commit that it was."""
    if (adapter / FILE_NAME).is_file():
        return LanguageModel.read(adapter).base
    config = _json(adapter / ADAPTER)
    name, revision = config.get("base_model_name_or_path"), str(config.get("revision"))
    if name and len(revision) == 40:
        return Base(f"hf://{name}@{revision}", None, None)
    return None


def _check_base(name: str, adapter: Path, base: Base, folder: Path | None, settings: AssembleContract) -> None:
    """An adapter on another base than its own answers nonsense, and nothing would say so."""
    found = _said_base(adapter)
    if found is None or settings.base_uri or found.uri == base.uri:
        return
    if found.digest is not None and found.digest == (digest(folder) if folder else base.digest):
        return
    raise ContractError(f"adapter {name} was made for {found.uri}, and this engine serves {base.uri}")


def _name_of_base(uri: str, taken: set[str]) -> str:
    path = uri.partition(":")[2].lstrip("/").partition("@")[0]
    name = path if uri.startswith("hf://") else path.partition("/")[0] if uri.startswith("models:") else path
    return name if name not in taken else f"{name}-base"


def _arguments(model: Path, name: str, adapters: Sequence[Adapter]) -> dict[str, Any]:
    arguments: dict[str, Any] = {"model": str(model), "served-model-name": [name]}
    if adapters:
        rank = max(adapter.rank for adapter in adapters)
        room = next((each for each in RANKS if each >= rank), None)
        if room is None:
            raise ContractError(f"an adapter has the rank {rank}, vLLM takes up to {RANKS[-1]}")
        modules = [{"name": each.name, "path": str(each.folder), "base_model_name": name} for each in adapters]
        arguments |= {
            "enable-lora": True,
            "max-lora-rank": room,
            "max-loras": min(len(adapters), MOST_AT_ONCE),
            "max-cpu-loras": len(adapters),
            "lora-modules": [json.dumps(module) for module in modules],
        }
    return arguments


def _json(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ContractError(f"{file.name} can't be read: {error}") from error
    return content if isinstance(content, dict) else {}


def main() -> None:
    env = Environment()
    settings = AssembleContract.read(env)
    env.check()
    arguments = assemble(settings)
    settings.engine_dir.mkdir(parents=True, exist_ok=True)
    (settings.engine_dir / "vllm.yaml").write_text(json.dumps(arguments, indent=2))  # JSON is YAML
    print(f"ready for vLLM: {json.dumps(arguments)}", flush=True)
