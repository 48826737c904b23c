"""GitHub's runner, as far as `act` is one: it reads the workflows and runs their jobs on this machine.

`act` has no environments, so the secrets are the same for all jobs and nobody is asked for approval: the likeness of
checkout holds the job that applies a plan until the file APPROVAL exists, where GitHub would wait for a reviewer. Nor
has it permissions or concurrency, and a called workflow that fails ends the whole run. Actions are replaced by the
likenesses in `actions/`.
"""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from devkit.paths import cache_root

ACT = "github.com/nektos/act@v0.2.89"
_LIKENESSES = Path(__file__).with_name("actions")
_END = re.compile(r"^\[(?P<job>[^\]]+?)\s*\] .*Job (?P<end>succeeded|failed)$")


def act() -> Path:
    """The runner, built once."""
    folder = cache_root() / "act" / ACT.rpartition("@")[2]
    if not (folder / "act").exists():
        environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
        subprocess.run(["go", "install", ACT], env=environment, check=True, cwd="/")
    return folder / "act"


@dataclass
class Run:
    """A run that has ended."""

    status: int
    log: str
    artifacts: Path

    @property
    def jobs(self) -> dict[str, bool]:
        """Which jobs ran to their end, and whether they succeeded. A job of a called workflow has its caller's name."""
        found = {}
        for match in filter(None, map(_END.match, self.log.splitlines())):
            first, *rest = match["job"].split("/")
            found[first if len(rest) == 2 else rest[-1]] = match["end"] == "succeeded"
        return found


@dataclass
class GitHub:
    """One repository on GitHub with its runner."""

    checkout: Path
    server: str
    api: str
    python: Path
    """A folder with the `python3` of setup-python."""
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, workflow: str, event: str, payload: Mapping[str, Any], folder: Path) -> Run:
        """Runs a workflow for an event to its end. The file `approval` in the folder is the reviewer's approval."""
        folder.mkdir(parents=True)
        (folder / "event.json").write_text(json.dumps(payload))
        environment = {
            "GIT_SERVER": self.server,
            "GITHUB_API_URL": self.api,
            "GITHUB_REPOSITORY": "team/app",
            "PYTHON_FOLDER": str(self.python),
            "ARTIFACTS": str(folder / "artifacts"),
            "APPROVAL": str(folder / "approval"),
            **self.environment,
        }
        command: list[str | Path] = [
            *(act(), event, "--directory", self.checkout, "--workflows", f".github/workflows/{workflow}.yml"),
            *("--eventpath", folder / "event.json", "--platform", "ubuntu-24.04=-self-hosted", "--no-skip-checkout"),
            *("--action-cache-path", folder / "act", "--no-cache-server", "--concurrent-jobs", "2"),
            *(option for name, path in self._actions() for option in ("--local-repository", f"{name}={path}")),
            *(option for pair in environment.items() for option in ("--env", "=".join(pair))),
            *(option for pair in self.secrets.items() for option in ("--secret", "=".join(pair))),
            *(option for pair in self.variables.items() for option in ("--var", "=".join(pair))),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        (folder / "log").write_text(done.stdout + done.stderr)
        return Run(done.returncode, done.stdout + done.stderr, folder / "artifacts")

    def _actions(self) -> list[tuple[str, Path]]:
        used = set()
        for path in (self.checkout / ".github" / "workflows").glob("*.yml"):
            for job in yaml.safe_load(path.read_text())["jobs"].values():
                used |= {step["uses"] for step in job.get("steps", ()) if "uses" in step}
        folders = {name: _LIKENESSES / name.split("@")[0].split("/")[1] for name in sorted(used)}
        return [(name, path if path.exists() else _LIKENESSES / "cloud-login") for name, path in folders.items()]
