"""The project's virtual environment, made with nothing but the standard library."""

import hashlib
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
    """Makes `.venv` hold what `requirements` (a file of this repository) asks for; returns its interpreter.

    Does nothing when that very file was installed before. Raises DevkitError with pip's last lines when it fails.
    """
    stamp = virtualenv() / f".{requirements}.installed"
    wanted = _fingerprint(requirements)
    if python().exists() and stamp.exists() and stamp.read_text() == wanted:
        report("cached")
        return python()
    if not python().exists():
        shutil.rmtree(virtualenv(), ignore_errors=True)
        report("making .venv")
        _run([sys.executable, "-m", "venv", str(virtualenv())], "making the virtual environment .venv")
    report(f"installing {requirements}")
    _run(
        [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements],
        f"installing {requirements} into .venv",
    )
    stamp.write_text(wanted)
    return python()


def _fingerprint(requirements: str) -> str:
    files = ["requirements-stack.txt", "requirements.txt", "components/pyproject.toml"]
    files += [path.relative_to(REPOSITORY).as_posix() for path in sorted((REPOSITORY / "model").glob("requirements*.txt"))]
    digest = hashlib.sha256(f"{sys.version}\0{requirements}\0{virtualenv()}".encode())
    for name in files:
        if (REPOSITORY / name).exists():
            digest.update((REPOSITORY / name).read_bytes() + b"\0")
    return digest.hexdigest()


def _run(command: list[str], doing: str) -> None:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode != 0:
        tail = "\n  ".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise DevkitError(
            f"{doing} failed:\n  {tail}", "check the network and `pip config list`; then run this again"
        )
