"""The templates for GitHub Actions, GitLab CI and Jenkins: by their own tools where there are any; their promises."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from devkit.dist import PACKAGES
from tests.unit.ci import declarative

CI = Path(__file__).resolve().parents[3] / "ci"
WORKFLOWS = sorted((CI / "github").glob("*.yml"))
GITLAB = CI / "gitlab" / ".gitlab-ci.yml"
JENKINS = CI / "jenkins" / "Jenkinsfile"
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
STACKS = ("dev", "staging", "prod")


def jobs(workflow: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(workflow.read_text())["jobs"])


def gitlab() -> dict[str, Any]:
    return dict(yaml.safe_load(GITLAB.read_text()))


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


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_digest_and_leave_no_token_behind(workflow: Path) -> None:
    for job in jobs(workflow).values():
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"(actions|pypa)/[a-z-]+@[0-9a-f]{40}", step["uses"])
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_token_can_read_and_where_it_must_do_one_thing_more(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}
    more = {name: job["permissions"] for name, job in jobs(workflow).items() if "permissions" in job}
    assert more == {
        "pull-request": {"preview": {"contents": "read", "pull-requests": "write"}},
        "drift": {"drift": {"contents": "read", "issues": "write"}},
        "release": {"publish": {"id-token": "write"}},
    }.get(workflow.stem, {})


def test_a_fork_gets_no_secret() -> None:
    text = (CI / "github" / "pull-request.yml").read_text()
    assert "pull_request_target" not in text
    for name, job in jobs(CI / "github" / "pull-request.yml").items():
        if "secrets." in str(job):
            assert name == "preview"
            assert job["if"] == "github.event.pull_request.head.repo.full_name == github.repository"
    [rule] = gitlab()["preview"]["rules"]
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID" in rule["if"]
    assert "expression { !env.CHANGE_FORK }" in JENKINS.read_text()


def test_a_secret_is_only_in_the_steps_that_run_pulumi() -> None:
    for workflow in WORKFLOWS:
        for job in jobs(workflow).values():
            assert "secrets." not in str(job.get("env", {}))
            for step in job["steps"]:
                assert "secrets." not in str(step) or step["run"].startswith("ci/steps/")


def test_a_change_goes_to_dev_is_tested_goes_to_staging_and_waits_before_prod() -> None:
    found = jobs(CI / "github" / "deliver.yml")
    assert [(name, job.get("needs")) for name, job in found.items()] == [
        ("dev", None),
        ("tests", "dev"),
        ("staging", "tests"),
        ("prod", "staging"),
    ]
    order = [stage for stage in gitlab()["stages"] if stage in found]
    assert order == list(found)
    assert gitlab()["prod"]["rules"][0]["when"] == "manual"
    said = JENKINS.read_text()
    assert said.index("stage('staging')") < said.index("input(message") < said.index("up.sh prod")


def test_a_release_is_checked_before_it_is_built_and_published_from_an_environment_of_each_distribution() -> None:
    found = jobs(CI / "github" / "release.yml")
    commands = [step["run"] for step in found["build"]["steps"] if "run" in step]
    checks = 'python3 -m devkit.release --check-tag "$GITHUB_REF_NAME"'
    assert commands == [checks, "make lint test-unit", "make dist"]
    publish = found["publish"]
    assert publish["needs"] == "build" and publish["environment"] == "pypi-${{ matrix.distribution }}"
    projects = [tomllib.loads((CI.parent / folder / "pyproject.toml").read_text())["project"] for folder in PACKAGES]
    assert publish["strategy"]["matrix"]["distribution"] == [project["name"] for project in projects]


def test_a_job_uploads_the_archives_of_its_own_distribution_and_no_others(tmp_path: Path) -> None:
    [command] = [step for step in jobs(CI / "github" / "release.yml")["publish"]["steps"] if "run" in step]
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
    found = jobs(CI / "github" / "versions.yml")["versions"]
    [installed] = [step["with"]["python-version"].split() for step in found["steps"] if "setup-python" in str(step)]
    environments = tomllib.loads((CI.parent / "pyproject.toml").read_text())["tool"]["tox"]["env_list"]
    assert set(installed) == {name.split("-")[0] for name in environments}
    assert found["steps"][-1] == {"run": "make test-versions", "env": {"TOX_SKIP_MISSING_INTERPRETERS": "false"}}


@pytest.mark.parametrize("stack", STACKS)
def test_one_update_of_a_stack_at_a_time_and_a_smoke_test_after_it(stack: str) -> None:
    job = jobs(CI / "github" / "deliver.yml")[stack]
    assert job["concurrency"] == {"group": f"stack-{stack}", "cancel-in-progress": False}
    assert job["environment"] == stack
    assert [step.get("run") for step in job["steps"]][-2:] == [f"ci/steps/up.sh {stack}", f"ci/steps/smoke.sh {stack}"]
    assert gitlab()[stack]["resource_group"] == f"stack-{stack}" and gitlab()[stack]["interruptible"] is False
    assert gitlab()[stack]["script"] == [f"ci/steps/up.sh {stack}", f"ci/steps/smoke.sh {stack}"]
    assert re.search(rf"lock\(resource: 'stack-{stack}'\) {{\s+sh 'ci/steps/up.sh {stack}'", JENKINS.read_text())


def test_whoever_runs_pulumi_has_the_whole_history() -> None:
    for workflow in WORKFLOWS:
        for job in jobs(workflow).values():
            if "install_pulumi" in str(job):
                assert job["steps"][0]["with"]["fetch-depth"] == 0
    assert gitlab()["variables"]["GIT_DEPTH"] == "0"


def test_every_step_that_a_template_names_is_there_and_can_be_run() -> None:
    for path in (*WORKFLOWS, GITLAB, JENKINS):
        for name in re.findall(r"ci/steps/[a-z_]+\.sh", path.read_text()):
            assert os.access(CI.parent / name, os.X_OK), name


def test_the_jenkinsfile_keeps_the_declarative_grammar() -> None:
    assert declarative.problems(JENKINS.read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lock(resource: 'stack-dev') {", "lock(resource: 'stack-dev') {{", "not Groovy"),
        ("pipeline {", "node('linux') {}\npipeline {", "must have one `pipeline` and nothing beside it"),
        ("    agent { label 'linux && python3.11' }\n", "", "`agent` is missing in `pipeline`"),
        ("agent { label", "agent { lable", "`lable` is not known in `agent`"),
        ("    stages {", "    stagez {", "`stagez` is not known in `pipeline`"),
        ("    options {", "    options { ansiblue() }\n    options {", "`ansiblue` is not known in `options`"),
        ("    triggers {", "    options { timestamps() }\n    triggers {", "`options` stands twice in `pipeline`"),
        ("cron(env", "chron(env", "`chron` is not known in `triggers`"),
        ("stage('staging')", "stage('dev')", "a second stage of the same name"),
        ("beforeAgent true", "beforeAgnet true", "`beforeAgnet` is not known in `when`"),
        ("not { triggeredBy 'TimerTrigger' }", "not { }", "`not` must have one condition"),
        ("sh 'make lint'", "if (env.X) { sh 'make lint' }", "in `steps`, must be in `script`"),
        ("sh 'make lint'", "def x = 1", "in `steps`, must be in `script`"),
        ("credentials('pulumi-dev-backend')", "readFile('x')", "takes NAME = a string or credentials(…)"),
        (
            "            steps {\n                sh 'make lint'",
            "            stepz {\n                sh 'make lint'",
            "has 0",
        ),
    ],
)
def test_what_breaks_the_declarative_grammar_is_found(old: str, new: str, says: str) -> None:
    text = JENKINS.read_text()
    assert old in text
    found = declarative.problems(text.replace(old, new, 1))
    assert any(says in problem for problem in found), found
