"""The project's virtual environment, made with nothing but the standard library."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from devkit.errors import DevkitError
from devkit.paths import REPOSITORY, virtualenv
from devkit.steps import Report

STACK_REQUIREMENTS = "requirements-stack.txt"
ALL_REQUIREMENTS = "requirements.txt"


def python() -> Path:
    """The virtual environment's interpreter."""
    return virtualenv() / "bin" / "python"


def ensure_virtualenv(report: Report, requirements: str = STACK_REQUIREMENTS) -> Path:
    """Installs `requirements` (a file of this repository) into `.venv`; returns its interpreter.

    Does nothing when the file is already installed unchanged. Raises DevkitError with pip's last lines when it fails.
    """
    if python().exists() and any(_is_installed(file) for file in (requirements, ALL_REQUIREMENTS)) and _has_sources():
        report("cached")
        return python()
    if not python().exists():
        _ensure_venv_module()
        shutil.rmtree(virtualenv(), ignore_errors=True)
        report("creating .venv")
        _run([sys.executable, "-m", "venv", str(virtualenv())], "creating the virtual environment .venv")
    report(f"installing {requirements}")
    _run(
        [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements],
        f"installing {requirements} into .venv",
    )
    _stamp(requirements).write_text(_fingerprint(requirements))
    return python()


def _is_installed(requirements: str) -> bool:
    stamp = _stamp(requirements)
    return stamp.exists() and stamp.read_text() == _fingerprint(requirements)


def _has_sources() -> bool:
    """Whether the library's sources are where the environment looks for them: an editable install only points to them,
    and a checkout that it was made from may have been moved or deleted since."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('modelops') is None)"
    return subprocess.run([str(python()), "-I", "-c", code], cwd="/").returncode == 0


def _stamp(requirements: str) -> Path:
    return virtualenv() / f".{requirements}.installed"


def main() -> int:
    """`python3 -m devkit.bootstrap FILE`: what the Makefile's targets run before they use `.venv`."""
    try:
        ensure_virtualenv(lambda text: None if text == "cached" else print(text, flush=True), sys.argv[1])
    except DevkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _fingerprint(requirements: str) -> str:
    files = [
        "requirements-stack.txt",
        "requirements.txt",
        "components/pyproject.toml",
        "model/pyproject.toml",
        "docs/requirements.txt",
    ]
    files += [
        path.relative_to(REPOSITORY).as_posix() for path in sorted((REPOSITORY / "model").glob("requirements*.txt"))
    ]
    digest = hashlib.sha256(f"{sys.version}\0{requirements}\0{virtualenv()}".encode())
    for name in files:
        if (REPOSITORY / name).exists():
            digest.update((REPOSITORY / name).read_bytes() + b"\0")
    return digest.hexdigest()


def _ensure_venv_module() -> None:
    """Debian has a separate package for what `python3 -m venv` needs."""
    if importlib.util.find_spec("ensurepip"):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise DevkitError("this Python can't create a virtual environment", "install Debian's python3-venv")
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "python3-venv"]):
        _run(command, "installing python3-venv")


def _run(command: list[str], task: str) -> None:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode != 0:
        tail = "\n  ".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise DevkitError(f"{task} failed:\n  {tail}", "check the network and `pip config list`; then retry")


if __name__ == "__main__":
    raise SystemExit(main())
