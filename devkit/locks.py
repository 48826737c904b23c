"""Locks what the images install: `python -m devkit.locks` writes the lists of model/ to model/locks, with hashes.

pip then refuses a file that has another content than the index had for that version when the list was locked. The
lists themselves stay readable, and go together with the library's sources, which have no hash.
"""

import re
import subprocess
import sys
from pathlib import Path

from devkit.errors import DevkitError
from devkit.paths import REPOSITORY

MODEL = REPOSITORY / "model"
LOCKS = MODEL / "locks"


def lists() -> dict[str, Path]:
    """The lists of what images install, by name: `serve` is `requirements-serve.txt`."""
    return {path.stem.removeprefix("requirements-"): path for path in sorted(MODEL.glob("requirements-*.txt"))}


def pins(path: Path) -> list[str]:
    """The requirements of a list or a lock, without comments and hashes."""
    lines = path.read_text().splitlines()
    return [line for line in (re.split(r"\s*(?:#|--hash)", line)[0].strip() for line in lines) if line]


def hashed(path: Path, *options: str) -> str:
    """The versions that a list or a pyproject.toml asks for, each with the hashes of all its files, a line for each
    so that a build can filter. Raises DevkitError when the index lacks one."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--no-strip-extras"]
    command += ["--generate-hashes", "--no-annotate", "--no-header", *options, str(path)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    if done.returncode:
        raise DevkitError(f"{path.relative_to(REPOSITORY)} can't be locked: {done.stderr.strip()}")
    return re.sub(r" \\\n\s+", " ", done.stdout)


def main() -> int:
    """Returns the exit code: 0 done, 1 failed with a message."""
    LOCKS.mkdir(exist_ok=True)
    try:  # the lists are complete: uv only adds the hashes
        texts = {name: hashed(path, "--no-deps") for name, path in lists().items()}
    except DevkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for old in set(LOCKS.glob("*.txt")) - {LOCKS / f"{name}.txt" for name in texts}:
        old.unlink()
    for name, text in texts.items():
        (LOCKS / f"{name}.txt").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
