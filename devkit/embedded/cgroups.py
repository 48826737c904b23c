"""Our cgroups, in version 1 or 2: the parent of all containers and image builds, which are found through them."""

import contextlib
import os
import signal
import time
from pathlib import Path

from devkit.embedded import layout as at
from devkit.errors import DevkitError

CGROUPS = Path("/sys/fs/cgroup")
# The kubelet requires each of the first five that the kernel has (cgroup v2).
CONTROLLERS = ("cpu", "cpuset", "hugetlb", "memory", "pids", "io")


def folders() -> list[Path]:
    """Our folder in each cgroup hierarchy: several with cgroup v1, one with v2."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / at.CGROUP[1:]]
    roots: dict[int, Path] = {}
    for root in sorted(CGROUPS.iterdir()):
        # cpu and cpuacct are often two links to one hierarchy.
        if not root.is_symlink() and (root / "cgroup.procs").exists():
            roots.setdefault(_device(root), root)
    return [root / at.CGROUP[1:] for root in roots.values()]


def ensure() -> None:
    """Creates the parent cgroup of all containers and image builds; the kubelet requires it."""
    for folder in folders():
        folder.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # empty at first in cgroup v1, which then accepts no process
            if (folder / name).exists() and not (folder / name).read_text().strip():
                (folder / name).write_text((folder.parent / name).read_text())
        if (CGROUPS / "cgroup.controllers").exists():
            available = (CGROUPS / "cgroup.controllers").read_text().split()
            enabled = " ".join(f"+{name}" for name in CONTROLLERS if name in available)
            (CGROUPS / "cgroup.subtree_control").write_text(enabled)


def contained_processes() -> set[int]:
    """Every process inside our cgroups: those of containers and of image builds."""
    pids: set[int] = set()
    for folder in folders():
        for path in folder.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                pids.update(int(line) for line in path.read_text().split())
    return pids - {0, os.getpid()}


def kill_contained_processes(timeout_seconds: float = 10) -> None:
    """Kills every process inside our cgroups and waits until none is left."""
    deadline = time.monotonic() + timeout_seconds
    while left := contained_processes():
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise DevkitError(f"processes {sorted(left)} of the cluster's containers can't be killed")
        time.sleep(0.05)


def remove() -> None:
    """Removes our cgroups, innermost first."""
    for top in folders():
        if not top.exists():
            continue
        for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            _rmdir(folder)
        _rmdir(top)


def restore_controllers(before: list[str]) -> None:
    """Turns off what `ensure` turned on at the top of cgroup v2, unless others use it by now."""
    for name in set(subtree_controllers()) - set(before):
        with contextlib.suppress(OSError):
            (CGROUPS / "cgroup.subtree_control").write_text(f"-{name}")


def subtree_controllers() -> list[str]:
    """The controllers that the top of cgroup v2 delegates; none with version 1."""
    try:
        return (CGROUPS / "cgroup.subtree_control").read_text().split()
    except OSError:
        return []


def _rmdir(folder: Path) -> None:
    for _ in range(40):  # a cgroup is busy for a moment after its last process died
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
    folder.rmdir()


def _device(path: Path) -> int:
    return path.stat().st_dev
