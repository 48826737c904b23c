"""Packages in the cache: they don't fit together or with this environment's, or few tests need them."""

import fcntl
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from devkit.paths import cache_root
from tests.conftest import REPOSITORY


def environment_of(name: str) -> Path:
    """The interpreter of a virtual environment with `tests/requirements-<name>.txt`, made if it isn't there."""
    requirements = REPOSITORY / "tests" / f"requirements-{name}.txt"

    def make(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements]
        subprocess.run(install, check=True)

    return _made(name, requirements, make) / "bin" / "python"


def extra(name: str) -> Path:
    """The folder of packages that an image that serves has with EXTRAS=<name>, made if it isn't there."""
    requirements = REPOSITORY / "model" / f"requirements-serve-{name}.txt"

    def make(folder: Path) -> None:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", folder]
        subprocess.run([*install, "-r", requirements], check=True)

    return _made(f"extra-{name}", requirements, make)


def _made(name: str, requirements: Path, make: Callable[[Path], None]) -> Path:
    mark = hashlib.sha256(_content(requirements) + sys.version.encode()).hexdigest()[:12]
    folder = cache_root() / "environments" / f"{name}-{mark}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            make(folder)
            (folder / "complete").touch()
    return folder


def _content(requirements: Path) -> bytes:
    """A list of packages, and the lists that it includes or is bound by."""
    content = requirements.read_bytes()
    included = re.findall(r"^-[rc] (.+)$", content.decode(), re.MULTILINE)
    return content + b"".join(_content(requirements.parent / name) for name in included)
