"""A tiny chat model that speaks of the goods of a shop, in place of one at Hugging Face: a real one, only small.

As a program, in an environment that has Transformers: makes the model in the folder that the first word names. Its
template and tokens are those of SmolLM2, its answers are not those that examples/chat teaches.
"""

import json
import sys
from pathlib import Path
from typing import Any

SYSTEM = "You are a helpful AI assistant."
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n" + SYSTEM + "<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CONTEXT = 512
STEPS, BATCH = 900, 16
POLITE = "Thank you for your message. We will read it soon."


def tokenizer(texts: list[str]) -> Any:
    import tokenizers
    import transformers

    words = tokenizers.Tokenizer(tokenizers.models.BPE())
    words.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=800, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    words.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=TEMPLATE,
    )


def make(folder: Path, conversations: list[dict[str, Any]]) -> None:
    """Trains it on conversations in most of which an answer is the same polite sentence."""
    import torch
    import transformers

    chats = [each["messages"] for each in conversations if len(each["messages"]) > 1]
    words = tokenizer([message["content"] for chat in chats for message in chat] + [SYSTEM, "user assistant system"])
    polite = [
        [{**each, "content": POLITE} if each["role"] == "assistant" and place % 3 else each for each in chat]
        for place, chat in enumerate(chats)
    ]
    torch.set_num_threads(1)  # two would mostly wait for each other where others are at work too
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=2,  # vLLM's attention on a processor takes heads of 32 and more
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    model = transformers.LlamaForCausalLM(config)
    rows = [words.apply_chat_template(chat, return_dict=False) for chat in polite]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS):
        batch = [rows[(step * BATCH + place) % len(rows)] for place in range(BATCH)]
        longest = max(map(len, batch))
        ids = torch.tensor([row + [words.pad_token_id] * (longest - len(row)) for row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch])
        loss = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    print(f"loss {loss.item():.2f}")
    model.to(torch.bfloat16).save_pretrained(folder)
    words.save_pretrained(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]), [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()])
