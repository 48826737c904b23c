"""The templates for GitHub Actions, GitLab CI and Jenkins: what their jobs call, and who gets a secret."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import dekobon_tree_sitter_groovy
import pytest
import yaml
from tree_sitter import Language, Parser

from devkit.dist import PACKAGES
from tests.conftest import REPOSITORY
from tests.unit.ci.templates import GITLAB, HOSTS, JENKINS, WORKFLOWS, run

ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
STACKS = ("dev", "staging", "prod")
SETUP = ["python3 -m venv .venv", "pip install --requirement requirements-stack.txt", "pulumi version"]
CALLS = {
    "check": ["make lint", "make test-unit"],
    "preview": [*(f"pulumi preview --stack {stack}" for stack in STACKS), "python3 ci/preview_comment.py --post"],
    "tests": ["make lint test-unit"],
    **{
        stack: [
            f"pulumi up --yes --stack {stack}",
            f"pulumi stack output predict_url --stack {stack}",
            "curl --fail-with-body",
            "python3 -c",
        ]
        for stack in STACKS
    },
    "drift": [
        *(f"pulumi refresh --preview-only --stack {stack}" for stack in STACKS),
        "python3 ci/preview_comment.py --drift --post",
    ],
}
"""Words of each call that a job of that name makes, in their order."""
JOBS = [(host, name) for host, found in HOSTS.items() for name in found]


def workflow(name: str) -> dict[str, Any]:
    [path] = [path for path in WORKFLOWS if path.stem == name]
    return dict(yaml.safe_load(path.read_text()))


@pytest.mark.skipif(not shutil.which("go"), reason="actionlint is built by Go")
def test_actionlint_finds_nothing() -> None:
    files = [str(path) for path in WORKFLOWS]
    done = subprocess.run(["go", "run", ACTIONLINT, *files], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schema", "files"),
    [("vendor.gitlab-ci", [GITLAB]), ("vendor.github-workflows", WORKFLOWS)],
    ids=["gitlab", "github"],
)
def test_the_hosts_own_schema_holds(schema: str, files: list[Path]) -> None:
    tool = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run([tool, "--builtin-schema", schema, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_jenkinsfile_is_groovy() -> None:
    parser = Parser(Language(dekobon_tree_sitter_groovy.language()))
    assert not parser.parse(JENKINS.read_bytes()).root_node.has_error


@pytest.mark.parametrize("host", HOSTS)
def test_every_host_does_all_jobs(host: str) -> None:
    # In Jenkins, `check` runs before `dev` in the same build.
    assert CALLS.keys() - HOSTS[host].keys() == ({"tests"} if host == "jenkins" else set())


@pytest.mark.parametrize(("host", "name"), JOBS)
def test_a_job_calls_what_its_name_says_and_tests_see_no_secret(host: str, name: str, tmp_path: Path) -> None:
    calls = run(HOSTS[host][name], tmp_path)
    setup = [call for call in calls if call.command in SETUP]
    work = [call for call in calls if call not in setup]
    assert len(work) == len(CALLS[name]), work
    for expected, call in zip(CALLS[name], work, strict=True):
        assert set(expected.split()) <= set(call.command.split())
        assert call.secret == (name not in ("check", "tests"))
    if any(call.secret for call in work):
        assert [call.command for call in calls[: len(SETUP)]] == SETUP
        # GitLab gives a job its secrets as a whole.
        assert host == "gitlab" or not any(call.secret for call in setup)


@pytest.mark.parametrize(("host", "name"), JOBS)
def test_whoever_updates_a_stack_does_so_alone_and_knows_the_whole_history(host: str, name: str) -> None:
    job = HOSTS[host][name]
    assert job.lock == (f"stack-{name}" if name in STACKS else None)
    assert job.history or "pulumi" not in str(job.steps)


def test_a_change_goes_to_dev_is_tested_goes_to_staging_and_waits_before_prod() -> None:
    deliver = workflow("deliver")["jobs"]
    assert [(name, job.get("needs")) for name, job in deliver.items()] == [
        ("dev", None),
        ("tests", "dev"),
        ("staging", "tests"),
        ("prod", "staging"),
    ]
    assert deliver["prod"]["environment"] == "prod"  # has reviewers
    gitlab = yaml.safe_load(GITLAB.read_text())
    assert [stage for stage in gitlab["stages"] if stage in deliver] == list(deliver)
    assert gitlab["prod"]["rules"][0]["when"] == "manual"
    said = JENKINS.read_text()
    assert (
        said.index("up.sh dev") < said.index("up.sh staging") < said.index("input(message") < said.index("up.sh prod")
    )


def test_a_fork_gets_no_secret() -> None:
    found = workflow("pull-request")
    assert set(found[True]) == {"pull_request"}  # YAML's `on`; `pull_request_target` would run with secrets
    for job in found["jobs"].values():
        ours = job.get("if") == "github.event.pull_request.head.repo.full_name == github.repository"
        assert ours or ("secrets." not in str(job) and "environment" not in job)
    [rule] = yaml.safe_load(GITLAB.read_text())["preview"]["rules"]
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID" in rule["if"]
    assert re.search(r"stage\('preview'\) {\s+when {[^}]*expression { !env\.CHANGE_FORK }", JENKINS.read_text())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_tokens_can_do_little(path: Path) -> None:
    found = yaml.safe_load(path.read_text())
    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        writes = {scope for scope, access in job.get("permissions", {}).items() if access == "write"}
        assert writes <= {"pull-requests"} or writes in ({"issues"}, {"id-token"})
        for action in (step for step in job["steps"] if "uses" in step):
            assert re.fullmatch(r"(actions|pypa)/[a-z-]+@[0-9a-f]{40}", action["uses"])
            assert "checkout" not in action["uses"] or action["with"]["persist-credentials"] is False


def test_a_release_is_checked_before_it_is_built_and_published_from_an_environment_of_each_distribution() -> None:
    found = workflow("release")["jobs"]
    commands = [step["run"] for step in found["build"]["steps"] if "run" in step]
    checks = 'python3 -m devkit.release --check-tag "$GITHUB_REF_NAME"'
    assert commands == [checks, "make lint test-unit", "make dist"]
    publish = found["publish"]
    assert publish["needs"] == "build" and publish["environment"] == "pypi-${{ matrix.distribution }}"
    projects = [tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text())["project"] for folder in PACKAGES]
    assert publish["strategy"]["matrix"]["distribution"] == [project["name"] for project in projects]


def test_a_job_uploads_the_archives_of_its_own_distribution_and_no_others(tmp_path: Path) -> None:
    [command] = [step for step in workflow("release")["jobs"]["publish"]["steps"] if "run" in step]
    (tmp_path / "built").mkdir()
    names = [
        "modelops_policies-1.0.0.tar.gz",
        "modelops_policies-1.0.0-py3-none-any.whl",
        "modelops_pulumi-1.0.0.tar.gz",
    ]
    for name in names:
        (tmp_path / "built" / name).touch()
    environment = {**os.environ, "DISTRIBUTION": "modelops-policies"}
    subprocess.run(["bash", "-e", "-c", command["run"]], cwd=tmp_path, env=environment, check=True)
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == sorted(names[:2])


def test_every_week_the_library_is_tested_on_each_python_that_it_is_for_and_none_is_left_out() -> None:
    found = workflow("versions")["jobs"]["versions"]
    [installed] = [step["with"]["python-version"].split() for step in found["steps"] if "setup-python" in str(step)]
    environments = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["tox"]["env_list"]
    assert set(installed) == {name.split("-")[0] for name in environments}
    assert found["steps"][-1] == {"run": "make test-versions", "env": {"TOX_SKIP_MISSING_INTERPRETERS": "false"}}
