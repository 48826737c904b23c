"""Trainings without a framework: the platform's base image and a few lines of Python that keep the contract."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import TrainingJob
from tests.cluster.provider.harness import Program, Stack
from tests.cluster.support import kubectl, objects

_PROGRAMS = Path(__file__).resolve().parent / "programs"
SMALL = {"cpu": "20m", "memory": "64Mi"}


def program_text(name: str) -> str:
    """The text of one of the programs beside this file."""
    return (_PROGRAMS / f"{name}.py").read_text()


def command(name: str) -> list[str]:
    """The command that runs one of them in a container."""
    return ["python3", "-c", program_text(name)]


@dataclass
class PlainTrainings:
    """Trainings without a framework, in a namespace with a small registry."""

    namespace: str
    image: str
    new_stack: Callable[[], Stack]

    def args(self, training: str, **changes: Any) -> dict[str, Any]:
        """Arguments of a TrainingJob that runs one of the programs."""
        return {
            "namespace": self.namespace,
            "image": self.image,
            "model_name": "plain",
            "framework": "pytorch",
            "tracking_uri": f"http://registry.{self.namespace}.svc:5000",
            "command": command(training),
            "resources": SMALL,
            "timeout_seconds": 600,
            "publisher": {"command": command("publish")},
            **changes,
        }

    def program(self, name: str, training: str, **changes: Any) -> Program:
        """A program of one TrainingJob that exports its outputs."""
        args = self.args(training, **changes)

        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            made = TrainingJob(name, args, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]
            return {key: getattr(made, key) for key in ("run_id", "model_uri", "job_name")}

        return build

    def jobs(self, name: str) -> list[dict[str, Any]]:
        """The Jobs of a TrainingJob, oldest first."""
        found = objects("jobs", self.namespace, "--selector", _of(name))
        return sorted(found, key=lambda job: (job["metadata"]["creationTimestamp"], job["metadata"]["name"]))

    def pods(self, name: str, *, active: bool = False) -> list[dict[str, Any]]:
        """The pods of a TrainingJob; only those that hold resources, where asked."""
        found = objects("pods", self.namespace, "--selector", _of(name))
        return [pod for pod in found if not active or pod["status"]["phase"] in ("Pending", "Running")]

    def logs(self, pod: Mapping[str, Any], container: str = "train") -> str:
        """What a container has said so far."""
        arguments = ("logs", "--namespace", self.namespace, pod["metadata"]["name"], "--container", container)
        return kubectl(*arguments, check=False)

    def published(self) -> dict[str, list[str]]:
        """What was published, by alias; every publication counts."""
        script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:5000/published').read().decode())"
        said = kubectl("exec", "--namespace", self.namespace, "registry", "--", "python3", "-c", script)
        found: dict[str, list[str]] = json.loads(said)
        return found

    def results(self, stack: Stack) -> list[str]:
        """What the stack's run published."""
        return self.published().get(f"run-{stack.outputs()['run_id']}", [])


def _of(name: str) -> str:
    return f"app.kubernetes.io/name=training-job,app.kubernetes.io/instance={name}"


def registry_objects(namespace: str, image: str) -> dict[str, Any]:
    """The registry's pod and Service."""
    labels = {"app": "registry"}
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "registry",
        "image": image,
        "command": command("registry"),
        "securityContext": security,
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
        "readinessProbe": {
            "httpGet": {"path": "/published", "port": 5000},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 30,
        },
    }
    pod_security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"securityContext": pod_security, "containers": [container], "automountServiceAccountToken": False}
    metadata = {"name": "registry", "namespace": namespace}
    items = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": labels}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": 5000}]},
        },
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}
