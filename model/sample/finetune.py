"""Fine-tuning of a causal language model with LoRA: `python -m sample.finetune`, or torchrun with several GPUs a pod.

Keeps the training contract (docs/model.md), and leaves the adapter, which a server such as vLLM loads beside the base
model. Data parallel: every process has the whole base model. LoRA: Hu et al., 2021, https://arxiv.org/abs/2106.09685.
"""

import io
import math
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import pydantic

from modelops_runtime import contract
from modelops_runtime.artifacts.results import write_json, write_metrics
from modelops_runtime.contract import ConfigurationError, ContractError, Environment, Exit, TrainingContract
from modelops_runtime.training.checkpoint import Checkpoints, Progress
from modelops_runtime.training.progress import Reporter
from modelops_runtime.training.stop import Stop
from sample.parameters import WholeNumber

HELD_OUT = 10
"""Every tenth text is kept for the test."""


class Parameters(pydantic.BaseModel):
    """Hyperparameters of the fine-tuning."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    base_model: str = pydantic.Field(min_length=1)
    """Folder below MODELOPS_CACHE_DIR, or any other path, or the name of a repository on the Hugging Face hub."""
    base_revision: str = "main"
    """Commit of that repository; a branch's name lets the same run id train on other weights."""
    rank: WholeNumber = pydantic.Field(8, ge=1, le=1024)
    """Rank r of the update: W + (alpha / r) · B A."""
    alpha: float = pydantic.Field(16, gt=0)
    dropout: float = pydantic.Field(0.0, ge=0, lt=1)
    target_modules: str = "all-linear"
    """Layers that get an adapter: a regular expression over their names, or `all-linear`."""
    epochs: WholeNumber = pydantic.Field(3, ge=1)
    learning_rate: float = pydantic.Field(2e-4, gt=0)
    batch_rows: WholeNumber = pydantic.Field(8, ge=1)
    """Texts a step and process."""
    sequence_length: WholeNumber = pydantic.Field(128, ge=2)
    """Tokens of a text; what is longer is cut."""
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: WholeNumber = pydantic.Field(0, ge=0)
    """Seed of the adapter's first weights and of the texts' order."""

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "Parameters":
        """Raises ConfigurationError naming every parameter that is wrong."""
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise ConfigurationError(
                *(f"parameter {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            ) from None


def read_texts(uri: str) -> tuple[list[str], list[str]]:
    """Texts to train with and to test with, from a file with one on each line.

    Raises ConfigurationError when it can't be read or has fewer than two texts.
    """
    parts = urlsplit(uri)
    if not uri or parts.scheme not in ("", "file"):
        raise ConfigurationError(f"MODELOPS_DATA_URI is {uri!r}, must be a path or file:// URI of a file of texts")
    try:
        texts = [line.strip() for line in Path(unquote(parts.path)).read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"MODELOPS_DATA_URI {uri!r} can't be read: {error}") from error
    distinct = dict.fromkeys(texts)  # a text twice could be on both sides
    test = list(distinct)[::HELD_OUT]
    training = [text for text in distinct if text not in set(test)]
    if not training:
        raise ConfigurationError(f"MODELOPS_DATA_URI {uri!r} has {len(distinct)} different texts, must have at least 2")
    return training, test


def batches(rows: int, parameters: Parameters, epoch: int, processes: int, rank: int) -> list[list[int]]:
    """The rows that one process takes at each step of an epoch: the same order on every machine, each row once.

    All processes make as many steps; the last ones of an uneven epoch may have no row.
    """
    order = list(range(rows))
    random.Random(f"{parameters.seed} {epoch}").shuffle(order)
    whole = parameters.batch_rows * processes
    return [order[first : first + whole][rank::processes] for first in range(0, rows, whole)]


class Processes:
    """torch.distributed over all processes, or a single one by itself."""

    def __init__(self) -> None:
        import torch

        self.count, self.rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
        self.device = torch.device("cpu")
        if torch.cuda.is_available():
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(self.device)
        if self.count > 1:
            torch.distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    def sums(self, *values: float) -> list[float]:
        """The sum over all processes of each value."""
        import torch

        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.count > 1:
            torch.distributed.all_reduce(tensor)
        return [float(value) for value in tensor]

    def from_first(self, value: Any) -> Any:
        """What the first process has, at every process."""
        import torch

        box = [value]
        if self.count > 1:
            torch.distributed.broadcast_object_list(box, device=self.device)
        return box[0]


class Adapter:
    """The base model, frozen, with the LoRA layers that are trained."""

    def __init__(self, parameters: Parameters, processes: Processes) -> None:
        import peft
        import torch
        import transformers

        torch.manual_seed(parameters.seed)
        base = base_model(parameters)
        self._parameters, self._processes = parameters, processes
        try:
            options = {} if Path(base).is_dir() else {"revision": parameters.base_revision}
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(base, **options)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                base, dtype=getattr(torch, parameters.precision), **options
            )
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"parameter base_model: {base!r} can't be loaded: {error}") from error
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        config = peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=parameters.rank,
            lora_alpha=parameters.alpha,
            lora_dropout=parameters.dropout,
            target_modules=parameters.target_modules,
        )
        try:
            self.model = peft.get_peft_model(model, config).to(processes.device)
        except ValueError as error:
            raise ConfigurationError(f"parameter target_modules: {error}") from error
        self._trained = [value for value in self.model.parameters() if value.requires_grad]
        self._optimizer = torch.optim.AdamW(self._trained, parameters.learning_rate)

    def step(self, texts: Sequence[str]) -> tuple[float, float]:
        """One step with the gradient of all processes' texts; loss summed over its tokens, and their number."""
        import torch

        self._optimizer.zero_grad()
        loss, tokens = self.loss(texts)
        if tokens:
            loss.backward()
        total, all_tokens = self._processes.sums(float(loss), tokens)
        for value in self._trained:
            gradient = value.grad if value.grad is not None else torch.zeros_like(value)
            if self._processes.count > 1:
                torch.distributed.all_reduce(gradient)
            value.grad = gradient / all_tokens
        self._optimizer.step()
        return total, all_tokens

    def loss(self, texts: Sequence[str]) -> tuple[Any, int]:
        """Cross entropy of each next token, summed, and the number of tokens predicted."""
        import torch

        if not texts:
            return torch.zeros((), device=self._processes.device), 0
        encoded = self.tokenizer(
            list(texts), return_tensors="pt", padding=True, truncation=True, max_length=self._parameters.sequence_length
        ).to(self._processes.device)
        mask = encoded["attention_mask"]
        outputs = self.model(input_ids=encoded["input_ids"], attention_mask=mask).logits[:, :-1].float()
        targets = encoded["input_ids"][:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        loss = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="sum")
        return loss, int((targets != -100).sum())

    def test(self, texts: Sequence[str]) -> float:
        """Mean cross entropy a token, without dropout."""
        import torch

        self.model.eval()
        own = texts[self._processes.rank :: self._processes.count]
        total, tokens = 0.0, 0
        with torch.no_grad():
            for first in range(0, len(own), self._parameters.batch_rows):
                loss, count = self.loss(own[first : first + self._parameters.batch_rows])
                total, tokens = total + float(loss), tokens + count
        self.model.train()
        total, all_tokens = self._processes.sums(total, tokens)
        if not all_tokens:
            raise ConfigurationError("the test texts have fewer than two tokens each: nothing to tell")
        return total / all_tokens

    def state(self) -> bytes:
        import peft
        import torch

        content = io.BytesIO()
        adapter = peft.get_peft_model_state_dict(self.model)
        torch.save({"adapter": adapter, "optimizer": self._optimizer.state_dict()}, content)
        return content.getvalue()

    def restore(self, state: bytes) -> None:
        import peft
        import torch

        content = torch.load(io.BytesIO(state), map_location=self._processes.device, weights_only=True)
        peft.set_peft_model_state_dict(self.model, content["adapter"])
        self._optimizer.load_state_dict(content["optimizer"])


def base_model(parameters: Parameters) -> str:
    """A folder of the model cache where there is one of this name; else the name itself."""
    cached = Path(os.environ.get("MODELOPS_CACHE_DIR", "/nowhere")) / parameters.base_model
    return str(cached) if cached.is_dir() else parameters.base_model


def train(settings: TrainingContract, parameters: Parameters, stop: Stop) -> dict[str, float]:
    """From texts to the adapter and its metrics. A resumed training makes the steps that the first would have made."""
    training, test = read_texts(settings.data_uri)
    processes = Processes()
    adapter = Adapter(parameters, processes)
    checkpoints = Checkpoints(settings, parameters.model_dump())
    first = processes.rank == 0
    progress: Progress = processes.from_first((checkpoints.load() or Progress()) if first else None)
    if progress.weights:
        adapter.restore(progress.weights)
        if first:
            print(f"resuming after epoch {len(progress.history)}, step {progress.step}", flush=True)
    reporter = Reporter(parameters.epochs, len(progress.history), settings.output_dir)
    saved, every = time.monotonic(), settings.checkpoint_steps

    def keep(ended: bool) -> None:
        """Writes a checkpoint when one is due; ends when any process has to stop."""
        nonlocal saved
        stopped = bool(processes.sums(float(stop.requested))[0])
        due = progress.step % every == 0 if every else time.monotonic() - saved >= settings.checkpoint_seconds
        if first and (due or stopped or ended):
            progress.weights = adapter.state()
            checkpoints.save(progress)
            saved = time.monotonic()
        if stopped and not ended:
            raise ContractError("told to stop: the checkpoint is written", code=Exit.TERMINATED)

    while not progress.whole(parameters.epochs):
        epoch = len(progress.history) + 1
        for rows in batches(len(training), parameters, epoch, processes.count, processes.rank)[progress.step :]:
            loss, tokens = adapter.step([training[row] for row in rows])
            progress.loss, progress.rows, progress.step = (
                progress.loss + loss,
                progress.rows + int(tokens),
                progress.step + 1,
            )
            if not math.isfinite(loss):
                raise ConfigurationError(f"the loss is not finite in epoch {epoch}: lower learning_rate")
            keep(ended=False)
        val_loss = adapter.test(test)
        row = {"epoch": float(epoch), "loss": progress.loss / max(1, progress.rows), "val_loss": val_loss}
        progress.history.append(row)
        progress.step, progress.loss, progress.rows = 0, 0.0, 0
        if first:
            reporter.report(row)
        keep(ended=progress.whole(parameters.epochs))
    cross_entropy = progress.history[-1]["val_loss"]
    metrics = {"cross_entropy": cross_entropy, "perplexity": math.exp(min(cross_entropy, 700))}
    if first:
        adapter.model.save_pretrained(settings.output_dir / "model")
        adapter.tokenizer.save_pretrained(settings.output_dir / "model")
        write_json(settings.output_dir / "history.json", progress.history)
        write_json(settings.output_dir / "parameters.json", parameters.model_dump())
        write_metrics(metrics, settings.output_dir)
    processes.sums(0.0)  # no process ends before the first has written
    return metrics


def main() -> None:
    stop = Stop()
    stop.listen()
    env = Environment()
    settings = TrainingContract.read(env)
    if env.integer("MODELOPS_TENSOR_PARALLEL", 1, minimum=1, maximum=4096) > 1:
        env.problems.append("tensor_parallel is more than 1, and this program is data parallel: bring one that shards")
    parameters = None
    try:
        parameters = Parameters.parse(settings.parameters)
    except ConfigurationError as error:
        env.problems.extend(error.problems)
    env.check()
    assert parameters
    metrics = train(settings, parameters, stop)
    print("test split: " + "  ".join(f"{name} {value:.5f}" for name, value in metrics.items()), flush=True)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        sys.stderr.flush()
        os._exit(Exit.DONE)  # a process group takes leave of peers that may have gone already


if __name__ == "__main__":
    contract.run(main)
