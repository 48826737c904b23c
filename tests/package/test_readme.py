"""What the README says is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
[SNIPPET] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_program_is_the_example_that_a_cluster_test_deploys() -> None:
    assert (REPOSITORY / "examples" / "training" / "__main__.py").read_text() == SNIPPET


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
