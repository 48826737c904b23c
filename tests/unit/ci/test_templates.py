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

from bench.__main__ import BENCHES
from devkit.dist import PACKAGES
from tests.conftest import REPOSITORY
from tests.unit.ci.templates import CI, GITLAB, HOSTS, JENKINS, STACKS, WORKFLOWS, run

ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
OWNERS = {"actions", "pypa", "aws-actions", "google-github-actions", "azure", "pulumi"}
CALLS = {
    "check": ["setup", "check"],
    **{f"preview-{stack}": ["setup", f"preview {stack}"] for stack in STACKS},
    "comment": ["comment preview"],
    "dev": ["setup", "up dev"],
    "staging": ["setup", "up staging"],
    "plan": ["setup", "plan prod"],
    "prod": ["setup", "apply prod the-plan"],
    **{f"drift-{stack}": ["setup", f"drift {stack}"] for stack in STACKS},
    "report": ["comment drift"],
}
"""The steps that each job calls, in their order."""
JOBS = [(host, name) for host, found in HOSTS.items() for name in found]


def workflow(name: str) -> dict[str, Any]:
    [path] = [path for path in WORKFLOWS if path.stem == name]
    return dict(yaml.safe_load(path.read_text()))


@pytest.mark.skipif(not shutil.which("go"), reason="actionlint is built by Go")
def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    # Where the workflows call each other, it checks inputs, outputs and permissions too.
    shutil.copytree(CI / "github", tmp_path / ".github" / "workflows")
    (tmp_path / ".git").mkdir()
    files = [str(path) for path in (tmp_path / ".github" / "workflows").iterdir()]
    done = subprocess.run(["go", "run", ACTIONLINT, *files], capture_output=True, text=True, cwd=tmp_path)
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
    # Jenkins writes the comment in the stage of the previews, and asks for approval in a stage of its own.
    missing, more = ({"comment", "report"}, {"approval"}) if host == "jenkins" else (set(), set())
    assert CALLS.keys() - HOSTS[host].keys() == missing
    assert HOSTS[host].keys() - CALLS.keys() == more


@pytest.mark.parametrize(("host", "name"), [pair for pair in JOBS if pair[1] != "approval"])
def test_a_job_calls_what_its_name_says_and_each_step_sees_only_the_credentials_that_it_needs(
    host: str, name: str, tmp_path: Path
) -> None:
    calls = run(HOSTS[host][name], tmp_path)
    done = [call.command.removesuffix(f" {host}").removesuffix(" github") for call in calls]
    if host == "jenkins" and name in ("preview-prod", "drift-prod"):  # the last of the stacks
        assert done.pop() == f"comment {name.split('-')[0]}"
    if name == "plan" and host != "github":  # which has a summary
        assert done.pop() == "comment preview text"
    assert done == CALLS[name]
    for call in calls:
        step = call.command.split()[0]
        if host == "gitlab" and call.credentials == "stack":
            continue  # it gives a job its secrets as a whole
        if step in ("setup", "check"):
            assert call.credentials == ""
        elif step == "comment":
            assert call.credentials == ("" if "text" in call.command else "host")
        else:
            assert call.credentials == "stack"


@pytest.mark.parametrize(("host", "name"), JOBS)
def test_a_job_has_the_credentials_of_one_stack_and_only_an_update_those_that_can_change_it(
    host: str, name: str
) -> None:
    stack = name.rpartition("-")[2]
    expected = {**{each: each for each in STACKS}, "plan": "prod-preview"}.get(name)
    if "-" in name:
        expected = f"{stack}-preview"
    elif host == "gitlab" and name in ("comment", "report"):
        expected = "comment"
    assert HOSTS[host][name].environment == expected


@pytest.mark.parametrize(("host", "name"), JOBS)
def test_whoever_updates_a_stack_does_so_alone_and_knows_the_whole_history(host: str, name: str) -> None:
    job = HOSTS[host][name]
    assert job.lock == (f"stack-{name}" if name in STACKS else None)
    assert job.history or job.environment in (None, "comment")


def test_a_change_is_tested_before_dev_and_a_plan_waits_for_approval_before_prod() -> None:
    deliver = workflow("deliver")["jobs"]
    order = ["check", "dev", "staging", "plan", "prod"]
    assert [(name, job.get("needs")) for name, job in deliver.items()] == list(zip(order, [None, *order], strict=False))
    assert deliver["prod"]["with"]["environment"] == "prod"  # has reviewers
    gitlab = yaml.safe_load(GITLAB.read_text())
    assert [stage for stage in gitlab["stages"] if stage in order] == order
    assert all("needs" not in gitlab[name] for name in order[:-1])  # they wait for the stages before
    assert gitlab["prod"]["rules"][0]["when"] == "manual" and gitlab["prod"]["needs"] == ["plan"]
    stages = re.findall(r"stage\('(\w+)'\)", JENKINS.read_text())
    assert [stage for stage in stages if stage in (*order, "approval")] == [*order[:-1], "approval", "prod"]


def test_a_person_is_waited_for_without_an_executor_and_with_a_time_limit_of_its_own() -> None:
    text = JENKINS.read_text()
    head, stages = text.split("stages {", 1)
    assert "agent none" in head and "timeout" not in head
    approval = stages[stages.index("stage('approval')") : stages.index("stage('prod')")]
    assert "input(" in approval and "agent {" not in approval and "unit: 'DAYS'" in approval
    assert "input(" not in stages.replace(approval, "")


def test_a_fork_gets_no_secret() -> None:
    found = workflow("pull-request")
    assert set(dict(found)[True]) == {"pull_request"}  # YAML's `on`; `pull_request_target` would run with secrets
    for job in found["jobs"].values():
        ours = "github.event.pull_request.head.repo.full_name == github.repository" in job.get("if", "")
        assert ours or not ({"secrets", "environment", "permissions"} & set(job))
        assert not ours or "||" not in job["if"]
    gitlab = yaml.safe_load(GITLAB.read_text())
    for name in ("preview", "comment"):
        [rule] = gitlab[name]["rules"]
        assert "&& $CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID" in rule["if"]
    assert "environment" not in gitlab["check"]
    text = JENKINS.read_text()
    assert re.search(r"stage\('preview'\) {\s+when {\s+beforeAgent true[^}]*expression { !env\.CHANGE_FORK }", text)
    agents = dict(re.findall(r"stage\('(\w+)'\) {.*?agent { label '(\w+)' }", text, re.DOTALL))
    assert agents["check"] == "check" and agents["preview"] == "preview"
    for stage, body in zip(*[iter(re.split(r"stage\('(\w+)'\) {", text)[1:])] * 2, strict=True):
        if "label 'deploy'" in body:
            assert re.search(r"when {\s+beforeAgent true\s+branch 'main'", body), stage


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_tokens_can_do_little(path: Path) -> None:
    found = yaml.safe_load(path.read_text())
    assert found["permissions"] == {"contents": "read"}
    lines = [line for line in path.read_text().splitlines() if "uses: " in line and "./.github" not in line]
    assert all(re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line) for line in lines)
    for job in found["jobs"].values():
        writes = {scope for scope, access in job.get("permissions", {}).items() if access == "write"}
        assert writes in (set(), {"pull-requests"}, {"issues"}, {"id-token"})
        for action in (step for step in job.get("steps", ()) if "uses" in step):
            assert action["uses"].split("/")[0] in OWNERS
            assert "checkout" not in action["uses"] or action["with"]["persist-credentials"] is False


def test_a_release_is_checked_before_it_is_built_and_published_from_an_environment_of_each_distribution() -> None:
    found = workflow("release")["jobs"]
    commands = [step["run"] for step in found["build"]["steps"] if "run" in step]
    checks = 'python3 -m devkit.release --check-tag "$GITHUB_REF_NAME"'
    assert commands == [checks, "make lint test-unit", "make dist sbom"]
    publish = found["publish"]
    assert publish["needs"] == "build" and publish["environment"] == "pypi-${{ matrix.distribution }}"
    projects = [tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text())["project"] for folder in PACKAGES]
    assert publish["strategy"]["matrix"]["distribution"] == [project["name"] for project in projects]


def test_a_release_keeps_its_bills_of_materials_and_publishes_with_signed_provenance() -> None:
    found = workflow("release")["jobs"]
    kept = [step["with"]["path"] for step in found["build"]["steps"] if step.get("with", {}).get("if-no-files-found")]
    assert kept == ["build/dist", "build/sbom"]
    [publish] = [step for step in found["publish"]["steps"] if "gh-action-pypi-publish" in step.get("uses", "")]
    assert publish["with"]["attestations"] is True


def test_every_bench_that_needs_no_cluster_runs_once_a_night() -> None:
    found = workflow("bench")
    [schedule] = found["on"]["schedule"] if "on" in found else found[True]["schedule"]
    assert schedule["cron"].endswith("* * *")
    [command] = [step["run"] for step in found["jobs"]["bench"]["steps"] if "make bench" in step.get("run", "")]
    alone = [name for name, each in BENCHES.items() if not each.on_a_cluster]
    assert command == f"make bench ONLY={','.join(alone)}"


def test_known_vulnerabilities_are_looked_up_once_a_week() -> None:
    assert [step["run"] for step in workflow("versions")["jobs"]["audit"]["steps"] if "run" in step] == ["make audit"]


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
