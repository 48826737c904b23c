"""A tiny language model, texts for it, and the fine-tuning that tests run on them.

As a program, in an environment that has Transformers: makes the model in the folder that the first word names.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
COLOURS = ("red", "green", "blue", "yellow")


def make(folder: Path, *, dropout: float) -> None:
    """A Llama of two layers that has learned nothing, with a tokenizer of its own and a chat template."""
    import tokenizers
    import torch
    import transformers

    bytes_alone = tokenizers.Tokenizer(tokenizers.models.BPE())
    bytes_alone.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_alone.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>", "<|start|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    bytes_alone.train_from_iterator([" ".join((*COLOURS, "what is the colour answer"))] * 9, trainer)
    # Padding is the end token, as in many models: a text's end has to be learned nevertheless.
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_alone, eos_token="<|end|>", pad_token="<|end|>", chat_template=TEMPLATE
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        attention_dropout=dropout,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


def chats(rows: int) -> list[dict[str, Any]]:
    """Conversations of different lengths."""
    dice = random.Random(3)
    colours = [dice.choice(COLOURS) for _ in range(rows)]
    return [
        {
            "messages": [
                {"role": "user", "content": f"what is the colour {number}{' of it' * (number % 4)}"},
                {"role": "assistant", "content": f"the answer is {colour}"},
            ]
        }
        for number, colour in enumerate(colours)
    ]


def preferences(rows: int) -> list[dict[str, Any]]:
    dice = random.Random(4)
    return [
        {
            "prompt": [{"role": "user", "content": f"what is the colour {number}"}],
            "chosen": [{"role": "assistant", "content": f"the answer is {dice.choice(COLOURS)}"}],
            "rejected": [{"role": "assistant", "content": "is is the"}],
        }
        for number in range(rows)
    ]


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@dataclass(frozen=True)
class Tuning:
    """The program with a base, in an environment that has what it imports."""

    python: Path
    base: Path
    digest: str
    folder: Path
    """Where runs leave what they write, each in a folder of its own."""

    def variables(self, name: str, data: Path, parameters: Mapping[str, Any], **more: str) -> dict[str, str]:
        values = {"base_model": self.base.as_uri(), "base_digest": self.digest, "precision": "float32", **parameters}
        return {
            **os.environ,
            "HOME": str(self.folder),
            "OMP_NUM_THREADS": "1",
            "MODELOPS_RUN_ID": "r1",
            "MODELOPS_MODEL_NAME": "tiny",
            "MODELOPS_FRAMEWORK": "pytorch",
            "MODELOPS_DATA_URI": str(data),
            "MODELOPS_PARAMETERS": json.dumps({"max_length": 128, **values}),
            "MODELOPS_OUTPUT_DIR": str(self.folder / name / "output"),
            "MODELOPS_CHECKPOINT_DIR": str(self.folder / name / "checkpoints"),
            "MODELOPS_CHECKPOINT_SECONDS": "0",
            **more,
        }

    def start(self, name: str, data: Path, parameters: Mapping[str, Any], **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self.python, "-m", "modelops_runtime", "finetune"],
            env=self.variables(name, data, parameters, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, name: str, data: Path, parameters: Mapping[str, Any], code: int = 0, **more: str) -> str:
        """What it printed. It must end with this exit code."""
        process = self.start(name, data, parameters, **more)
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == code, printed
        return printed

    def output(self, name: str) -> Path:
        return self.folder / name / "output"

    def metrics(self, name: str) -> dict[str, float]:
        content: dict[str, float] = json.loads((self.output(name) / "metrics.json").read_text())
        return content

    def weights(self, name: str) -> bytes:
        (file,) = (self.output(name) / "model").glob("*.safetensors")
        return file.read_bytes()


if __name__ == "__main__":
    make(Path(sys.argv[1]), dropout=float(sys.argv[2]))
