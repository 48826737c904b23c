"""Tasks of lm-evaluation-harness, from local files alone: https://github.com/EleutherAI/lm-evaluation-harness."""

import contextlib
import logging
from pathlib import Path
from typing import Any

from modelops_runtime.contract import ConfigurationError, is_number
from modelops_runtime.language_models.evaluation.models import Model
from modelops_runtime.language_models.evaluation.parameters import Harness

PREFIX = "eval"


def run(model: Model, harness: Harness, folder: Path, batch_size: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Metrics `eval.<task>.<metric>`, and a row for each answer. Raises ConfigurationError."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    folder = folder.resolve()
    with contextlib.chdir(folder):  # where the tasks' paths to their data begin
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        there = list(manager.all_tasks)
        tasks = harness.tasks or list(manager.all_subtasks)
        if missing := sorted(set(tasks) - set(there)) or ([] if tasks else ["tasks"]):
            raise ConfigurationError(
                f"evaluation harness: {harness.folder} has no {', '.join(missing)}; it has {', '.join(there) or 'none'}"
            )
        try:
            results = lm_eval.simple_evaluate(
                model=model.for_harness(batch_size, harness.tokenizer),
                tasks=tasks,
                task_manager=manager,
                num_fewshot=harness.few_shot,
                apply_chat_template=harness.chat,
                limit=harness.limit,
                bootstrap_iters=0,
            )
        except (FileNotFoundError, ConnectionError, KeyError, ValueError) as error:
            raise ConfigurationError(f"evaluation harness: a task can't be run: {error}") from error
    assert results
    return _metrics(results["results"]), _rows(results["samples"])


def _metrics(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    return {
        _name(task, key): float(value)
        for task, found in results.items()
        for key, value in found.items()
        if "," in key and "_stderr," not in key and is_number(value)
    }


def _name(task: str, key: str) -> str:
    """The harness's `<metric>,<filter>`."""
    metric, _, taken = key.partition(",")
    return f"{PREFIX}.{task}.{metric}" + ("" if taken == "none" else f".{taken}")


def _rows(samples: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    rows = []
    for task, found in samples.items():
        for sample in found:
            taken = sample["filter"]
            reference, answer = _said(sample)
            rows.append(
                {
                    "id": f"{task}/{sample['doc_id']}" + ("" if taken == "none" else f"/{taken}"),
                    "prompt": str(sample["arguments"][0][0]),
                    "reference": reference,
                    "answer": answer,
                    **{name: float(sample[name]) for name in sample["metrics"] if is_number(sample.get(name))},
                }
            )
    return rows


def _said(sample: dict[str, Any]) -> tuple[str, str]:
    """The right answer and the model's: of a choice, the likeliest one."""
    target, answers = sample["target"], sample["filtered_resps"]
    if len(answers) == 1:
        return str(target), str(answers[0])
    choices = [str(arguments[-1]).strip() for arguments in sample["arguments"]]
    likeliest = max(range(len(answers)), key=lambda number: float(answers[number][0]))
    return choices[target] if isinstance(target, int) else str(target), choices[likeliest]
