"""A model in a folder, by Transformers and PEFT in this process."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelops_runtime.contract import ConfigurationError, ContractError
from modelops_runtime.language_models.evaluation.models import Answer
from modelops_runtime.language_models.evaluation.rows import Prompt


class FolderModel:
    """An adapter with its base, or a whole model, on the GPUs of this machine, or else on its processor."""

    def __init__(self, folder: Path, base: Path | None, precision: str) -> None:
        """`base`: of an adapter."""
        import torch
        import transformers

        options = {"device_map": "auto"} if torch.cuda.is_available() else {}
        try:
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
            model: Any = transformers.AutoModelForCausalLM.from_pretrained(
                base or folder, dtype=getattr(torch, precision), use_safetensors=True, **options
            )
            if base:
                import peft

                model = peft.PeftModel.from_pretrained(model, folder)
        except (OSError, ValueError, RuntimeError) as error:
            raise ContractError(f"the model in {folder} can't be loaded: {error}") from error
        if self.tokenizer.eos_token_id is None:
            raise ConfigurationError(f"the tokenizer in {folder} has no end token")
        self.model = model.eval()
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # An adapter's tokenizer may end a text with another token than its base.
        known = model.generation_config.eos_token_id
        self._ends = sorted({self.tokenizer.eos_token_id, *(known if isinstance(known, list) else [known])} - {None})

    def answers(self, prompts: Sequence[Prompt], max_tokens: int, batch_size: int) -> Iterator[Answer]:
        for first in range(0, len(prompts), batch_size):
            yield from self._batch([self._tokens(prompt) for prompt in prompts[first : first + batch_size]], max_tokens)

    def _tokens(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            return list(self.tokenizer(prompt)["input_ids"])
        if not self.tokenizer.chat_template:
            raise ConfigurationError("the model has no chat template, and the evaluation set has messages")
        text = self.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _batch(self, rows: list[list[int]], max_tokens: int) -> Iterator[Answer]:
        import torch

        self._check_length(rows, max_tokens)
        padded = self.tokenizer.pad({"input_ids": rows}, return_tensors="pt").to(self.model.device)
        started = time.monotonic()
        with torch.inference_mode():
            generated = self.model.generate(
                **{name: padded[name] for name in ("input_ids", "attention_mask")},
                max_new_tokens=max_tokens,
                do_sample=False,
                # Of the model's own configuration, where they are about sampling.
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=self._ends,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        seconds = time.monotonic() - started
        for row in generated[:, padded["input_ids"].shape[1] :].tolist():
            ends = [place for place, token in enumerate(row) if token in self._ends]
            own = row[: ends[0] + 1] if ends else row
            yield Answer(self.tokenizer.decode(own, skip_special_tokens=True), len(own), seconds, bool(ends))

    def _check_length(self, rows: list[list[int]], max_tokens: int) -> None:
        most = getattr(self.model.config, "max_position_embeddings", None)
        longest = max(map(len, rows))
        if most and longest + max_tokens > most:
            raise ConfigurationError(
                f"a prompt has {longest} tokens, which leaves less than max_tokens {max_tokens} of the model's {most}"
            )

    def for_harness(self, batch_size: int, tokenizer: str | None) -> Any:
        from lm_eval.models.huggingface import HFLM

        return HFLM(pretrained=self.model, tokenizer=self.tokenizer, backend="causal", batch_size=batch_size)
