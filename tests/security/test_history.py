"""No commit of the repository has a secret, nor had one that a later commit took away."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from previews.shapes import _BLOCKS
from tests.conftest import REPOSITORY

MADE_UP = (
    "tests/unit/ci/test_secrets.py",
    "tests/unit/ci/test_preview_comment.py",
    "tests/cluster/clusters/test_remote_write.py",
    "tests/cluster/models/test_image_promotion.py",
    "tests/stores.py",
)
"""Tests of what hides secrets, with examples of each form; test passwords' bcrypt hashes; the account that every
emulator of Azure's storage has."""
CIPHERTEXT = "v1:"
"""Pulumi's ciphertext, in stack files: what it hides takes the passphrase."""


def written(repository: Path) -> Iterator[tuple[str, str]]:
    """The path and the text of each line that any commit added; a line once."""
    command = ["git", "log", "--all", "--patch", "--unified=0", "--no-color", "--no-ext-diff", "--no-textconv"]
    log = subprocess.run(command, cwd=repository, capture_output=True, text=True, errors="replace", check=True).stdout
    seen: set[str] = set()
    path = ""
    for line in log.splitlines():
        if line.startswith("+++ b/"):
            path = line.removeprefix("+++ b/")
        elif line.startswith("+") and line not in seen:
            seen.add(line)
            yield path, line[1:]


def secrets(repository: Path) -> list[str]:
    """Where a commit had the form of a secret, with its first signs: a failing test must not show the rest."""
    return [
        f"{path}: {found[0][:8]}…"
        for path, line in written(repository)
        if path not in MADE_UP
        for form in _BLOCKS
        for found in form.finditer(line)
        if not found[0].startswith(CIPHERTEXT)
    ]


def test_the_history_has_no_secret() -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git repository")
    assert sum(1 for _ in written(REPOSITORY)) > 1000
    assert secrets(REPOSITORY) == []


@pytest.mark.parametrize("secret", ["ghp_" + "a1" * 18, "AKIA" + "ABCD1234" * 2, "-----BEGIN " + "PRIVATE KEY-----"])
def test_one_that_a_later_commit_took_away_is_found(secret: str, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    git("init", "--quiet")
    for text in (f"token = {secret}\n", "token = config.require('token')\n"):
        (tmp_path / "settings.py").write_text(text)
        git("add", ".")
        git("commit", "--quiet", "--message", "a change")
    assert secrets(tmp_path) == [f"settings.py: {secret[:8]}…"]
