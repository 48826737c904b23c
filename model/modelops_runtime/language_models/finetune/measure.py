"""How well a model predicts texts that it has not learned."""

import math
import time
from typing import Any

from modelops_runtime.contract import ConfigurationError
from modelops_runtime.language_models.finetune.workers import Processes


def measured(trainer: Any, rows: Any, objective: str, processes: Processes) -> dict[str, float]:
    """The metrics of a split, over all processes; training goes on afterwards as if this had not been.

    Raises ConfigurationError where a metric is not finite: the weights are lost.
    """
    import torch

    started = time.monotonic()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        metrics = _of_texts(trainer, rows, processes) if objective == "sft" else _of_preferences(trainer, rows)
    tokens = metrics.pop("tokens", 0.0)
    if not all(map(math.isfinite, metrics.values())):
        raise ConfigurationError("the loss is not finite: lower learning_rate")
    if tokens:
        metrics["tokens_per_second"] = tokens / (time.monotonic() - started)
    return metrics


def _of_texts(trainer: Any, rows: Any, processes: Processes) -> dict[str, float]:
    """Each token that counts weighs the same, however the rows fall into batches.

    By batches of our own: the Trainer's mean of the batches' means depends on their size.
    """
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    collate = DataCollatorForLanguageModeling(pad_token_id=trainer.processing_class.pad_token_id)
    size = trainer.args.per_device_eval_batch_size
    model = trainer.model_wrapped
    was_training = model.training
    model.eval()
    loss = tokens = right = 0.0
    whole = size * processes.count
    for first in range(0, len(rows), whole):
        own = list(range(first, min(first + whole, len(rows))))[processes.rank :: processes.count]
        # All processes call the model equally often, because the parts of a sharded one work together.
        batch = collate([_plain(rows[number]) for number in own or [0]])
        labels = batch.pop("labels")[:, 1:].to(trainer.args.device)
        if not own:
            labels = torch.full_like(labels, -100)
        with torch.no_grad(), trainer.compute_loss_context_manager():
            logits = model(**{name: value.to(trainer.args.device) for name, value in batch.items()}).logits
        logits = logits[:, :-1].float()
        counted = labels != -100
        loss += float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum"))
        right += float(((logits.argmax(-1) == labels) & counted).sum())
        tokens += float(counted.sum())
    model.train(was_training)
    loss, tokens, right = processes.sums(loss, tokens, right)
    if not tokens:
        raise ConfigurationError("the rows have no token to predict within max_length")
    mean = loss / tokens
    return {
        "loss": mean,
        "perplexity": math.exp(min(mean, 700)),
        "token_accuracy": right / tokens,
        "tokens": tokens,
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {"input_ids": row["input_ids"], "labels": row["labels"]}


def _of_preferences(trainer: Any, rows: Any) -> dict[str, float]:
    found = trainer.evaluate(rows)
    names = {"loss": "loss", "rewards/accuracies": "reward_accuracy", "rewards/margins": "reward_margin"}
    return {name: float(found[f"eval_{theirs}"]) for theirs, name in names.items()}
