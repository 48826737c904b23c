"""Checks before the long work begins: one line for each problem, with its remedy."""

import errno
import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from devkit import bootstrap, embedded, engine, toolchain, versions
from devkit.clusters import Cluster, Context, Embedded
from devkit.clusters.containers import Containers
from devkit.clusters.tools import NODE_PORTS, REGISTRY, REGISTRY_PORT, run
from devkit.errors import DevkitError
from devkit.paths import cache_root, state_root

PYTHON_MINIMUM = (3, 11)
GO_MINIMUM = (1, 21)
"""From 1.21 on, Go downloads the newer toolchain that a module requires."""
MEMORY_GIB = 4
CLUSTER_GROUPS = ("containers", "kubernetes")
_GIB = 1 << 30
_DESKTOP = "Docker Desktop: Settings, Resources"


@dataclass(frozen=True)
class Needs:
    """What one way to a running platform takes. Disk and time of the embedded cluster are measured
    (docs/reference/local-platform.md), with room to spare."""

    time: str
    disk_gib: int
    memory_gib: int = 0

    def __str__(self) -> str:
        memory = f", {self.memory_gib} GiB of memory" if self.memory_gib else ""
        return f"{self.time}, {self.disk_gib} GiB of disk{memory}"


@dataclass(frozen=True)
class Machine:
    """What the checks have found."""

    needs: Needs
    problems: tuple[str, ...]
    missing_packages: tuple[str, ...] = ()
    """Debian packages that will be installed."""


def check(cluster: Cluster) -> Machine:
    """Looks for everything that would stop the way to `cluster`, before the long work begins."""
    problems = [*python_problems(), *engine_problems()]
    needs = needs_of(cluster)
    missing: list[str] = []
    if isinstance(cluster, Embedded):
        problems += embedded_problems(needs)
        if not problems:
            missing = missing_system_packages()
    elif isinstance(cluster, Containers):
        problems += docker_problems(cluster, needs)
    elif isinstance(cluster, Context) and shutil.which("kubectl") is None:
        problems.append("no kubectl, which asks whether your cluster responds — kubernetes.io/docs/tasks/tools")
    if not isinstance(cluster, Embedded):
        problems += disk_problems(needs.disk_gib)
    if not problems:
        problems += download_problems(go_is_needed(cluster), not bootstrap.python().exists())
    return Machine(needs, tuple(problems), tuple(missing))


def needs_of(cluster: Cluster) -> Needs:
    """Time, disk and memory of the way to `cluster`, as far as this machine has gone it already."""
    if isinstance(cluster, Context):
        return Needs("some minutes, which image builds and your cluster decide", 3)
    if isinstance(cluster, Containers):
        time = "a minute or two" if cluster.exists() else "about 10 minutes, most of them downloads of images"
        return Needs(time, 12, MEMORY_GIB)
    if all(toolchain.is_built(toolchain.groups()[name]) for name in CLUSTER_GROUPS):
        return Needs("one or two minutes", 6, MEMORY_GIB)
    return Needs("about 16 minutes on 2 cores, most of them compiling", 24, MEMORY_GIB)


def docker_problems(cluster: Containers, needs: Needs) -> list[str]:
    """What prevents a cluster in Docker's containers."""
    other = "or choose CLUSTER=embedded" if platform.system() == "Linux" else "or name a cluster in the stack's config"
    try:
        done = run(["docker", "info", "--format", "{{.MemTotal}}"], check=False)
    except DevkitError:
        return [f"no docker, which {cluster.kind} needs — install Docker, {other}"]
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:160]
        return [
            f"{cluster.kind} needs a running Docker engine and `docker info` fails ({reason}) — start Docker, {other}"
        ]
    problems = []
    # The memory of Docker's virtual machine, where it runs in one; this machine's own is of no use to it.
    memory = int(done.stdout.strip() or 0) / _GIB
    if memory < needs.memory_gib * 0.9:
        problems.append(
            f"Docker has {memory:.1f} GiB of memory, {needs.memory_gib} GiB are needed — give it more ({_DESKTOP})"
        )
    if run(["docker", "buildx", "version"], check=False).returncode != 0:
        problems.append("Docker has no buildx, which builds the images — install Docker's plugin docker-buildx")
    if not cluster.exists():
        registry = run(["docker", "inspect", REGISTRY], check=False).returncode == 0
        problems += port_problems([*NODE_PORTS, *([] if registry else [REGISTRY_PORT])])
    return problems


def port_problems(ports: Iterable[int]) -> list[str]:
    """One line for each port that another program of this machine listens on."""
    return [
        f"port {port} is taken, and the cluster needs it — `lsof -nP -i :{port}` shows by what; end that"
        for port in ports
        if _is_taken(port)
    ]


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def engine_problems() -> list[str]:
    """Problems with what the environment names as Pulumi's engine or plugin."""
    problems = []
    try:
        if (named := engine.executable_from(engine.ENGINE_VARIABLE)) and not engine.is_suitable(named):
            problems.append(
                f"{engine.ENGINE_VARIABLE} names Pulumi {engine.engine_version(named)}, {versions.pulumi()} or a later "
                "3.x is needed — name that, or unset the variable"
            )
        engine.executable_from(engine.KUBERNETES_VARIABLE)
    except DevkitError as error:
        problems.append(str(error))
    return problems


def go_is_needed(cluster: Cluster) -> bool:
    """Whether something has to be built from Go modules."""
    groups = list(CLUSTER_GROUPS) if isinstance(cluster, Embedded) else []
    if any(not toolchain.is_built(toolchain.groups()[name]) for name in groups):
        return True
    return not engine.is_available() and not engine.release_answers()


def embedded_problems(needs: Needs) -> list[str]:
    """What prevents building and starting the embedded cluster here."""
    if platform.system() != "Linux":
        return [
            f"this is {platform.system()}, and the embedded cluster needs Linux — "
            "install Minikube or kind, or name a cluster in the stack's config (kubernetes:context)"
        ]
    problems = []
    if os.geteuid() != 0:
        problems.append("not root, which the embedded cluster needs — run with sudo, or install Minikube or kind")
    if shutil.which("apt-get") is None:
        problems.append(
            "no apt-get: the embedded cluster takes runc and more from Debian — use Debian 12, Minikube or kind"
        )
    problems += disk_problems(needs.disk_gib)
    problems += memory_problems()
    problems += embedded.port_problems()
    return problems


def python_problems() -> list[str]:
    """Problems with the Python that runs this."""
    if sys.version_info[:2] < PYTHON_MINIMUM:
        need = ".".join(map(str, PYTHON_MINIMUM))
        return [
            f"Python {platform.python_version()} is too old, {need} is needed — run with PYTHON=/path/of/python{need}"
        ]
    return []


def missing_system_packages() -> list[str]:
    """Debian packages to install: the embedded cluster's, and python3-venv where Python lacks it."""
    missing, _ = embedded.missing_packages()
    return missing if importlib.util.find_spec("ensurepip") else [*missing, "python3-venv"]


def go_problems() -> list[str]:
    """Whether there is a Go that can build the programs."""
    if shutil.which("go") is None:
        return ["no Go, which builds the platform's programs — install Go (go.dev/dl or Debian's golang)"]
    text = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, cwd="/").stdout
    match = re.search(r"go(\d+)\.(\d+)", text)
    if match and (int(match[1]), int(match[2])) < GO_MINIMUM:
        return [f"{text.strip()} is too old, 1.{GO_MINIMUM[1]} or newer is needed — install a newer Go"]
    return []


def download_problems(go: bool, python: bool) -> list[str]:
    """What is missing for building from Go modules and installing Python packages, each only where it is needed."""
    checks = [*([go_proxy_problems] if go else []), *([package_index_problems] if python else [])]
    missing = [*(go_problems() if go else []), *(venv_problems() if python else [])]
    with ThreadPoolExecutor() as pool:
        return missing or [problem for problems in pool.map(lambda ask: ask(), checks) for problem in problems]


def venv_problems() -> list[str]:
    """Whether this Python can make a virtual environment, or the devkit can install what is missing for it."""
    if importlib.util.find_spec("ensurepip") or (os.geteuid() == 0 and shutil.which("apt-get")):
        return []
    return ["this Python can't make a virtual environment — install python3-venv, or run with PYTHON=/another/python3"]


def go_proxy_problems() -> list[str]:
    """Whether Go can download modules."""
    with tempfile.TemporaryDirectory() as folder:
        failure = _failure(["go", "list", "-m", "-versions", "golang.org/x/sys"], folder)
    return _out_of_reach("the Go module proxy", failure, "check `go env GOPROXY`")


def package_index_problems() -> list[str]:
    """Whether Python packages can be downloaded; asked with this Python's pip where it has one."""
    remedy = "check `pip config list`"
    if importlib.util.find_spec("pip") is None:
        index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
        return _out_of_reach("the Python package index", _unreachable(f"{index}/six/"), remedy)
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--dest", folder]
        failure = _failure([*pip, "six"], folder)
    return _out_of_reach("the Python package index", failure, remedy)


def _failure(command: list[str], folder: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
    except subprocess.TimeoutExpired:
        return "no response within 60 s"
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def _unreachable(url: str) -> str | None:
    try:
        urllib.request.urlopen(url, timeout=20).close()
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except OSError as error:
        return str(error)
    return None


def _out_of_reach(what: str, failure: str | None, remedy: str) -> list[str]:
    return [] if failure is None else [f"{what} is out of reach ({failure[:160]}) — {remedy} and the network"]


def disk_problems(needed_gib: int) -> list[str]:
    """Whether the file systems of cache and state have room."""
    problems = []
    for what, path in {"the cache": cache_root(), "the state": state_root()}.items():
        free = shutil.disk_usage(_existing(path)).free / _GIB
        if free < needed_gib:
            variable = "MODELOPS_CACHE" if what == "the cache" else "MODELOPS_STATE"
            problems.append(
                f"{free:.1f} GiB free for {what} ({path}), {needed_gib} GiB are needed — free some, or set {variable}"
            )
    return problems


def memory_problems() -> list[str]:
    """Whether the machine has the memory for a cluster and a training run."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    if total < MEMORY_GIB:
        return [f"{total:.1f} GiB of memory, {MEMORY_GIB} GiB are needed — use a larger machine, or a remote cluster"]
    return []


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
