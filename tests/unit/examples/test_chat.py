"""docs/tutorial/chat.md as far as it needs no cluster, which tests/cluster/llm/test_chat.py has."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from examples.chat.conversations.write import conversations
from modelops.core.images import VLLM_IMAGE
from tests.conftest import REPOSITORY
from tests.unit.components.harness import Program, run

EXAMPLE = REPOSITORY / "examples" / "chat"
PROGRAM = (EXAMPLE / "__main__.py").read_text()
PAGE = (REPOSITORY / "docs" / "tutorial" / "chat.md").read_text()
SETTINGS = {"namespace": "chat", "repository": "registry.example.com/chat", "model_folder": str(REPOSITORY / "model")}


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Program]:
    """What the program creates with these settings."""
    monkeypatch.chdir(EXAMPLE)
    monkeypatch.setattr(pulumi, "export", lambda *_: None)

    def planned(**settings: str) -> Program:
        pulumi.runtime.set_all_config({f"modelops:{key}": value for key, value in {**SETTINGS, **settings}.items()})
        return run(lambda: exec(PROGRAM, {}))

    return planned


def engine(program: Program, deployment: str = "support") -> dict[str, Any]:
    containers = program.one("Deployment", deployment).inputs["spec"]["template"]["spec"]["containers"]
    return dict(next(each for each in containers if each["name"] == "serve"))


def variables(program: Program, job: str, container: str) -> dict[str, str]:
    containers = program.one("batch/v1:Job", job).inputs["spec"]["template"]["spec"]["containers"]
    [found] = (each for each in containers if each["name"] == container)
    return {each["name"]: each.get("value", "") for each in found["env"]}


def parameters(program: Program) -> dict[str, Any]:
    return dict(json.loads(variables(program, "training", "train")["MODELOPS_PARAMETERS"]))


def test_without_a_gpu_a_processor_trains_and_serves(plan: Callable[..., Program]) -> None:
    program = plan()
    assert engine(program)["image"].startswith("vllm/vllm-openai-cpu:")
    assert "nvidia.com/gpu" not in engine(program)["resources"]["limits"]
    assert parameters(program)["precision"] == "float32"


def test_gpus_share_the_training_and_the_engine(plan: Callable[..., Program]) -> None:
    program = plan(gpus="2")
    assert engine(program)["image"] == VLLM_IMAGE
    assert engine(program)["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert (parameters(program)["precision"], parameters(program)["sharding"]) == ("bfloat16", "fsdp")


def test_while_a_version_is_stable_the_newest_is_its_canary(plan: Callable[..., Program]) -> None:
    program = plan(stable="models:/support@run-0123456789ab")
    assert {each.name for each in program.of("Deployment")} >= {"support", "support-canary"}


def test_the_secret_of_a_mirror_is_for_all_that_downloads(plan: Callable[..., Program]) -> None:
    jobs = [*plan(hub_secret="mirror").of("batch/v1:Job"), plan(hub_secret="mirror").one("Deployment", "support")]
    using = {each.name for each in jobs if "mirror" in json.dumps(each.inputs, default=str)}
    assert using == {"conversations", "training", "support-smoke", "support"}


def test_the_data_is_prepared_as_the_page_says(plan: Callable[..., Program], tmp_path: Path) -> None:
    declared = json.loads(variables(plan(), "conversations", "prepare")["MODELOPS_PIPELINE"])
    declared["sources"][0]["uri"] = str(EXAMPLE / "conversations" / "support.jsonl")
    next(step["tokens"] for step in declared["steps"] if "tokens" in step)["tokenizer"] = str(tmp_path)
    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    words.save(str(tmp_path / "tokenizer.json"))
    template = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    (tmp_path / "chat_template.jinja").write_text(template)
    (tmp_path / "pipeline.json").write_text(json.dumps(declared))
    command = ["-m", "modelops_runtime", "prepare", "--pipeline", "@pipeline.json", "--destination", "out"]
    done = subprocess.run(
        [sys.executable, *command, "--data-version", "first"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    texts = json.loads((tmp_path / "out" / "first" / "report.json").read_text())["texts"]
    assert texts["dropped"] == {"near_duplicates": 2, "order": 1}
    assert "one conversation ended with a question" in PAGE.lower() and "two were there twice" in PAGE
    assert texts["masked"]["EMAIL_ADDRESS"] > 100 and texts["masked"]["PHONE_NUMBER"] > 50
    for line in re.findall(r"^> ((?:read|split).*?)(?: \\)?$", PAGE, re.MULTILINE):
        assert line in done.stdout


def test_the_file_is_what_its_program_writes() -> None:
    lines = (EXAMPLE / "conversations" / "support.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == conversations()


@pytest.mark.parametrize("snippet", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_page_shows_the_program_as_it_is(snippet: str) -> None:
    assert snippet in PROGRAM
