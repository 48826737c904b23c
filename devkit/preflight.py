"""Checks before the long work begins: one line for each problem, with its remedy."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from devkit import embedded
from devkit.paths import cache_root, state_root

PYTHON_MINIMUM = (3, 11)
GO_MINIMUM = (1, 21)
"""From 1.21 on, Go downloads the newer toolchain that a module requires."""
COLD_DISK_GIB = 24
"""Measured size of what a first `up` writes (docs/reference/local-platform.md), with room to spare."""
WARM_DISK_GIB = 6
MEMORY_GIB = 4
_GIB = 1 << 30


def embedded_problems(warm: bool) -> list[str]:
    """What prevents building and starting the embedded cluster here. `warm`: its programs are in the cache."""
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
    problems += [] if warm else go_problems()
    problems += disk_problems(WARM_DISK_GIB if warm else COLD_DISK_GIB)
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


def registry_problems() -> list[str]:
    """Which package registries are out of reach. Checked only when something has to be downloaded."""
    problems = []
    checks = {
        "the Go module proxy": (["go", "list", "-m", "-versions", "golang.org/x/sys"], "check `go env GOPROXY`"),
        "the Python package index": (
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--no-cache-dir",
                "--dest",
                "{folder}",
                "six",
            ],
            "check `pip config list`",
        ),
    }
    for name, (command, remedy) in checks.items():
        with tempfile.TemporaryDirectory() as folder:
            arguments = [part.replace("{folder}", folder) for part in command]
            try:
                done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, cwd=folder)
                failure = done.stderr.strip().splitlines()[-1:] if done.returncode != 0 else None
            except subprocess.TimeoutExpired:
                failure = ["no response within 60 s"]
            except FileNotFoundError:
                continue  # no Go at all is reported by go_problems
        if failure is not None:
            problems.append(f"{name} is out of reach ({''.join(failure)[:160]}) — {remedy} and the network")
    return problems


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
