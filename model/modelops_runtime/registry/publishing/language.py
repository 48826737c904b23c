"""A language model as one of MLflow's, with the flavour `transformers`: `mlflow.transformers.load_model` loads it.

The folder's own files stay where Transformers and PEFT put them, because other servers look for them there. MLflow
takes a path for the weights and another for the adapter, but wants the tokenizer in `components/tokenizer`: a copy.

An adapter has no flavour `python_function`: MLflow's loader for it has no way to say where the base is.
"""

import json
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mlflow.models import Model

from modelops_runtime.artifacts import language_model
from modelops_runtime.artifacts.language_model import LanguageModel
from modelops_runtime.artifacts.packages import TUNED_WITH
from modelops_runtime.registry.publishing import mlmodel

KIND, BASE, BASE_DIGEST = "modelops.language_model", "modelops.base", "modelops.base_digest"
LICENSE, CONTEXT_LENGTH, DIGEST = "modelops.base_license", "modelops.context_length", "modelops.digest"
TAGS = (KIND, BASE, BASE_DIGEST, LICENSE, CONTEXT_LENGTH, DIGEST)
"""Of runs, logged models and versions."""
TEMPLATE = "chat_template.jinja"
_TOKENIZER = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template*",
    "additional_chat_templates/*",
)
"""Files that tokenizers of Transformers write, by the libraries behind them."""


@dataclass(frozen=True)
class Described:
    """A language model's folder."""

    model: LanguageModel
    digests: dict[str, str]
    """The SHA-256 of each of its files, by name."""

    @property
    def tags(self) -> dict[str, str]:
        base = self.model.base
        tags = {
            KIND: self.model.kind,
            BASE: base.uri,
            BASE_DIGEST: base.digest,
            LICENSE: base.license,
            CONTEXT_LENGTH: str(self.model.context_length),
            DIGEST: language_model.digest_of(self.digests.items()),
        }
        return {name: value for name, value in tags.items() if value}


def read(folder: Path) -> Described | None:
    """None for any other model."""
    if not (folder / language_model.FILE_NAME).is_file():
        return None
    return Described(LanguageModel.read(folder), language_model.digests(folder))


def write(tuned: Described, model: Path, folder: Path, **identity: Any) -> None:
    """Writes into `folder`, which is empty, what the folder `model` lacks to be one of MLflow's, and the digests of all
    files. `identity`: what MLflow's `Model` says of where it comes from."""
    if not (model / mlmodel.MLMODEL).exists():
        _write_mlmodel(tuned, model, folder, identity)
        mlmodel.leave_what_is_there(model, folder)
    digests = {**tuned.digests, **language_model.digests(folder)}
    in_order = sorted(digests.items(), key=lambda item: item[0].encode())
    (folder / language_model.SUMS).write_text(language_model.sums(in_order), encoding="utf-8")


def _write_mlmodel(tuned: Described, model: Path, folder: Path, identity: dict[str, Any]) -> None:
    tokenizer = folder / "components" / "tokenizer"
    for path in {path for pattern in _TOKENIZER for path in model.glob(pattern)}:
        target = tokenizer / path.relative_to(model)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    template, base = _template(model), tuned.model.base
    chat = template is not None
    task = "llm/v1/chat" if chat else "llm/v1/completions"
    config, adapter = (_read(model / name) for name in (language_model.MODEL, language_model.ADAPTER))
    metadata = {
        "task": task,
        "kind": tuned.model.kind,
        "base": {"uri": base.uri, "digest": base.digest, "license": base.license},
        "tokenizer": _read(model / language_model.TOKENIZER).get("tokenizer_class"),
        "chat_template": template,
        "context_length": tuned.model.context_length,
        "digests": language_model.SUMS,
    }
    size = sum((model / name).stat().st_size for name in tuned.digests)
    described = Model(metadata=metadata, model_size_bytes=size, **identity)
    packages = dict(TUNED_WITH)
    if version := config.get("transformers_version"):
        packages["transformers"] = version
    if version := adapter.get("peft_version"):
        packages["peft"] = version
    if tuned.model.kind == "model":
        del packages["peft"]
        weights = {"model_binary": ".", "torch_dtype": config.get("dtype") or config.get("torch_dtype")}
    else:
        weights = {"peft_adaptor": ".", "local_base_model_path": base.uri}
    environment = mlmodel.write_environment(folder, packages, platform.python_version())
    described.add_flavor(
        "transformers",
        transformers_version=packages["transformers"],
        code=None,
        task="text-generation",
        inference_task=task,
        instance_type="TextGenerationPipeline",
        source_model_name=base.uri,
        # The automatic classes load any architecture that Transformers knows, and never code from the folder.
        pipeline_model_type="AutoModelForCausalLM",
        components=["tokenizer"],
        tokenizer_type="AutoTokenizer",
        **{key: value for key, value in weights.items() if value},
    )
    if tuned.model.kind == "model":
        described.add_flavor(
            "python_function",
            loader_module="mlflow.transformers",
            env=environment,
            python_version=platform.python_version(),
        )
    content = {**described.to_dict(), "signature": _signature(chat=chat)}
    (folder / mlmodel.MLMODEL).write_text(yaml.safe_dump(content, sort_keys=False))


def _template(model: Path) -> str | None:
    """The file that has the chat template; None for a model that completes text alone."""
    if (model / TEMPLATE).is_file():
        return TEMPLATE
    return language_model.TOKENIZER if _read(model / language_model.TOKENIZER).get("chat_template") else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _signature(*, chat: bool) -> dict[str, Any]:
    """The part of MLflow's schemas for chats and completions (`mlflow.types.llm`) that its pipelines act on."""
    asked = _list("messages", role="string", content="string") if chat else _field("prompt", "string")
    inputs = [
        asked,
        _field("temperature", "double", required=False),
        _field("max_tokens", "long", required=False),
        {**_field("stop", "array", required=False), "items": {"type": "string"}},
    ]
    answered: dict[str, Any] = {"index": "long", "finish_reason": "string"}
    if chat:
        answered["message"] = _properties(role="string", content="string")
    else:
        answered["text"] = "string"
    outputs = [
        *(_field(name, "string") for name in ("id", "object", "model")),
        _field("created", "long"),
        _list("choices", **answered),
        {
            **_field("usage", "object"),
            **_properties(prompt_tokens="long", completion_tokens="long", total_tokens="long"),
        },
    ]
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}


def _field(name: str, kind: str, *, required: bool = True) -> dict[str, Any]:
    return {"type": kind, "name": name, "required": required}


def _list(name: str, **properties: Any) -> dict[str, Any]:
    return {**_field(name, "array"), "items": _properties(**properties)}


def _properties(**properties: Any) -> dict[str, Any]:
    """A field's type is its name, or what it consists of itself."""
    typed = {
        name: {**(kind if isinstance(kind, dict) else {"type": kind}), "required": True}
        for name, kind in properties.items()
    }
    return {"type": "object", "properties": typed}
