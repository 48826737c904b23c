"""The clusters that the devkit can work on, and how one is chosen.

The devkit uses a team's existing cluster only when the stack's config names its context. It creates the others itself,
under its own names and with its own kubeconfig, and `down` deletes them.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from devkit import embedded
from devkit.errors import DevkitError
from devkit.paths import REPOSITORY, kubeconfig, state_root
from devkit.steps import Report

KINDS = ("context", "minikube", "kind", "embedded")
_NAME = "modelops"
_BUILDER = "modelops"


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
        """Its part of platform.json: registry, builder, load_balancer."""


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


class Context:
    """A cluster that the stack's config names by its kubectl context. The devkit starts and stops nothing in it."""

    kind = "context"
    needs_builds = False

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, report: Report) -> None:
        report(f"using the context {self.name} that the stack's config names")
        done = _run(["kubectl", "--context", self.name, "version", "--request-timeout=10s"], check=False)
        if done.returncode != 0:
            raise DevkitError(
                f"the cluster of the context {self.name} does not respond: {done.stderr.strip().splitlines()[-1:]}",
                "correct kubernetes:context in the stack's config, or the kubeconfig",
            )

    def stop(self, report: Report) -> None:
        report(f"the cluster of the context {self.name} is yours: `pulumi destroy` removes a stack from it")

    def status(self) -> dict[str, object]:
        return {"context": self.name}

    def environment(self) -> dict[str, str]:
        return {}

    def facts(self) -> dict[str, object]:
        return {"registry": None, "builder": None, "load_balancer": True}


class Kind:
    """A kind cluster called `modelops` with a registry container beside it. Needs a running Docker engine."""

    kind = "kind"
    needs_builds = False
    port = 5001

    def start(self, report: Report) -> None:
        _require_docker("kind")
        registry = f"{_NAME}-registry"
        if _run(["docker", "inspect", registry], check=False).returncode != 0:
            report("starting a registry")
            _run(
                [
                    "docker",
                    "run",
                    "-d",
                    "--restart=always",
                    "-p",
                    f"127.0.0.1:{self.port}:5000",
                    "--name",
                    registry,
                    "registry:2",
                ]
            )
        if _NAME not in _run(["kind", "get", "clusters"]).stdout.split():
            report("creating the kind cluster")
            settings = state_root() / "kind.yaml"
            settings.parent.mkdir(parents=True, exist_ok=True)
            settings.write_text(
                "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\ncontainerdConfigPatches:\n- |-\n"
                '  [plugins."io.containerd.grpc.v1.cri".registry]\n    config_path = "/etc/containerd/certs.d"\n'
            )
            _run(
                [
                    "kind",
                    "create",
                    "cluster",
                    "--name",
                    _NAME,
                    "--config",
                    str(settings),
                    "--kubeconfig",
                    str(kubeconfig()),
                ]
            )
        self._configure_registry(registry)
        _run(["kind", "export", "kubeconfig", "--name", _NAME, "--kubeconfig", str(kubeconfig())])
        _ensure_builder()

    def _configure_registry(self, registry: str) -> None:
        folder = f"/etc/containerd/certs.d/localhost:{self.port}"
        script = f"mkdir -p {folder} && echo '[host.\"http://{registry}:5000\"]' > {folder}/hosts.toml"
        for node in _run(["kind", "get", "nodes", "--name", _NAME]).stdout.split():
            _run(["docker", "exec", node, "sh", "-c", script])
        _run(["docker", "network", "connect", "kind", registry], check=False)

    def stop(self, report: Report) -> None:
        report("deleting the kind cluster and its registry")
        _run(["kind", "delete", "cluster", "--name", _NAME, "--kubeconfig", str(kubeconfig())])
        _run(["docker", "rm", "-f", f"{_NAME}-registry"], check=False)
        _run(["docker", "buildx", "rm", _BUILDER], check=False)

    def status(self) -> dict[str, object]:
        return {"nodes": _run(["kind", "get", "nodes", "--name", _NAME], check=False).stdout.split()}

    def environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(kubeconfig())}

    def facts(self) -> dict[str, object]:
        return {"registry": f"localhost:{self.port}", "builder": _BUILDER, "load_balancer": False}


class Minikube:
    """A Minikube profile called `modelops` with its registry and metrics-server. Needs a running Docker engine."""

    kind = "minikube"
    needs_builds = False
    port = 5000

    def start(self, report: Report) -> None:
        _require_docker("minikube")
        report("starting Minikube")
        self._minikube("start", "--driver=docker", "--insecure-registry=localhost:5000")
        for addon in ("registry", "metrics-server"):
            self._minikube("addons", "enable", addon)
        self._forward_registry()
        _ensure_builder()

    def _forward_registry(self) -> None:
        # The addon serves localhost:5000 inside the node only; builds push to the same name from outside.
        pid_file = state_root() / "registry-forward.pid"
        _end(pid_file)
        process = subprocess.Popen(
            ["kubectl", "port-forward", "--namespace", "kube-system", "service/registry", f"{self.port}:80"],
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        pid_file.write_text(str(process.pid))

    def stop(self, report: Report) -> None:
        report("deleting the Minikube profile")
        _end(state_root() / "registry-forward.pid")
        self._minikube("delete")
        _run(["docker", "buildx", "rm", _BUILDER], check=False)

    def status(self) -> dict[str, object]:
        return {"minikube": _run(["minikube", "--profile", _NAME, "status"], check=False).stdout.split("\n")}

    def environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(kubeconfig())}

    def facts(self) -> dict[str, object]:
        return {"registry": f"localhost:{self.port}", "builder": _BUILDER, "load_balancer": False}

    def _minikube(self, *arguments: str) -> None:
        _run(["minikube", "--profile", _NAME, *arguments])


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
    try:
        record = json.loads(_record().read_text())
    except FileNotFoundError:
        return None
    if record["kind"] == "context":
        return Context(record["context"])
    return _CREATED[record["kind"]]()


def remember(cluster: Cluster) -> None:
    """Records the choice for `down`, `status` and `env`."""
    _record().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _record().write_text(json.dumps({"kind": cluster.kind, "context": getattr(cluster, "name", None)}))


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


def _environment() -> dict[str, str]:
    return dict(os.environ) | {"KUBECONFIG": str(kubeconfig())}


def _run(command: list[str], check: bool = True) -> subprocess.CompletedProcess[str]:
    kubeconfig().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    environment = None if command[:2] == ["kubectl", "--context"] else _environment()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise DevkitError(f"{command[0]} is not installed", "install it or choose another cluster") from error
    if check and done.returncode != 0:
        raise DevkitError(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done


def _require_docker(kind: str) -> None:
    if _run(["docker", "info"], check=False).returncode != 0:
        raise DevkitError(
            f"{kind} needs a running Docker engine and `docker info` fails",
            "start Docker, or choose --cluster embedded, which needs none",
        )


def _ensure_builder() -> None:
    if _run(["docker", "buildx", "inspect", _BUILDER], check=False).returncode != 0:
        create = ["docker", "buildx", "create", "--name", _BUILDER, "--driver", "docker-container"]
        _run([*create, "--driver-opt", "network=host"])


def _end(pid_file: Path) -> None:
    """Ends the port-forward that an earlier start left behind, if that process is still one."""
    try:
        pid = int(pid_file.read_text())
        if b"port-forward" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        pass
    pid_file.unlink(missing_ok=True)
