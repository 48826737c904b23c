"""Evaluation for real, of a tiny model on this machine: Transformers, TRL, rouge-score and lm-evaluation-harness."""

import json
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelops_runtime.artifacts.language_model import digest
from modelops_runtime.language_models.evaluation import metrics, tables
from tests import llm
from tests.conftest import REPOSITORY
from tests.environments import added, environment_of
from tests.language_models import COLOURS, Tuning, chats, write_lines

pytestmark = pytest.mark.long  # its environment takes 6 GB

LEARNING: dict[str, Any] = {"epochs": 8, "learning_rate": 0.01}
CHOICE = """
task: colour
dataset_path: json
dataset_kwargs: {data_files: {test: colours.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: answer
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
SAID = """
task: say
dataset_path: json
dataset_kwargs: {data_files: {test: colours.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "the answer is {{choices[answer]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 24, do_sample: false}
filter_list:
  - {name: first, filter: [{function: take_first}]}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    place = tmp_path_factory.mktemp("tiny")
    python, base = environment_of("finetune"), place / "base"
    command = [python, "-m", "tests.language_models", base, "0"]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return Tuning(python, base, digest(base), place)


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("texts") / "chats.jsonl", chats(44))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A choice and an answer, for the harness."""
    place = tmp_path_factory.mktemp("tasks")
    rows = [{"question": f"what is the colour {n}", "choices": list(COLOURS), "answer": n % 4} for n in range(6)]
    write_lines(place / "colours.jsonl", rows)
    (place / "colour.yaml").write_text(CHOICE)
    (place / "say.yaml").write_text(SAID)
    return place


@pytest.fixture(scope="module")
def tuned(tiny: Tuning, talks: Path, tasks: Path) -> Tuning:
    """A training, `tuned`, that ends with an evaluation."""
    evaluation = {
        "precision": "float32",
        "max_tokens": 24,
        "required": ["^the answer is"],
        "forbidden": ["is is"],
        "harness": {"folder": str(tasks), "chat": True},
    }
    tiny.run("tuned", talks, {**LEARNING, "evaluation": evaluation}, PYTHONPATH=path())
    return tiny


def path() -> str:
    return os.pathsep.join([os.environ["PYTHONPATH"], str(added("evaluate"))])


def evaluated(
    tiny: Tuning, name: str, model: Path | str, evaluation: Mapping[str, Any], code: int = 0, **more: str
) -> str:
    """What a program that evaluates by itself printed."""
    variables = {
        **os.environ,
        "HOME": str(tiny.folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": path(),
        "MODELOPS_EVALUATION": json.dumps({"precision": "float32", "max_tokens": 24, "max_length": 128, **evaluation}),
        "MODELOPS_EVALUATED": str(model),
        "MODELOPS_OUTPUT_DIR": str(tiny.output(name)),
        **more,
    }
    command = [tiny.python, "-m", "modelops_runtime", "evaluate"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def answers(tiny: Tuning, name: str, table: str = tables.ANSWERS) -> tables.Table:
    return tables.read(tiny.output(name) / tables.FOLDER / table)


def rouge_l(answer: str, reference: str) -> float:
    """F-measure of the longest common subsequence, by its recursive definition."""
    ours, theirs = metrics.words(answer), metrics.words(reference)

    def longest(first: int, second: int) -> int:
        if first == len(ours) or second == len(theirs):
            return 0
        if ours[first] == theirs[second]:
            return 1 + longest(first + 1, second + 1)
        return max(longest(first + 1, second), longest(first, second + 1))

    return 2 * longest(0, 0) / (len(ours) + len(theirs))


def test_a_fine_tuning_ends_with_the_metrics_of_its_evaluation(tuned: Tuning) -> None:
    found = tuned.metrics("tuned")
    assert {"loss", "perplexity", "token_accuracy", "steps_per_second", "tokens_per_second"} <= found.keys()
    assert {"exact_match", "f1", "rouge1", "rouge2", "rougeL", "generated_tokens_per_second"} <= found.keys()
    assert {"eval.colour.acc", "eval.colour.acc_norm", "eval.say.exact_match.first"} <= found.keys()
    assert (found["required"], found["forbidden"], found["answers_cut"]) == (1, 0, 0)
    rows = answers(tuned, "tuned")
    assert len(rows) == 5  # the test split
    for row in rows:
        assert row["answer"].startswith("the answer is ") and row["ended"] and row["tokens"] > 1
        assert row["exact_match"] == float(row["answer"] == row["reference"])
        assert row["rougeL"] == pytest.approx(rouge_l(row["answer"], row["reference"]))
    for name in ("exact_match", "rougeL"):
        assert found[name] == pytest.approx(sum(row[name] for row in rows) / len(rows))


def test_the_harness_runs_local_tasks_without_a_network(tuned: Tuning) -> None:
    found = tuned.metrics("tuned")
    rows = {row["id"]: row for row in answers(tuned, "tuned", tables.HARNESS)}
    assert set(rows) == {f"colour/{n}" for n in range(6)} | {f"say/{n}/first" for n in range(6)}
    chosen, said = ([row for name, row in rows.items() if name.startswith(task)] for task in ("colour", "say"))
    assert all(row["acc"] == float(row["answer"] == row["reference"]) for row in chosen)
    assert all(row["answer"] in COLOURS for row in chosen)
    assert all(row["answer"].startswith("the answer is ") for row in said)
    assert found["eval.colour.acc"] == pytest.approx(sum(row["acc"] for row in chosen) / 6)
    assert found["eval.say.exact_match.first"] == sum(row["answer"] == row["reference"] for row in said) / 6
    assert rows["say/3/first"]["prompt"] == "<|start|>user\nwhat is the colour 3<|end|><|start|>assistant\n"


def test_a_folder_by_itself_is_measured_as_by_its_fine_tuning(tuned: Tuning, talks: Path) -> None:
    model = tuned.output("tuned") / "model"
    evaluated(tuned, "again", model, {}, MODELOPS_DATA_URI=str(talks))
    found, before = tuned.metrics("again"), tuned.metrics("tuned")
    for name in ("loss", "perplexity", "token_accuracy"):
        assert found[name] == pytest.approx(before[name], rel=1e-5)
    assert [row["answer"] for row in answers(tuned, "again")] == [row["answer"] for row in answers(tuned, "tuned")]


def test_an_answer_does_not_depend_on_what_is_answered_beside_it(tuned: Tuning, talks: Path) -> None:
    model = tuned.output("tuned") / "model"
    given = {"data": str(talks), "limit": 12, "metrics": ["exact_match"]}
    for size in (1, 5):
        evaluated(tuned, f"by-{size}", model, {**given, "batch_size": size})
    one, five = ([(row["answer"], row["tokens"]) for row in answers(tuned, f"by-{size}")] for size in (1, 5))
    assert one == five and len(one) == 12


def test_a_base_and_what_it_became_are_compared_answer_by_answer(tuned: Tuning, talks: Path) -> None:
    printed = evaluated(tuned, "untuned", tuned.base, {"data": str(talks), "limit": 3})
    assert "answers_cut 1.00000" in printed  # it has not learned to end
    evaluated(tuned, "three", tuned.output("tuned") / "model", {"data": str(talks), "limit": 3})
    command = [tuned.python, "-m", "modelops_runtime", "evaluate", "compare"]
    words = [*command, tuned.output("untuned"), tuned.output("three")]
    compared = subprocess.run(
        words, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path()}
    )
    lines = compared.stdout.splitlines()
    assert (
        lines[0].startswith("3 answers in both")
        and sum(line.startswith("  second     the answer is") for line in lines) == 3
    )
    assert any(line.startswith("rougeL ") and line.endswith("3 better, 0 worse") for line in lines)


def test_several_processes_train_and_one_evaluates(tuned: Tuning, talks: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    several = {"PET_NNODES": "1", "PET_NPROC_PER_NODE": "2", "PET_MASTER_PORT": port}
    wanted = {"precision": "float32", "max_tokens": 8, "metrics": ["f1"]}
    printed = tuned.run("two", talks, {"epochs": 1, "evaluation": wanted}, PYTHONPATH=path(), **several)
    assert printed.count("evaluation: f1 ") == 1
    assert {"loss", "f1"} <= tuned.metrics("two").keys()


def test_an_engine_gives_the_answers_of_the_folder_that_it_serves(tiny: Tuning, tasks: Path, tmp_path: Path) -> None:
    model = llm.write_models(tmp_path) / "base"
    prompts = [{"prompt": f"number {n}"} for n in range(3)]
    chat = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
    wanted: dict[str, Any] = {"data": str(write_lines(tmp_path / "set.jsonl", [*prompts, chat])), "losses": False}
    wanted["harness"] = {"folder": str(tasks), "tokenizer": str(model)}
    evaluated(tiny, "of-folder", model, wanted)
    arguments = [str(model), "--served-model-name", "served", *llm.SMALL, "--dtype", "float32"]
    with llm.serving(tmp_path, arguments) as engine:
        evaluated(tiny, "of-engine", f"{engine.url}/v1", wanted)
    for table in (tables.ANSWERS, tables.HARNESS):
        ours, theirs = (answers(tiny, name, table) for name in ("of-folder", "of-engine"))
        assert [{**row, "seconds": 0} for row in ours] == [{**row, "seconds": 0} for row in theirs]
    assert len(ours) == 12


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        ({"harness": {"folder": "{tasks}", "tasks": ["colour", "taste"]}}, "has no taste; it has colour, say"),
        ({"data": "{tasks}/colours.jsonl"}, "row 0: it has neither messages nor prompt"),
        ({"max_tokens": 250}, "leaves less than max_tokens 250 of the model's 256"),
    ],
)
def test_what_can_t_be_evaluated_is_a_wrong_configuration(
    tuned: Tuning, talks: Path, tasks: Path, evaluation: dict[str, Any], said: str
) -> None:
    given = json.loads(json.dumps(evaluation).replace("{tasks}", str(tasks)))
    texts = {"losses": False, "data": str(talks), **given} if "harness" not in given else given
    assert said in evaluated(tuned, "wrong", tuned.base, texts, code=2)
