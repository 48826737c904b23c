"""The templates' jobs as their hosts would run them: shell steps with their environment, read from the files."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.conftest import REPOSITORY

CI = REPOSITORY / "ci"
WORKFLOWS = sorted((CI / "github").glob("*.yml"))
STACK_WORKFLOWS = [path for path in WORKFLOWS if path.stem not in ("release", "versions")]
"""Those for stacks; the other two are about the packages."""
GITLAB = CI / "gitlab" / ".gitlab-ci.yml"
JENKINS = CI / "jenkins" / "Jenkinsfile"
SECRETS = frozenset({"PULUMI_CONFIG_PASSPHRASE", "GITHUB_TOKEN"})

_STUB = """#!/bin/sh
echo "$PULUMI_CONFIG_PASSPHRASE$GITHUB_TOKEN:$(basename "$0") $*" >>"$CALLS"
case "$*" in
version) echo "v$VERSION" ;;
*--json*) echo "{}" ;;
esac
"""


class Job(NamedTuple):
    """One job of a template."""

    steps: list[tuple[str, dict[str, str]]]
    """Shell text and environment of the processes that the host starts, in their order."""
    lock: str | None
    """Which other jobs wait until this one has ended, whatever happens."""
    history: bool
    """Whether the checkout has the whole history."""


class Call(NamedTuple):
    """A program that a job starts."""

    command: str
    secret: bool
    """Whether it can read a secret."""


def github() -> dict[str, Job]:
    found = {}
    for workflow in STACK_WORKFLOWS:
        for name, job in yaml.safe_load(workflow.read_text())["jobs"].items():
            steps = [(step["run"], job.get("env", {}) | step.get("env", {})) for step in job["steps"] if "run" in step]
            alone = job.get("concurrency", {"cancel-in-progress": True})
            lock = None if alone["cancel-in-progress"] else alone["group"]
            found[name] = Job(steps, lock, job["steps"][0]["with"].get("fetch-depth") == 0)
    return found


def gitlab() -> dict[str, Job]:
    file = yaml.safe_load(GITLAB.read_text())

    def whole(name: str) -> dict[str, Any]:
        job = file[name]
        return {**whole(job["extends"]), **job} if "extends" in job else dict(job)

    found = {}
    for name in (name for name in file if "script" in file[name]):
        job = whole(name)
        # The host binds secrets to environments.
        secrets = dict.fromkeys(SECRETS if "environment" in job else (), "secret")
        text = "\n".join([*job.get("before_script", ()), *job["script"]])
        lock = None if job.get("interruptible", True) else job.get("resource_group")
        found[name] = Job([(text, {**secrets, "PULUMI_BACKEND_URL": "a"})], lock, file["variables"]["GIT_DEPTH"] == "0")
    return found


def jenkins() -> dict[str, Job]:
    head, *parts = re.split(r"stage\('(\w+)'\) {", JENKINS.read_text())
    stages = dict(zip(parts[::2], parts[1::2], strict=True))
    [path] = re.findall(r'\bPATH = "(.*)"', head)
    path = path.replace("${env.WORKSPACE}", "$PWD").replace("${env.PATH}", "$PATH")

    def steps(stage: str) -> list[tuple[str, dict[str, str]]]:
        credentials = dict.fromkeys(re.findall(r"(\w+) = credentials\(", stages[stage]), "secret")
        return [(f'export PATH="{path}"\n{each}', credentials) for each in re.findall(r"\bsh '(.*)'", stages[stage])]

    def lock(body: str) -> str | None:
        found = re.search(r"lock\(resource: '([\w-]+)'\) \{([^}]*)\}", body)
        return found[1] if found and found[2].count("sh '") == body.count("sh '") else None

    first = next(iter(stages))  # one agent runs all stages
    return {
        name: Job([*steps(first), *steps(name)], lock(body), True) for name, body in stages.items() if name != first
    }


HOSTS = {"github": github(), "gitlab": gitlab(), "jenkins": jenkins()}


def run(job: Job, folder: Path) -> list[Call]:
    """What a job calls, with stand-ins for all programs that it calls; raises CalledProcessError where a step fails."""
    shutil.copytree(CI, folder / "ci", ignore=shutil.ignore_patterns("__pycache__"))
    pins = (REPOSITORY / "requirements-stack.txt").read_text()
    (folder / "requirements-stack.txt").write_text(pins)
    for name in ("tools/make", "tools/python3", "tools/curl", ".venv/bin/pip", ".pulumi-bin/pulumi"):
        program = folder / name
        program.parent.mkdir(exist_ok=True, parents=True)
        program.write_text(_STUB)
        program.chmod(0o755)
    calls, added = folder / "calls", folder / "path"
    [version] = re.findall(r"^pulumi==(.*)$", pins, re.MULTILINE)
    for text, environment in job.steps:
        path = [*(added.read_text().split() if added.exists() else ()), str(folder / "tools"), os.environ["PATH"]]
        ours = {"PATH": ":".join(path), "CALLS": str(calls), "VERSION": version, "GITHUB_PATH": str(added)}
        subprocess.run(["bash", "-e", "-c", text], env={**environment, **ours}, cwd=folder, check=True)
    lines = [line.partition(":") for line in calls.read_text().splitlines()]
    return [Call(command, bool(secret)) for secret, _, command in lines]
