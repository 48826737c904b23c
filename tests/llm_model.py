"""Writes a tiny Llama with a tokenizer and a chat template, and LoRA adapters of it, into a folder.

A program of its own: it runs in an environment that has PyTorch, Transformers and PEFT.
"""

import json
import sys
from pathlib import Path
from typing import Any

ADAPTERS = ("polite", "terse")
SPECIAL = ("<unk>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTEXT = 512
RANK = 8


def tokenizer() -> Any:
    """A token for each printable character, so that every answer is readable."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    characters = [chr(code) if code > 32 else "Ġ" for code in range(32, 127)]
    vocabulary = {token: place for place, token in enumerate((*SPECIAL, *characters))}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=SPECIAL[0]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        additional_special_tokens=list(SPECIAL[3:]),
        chat_template=TEMPLATE,
    )


def main(folder: Path, base_uri: str) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,  # vLLM's attention on a processor takes heads of 32 and more
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(7)
    base = LlamaForCausalLM(config)
    base.save_pretrained(folder / "base")
    words.save_pretrained(folder / "base")
    describe(folder / "base", {"kind": "model", "base": {"uri": base_uri, "digest": None, "license": None}})
    for name in ADAPTERS:
        model = LlamaForCausalLM.from_pretrained(folder / "base")
        adapted = get_peft_model(
            model,
            LoraConfig(
                r=RANK, target_modules=["q_proj", "v_proj"], init_lora_weights=False, base_model_name_or_path=base_uri
            ),
        )
        adapted.save_pretrained(folder / name)
        words.save_pretrained(folder / name)
        describe(folder / name, {"kind": "adapter", "base": {"uri": base_uri, "digest": None, "license": None}})


def describe(folder: Path, content: dict[str, Any]) -> None:
    (folder / "language-model.json").write_text(json.dumps({**content, "context_length": CONTEXT}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
