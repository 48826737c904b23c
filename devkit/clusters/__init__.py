"""The clusters that the devkit can work on, and how one is chosen.

The devkit uses a team's existing cluster only when the stack's config names its context. It creates the others itself,
under its own names and with its own kubeconfig, and `down` deletes them.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from devkit import embedded
from devkit.clusters.containers import Kind, Minikube
from devkit.clusters.context import Context
from devkit.errors import DevkitError
from devkit.files import replace_text
from devkit.paths import REPOSITORY, state_root
from devkit.steps import Report

__all__ = ["KINDS", "Cluster", "Context", "Embedded", "Kind", "Minikube", "choose", "configured_context",
           "deployed_stacks", "remember", "running"]  # fmt: skip

KINDS = ("context", "minikube", "kind", "embedded")


class Cluster(Protocol):
    """What the rest of the devkit needs from a cluster."""

    kind: str
    needs_builds: bool
    """Whether its own programs have to be built first."""

    def start(self, report: Report) -> None:
        """Starts it, with a registry and a builder; does nothing where they already run."""

    def stop(self, report: Report) -> None:
        """Removes whatever `start` created."""

    def status(self) -> dict[str, object]:
        """What is running, part by part."""

    def environment(self) -> dict[str, str]:
        """Variables that point `pulumi` and `kubectl` to it."""

    def facts(self) -> dict[str, object]:
        """Its part of platform.json, once it runs: registry, builder, load_balancer, node_host."""


class Embedded:
    """A single node, run from the programs that the devkit builds."""

    kind = "embedded"
    needs_builds = True

    def start(self, report: Report) -> None:
        embedded.start(state_root() / "bin", report)

    def stop(self, report: Report) -> None:
        embedded.stop(report)

    def status(self) -> dict[str, object]:
        """Each part's state and memory, then the sums, containers included; memory as proportional set size."""
        status = embedded.status()
        parts, memory = status["parts"], status["memory"]
        assert isinstance(parts, dict) and isinstance(memory, dict)
        lines = {
            name: {"ok": part["ok"], "pid": part["pid"], "memory_mebibytes": part["pss_kib"] // 1024}
            for name, part in parts.items()
        }
        return {**lines, "memory": {name.removesuffix("_kib"): f"{kib // 1024} MiB" for name, kib in memory.items()}}

    def environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(embedded.kubeconfig()), **embedded.environment()}

    def facts(self) -> dict[str, object]:
        return {"registry": embedded.REGISTRY, "builder": embedded.BUILDER, "load_balancer": True}


_CREATED: dict[str, Callable[[], Cluster]] = {"minikube": Minikube, "kind": Kind, "embedded": Embedded}


def choose(requested: str | None, stack: str) -> Cluster:
    """The cluster for `stack`: the `requested` kind, else the context in its config, else what the machine has.

    Raises DevkitError when the requested kind is unavailable.
    """
    context = configured_context(stack)
    kind = requested or _best(context)
    if kind == "context":
        if context is None:
            raise DevkitError(
                f"--cluster context: stacks/Pulumi.{stack}.yaml names no context",
                "set kubernetes:context in its config; no other context is ever touched",
            )
        return Context(context)
    if kind in ("minikube", "kind") and shutil.which(kind) is None:
        raise DevkitError(f"--cluster {kind}: {kind} is not installed", "install it or choose another cluster")
    return _CREATED[kind]()


def running() -> Cluster | None:
    """The cluster that an earlier `up` started and no `down` has removed since; None if there is none."""
    record = _read_record()
    if not record:
        return None
    if record["kind"] == "context":
        return Context(record["context"])
    return _CREATED[record["kind"]]()


def remember(cluster: Cluster, stack: str | None = None) -> None:
    """Records the choice, and a stack that is deployed there, for `down`, `status` and `env`."""
    record: dict[str, Any] = {"kind": cluster.kind, "context": getattr(cluster, "name", None)}
    before = deployed_stacks() if record.items() <= _read_record().items() else []
    record["stacks"] = list(dict.fromkeys([*before, *([stack] if stack else [])]))
    _record().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_text(_record(), json.dumps(record))


def deployed_stacks() -> list[str]:
    """The stacks that `up` has deployed on the cluster that is up."""
    return list(_read_record().get("stacks", []))


def configured_context(stack: str) -> str | None:
    """`kubernetes:context` of the stack's config file, read without a YAML library (none is installed yet)."""
    file = REPOSITORY / "stacks" / f"Pulumi.{stack}.yaml"
    if not file.exists():
        stacks = sorted(path.name.split(".")[1] for path in (REPOSITORY / "stacks").glob("Pulumi.*.yaml"))
        raise DevkitError(
            f"there is no stack {stack}: {file.name} is not in stacks/", f"choose one of {', '.join(stacks)}"
        )
    match = re.search(r"^\s+[\"']?kubernetes:context[\"']?:\s*[\"']?([^\s\"'#]+)", file.read_text(), re.MULTILINE)
    return match.group(1) if match else None


def _best(context: str | None) -> str:
    if context:
        return "context"
    return next((kind for kind in ("minikube", "kind") if shutil.which(kind)), "embedded")


def _record() -> Path:
    return state_root() / "cluster.json"


def _read_record() -> dict[str, Any]:
    try:
        return dict(json.loads(_record().read_text()))
    except FileNotFoundError:
        return {}
