"""A program as people have it: in a folder, run by the engine's own language host, with a back end of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.support import REPOSITORY

TAKES_OVER = {"PULUMI_K8S_UPSERT_EXISTING_OBJECTS": "true", "PULUMI_K8S_ENABLE_PATCH_FORCE": "true"}
"""What docs/how-to/teams.md tells to set for one `up` after one that was killed."""
SOURCE = """\
import json
from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s

from modelops import ModelService, TrainingJob

args = json.loads(Path("arguments.json").read_text())
on = pulumi.ResourceOptions(provider=k8s.Provider("cluster"))
training = TrainingJob("train", args["training"], on)
service = ModelService("model", {**args["service"], "model_uri": training.model_uri}, on)
pulumi.export("predict_url", service.predict_url)
pulumi.export("model_version", training.model_version)
"""
"""A training, and the service of what it made."""


class Project:
    """The program in a folder, with a stack."""

    def __init__(self, folder: Path, arguments: Mapping[str, Any]) -> None:
        self.folder = folder
        (folder / "backend").mkdir(parents=True)
        runtime = {"name": "python", "options": {"virtualenv": ".venv"}}
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump({"name": folder.name, "runtime": runtime}))
        (folder / "__main__.py").write_text(SOURCE)
        (folder / ".venv").symlink_to(REPOSITORY / ".venv")
        self.write(arguments)
        self.environment = {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "chaos",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DEBUG_COMMANDS": "true",  # without it the command has no --event-log
        }
        self.pulumi("stack", "init", "test")

    def write(self, arguments: Mapping[str, Any]) -> None:
        """What the program reads."""
        (self.folder / "arguments.json").write_text(json.dumps(arguments))

    @property
    def event_log(self) -> Path:
        return self.folder / "events.json"

    def command(self, *arguments: str) -> list[str]:
        return ["pulumi", *arguments, "--non-interactive", "--color=never"]

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
        )

    def pulumi(self, *arguments: str, **environment: str) -> str:
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_up(self) -> "subprocess.Popen[str]":
        """`pulumi up`, in a session of its own, which logs its events."""
        self.event_log.unlink(missing_ok=True)
        return subprocess.Popen(
            self.command("up", "--yes", "--skip-preview", "--event-log", str(self.event_log)),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def recover(self) -> bool:
        """What docs/how-to/teams.md says to do after a killed `up`. Whether an `up` had to take over what was left."""
        again = ("up", "--yes", "--skip-preview")
        self.pulumi("cancel", "--yes")
        done = self.run(*again)
        if done.returncode == 0:
            return False
        assert "already exists" in done.stdout, done.stdout + done.stderr
        self.pulumi(*again, **TAKES_OVER)
        self.pulumi(*again)  # gives the provider its own settings back
        return True

    def leftovers(self, namespace: str) -> list[str]:
        """What the command that docs/how-to/teams.md names says was left, as `kind/name`."""
        command = [sys.executable, "-m", "modelops.kubernetes.leftovers", "--namespace", namespace]
        state = self.pulumi("stack", "export")
        return subprocess.run(command, input=state, stdout=subprocess.PIPE, text=True, check=True).stdout.split()

    def outputs(self) -> dict[str, Any]:
        return dict(json.loads(self.pulumi("stack", "output", "--json")))

    def identifiers(self) -> set[str]:
        """The ids of all resources in the state: `namespace/name` of objects in a namespace."""
        exported = json.loads(self.pulumi("stack", "export"))["deployment"].get("resources") or []
        return {resource.get("id", "") for resource in exported if not resource.get("delete")}
