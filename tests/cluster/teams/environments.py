"""Two environments of this repository's own stack, small, side by side, with secrets that are easy to find again."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pulumi import automation

from tests.cluster.support import REPOSITORY, ProjectStack, apply, exposure, kubectl, objects

PARAMETERS = {"seed": 7, "samples": 100, "epochs": 200, "learning_rate": 0.02}
PLANTED = {
    "registry_admin_password": "planted-admin-9f2c71d4",
    "image_registry_password": "planted-images-5b8e03aa",
    "alertmanager_config": json.dumps(
        {
            "route": {"receiver": "team"},
            "receivers": [
                {"name": "team", "webhook_configs": [{"url": "http://hooks.example.com/planted-hook-c4417e6b"}]}
            ],
        }
    ),
}
"""Secret settings of the stack `staging`."""
MARKS = ("planted-admin-9f2c71d4", "planted-images-5b8e03aa", "planted-hook-c4417e6b")
"""What must be in clear nowhere."""
_OFF = {"enabled": False}


def registry() -> dict[str, Any]:
    """Settings of a small registry that this process can reach."""
    return {"storage_size": "1Gi", "expose": exposure(), "resources": {"cpu": "50m"}}


class Environment(ProjectStack):
    """A stack in namespaces of its own, of a copy of the project."""

    first_up: automation.UpResult | None = None
    """What the first `up` said."""

    def __init__(self, project: Path, name: str, namespace: str) -> None:
        super().__init__(project, name)
        self.namespace = namespace

    def configure(self, config: Mapping[str, Any], secrets: Mapping[str, str] | None = None) -> None:
        """Writes the stack's file anew. Secrets are encrypted by Pulumi itself."""
        self.config_file.unlink(missing_ok=True)
        base = {
            "namespace": self.namespace,
            "service": {"replicas": 2, "expose": exposure(), "resources": {"cpu": "20m", "memory": "96Mi"}},
            "registry": registry(),
            "monitoring": {
                "prometheus": _OFF,
                "node_exporter": _OFF,
                "kube_state_metrics": _OFF,
                "alertmanager": {"enabled": "alertmanager_config" in (secrets or {})},
            },
        }
        values = {f"modelops:{key}": value for key, value in {**base, **config}.items()}
        self.config_file.write_text(yaml.safe_dump({"config": values}, sort_keys=False))
        for key, value in (secrets or {}).items():
            command = ["pulumi", "config", "set", "--secret", f"modelops:{key}", "--stack", self.name]
            subprocess.run(command, input=value, cwd=self.project, check=True, capture_output=True, text=True)

    def destroy(self) -> None:
        """Takes everything down, and the namespaces whatever became of the stack."""
        self.pulumi("destroy", "--yes", "--skip-preview")
        for namespace in (self.namespace, f"{self.namespace}-monitoring", f"{self.namespace}-node-agents"):
            kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found", check=False)


def copy_of_the_project(target: Path) -> Path:
    """The project without its stacks' files; it shares the virtual environment."""
    target.mkdir()
    for name in ("components", "model", "stacks"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "Pulumi.*.yaml")
        shutil.copytree(REPOSITORY / name, target / name, ignore=ignored)
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy2(REPOSITORY / name, target / name)
    (target / ".venv").symlink_to(REPOSITORY / ".venv")
    (target / "backend").mkdir()
    os.environ["PULUMI_BACKEND_URL"] = f"file://{target / 'backend'}"
    os.environ["PULUMI_CONFIG_PASSPHRASE"] = "teams"
    os.environ.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
    return target


def staging(project: Path, namespace: str, mlflow: str) -> Environment:
    """Builds, trains and serves; its registry has accounts, for which it takes the larger image `mlflow`."""
    made = Environment(project, "staging", namespace)
    made.configure(
        {
            "model": {
                "name": "linear",
                "framework": "tensorflow",
                "parameters": PARAMETERS,
                "gate": {"mse": {"max": 0.1}},
                "timeout_seconds": 1200,
            },
            "registry": {**registry(), "image": mlflow},
            "image_registry_username": "builder",
        },
        PLANTED,
    )
    return made


def prod(project: Path, namespace: str, source: Environment, *, most: float = 0.1) -> Environment:
    """Takes what `source` has released; `most` is the bound of its own gate."""
    made = Environment(project, "prod", namespace)
    made.configure(promoting(source, most))
    return made


def promoting(source: Environment, most: float) -> dict[str, Any]:
    """Settings of a stack that takes what `source` has released."""
    return {
        "promote": {
            "stack": f"organization/modelops/{source.name}",
            "tracking_uri": f"http://registry.{source.namespace}.svc:5000",
            "tracking_secret": "staging-registry",
        },
        "model": {"gate": {"mse": {"max": most}}},
    }


def hand_over_account(source: Environment, target: Environment) -> None:
    """What a team does once: an account that may read there, as a Secret here."""
    [reader] = [
        found
        for found in objects("secrets", source.namespace)
        if found["metadata"]["name"].startswith("registry-reader")
    ]
    metadata = {"name": "staging-registry", "namespace": target.namespace}
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": reader["data"]})


def passwords(namespace: str) -> set[str]:
    """Every password in the Secrets of a namespace: those that Pulumi made up are nobody's to see either."""
    found = set()
    for secret in objects("secrets", namespace):
        for key, value in (secret.get("data") or {}).items():
            if "password" in key or key == "key":
                found.add(base64.b64decode(value).decode())
    return found
