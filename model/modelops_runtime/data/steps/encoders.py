"""Text to vectors by a pretrained encoder (BERT and its kind), through transformers."""

import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from modelops_runtime.artifacts.operations import Operation
from modelops_runtime.artifacts.preprocessing import SENT
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.data.context import Context
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.steps import tokens
from modelops_runtime.data.version import digest_of

FILES = re.compile(rf"{tokens.FILES.pattern}|.*\.safetensors(\.index\.json)?")
"""What transformers reads of a model's folder."""

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@step
class EncodeText(Step):
    """A text becomes the vector that a pretrained encoder (BERT and its kind, by transformers) makes of it, as columns
    `<column>_0` and so on: the mean of its tokens' last hidden states (`mean`), or the first token's (`first`, BERT's
    [CLS]). A missing text is an empty one.

    `model` is a folder with `config.json`, the weights (`model.safetensors`, or several files with
    `model.safetensors.index.json`) and the tokenizer's files; nothing is downloaded, and neither pickles nor code that
    comes with a model are loaded. Needs the image target `prepare-text`. A model's clients send the vectors.
    """

    libraries: ClassVar[tuple[str, ...]] = ("safetensors", "tokenizers", "torch", "transformers")
    addresses: ClassVar[frozenset[str]] = frozenset({"model"})
    column: str
    model: str = Field(min_length=1)
    pooling: Literal["mean", "first"] = "mean"
    most_tokens: int = Field(default=128, ge=2, le=8192)
    """What is longer is cut off, also where the model has fewer positions."""

    @property
    def rowwise(self) -> bool:
        return True

    def content(self) -> str:
        return digest_of(Path(self.model), FILES)

    def operations(self) -> list[Operation]:
        sent_as = f"a number of the vector that the step encode_text makes of {self.column}"
        return [{"column": self.column, "kind": SENT, "as": sent_as, "vector": True}]

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, [self.column])
        tokenizer, encoder = _loaded(self.model)
        import torch

        most = min(self.most_tokens, _positions(encoder))
        vectors = [np.empty((0, encoder.config.hidden_size), "float32")]
        with torch.inference_mode():
            # One by one in their order: what shares a batch with a text, and so its padding, must not move its bits.
            for index, text in zip(frame.index, frame[self.column], strict=True):
                try:
                    tokens = tokenizer(
                        "" if pd.isna(text) else str(text), return_tensors="pt", truncation=True, max_length=most
                    )
                    states = encoder(**tokens).last_hidden_state[0]
                    vector = (states[0] if self.pooling == "first" else states.mean(dim=0)).numpy()[None]
                except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
                    rule = f"the encoder {self.model!r} can't take it ({type(error).__name__})"
                    raise context.bad_row(index, self.column, rule) from error
                if not np.isfinite(vector).all():
                    raise context.bad_row(index, self.column, f"the encoder {self.model!r} makes no number of it")
                vectors.append(vector)
        table = np.concatenate(vectors).astype("float64")
        names = [f"{self.column}_{number}" for number in range(table.shape[1])]
        at = list(frame.columns).index(self.column)
        features = pd.DataFrame(table, index=frame.index, columns=names)
        return pd.concat([frame.iloc[:, :at], features, frame.iloc[:, at + 1 :]], axis=1)


@cache
def _loaded(folder: str) -> tuple[Any, Any]:
    """Tokenizer and encoder of a folder. Raises ConfigurationError when there is no such model, or no transformers."""
    try:
        import torch
        import transformers
    except ImportError:
        raise ConfigurationError("encode_text needs PyTorch: use the image target prepare-text") from None
    _check(folder)
    torch.set_num_threads(1)  # sums in one order, whatever the machine
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        encoder, found = transformers.AutoModel.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
        )
    except Exception as error:  # what transformers, tokenizers and safetensors raise has nothing in common
        raise ConfigurationError(f"encode_text: {folder!r} can't be loaded: {type(error).__name__}") from error
    # Transformers would fill them with random numbers. The pooler's have no part in the last hidden states.
    if missing := sorted(key for key in found["missing_keys"] if "pooler" not in key):
        raise ConfigurationError(f"encode_text: {folder!r} lacks {len(missing)} of its weights, such as {missing[0]}")
    return tokenizer, encoder.eval()


def _check(folder: str) -> None:
    """Raises ConfigurationError saying what a folder lacks."""
    path = Path(folder)
    said = f"encode_text: model is {folder!r}, "
    if not path.is_dir():
        raise ConfigurationError(f"{said}must be a folder: nothing is downloaded")
    if not (path / WEIGHTS).is_file():
        names = _listed(path / INDEX, said)
        if not names:
            pickled = sorted(file.name for file in path.iterdir() if file.suffix in PICKLED)
            also = f": {pickled[0]} is a pickle, which is never loaded" if pickled else ""
            raise ConfigurationError(f"{said}must be a folder with {WEIGHTS}, or {INDEX} and its files{also}")
        for name in sorted(names):
            if not name.endswith(".safetensors") or Path(name).name != name:
                raise ConfigurationError(f"{said}{INDEX} names {name!r}, must name .safetensors files beside it")
            if not (path / name).is_file():
                raise ConfigurationError(f"{said}which lacks {name}, one of the files in {INDEX}")
    if not (path / CONFIG).is_file():
        raise ConfigurationError(f"{said}which lacks {CONFIG}")
    if not any((path / name).is_file() for name in TOKENIZERS):
        raise ConfigurationError(f"{said}which lacks its tokenizer, such as {TOKENIZERS[0]} or {TOKENIZERS[1]}")


def _listed(index: Path, said: str) -> set[str]:
    """The files of weights that an index names; none if there is no index."""
    if not index.is_file():
        return set()
    try:
        return set(map(str, json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ConfigurationError(f"{said}whose {INDEX} has no weight_map") from None


def _positions(encoder: Any) -> int:
    """How many tokens an encoder takes."""
    declared = getattr(encoder.config, "max_position_embeddings", None) or 0
    if declared < 1:
        return sys.maxsize
    # RoBERTa and its kind count from the place after padding's.
    padding = [
        module.padding_idx
        for name, module in encoder.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    return int(declared) - max((place + 1 for place in padding), default=0)
