"""Fine-tuning for real, of a tiny model on this machine: TRL, PEFT and Accelerate in an environment of their own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from modelops_runtime.artifacts import language_model
from tests.conftest import REPOSITORY
from tests.environments import environment_of
from tests.language_models import TEMPLATE, Tuning, chats, preferences, write_lines

pytestmark = pytest.mark.long  # its environment takes 6 GB

TWO: dict[str, Any] = {"batch_size": 2}
SMALL: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-3}


def tuning(place: Path, dropout: float) -> Tuning:
    python, base = environment_of("finetune"), place / "base"
    command = [python, "-m", "tests.language_models", base, str(dropout)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return Tuning(python, base, language_model.digest(base), place)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    """A base without dropout."""
    return tuning(tmp_path_factory.mktemp("tiny"), 0.0)


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    """A base whose attention has dropout, for a training of all weights with it."""
    return tuning(tmp_path_factory.mktemp("forgetful"), 0.1)


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("texts") / "chats.jsonl", chats(45))


@pytest.fixture(scope="module")
def choices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("texts") / "choices.jsonl", preferences(40))


def several(processes: int) -> dict[str, str]:
    """The variables by which a pod runs several processes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    return {"PET_NNODES": "1", "PET_NPROC_PER_NODE": str(processes), "PET_MASTER_PORT": port}


def asked(tiny: Tuning, data: Path, parameters: dict[str, Any], code: str) -> Any:
    """What a program prints as JSON that has the trainer, made of these parameters and texts."""
    program = f"""
import json, os
from pathlib import Path
from modelops_runtime.language_models.finetune import data, train, tuning
from modelops_runtime.language_models.finetune.parameters import Parameters
train._prepare_libraries()
parameters = Parameters.parse(json.loads(os.environ["MODELOPS_PARAMETERS"]))
rows = data.read(os.environ["MODELOPS_DATA_URI"], parameters.objective, 1)
trainer = tuning.trainer(Path({str(tiny.base)!r}), rows, parameters, Path("/tmp/unused"))
tokenizer = trainer.processing_class
{code}
"""
    command = [tiny.python, "-c", program]
    variables = tiny.variables("asked", data, parameters)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


LEARNED = """
print(json.dumps([tokenizer.decode([t for t in row["labels"] if t != -100]) for row in trainer.train_dataset][:2]))
"""


def test_an_adapter_is_left_with_what_a_server_needs(tiny: Tuning, talks: Path) -> None:
    printed = tiny.run("adapter", talks, SMALL)
    assert "rows: 40 train, 5 test" in printed and "step 10/10" in printed
    assert "weights are trained, on 1 × cpu" in printed
    output = tiny.output("adapter")
    names = {path.name for path in (output / "model").iterdir()}
    assert names == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "language-model.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    base = language_model.Base(tiny.base.as_uri(), tiny.digest, None)
    assert language_model.LanguageModel.read(output / "model") == language_model.LanguageModel("adapter", base, 256)
    assert json.loads((output / "model" / "adapter_config.json").read_text())["base_model_name_or_path"] == base.uri
    metrics = tiny.metrics("adapter")
    assert {"loss", "perplexity", "token_accuracy", "tokens_per_second"} <= metrics.keys()
    history = json.loads((output / "history.json").read_text())
    assert [row["epoch"] for row in history] == list(range(1, 11)) and history[-1]["loss"] < history[0]["loss"]
    progress = json.loads((output / "progress.json").read_text())
    assert (progress["epoch"], progress["epochs"], progress["unit"]) == (10, 10, "step")
    assert json.loads((output / "parameters.json").read_text())["base_digest"] == tiny.digest


def test_all_weights_are_left_in_the_precision_of_the_arithmetic(tiny: Tuning, talks: Path) -> None:
    tiny.run("whole", talks, {**SMALL, "method": "full", "precision": "bfloat16"})
    model = tiny.output("whole") / "model"
    assert language_model.LanguageModel.read(model).kind == "model"
    config = json.loads((model / "config.json").read_text())
    assert (config["dtype"], config["use_cache"]) == ("bfloat16", True)
    size = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    assert size < 0.6 * (tiny.base / "model.safetensors").stat().st_size
    assert tiny.metrics("whole")["token_accuracy"] > 0.2


def test_preferences_are_learned(tiny: Tuning, choices: Path) -> None:
    tiny.run("preferred", choices, {"objective": "dpo", "epochs": 2, "learning_rate": 1e-3})
    metrics = tiny.metrics("preferred")
    assert metrics["reward_accuracy"] == 1 and metrics["reward_margin"] > 0.2 and metrics["loss"] < 0.69


def test_a_versions_splits_are_used_as_they_are(tiny: Tuning, talks: Path, tmp_path: Path) -> None:
    make = """
import sys, pyarrow, pyarrow.json, pyarrow.parquet, pathlib
rows = pyarrow.json.read_json(sys.argv[1])
for name, first, count in (("train", 0, 30), ("validation", 30, 6), ("test", 36, 8)):
    place = pathlib.Path(sys.argv[2], name); place.mkdir()
    pyarrow.parquet.write_table(rows.slice(first, count), place / "part-00000.parquet")
"""
    subprocess.run([tiny.python, "-c", make, talks, tmp_path], check=True)
    printed = tiny.run("version", tmp_path, {**SMALL, "epochs": 2})
    assert "rows: 30 train, 6 validation, 8 test" in printed
    history = json.loads((tiny.output("version") / "history.json").read_text())
    assert [row["epoch"] for row in history if "val_loss" in row] == [8, 16]


def test_the_end_of_an_answer_is_learned_and_the_question_is_not(tiny: Tuning, talks: Path) -> None:
    learned = asked(tiny, talks, {}, LEARNED)
    assert all(text.startswith("the answer is ") and text.endswith("<|end|>") for text in learned)
    everything = asked(tiny, talks, {"assistant_only": False}, LEARNED)
    assert all(text.startswith("<|start|>user") and text.rstrip().endswith("<|end|>") for text in everything)


def test_the_end_of_plain_text_is_learned(tiny: Tuning, tmp_path: Path) -> None:
    texts = write_lines(tmp_path / "texts.jsonl", [{"text": f"the colour is {number}"} for number in range(20)])
    assert asked(tiny, texts, {}, LEARNED) == ["the colour is 1<|end|>", "the colour is 2<|end|>"]


def test_the_end_survives_the_padding_with_the_same_token(tiny: Tuning, talks: Path) -> None:
    code = """
batch = trainer.data_collator([trainer.train_dataset[0], trainer.train_dataset[2]])
kept = [[t for t in row.tolist() if t != -100] for row in batch["labels"]]
ends = [(row[-1] == tokenizer.eos_token_id, row.count(tokenizer.eos_token_id)) for row in kept]
print(json.dumps([tokenizer.pad_token_id == tokenizer.eos_token_id, ends]))
"""
    assert asked(tiny, talks, {}, code) == [True, [[True, 1], [True, 1]]]


def test_a_template_that_never_ends_an_answer_is_refused(tiny: Tuning, talks: Path) -> None:
    endless = TEMPLATE.replace("<|end|>", "").replace("{% generation %}", "").replace("{% endgeneration %}", "")
    printed = tiny.run("endless", talks, {**SMALL, "chat_template": endless}, code=2)
    assert "error: none of the first 100 texts teaches the end token '<|end|>'" in printed


def test_packed_texts_do_not_see_each_other(tiny: Tuning, talks: Path) -> None:
    """The loss of two texts in a row of their own is that of the same two in one row."""
    code = """
import torch
def loss(rows):
    batch = trainer._prepare_inputs(trainer.data_collator(rows))
    trainer.model.eval()
    with torch.no_grad():
        return float(trainer.compute_loss(trainer.model, batch))
rows = list(trainer.train_dataset)
print(json.dumps([len(rows), loss(rows)]))
"""
    rows, packed = asked(tiny, talks, {"packing": True, "assistant_only": False}, code)
    apart, plain = asked(tiny, talks, {"assistant_only": False}, code)
    assert rows < apart == 40
    assert packed == pytest.approx(plain, rel=1e-5)
    assert tiny.run("packed", talks, {**SMALL, "packing": True})


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"learning_rate": 1e30, "method": "full"}, "error: the loss is not finite at step"),
        ({"precision": "float16"}, "float16, which needs a GPU"),
        ({"max_length": 512}, "the base takes 256 tokens"),
        ({"target_modules": "nowhere"}, "error: the fine-tuning can't start: "),
        ({"end_token": "<|stop|>"}, "no token '<|stop|>'"),
        ({"objective": "dpo"}, "dpo needs prompt and chosen and rejected"),
        ({"sharding": "fsdp"}, "fsdp, which needs several processes"),
        ({"base_digest": f"sha256:{'0' * 64}"}, "parameter base_digest is"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_not_be_is_said_in_words(tiny: Tuning, talks: Path, parameters: dict[str, Any], problem: str) -> None:
    printed = tiny.run("refused", talks, {**SMALL, **parameters}, code=2)
    assert problem in printed and "Traceback" not in printed
    assert not (tiny.output("refused") / "metrics.json").exists()


def stopped(tiny: Tuning, name: str, talks: Path, parameters: dict[str, Any], number: int, **more: str) -> int:
    """Sends a signal to a run that has a checkpoint: KILL to all of its processes, any other to the first."""
    process = tiny.start(name, talks, parameters, **more)
    pointer = tiny.folder / name / "checkpoints" / "last.json"
    deadline = time.monotonic() + 240
    while not pointer.exists() or "checkpoint-6" not in pointer.read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    (os.killpg if number == signal.SIGKILL else os.kill)(process.pid, number)
    process.communicate(timeout=120)
    return process.returncode


CASES = {
    "lora": ({"dropout": 0.2}, 1),
    "full": ({"method": "full"}, 1),
    "lora-two": ({"dropout": 0.2, "gradient_accumulation": 2, **TWO}, 2),
    "lora-fsdp": ({"dropout": 0.2, "sharding": "fsdp", **TWO}, 2),
    "full-fsdp": ({"method": "full", "sharding": "fsdp", **TWO}, 2),
    "dpo": ({"objective": "dpo"}, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_ends_with_the_weights_of_one_that_was_never_stopped(
    forgetful: Tuning, talks: Path, choices: Path, case: str
) -> None:
    parameters, processes = CASES[case]
    texts = choices if case == "dpo" else talks
    parameters = {**parameters, "epochs": 4, "learning_rate": 1e-3}
    more = {"MODELOPS_CHECKPOINT_STEPS": "3", **(several(processes) if processes > 1 else {})}
    forgetful.run(f"{case}-whole", texts, parameters, **more)
    assert stopped(forgetful, f"{case}-killed", texts, parameters, signal.SIGKILL, **more) == -signal.SIGKILL
    assert "resuming from checkpoint-" in forgetful.run(f"{case}-killed", texts, parameters, **more)
    assert forgetful.weights(f"{case}-killed") == forgetful.weights(f"{case}-whole")
    assert forgetful.metrics(f"{case}-killed")["loss"] == forgetful.metrics(f"{case}-whole")["loss"]


def test_without_the_random_states_it_would_end_with_others(forgetful: Tuning, talks: Path) -> None:
    """Of the test above: it would notice."""
    parameters = {"dropout": 0.2, "epochs": 4, "learning_rate": 1e-3}
    forgetful.run("told-whole", talks, parameters, MODELOPS_CHECKPOINT_STEPS="3")
    stopped(forgetful, "told", talks, parameters, signal.SIGKILL, MODELOPS_CHECKPOINT_STEPS="3")
    checkpoints = forgetful.folder / "told" / "checkpoints"
    (checkpoints / json.loads((checkpoints / "last.json").read_text())["checkpoint"] / "rng_state.pth").unlink()
    forgetful.run("told", talks, parameters, MODELOPS_CHECKPOINT_STEPS="3")
    assert forgetful.weights("told") != forgetful.weights("told-whole")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_is_told_to_stop_leaves_a_checkpoint(forgetful: Tuning, talks: Path, processes: int) -> None:
    parameters = {"dropout": 0.2, "epochs": 20, "batch_size": 2}
    more = {"MODELOPS_CHECKPOINT_STEPS": "3", **(several(2) if processes > 1 else {})}
    name = f"stopped-{processes}"
    assert stopped(forgetful, name, talks, parameters, signal.SIGTERM, **more) == 143
    pointer = json.loads((forgetful.folder / name / "checkpoints" / "last.json").read_text())
    assert (forgetful.folder / name / "checkpoints" / pointer["checkpoint"]).is_dir()
    assert not forgetful.output(name).joinpath("metrics.json").exists()


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_processes_learn_what_one_does_with_twice_the_batch(
    tiny: Tuning, talks: Path, sharding: str, method: str
) -> None:
    alone = {**SMALL, "method": method, "batch_size": 4}
    one, two = f"one-{method}", f"two-{method}-{sharding}"
    tiny.run(one, talks, alone)
    tiny.run(two, talks, {**alone, "batch_size": 2, "sharding": sharding}, **several(2))
    losses = [
        [row["loss"] for row in json.loads((tiny.output(name) / "history.json").read_text())] for name in (one, two)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for metric in ("loss", "token_accuracy"):
        assert tiny.metrics(two)[metric] == pytest.approx(tiny.metrics(one)[metric], rel=1e-4)
    if sharding == "fsdp":  # and it was: each process has written its own part
        assert len(list((tiny.folder / two / "checkpoints").glob("checkpoint-*/*/__*_0.distcp"))) >= 2


def test_a_wrong_configuration_keeps_its_exit_code_behind_torchrun(tiny: Tuning, talks: Path) -> None:
    printed = tiny.run("wrong", talks, {**SMALL, "target_modules": "nowhere"}, code=2, **several(2))
    assert "the fine-tuning can't start" in printed


def pods(count: int, index: int, port: int, peers: int) -> dict[str, str]:
    """The variables that TrainingJob gives to one of several pods of a process each."""
    return {
        "MODELOPS_WORKERS": str(count),
        "MODELOPS_WORKER_INDEX": str(index),
        "MODELOPS_WORKER_HOSTS": ",".join(["127.0.0.1"] * count),
        "MODELOPS_PEER_PORT": str(peers),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "RANK": str(index),
        "LOCAL_RANK": "0",
        "PET_NPROC_PER_NODE": "1",
    }


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        return first.getsockname()[1], second.getsockname()[1]


def test_two_pods_learn_together_and_a_lost_one_ends_the_other(forgetful: Tuning, talks: Path) -> None:
    """They share the volume with the checkpoints, and each has an output folder of its own."""
    parameters = {"dropout": 0.2, "epochs": 6, "batch_size": 2}
    shared = {
        "MODELOPS_CHECKPOINT_STEPS": "3",
        "MODELOPS_CHECKPOINT_DIR": str(forgetful.folder / "pods" / "checkpoints"),
    }

    def both() -> list["subprocess.Popen[str]"]:
        ports = free_ports()
        own = [pods(2, index, *ports) for index in (0, 1)]
        return [forgetful.start(f"pod-{n}", talks, parameters, **shared, **own[n]) for n in (0, 1)]

    first = both()
    pointer = forgetful.folder / "pods" / "checkpoints" / "last.json"
    while not pointer.exists():
        assert [pod.poll() for pod in first] == [None, None]
        time.sleep(0.01)
    first[1].kill()
    printed = first[0].communicate(timeout=120)[0]
    assert first[0].returncode == 75 and "worker 1 is gone" in printed
    first[1].communicate()
    second = both()
    said = [pod.communicate(timeout=240)[0] for pod in second]
    assert [pod.returncode for pod in second] == [0, 0], said
    assert "resuming from checkpoint-" in said[0] and forgetful.metrics("pod-0")["loss"] > 0
    assert not forgetful.output("pod-1").joinpath("metrics.json").exists()
    shutil.rmtree(forgetful.folder / "pods")


def test_what_the_chat_template_refuses_is_said_before_anything_is_learned(tiny: Tuning, tmp_path: Path) -> None:
    refusing = "{% for m in messages %}{% if m.content == 'no' %}{{ raise_exception('such a word') }}{% endif %}"
    rows = chats(45)
    rows[20]["messages"][1]["content"] = "no"  # one of the test
    printed = tiny.run(
        "refused",
        write_lines(tmp_path / "chats.jsonl", rows),
        {**SMALL, "chat_template": refusing + "{% endfor %}" + TEMPLATE},
        code=2,
    )
    assert "error: the fine-tuning can't start: such a word" in printed
    assert "step 1/" not in printed and "Traceback" not in printed
