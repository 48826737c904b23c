"""What the README says is so."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pulumi
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
[SNIPPET] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


class Recorder(pulumi.runtime.Mocks):
    """Takes every resource and notes its type."""

    def __init__(self) -> None:
        self.types: list[str] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, object]]:
        self.types.append(args.typ)
        named = {"metadata": {"name": args.name, **args.inputs.get("metadata", {})}}
        return f"{args.name}-id", {**args.inputs, **named}

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, object]:
        return {}


def test_the_snippet_makes_a_registry_a_training_job_and_a_service() -> None:
    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder)
    image = "registry.example/models/linear@sha256:" + "0" * 64

    @pulumi.runtime.test
    def run() -> None:
        exec(compile(f"import pulumi\n{SNIPPET}", "README.md", "exec"), {"IMAGE": image, "SERVER": image})

    run()
    assert {"kubernetes:batch/v1:Job", "kubernetes:apps/v1:Deployment", "kubernetes:core/v1:Service"} <= set(
        recorder.types
    )


def test_the_snippet_is_five_statements() -> None:
    assert len(ast.parse(SNIPPET).body) == 5


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z-]+)", README))))
def test_each_make_target_is_there(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python3 -m devkit (\w+)", README))))
def test_each_devkit_command_has_help(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "devkit", command, "--help"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0 and "usage:" in done.stdout


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_each_link_leads_somewhere(link: str) -> None:
    assert (REPOSITORY / link).exists()


def test_the_outputs_that_the_readme_names_are_those_of_the_stack() -> None:
    [line] = [line for line in README.splitlines() if line.startswith("`url`, `predict_url`")]
    program = (REPOSITORY / "__main__.py").read_text()
    for name in re.findall(r"`(\w+)`", line):
        assert f'"{name}"' in program, f"{name} is not exported by __main__.py"
