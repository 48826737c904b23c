"""TRL's trainer for a set of parameters, and the folder of what it has made."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelops_runtime.artifacts.language_model import Base, Kind, LanguageModel
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.language_models.finetune.parameters import Parameters
from modelops_runtime.language_models.finetune.workers import Processes

LOGS = 100
"""About how often a training says where it is."""
LOOKED_AT = 100
"""How many rows are looked through for the end of a text."""


def trainer(base: Path, rows: dict[str, Any], parameters: Parameters, writing: Path) -> Any:
    """A trainer that has the model, the rows in tokens, and no callback of ours. Raises ConfigurationError."""
    import transformers
    import trl

    transformers.set_seed(parameters.seed)
    tokenizer = _tokenizer(base, parameters)
    model = _model(base, tokenizer, parameters)
    conversations = _is_conversation(rows["train"])
    if conversations and not tokenizer.chat_template:
        raise ConfigurationError("the base has no chat template, and the texts are messages: give chat_template")
    options: dict[str, Any] = {"peft_config": _lora(parameters)} if parameters.method == "lora" else {}
    sft = parameters.objective == "sft"
    arguments = _arguments(parameters, writing, len(rows["train"]))
    if sft:
        arguments |= {"packing": parameters.packing, "eval_packing": False}
        arguments["assistant_only_loss"] = _assistant_only(parameters, tokenizer, rows["train"])
        config, made = trl.SFTConfig, _unbroken(trl.SFTTrainer)
    else:
        arguments["beta"] = parameters.beta
        config, made = trl.DPOConfig, _unbroken(trl.DPOTrainer)
    with _said():
        settled = config(**arguments)
        if parameters.sharding == "fsdp":
            _shard_on_cpus()
        trainer = made(
            model=model,
            args=settled,
            train_dataset=rows["train"],
            eval_dataset=rows.get("validation"),
            processing_class=tokenizer,
            **options,
        )
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    _check_end(trainer, sft)
    return trainer


@contextmanager
def _said() -> Iterator[None]:
    """What the libraries and chat templates refuse, as ConfigurationError."""
    import jinja2

    try:
        yield
    except (ValueError, RuntimeError, TypeError, jinja2.TemplateError) as error:
        raise ConfigurationError(f"the fine-tuning can't start: {error}") from error


def _tokenizer(base: Path, parameters: Parameters) -> Any:
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"parameter base_model: its tokenizer can't be loaded: {error}") from error
    if parameters.chat_template:
        tokenizer.chat_template = parameters.chat_template
    if parameters.end_token:
        if parameters.end_token not in tokenizer.get_vocab():
            raise ConfigurationError(f"parameter end_token: the base's tokenizer has no token {parameters.end_token!r}")
        tokenizer.eos_token = parameters.end_token
    if tokenizer.eos_token is None:
        raise ConfigurationError("the base's tokenizer has no end token: give end_token")
    return tokenizer


def _model(base: Path, tokenizer: Any, parameters: Parameters) -> Any:
    """What is trained is in float32; a frozen base is in the precision of the arithmetic."""
    import safetensors
    import torch
    import transformers

    dtype = torch.float32 if parameters.method == "full" else getattr(torch, parameters.precision)
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            base, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise ConfigurationError(f"parameter base_model: it can't be loaded: {error}") from error
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest and parameters.max_length > longest:
        raise ConfigurationError(f"parameter max_length is {parameters.max_length}, the base takes {longest} tokens")
    if parameters.precision == "float16" and not torch.cuda.is_available():
        raise ConfigurationError("parameter precision is float16, which needs a GPU: bfloat16 doesn't")
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def _lora(parameters: Parameters) -> Any:
    import peft

    return peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=parameters.rank,
        lora_alpha=parameters.alpha,
        lora_dropout=parameters.dropout,
        target_modules=parameters.layers,
    )


def _arguments(parameters: Parameters, writing: Path, rows: int) -> dict[str, Any]:
    import torch

    # PEFT doesn't find an adapter's weights behind the names that FSDP's own checkpointing gives them.
    by_fsdp = parameters.sharding == "fsdp" and parameters.method == "full"
    return {
        "output_dir": str(writing),
        "per_device_train_batch_size": parameters.batch_size,
        "per_device_eval_batch_size": parameters.batch_size,
        "gradient_accumulation_steps": parameters.gradient_accumulation,
        "num_train_epochs": parameters.epochs,
        "max_steps": parameters.steps or -1,
        "learning_rate": parameters.learning_rate,
        "lr_scheduler_type": parameters.schedule,
        "warmup_steps": parameters.warmup,
        "weight_decay": parameters.weight_decay,
        "max_grad_norm": parameters.max_grad_norm,
        "max_length": parameters.max_length,
        "bf16": parameters.precision == "bfloat16",
        "fp16": parameters.precision == "float16",
        "gradient_checkpointing": parameters.gradient_checkpointing and not by_fsdp,
        "fsdp": parameters.sharding == "fsdp",
        "fsdp_config": {
            "state_dict_type": "SHARDED_STATE_DICT",
            "activation_checkpointing": parameters.gradient_checkpointing and by_fsdp,
        },
        "seed": parameters.seed,
        "data_seed": parameters.seed,
        "logging_strategy": "steps",
        "logging_steps": 1 / LOGS,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
    }


def _shard_on_cpus() -> None:
    """Without this, Accelerate would quietly not shard where there are no GPUs; PyTorch can."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    shared = PartialState()
    if shared.distributed_type == DistributedType.NO:
        raise ConfigurationError("parameter sharding is fsdp, which needs several processes")
    if shared.distributed_type == DistributedType.MULTI_CPU:
        shared.distributed_type = DistributedType.MULTI_GPU


def _unbroken(trainer: Any) -> Any:
    """The trainer's class, for which a loss that is no number is an end: no step after it would mean anything."""

    class Unbroken(trainer):  # type: ignore[misc, unused-ignore]
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(*args, **kwargs)
            if not loss.isfinite().all():
                raise ConfigurationError(
                    f"the loss is not finite at step {self.state.global_step + 1}: lower learning_rate, or use the"
                    " precision bfloat16 or float32"
                )
            return loss

    return Unbroken


def _is_conversation(rows: Any) -> bool:
    from trl import is_conversational

    return bool(is_conversational(rows[0]))


def _assistant_only(parameters: Parameters, tokenizer: Any, rows: Any) -> bool:
    """Whether only the assistant's turns are learned, of which a template that marks them tells."""
    marked = "{% generation" in (tokenizer.chat_template or "") or "{%- generation" in (tokenizer.chat_template or "")
    if parameters.assistant_only is None:
        return marked and "messages" in rows.column_names
    if parameters.assistant_only and "messages" not in rows.column_names:
        raise ConfigurationError("parameter assistant_only: the texts have no messages")
    return parameters.assistant_only


def _check_end(trainer: Any, sft: bool) -> None:
    """Raises ConfigurationError where no text teaches its end: the model would never stop."""
    column = "labels" if sft else "chosen_ids"
    end = trainer.processing_class.eos_token_id
    rows = trainer.train_dataset
    if not len(rows):
        raise ConfigurationError("no row has a token to learn within max_length")
    if not any(end in rows[number][column] for number in range(min(LOOKED_AT, len(rows)))):
        raise ConfigurationError(
            f"none of the first {LOOKED_AT} texts teaches the end token {trainer.processing_class.eos_token!r}, so the"
            " model would not learn to stop: its chat template must end an answer with it, inside of what is learned"
            " (or give another end_token), and max_length must not cut all texts"
        )


def prepared(trainer: Any, rows: Any, parameters: Parameters) -> Any:
    """Rows as the trainer's own are: tokens and labels. Preferences are left to its `evaluate`."""
    if parameters.objective == "dpo":
        return rows
    with _said():
        return trainer._prepare_dataset(rows, trainer.processing_class, trainer.args, False, None, "test")


def size(trainer: Any) -> str:
    """`1,234 of 5,678 weights are trained, on 2 × NVIDIA H100`."""
    import torch

    weights = list(trainer.model.parameters())
    trained = sum(value.numel() for value in weights if value.requires_grad)
    device = trainer.accelerator.device
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    all_of_them = f"{sum(value.numel() for value in weights):,} weights"
    return f"{trained:,} of {all_of_them} are trained, on {trainer.accelerator.num_processes} × {kind}"


def save(trainer: Any, parameters: Parameters, base: Base | None, folder: Path, processes: Processes) -> None:
    """The language model's folder, whole or not at all; every process has to call."""
    import torch

    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not processes.first:
        return
    assert base
    scratch = folder.with_name(f".{folder.name}")
    for old in (scratch, folder):
        shutil.rmtree(old, ignore_errors=True)
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    name, _, revision = (
        base.uri.removeprefix("hf://").partition("@") if base.uri.startswith("hf://") else (base.uri, "", "")
    )
    if parameters.method == "lora":
        config = model.peft_config["default"]
        config.base_model_name_or_path, config.revision = name, revision or None
    else:
        dtype = getattr(torch, parameters.precision)
        state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    # The vocabulary is the base's own: its embeddings are not part of an adapter.
    options = {"save_embedding_layers": False} if parameters.method == "lora" else {}
    model.save_pretrained(scratch, state_dict=state, **options)
    if parameters.method == "full":  # as the weights are now, which were trained in float32
        model.config.dtype, model.config.use_cache = dtype, True
        model.config.save_pretrained(scratch)
    trainer.processing_class.save_pretrained(scratch)
    for path in scratch.iterdir():
        path.chmod(0o644)  # safetensors come for their owner alone, and others publish them
    (scratch / "README.md").unlink(missing_ok=True)  # a card of what nobody has written
    kind: Kind = "adapter" if parameters.method == "lora" else "model"
    length = getattr(model.config, "max_position_embeddings", parameters.max_length)
    LanguageModel(kind, base, length).write(scratch)
    scratch.rename(folder)
