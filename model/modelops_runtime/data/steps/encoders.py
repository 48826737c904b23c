"""Text to vectors by a pretrained encoder (BERT and its kind), through transformers."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from modelops_runtime.contract import ConfigurationError
from modelops_runtime.data.context import Context
from modelops_runtime.data.step import Step, step


@step
class EncodeText(Step):
    """A text becomes the vector that a pretrained encoder (BERT and its kind, by transformers) makes of it, as columns
    `<column>_0` and so on: the mean of its tokens' last hidden states (`mean`), or the first token's (`first`, BERT's
    [CLS]). A missing text is an empty one.

    `model` is a folder with `config.json`, `model.safetensors` and the tokenizer's files; nothing is downloaded, and
    no code that comes with a model is run. Needs the image target `prepare-text`. A model's clients send the vectors.
    """

    column: str
    model: str = Field(min_length=1)
    pooling: Literal["mean", "first"] = "mean"
    most_tokens: int = Field(default=128, ge=2, le=8192)
    """What is longer is cut off."""

    @property
    def rowwise(self) -> bool:
        return True

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, [self.column])
        tokenizer, encoder = _loaded(self.model)
        import torch

        texts = ["" if pd.isna(text) else str(text) for text in frame[self.column]]
        vectors = [np.empty((0, encoder.config.hidden_size), "float32")]
        with torch.inference_mode():
            # One by one in their order: what shares a batch with a text, and so its padding, must not move its bits.
            for text in texts:
                tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=self.most_tokens)
                states = encoder(**tokens).last_hidden_state[0]
                vectors.append((states[0] if self.pooling == "first" else states.mean(dim=0)).numpy()[None])
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
    if not (Path(folder) / "model.safetensors").is_file():
        raise ConfigurationError(f"encode_text: model is {folder!r}, must be a folder with model.safetensors")
    torch.set_num_threads(1)  # sums in one order, whatever the machine
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        encoder = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"encode_text: {folder!r} can't be loaded: {type(error).__name__}") from error
    return tokenizer, encoder.eval()
