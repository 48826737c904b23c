"""A repository of its own with these sources, in which a test may commit, tag and run make."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def copy_sources(folder: Path) -> None:
    """One commit in a new repository: these sources, unfinished ones included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    git(folder, "init", "-q")
    git(folder, "config", "user.name", "x")
    git(folder, "config", "user.email", "x@example.com")
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", "good")


def lend_environment(folder: Path) -> None:
    """This project's virtual environment, lent in a folder that says it is whole: nothing may be installed into it."""
    lent = folder / ".venv"
    lent.mkdir()
    for entry in (REPOSITORY / ".venv").iterdir():
        if not entry.name.endswith(".installed"):
            (lent / entry.name).symlink_to(entry)
    code = "from devkit import bootstrap as b; f = b.ALL_REQUIREMENTS; b._stamp(f).write_text(b._fingerprint(f))"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    assert (lent / ".requirements.txt.installed").is_file()


def git(folder: Path, *arguments: str, **more: str) -> str:
    environment = {**os.environ, **more}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
