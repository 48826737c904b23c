"""How well a model predicts the texts of a test split: what its fine-tuning would say of it."""

import re
import tempfile
from typing import Any

from modelops_runtime.contract import ConfigurationError
from modelops_runtime.language_models.evaluation.folder import FolderModel
from modelops_runtime.language_models.evaluation.parameters import Evaluation


def of_test_split(model: FolderModel, data_uri: str, evaluation: Evaluation, wait_seconds: float) -> dict[str, float]:
    """Loss, perplexity, token accuracy, and tokens a second. Raises ConfigurationError."""
    import torch
    import trl

    from modelops_runtime.language_models.finetune import data
    from modelops_runtime.language_models.finetune.measure import measured
    from modelops_runtime.language_models.finetune.workers import Processes

    rows = data.read(data_uri, "sft", wait_seconds)["test"]
    with tempfile.TemporaryDirectory() as scratch:
        settings = trl.SFTConfig(
            output_dir=scratch,
            max_length=evaluation.max_length,
            per_device_eval_batch_size=evaluation.batch_size,
            assistant_only_loss=_assistant_only(evaluation, model.tokenizer, rows),
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        try:
            trainer = trl.SFTTrainer(
                model=model.model, args=settings, train_dataset=rows, processing_class=model.tokenizer
            )
        except (ValueError, RuntimeError, TypeError) as error:
            raise ConfigurationError(f"the test split can't be measured: {error}") from error
        return measured(trainer, trainer.train_dataset, "sft", Processes())


def _assistant_only(evaluation: Evaluation, tokenizer: Any, rows: Any) -> bool:
    """As a fine-tuning decides: by whether the template marks the assistant's turns."""
    if evaluation.assistant_only is not None:
        return evaluation.assistant_only
    return "messages" in rows.column_names and re.search(r"{%-? generation", tokenizer.chat_template or "") is not None
