"""Virtual environments of other people's programs, kept in the cache: their dependencies don't fit beside ours."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

from devkit.paths import cache_root
from tests.conftest import REPOSITORY


def environment_of(name: str) -> Path:
    """The interpreter of an environment with `tests/requirements-<name>.txt`, made if it isn't there."""
    requirements = REPOSITORY / "tests" / f"requirements-{name}.txt"
    mark = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_root() / "environments" / f"{name}-{mark}"
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
            (folder / "complete").touch()
    return python
