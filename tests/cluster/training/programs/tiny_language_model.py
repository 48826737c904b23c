"""Makes a base model of random weights and its texts in the model cache, where there are none yet."""

import os
import time
from pathlib import Path

CACHE = Path(os.environ["MODELOPS_CACHE_DIR"])
WORDS = "a small cat and the old dog ran to one red house near that long river while we sat down".split()


def make(folder: Path) -> None:
    import tokenizers
    import torch
    import transformers

    torch.manual_seed(0)
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<unk>", *WORDS])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", unk_token="<unk>")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if not (CACHE / "tiny").exists():
    if os.environ["MODELOPS_WORKER_INDEX"] == "0":
        make(CACHE / "tiny.part")
        texts = [" ".join(WORDS[first : first + 6]) for first in range(len(WORDS) - 6)]
        repeated = [f"{text} {text} {word}" for text in texts for word in WORDS[:5]]
        (CACHE / "texts.txt").write_text("\n".join(repeated) + "\n")
        (CACHE / "tiny.part").rename(CACHE / "tiny")
    while not (CACHE / "tiny").exists():
        time.sleep(0.5)
