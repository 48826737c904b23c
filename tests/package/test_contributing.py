"""What a stranger who contributes finds: forms that the host accepts, hooks that run, one licence everywhere."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
FORMS = REPOSITORY / ".github" / "ISSUE_TEMPLATE"


@pytest.mark.parametrize(("schema", "names"), [("issue-forms", ["bug", "feature"]), ("issue-config", ["config"])])
def test_the_issue_forms_keep_the_hosts_schema(schema: str, names: list[str]) -> None:
    tool = Path(sys.executable).with_name("check-jsonschema")
    files = [FORMS / f"{name}.yml" for name in names]
    done = subprocess.run([tool, "--builtin-schema", f"vendor.github-{schema}", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_hooks_are_the_repositorys_own_tools() -> None:
    [local] = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        done = subprocess.run([*hook["entry"].split(), "--help"], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", ["components", "model", "policies", "ci"])
def test_each_distribution_carries_the_licence(folder: str) -> None:
    assert (REPOSITORY / folder / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
