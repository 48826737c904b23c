"""Small manifests that the restricted Pod Security Standard lets in."""

from typing import Any

Manifest = dict[str, Any]

SECURITY: Manifest = {
    "run_as_user": 65532,
    "run_as_non_root": True,
    "allow_privilege_escalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccomp_profile": {"type": "RuntimeDefault"},
}

SLEEP = "trap 'exit 0' TERM; sleep 1000 & wait"
"""Runs until it is told to end, and then ends at once."""


def container(image: str, script: str = SLEEP, **fields: Any) -> Manifest:
    """A container that runs a shell script."""
    return {
        "name": "main",
        "image": image,
        "command": ["/bin/sh", "-c", script],
        "security_context": SECURITY,
        "termination_message_policy": "FallbackToLogsOnError",
        **fields,
    }


def ready_when(test: str) -> Manifest:
    """A readiness probe that runs a shell test."""
    return {"exec_": {"command": ["/bin/sh", "-c", test]}, "period_seconds": 1}


def pod(containers: list[Manifest], **fields: Any) -> Manifest:
    """A pod's spec."""
    return {"containers": containers, "termination_grace_period_seconds": 1, **fields}


def workload(app: str, containers: list[Manifest], **fields: Any) -> Manifest:
    """The spec of a Deployment, or of what is like one."""
    labels = {"app": app}
    return {
        "selector": {"match_labels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod(containers)},
        **fields,
    }


def job(image: str, script: str, **fields: Any) -> Manifest:
    """A Job's spec: one pod, no second try."""
    spec = pod([container(image, script)], restart_policy="Never")
    return {"backoff_limit": 0, "template": {"spec": spec}, **fields}


def annotations(**values: str) -> Manifest:
    """Annotations for the provider: `skipAwait="true"` is `pulumi.com/skipAwait: "true"`."""
    return {f"pulumi.com/{name}": value for name, value in values.items()}
