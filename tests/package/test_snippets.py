"""Every snippet of every page is run by a test, and every link to a file of the repository leads somewhere.

Python: tests/unit/components/test_docs.py and test_readme.py, on the pages that they list. Everything else here:
commands as far as they can be checked without doing what they do, which cluster tests do.
"""

import itertools
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import preview_comment
from devkit import cli
from modelops_policies import RESOURCE_RULES, STACK_RULES, Level
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.language_models.finetune.parameters import Parameters
from stacks.models import Settings
from tests.unit.components import test_docs

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
        REPOSITORY / "components" / "README.md",
        REPOSITORY / "examples" / "README.md",
    ]
)
ELSEWHERE = {
    "model.md": "tests/unit/model/test_write_model.py",
    "README.md": "tests/package/test_readme.py",
    "bring-your-own.md": "tests/unit/examples/test_bring_your_own.py",
    "mlflow-models.md": "tests/unit/components/test_model_image.py",
    "chat.md": "tests/unit/examples/test_chat.py",
    "conversations.md": "tests/unit/examples/test_conversations_guide.py",
}
"""Pages whose Python another test runs."""
RUN_BY = {
    "cd examples/chat": "tests/cluster/llm/test_chat.py",
    ".venv/bin/pip install ../../components": "tests/cluster/examples.py",
    "pulumi config rm stable": "tests/cluster/llm/test_chat.py",
    "cd examples/bring-your-own": "tests/unit/examples/test_bring_your_own.py",
    "python3 -m venv .venv": "tests/unit/examples/test_bring_your_own.py",
    ".venv/bin/pip install -r": "tests/unit/examples/test_bring_your_own.py",
    ".venv/bin/python train.py": "tests/unit/examples/test_bring_your_own.py",
    "MODELOPS_MODEL_DIR=output/model": "tests/unit/examples/test_bring_your_own.py",
    '.venv/bin/pip install "modelops-pulumi': "tests/cluster/examples.py",
    "kubectl create namespace": "tests/cluster/models/test_bring_your_own.py",
    "kubectl port-forward": "tests/cluster/models/test_bring_your_own.py",
    "curl": "tests/cluster/test_dev_stack.py",
    "kubectl get configmap": "tests/cluster/serving/canary_support.py",
    "kubectl -n NS create job": "tests/cluster/training/test_registry_production.py",
    "kubectl -n NS rollout restart": "tests/cluster/training/registry.py",
    "pulumi preview --json": "ci/steps/preview.sh",
    "pulumi config set": "tests/cluster/teams/test_examples.py",
    "pulumi stack init": "tests/cluster/teams/test_examples.py",
    "pulumi up": "tests/cluster/teams/test_examples.py",
    "python examples/data/raw_data.py": "tests/unit/examples/test_data.py",
    "python -m modelops_runtime prepare": "tests/unit/examples/test_conversations_guide.py",
    "pulumi stack output": "tests/cluster/teams/test_examples.py",
    "pulumi refresh --preview-only --json": "ci/steps/drift.sh",
    "pulumi preview --policy-pack": "tests/cluster/teams/test_policies.py",
    "python -m modelops.training.progress": "tests/cluster/training/test_progress.py",
    'pip install "modelops-pulumi @ git': "tests/package/test_consumer.py",
    "python3 -m venv policies/.venv": "tests/cluster/teams/test_policies.py",
    "policies/.venv/bin/pip install": "tests/cluster/teams/test_policies.py",
}
"""Commands that do something in a cluster or with a back end, and where they are really run."""
BY_HAND = ("pip-compile ", "pip install matplotlib", "python -m tests.cluster.monitoring.render")
"""For who makes requirement files and pictures anew."""


@dataclass(frozen=True)
class Snippet:
    page: Path
    language: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.page.name}: {self.text.splitlines()[0][:40]}"


def snippets() -> Iterator[Snippet]:
    for page in PAGES:
        for language, text in re.findall(r"^```(\S*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            if not language.startswith("{"):
                yield Snippet(page, language, text)


ALL = list(snippets())


def of(language: str) -> Any:
    chosen = [snippet for snippet in ALL if snippet.language == language]
    return pytest.mark.parametrize("snippet", chosen, ids=lambda snippet: snippet.id)


def commands(text: str) -> Iterator[str]:
    """One a line, without comments and answers; those that a line has together come one by one."""
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"\s+#.*", "", line).strip()
        if line and not line.startswith("{"):
            yield from (part.strip() for part in line.split("&&"))


def test_there_are_snippets_and_their_languages_are_known() -> None:
    assert len(ALL) > 40
    assert {snippet.language for snippet in ALL} == {"", "dockerfile", "json", "python", "yaml"}


@of("python")
def test_python_is_run(snippet: Snippet) -> None:
    run = {entry.values[0] for entry in test_docs.SNIPPETS}
    if snippet.text not in run:
        other = ELSEWHERE[snippet.page.name]
        assert snippet.page.name in (REPOSITORY / other).read_text()


@of("yaml")
def test_yaml_is_settings_of_a_stack(snippet: Snippet) -> None:
    own = {key.removeprefix("modelops:"): value for key, value in yaml.safe_load(snippet.text).items()}
    Settings.model_validate({"namespace": "ml", "model": {}, **own})


@of("json")
def test_json_is_what_its_page_says(snippet: Snippet) -> None:
    content = json.loads(snippet.text)
    if snippet.page.name == "policies.md":
        names = {rule.name for rule in (*RESOURCE_RULES, *STACK_RULES)}
        levels = {level.value for level in Level} | {"disabled"}
        assert content.pop("all") in levels
        for rule, chosen in content.items():
            assert rule in names and set(chosen) <= {"enforcementLevel", "exempt"}
            assert chosen.get("enforcementLevel", "mandatory") in levels
    elif snippet.page.name == "training-examples.md":
        Parameters.parse({"base_model": f"hf://owner/model@{'0' * 40}", **content})
    else:
        assert snippet.page.name == "model.md"
        assert len(Pipeline.model_validate(content).steps) == 4


@of("")
def test_commands_are_there_and_take_what_they_are_given(snippet: Snippet, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = subprocess.run(["bash", "-n"], input=snippet.text, capture_output=True, text=True)
    assert shell.returncode == 0 or "{" in snippet.text, shell.stderr
    for command in commands(snippet.text):
        words = list(itertools.dropwhile(re.compile("[A-Z_]+=").match, shlex.split(command)))
        if words[0] == "make":
            done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=REPOSITORY, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        elif words[:3] == ["python3", "-m", "devkit"] or words[0] == "eval":
            given = shlex.split(words[1].strip("$()")) if words[0] == "eval" else words
            cli._parser().parse_args(given[3:])
        elif words[:2] == ["python3", "ci/preview_comment.py"]:
            preview_comment._parser().parse_args(words[2:])
        elif not command.startswith(BY_HAND):
            [where] = {path for start, path in RUN_BY.items() if command.startswith(start)}
            assert (REPOSITORY / where).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_link_to_a_file_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link


def test_the_module_that_a_page_names_is_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modelops.training.progress", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "--namespace" in done.stdout
