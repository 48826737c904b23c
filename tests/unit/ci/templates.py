"""The templates' jobs as their hosts would run them: which steps they call with which credentials."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.conftest import REPOSITORY

CI = REPOSITORY / "ci"
WORKFLOWS = sorted((CI / "github").glob("*.yml"))
GITLAB = CI / "gitlab" / ".gitlab-ci.yml"
JENKINS = CI / "jenkins" / "Jenkinsfile"
STACKS = ("dev", "staging", "prod")
STACK, HOST = "PULUMI_CONFIG_PASSPHRASE", "HOST_TOKEN"
"""The secrets of a stack, and the host's token, as the steps see them."""
_OF_HOST = ("GITHUB_TOKEN", "GITLAB_TOKEN")
_RECORD = """#!/bin/sh
mkdir -p .ci/plans/prod && echo the-plan >.ci/plans/prod/id
echo "$(basename "$0" .sh) $*:${PULUMI_CONFIG_PASSPHRASE:+stack}${GITHUB_TOKEN:+host}${GITLAB_TOKEN:+host}" >>"$CALLS"
"""


class Job(NamedTuple):
    """One job of a template."""

    steps: list[tuple[str, dict[str, str]]]
    """Shell text and environment of the processes that the host starts, in their order."""
    environment: str | None
    """Whose credentials it has."""
    lock: str | None = None
    """Which other jobs wait until this one has ended, whatever happens."""
    history: bool = True
    """Whether the checkout has the whole history."""


class Call(NamedTuple):
    """A step that a job calls."""

    command: str
    credentials: str
    """`stack`, `host`, or none."""


def github() -> dict[str, Job]:
    files = {path.stem: yaml.safe_load(path.read_text())["jobs"] for path in WORKFLOWS}
    found = {}
    for workflow in ("pull-request", "deliver", "drift"):
        for name, job in files[workflow].items():
            for stack in job.get("strategy", {}).get("matrix", {}).get("stack", [None]):
                called = Path(job.get("uses", "")).stem
                inputs = {key: _filled(value, stack) for key, value in job.get("with", {}).items()}
                [(_, inner)] = files[called].items() if called else [(name, job)]
                found[f"{name}-{stack}" if stack else name] = _job(inner, inputs)
    return found


def _filled(value: str, stack: str | None) -> str:
    return value.replace("${{ matrix.stack }}", stack or "").replace("${{ needs.plan.outputs.plan }}", "the-plan")


def _job(job: dict[str, Any], inputs: dict[str, str]) -> Job:
    def value(text: str) -> str:
        inner = re.fullmatch(r"\$\{\{ (.*) \}\}", text)
        if inner and inner[1].startswith("inputs."):
            return inputs.get(inner[1].removeprefix("inputs."), "")
        return "secret" if inner and re.match(r"secrets\.|github\.token", inner[1]) else ""

    def environment(of: dict[str, Any]) -> dict[str, str]:
        return {key: value(text) for key, text in of.get("env", {}).items()}

    steps = [(step["run"], environment(job) | environment(step)) for step in job["steps"] if "run" in step]
    of = job.get("environment")
    updates = inputs.get("command") in ("up", "apply") and not job["concurrency"]["cancel-in-progress"]
    lock = f"stack-{inputs['stack']}" if updates else None
    return Job(steps, value(of) if of else None, lock, job["steps"][0]["with"].get("fetch-depth") == 0)


def gitlab() -> dict[str, Job]:
    file = yaml.safe_load(GITLAB.read_text())

    def whole(name: str) -> dict[str, Any]:
        job = file[name]
        return {**whole(job["extends"]), **job} if "extends" in job else dict(job)

    found = {}
    for name in (name for name in file if "script" in file[name]):
        job = whole(name)
        for stack in [each["STACK"] for each in job.get("parallel", {}).get("matrix", [])] or [[None]]:
            for one in stack:
                of = job.get("environment", {}).get("name", "").replace("$STACK", one or "") or None
                # The host binds secrets to environments.
                secrets = {None: {}, "comment": {"GITLAB_TOKEN": "secret"}}.get(of, {STACK: "secret"})
                text = "\n".join([*job.get("before_script", ()), *job["script"]])
                lock = None if job.get("interruptible", True) else job.get("resource_group")
                variables = {**secrets, **({"STACK": one} if one else {}), "PLAN_ID": "the-plan"}
                history = file["variables"]["GIT_DEPTH"] == "0"
                found[f"{name}-{one}" if one else name] = Job([(text, variables)], of, lock, history)
    return found


def jenkins() -> dict[str, Job]:
    _, *parts = re.split(r"stage\('(\w+)'\) {", JENKINS.read_text())
    found = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        for stack in STACKS if "for (stack in stacks)" in body else (None,):
            binding = re.search(r"withStack\(\"?'?([\w${}-]+)'?\"?\)", body)
            of = binding[1].replace("${stack}", stack or "") if binding else None
            steps = []
            for line in re.findall(r".*\bsh[ (](?:script: )?'.*'.*", body):
                [text] = re.findall(r"\bsh[ (](?:script: )?'([^']*)'", line)
                bound = text.split("/")[-1].split(".")[0] in ("preview", "up", "plan", "apply", "drift")
                token = text.endswith(" github")
                secrets = {STACK: "secret"} if bound and of else {"GITHUB_TOKEN": "secret"} if token else {}
                if not token or stack in (None, STACKS[-1]):
                    steps.append((text, {**secrets, "STACK": stack or "", "PLAN_ID": "the-plan"}))
            lock = re.search(r"lock\(resource: '([\w-]+)'\)", body)
            found[f"{name}-{stack}" if stack else name] = Job(steps, of, lock[1] if lock else None)
    return found


HOSTS = {"github": github(), "gitlab": gitlab(), "jenkins": jenkins()}


def run(job: Job, folder: Path) -> list[Call]:
    """The steps that a job calls; raises CalledProcessError where one can't be called as it is."""
    (folder / "ci" / "steps").mkdir(parents=True)
    for step in (CI / "steps").iterdir():
        stand_in = folder / "ci" / "steps" / step.name
        stand_in.write_text(_RECORD)
        shutil.copymode(step, stand_in)
    calls = folder / "calls"
    calls.touch()
    for text, environment in job.steps:
        variables = {"PATH": "/usr/bin:/bin", "CALLS": str(calls), **environment}
        subprocess.run(["bash", "-e", "-c", text], env=variables, cwd=folder, check=True)
    return [Call(*(part.strip() for part in line.rsplit(":", 1))) for line in calls.read_text().splitlines()]
