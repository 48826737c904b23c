"""Which commit the model's sources are at."""

import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def commit_of(folder: str) -> str:
    """The last commit that touched the folder, with `-dirty` when it has changed since; empty where there is no git.

    Not the newest commit of all: that one would be another after every change of a word in a page.
    """
    commit = _git("log", "-1", "--format=%H", "--", folder)
    return f"{commit}-dirty" if commit and _git("status", "--porcelain", "--", folder) else commit


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
