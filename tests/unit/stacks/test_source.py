"""The commit that a run records."""

import subprocess
from pathlib import Path

import pytest

from stacks import source


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(source, "_ROOT", tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "train.py").write_text("1")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_it_is_the_last_one_that_touched_the_model(checkout: Path) -> None:
    git(checkout, "init", "-q")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "model")
    first = git(checkout, "rev-parse", "HEAD").strip()
    (checkout / "page.md").write_text("words")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "page")
    assert source.commit_of("model") == first
    (checkout / "model" / "train.py").write_text("2")
    assert source.commit_of("model") == f"{first}-dirty"


def test_without_a_checkout_there_is_none(checkout: Path) -> None:
    assert source.commit_of("model") == ""
