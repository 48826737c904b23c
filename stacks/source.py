"""The Git commit of the model's sources."""

import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def commit_of(folder: str) -> str:
    """The last commit that touched the folder, with `-dirty` if it has changed since; empty without Git.

    HEAD would be a different commit after every change to a docs page.
    """
    commit = _git("log", "-1", "--format=%H", "--", folder)
    return f"{commit}-dirty" if commit and _git("status", "--porcelain", "--", folder) else commit


def _git(*arguments: str) -> str:
    try:
        result = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
