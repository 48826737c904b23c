"""A release is whole or nothing: what it refuses, what it writes, what a failed step leaves. With a real git."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devkit import release
from devkit.dist import PACKAGES

CHANGELOG = "# Changelog\n\n## Unreleased\n\n### Added\n- This.\n\n## 1.0.0 - 2026-01-31\n- That.\n"
MAKEFILE = "generate:\n\techo new > generated.txt\nrecord:\n\techo new > recorded.txt\ndist:\n\ttest -f recorded.txt\n"


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commit(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", "changes")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone of a small repository with every distribution at 1.0.0, released once."""
    folder, origin = tmp_path / "project", tmp_path / "origin"
    git(tmp_path, "init", "-q", "--bare", str(origin))
    git(tmp_path, "clone", "-q", str(origin), str(folder))
    git(folder, "config", "user.name", "x")
    git(folder, "config", "user.email", "x@example.com")
    for name in PACKAGES:
        (folder / name).mkdir()
        text = f'[project]\nname = "modelops-{name}"\nversion = "1.0.0"\n\n[tool.other]\nversion = "1.0.0"\n'
        (folder / name / "pyproject.toml").write_text(text)
    files = {"CHANGELOG.md": CHANGELOG, "Makefile": MAKEFILE, "generated.txt": "old\n", ".gitignore": "/build/\n"}
    commit(folder, **files)
    git(folder, "tag", "-a", "v1.0.0", "-m", "1.0.0")
    git(folder, "push", "-q", "--follow-tags", "origin", "HEAD")
    return folder


def state(folder: Path) -> tuple[str, ...]:
    """All that a release may change: the commit, tags, the tree."""
    return (git(folder, "rev-parse", "HEAD"), git(folder, "tag"), git(folder, "status", "--porcelain", "--ignored"))


def versions(folder: Path) -> set[str]:
    return {(folder / name / "pyproject.toml").read_text().split('"')[3] for name in PACKAGES}


def test_a_release_writes_the_version_everywhere_and_dates_the_changelog(project: Path) -> None:
    assert release.main(["1.1.0"], project) == 0
    assert versions(project) == {"1.1.0"}
    assert all(
        '[tool.other]\nversion = "1.0.0"' in (project / name / "pyproject.toml").read_text() for name in PACKAGES
    )
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    heading = f"## Unreleased\n\n## 1.1.0 - {today}\n\n### Added\n- This.\n\n## 1.0.0 - 2026-01-31\n"
    assert heading in (project / "CHANGELOG.md").read_text()


def test_a_release_is_one_commit_with_what_was_generated_and_its_tag(project: Path) -> None:
    before = git(project, "rev-parse", "HEAD")
    assert release.main(["1.1.0"], project) == 0
    assert git(project, "rev-parse", "HEAD~1") == before
    assert git(project, "rev-parse", "v1.1.0^{commit}") == git(project, "rev-parse", "HEAD")
    assert git(project, "cat-file", "-t", "v1.1.0") == "tag\n"
    assert git(project, "show", "HEAD:generated.txt", "HEAD:recorded.txt") == "new\nnew\n"
    assert git(project, "status", "--porcelain") == ""


def test_nothing_is_pushed_and_what_to_do_next_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release.main(["1.1.0"], project)
    assert "v1.1.0" not in git(project, "ls-remote", "--tags", "origin")
    [push] = re.findall(r"^  git (push .*)$", capsys.readouterr().out, re.MULTILINE)
    git(project, *push.split())
    assert "v1.1.0" in git(project, "ls-remote", "--tags", "origin")


def test_the_way_back_that_is_said_leads_back(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(project)
    release.main(["1.1.0"], project)
    [back] = re.findall(r"^  (git tag --delete .*)$", capsys.readouterr().out, re.MULTILINE)
    subprocess.run(back, shell=True, cwd=project, check=True, capture_output=True)
    assert state(project) == before


def test_a_first_release_may_have_the_version_that_stands_there(project: Path) -> None:
    git(project, "tag", "-d", "v1.0.0")
    commit(project, **{"CHANGELOG.md": "# Changelog\n\n## Unreleased\n- All.\n"})
    assert release.main(["1.0.0"], project) == 0
    assert versions(project) == {"1.0.0"} and git(project, "describe") == "v1.0.0\n"


@pytest.mark.parametrize("version", ["1.1", "v1.1.0", "1.1.0rc1", "01.1.0", "1.1.0\n", "next", ""])
def test_another_form_of_version_is_refused(project: Path, version: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(project)
    assert release.main([version], project) == 1
    assert "a version is three numbers, like 1.2.3" in capsys.readouterr().err
    assert state(project) == before


@pytest.mark.parametrize(
    ("version", "files", "says"),
    [
        ("1.0.0", {}, "the tag v1.0.0 exists"),
        ("0.9.9", {}, "it is not newer than 1.0.0"),
        ("1.10.0", {"CHANGELOG.md": CHANGELOG.replace("1.0.0", "1.10.0")}, "it is not newer than 1.10.0"),
        ("1.9.0", {"CHANGELOG.md": CHANGELOG.replace("1.0.0", "1.10.0")}, "it is not newer than 1.10.0"),
        ("1.1.0", {"CHANGELOG.md": CHANGELOG.replace("- This.\n", "")}, "nothing under Unreleased"),
        ("1.1.0", {"CHANGELOG.md": CHANGELOG.replace("## Unreleased\n", "")}, "no section Unreleased"),
    ],
)
def test_what_may_not_be_released_is_refused(
    project: Path, version: str, files: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(project, **{"note.txt": "another commit", **files})
    before = state(project)
    assert release.main([version], project) == 1
    assert says in capsys.readouterr().err
    assert state(project) == before


@pytest.mark.parametrize("name", ["generated.txt", "untracked.txt"])
def test_a_change_that_is_not_committed_is_refused_and_kept(
    project: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / name).write_text("mine")
    before = state(project)
    assert release.main(["1.1.0"], project) == 1
    assert f"not committed, the first of them {name}" in capsys.readouterr().err
    assert state(project) == before and (project / name).read_text() == "mine"


def test_every_reason_is_given_at_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "CHANGELOG.md").write_text("# Changelog\n")
    assert release.main(["1.0.0"], project) == 1
    said = capsys.readouterr().err
    assert "the tag v1.0.0 exists" in said and "not committed" in said and "no section Unreleased" in said


@pytest.mark.parametrize("target", release.TARGETS)
def test_a_step_that_fails_leaves_nothing_behind(
    project: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(project, Makefile=MAKEFILE.replace(f"{target}:\n", f"{target}:\n\techo half > half.txt; false\n"))
    (project / "build").mkdir()
    (project / "build" / "mine.txt").write_text("ignored by git")
    before = state(project)
    assert release.main(["1.1.0"], project) == 1
    assert "`make generate record dist` failed" in capsys.readouterr().err
    assert state(project) == before and versions(project) == {"1.0.0"}
    assert (project / "build" / "mine.txt").exists()


def test_a_hook_that_refuses_the_commit_leaves_nothing_behind(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = project / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\necho not like this >&2; exit 1\n")
    hook.chmod(0o755)
    before = state(project)
    assert release.main(["1.1.0"], project) == 1
    assert "`git commit` failed — not like this" in capsys.readouterr().err
    assert state(project) == before


def test_a_tag_that_git_refuses_takes_the_commit_back(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(project, "tag", "v1.1.0/candidate")
    before = state(project)
    assert release.main(["1.1.0"], project) == 1
    assert "`git tag` failed" in capsys.readouterr().err
    assert state(project) == before


def test_an_interrupted_release_leaves_nothing_behind(project: Path) -> None:
    interrupt = "kill -INT $$(awk '/^PPid/ {print $$2}' /proc/$$PPID/status); sleep 5"
    commit(project, Makefile=MAKEFILE.replace("dist:\n", f"dist:\n\t{interrupt}\n"))
    before = state(project)
    code = (
        "import pathlib, signal, sys; from devkit import release\n"
        # What a shell runs in the background ignores the signal from the start.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.exit(release.main(['1.1.0'], pathlib.Path.cwd()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(release.REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 130 and "interrupted — nothing is changed" in done.stderr
    assert state(project) == before


def test_the_tag_of_a_release_is_what_stands_there(project: Path) -> None:
    release.main(["1.1.0"], project)
    assert release.main(["--check-tag", "v1.1.0"], project) == 0


def test_all_distributions_here_have_one_version_and_the_changelog_tells_of_it() -> None:
    [(_, version), *_] = release._versions(release.REPOSITORY)
    release.check_tag(f"v{version}")


@pytest.mark.parametrize("tag", ["v1.1.0", "1.0.0", "main"])
def test_another_tag_is_refused(project: Path, tag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["--check-tag", tag], project) == 1
    assert "components/pyproject.toml has 1.0.0" in capsys.readouterr().err


def test_a_distribution_with_another_version_and_a_missing_heading_are_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "ci" / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "0.9.0"\n')
    (project / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    assert release.main(["--check-tag", "v1.0.0"], project) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[1:] == ["  ci/pyproject.toml has 0.9.0", "  CHANGELOG.md has no heading for it"]


@pytest.mark.parametrize("arguments", [[], ["1.1.0", "--check-tag", "v1.1.0"]])
def test_a_call_says_one_thing(arguments: list[str], project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        release.main(arguments, project)
    assert left.value.code == 2 and "usage: python3 -m devkit.release" in capsys.readouterr().err
