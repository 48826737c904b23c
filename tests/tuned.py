"""Language models' folders as a fine-tuning leaves them, made without one."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from modelops_runtime.artifacts.language_model import Base, LanguageModel
from tests.language_models import TEMPLATE

WEIGHTS: Mapping[str, int] = {"model.safetensors": 100}


def write_folder(
    folder: Path, base: Base, *, kind: Literal["adapter", "model"] = "model", weights: Mapping[str, int] = WEIGHTS
) -> LanguageModel:
    """A language model's folder whose weights are so many bytes by the names of their files. Nothing can load it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in weights.items():
        header = json.dumps({name: {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(file.tell() + size)
    configuration = {
        "model": ("config.json", {"transformers_version": "5.20.0", "dtype": "bfloat16"}),
        "adapter": ("adapter_config.json", {"peft_version": "0.20.0"}),
    }
    name, content = configuration[kind]
    (folder / name).write_text(json.dumps(content))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "TokenizersBackend"}')
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    model = LanguageModel(kind, base, 256)
    model.write(folder)
    return model
