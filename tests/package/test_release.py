"""A release of these very sources, with everything that it builds, in a repository of the test's own."""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from devkit.dist import PACKAGES
from tests.package.copies import copy_sources, git, lend_environment


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    copy_sources(folder)
    changelog = folder / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("## Unreleased\n", "## Unreleased\n- Something.\n", 1))
    record = folder / "tests" / "package" / "release.json"
    record.write_text(json.dumps({"ModelService": {}}))
    git(folder, "commit", "-q", "--all", "-m", "something, and an old record")
    lend_environment(folder)
    return folder


def make_release(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "release", "VERSION=999.0.0"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_release_builds_its_archives_records_what_it_makes_and_is_tagged(project: Path) -> None:
    done = make_release(project)
    assert done.returncode == 0, done.stdout + done.stderr
    built = {path.name for path in (project / "build" / "dist").iterdir()}
    for folder in PACKAGES:
        metadata = tomllib.loads((project / folder / "pyproject.toml").read_text())["project"]
        assert metadata["version"] == "999.0.0"
        stem = f"{metadata['name'].replace('-', '_')}-999.0.0"
        assert {f"{stem}.tar.gz", f"{stem}-py3-none-any.whl"} <= built
    assert len(json.loads((project / "tests" / "package" / "release.json").read_text())) == 8
    assert git(project, "describe").strip() == "v999.0.0"
    assert git(project, "status", "--porcelain") == ""


def test_archives_that_pypi_would_refuse_are_not_released(project: Path) -> None:
    (project / "policies" / "README.md").write_text("")
    git(project, "commit", "-q", "--all", "-m", "a distribution without a description")
    before = git(project, "rev-parse", "HEAD")
    done = make_release(project)
    assert done.returncode != 0 and "PyPI would refuse these" in done.stderr, done.stdout + done.stderr
    assert git(project, "rev-parse", "HEAD") == before and git(project, "tag") == ""
    assert git(project, "status", "--porcelain") == ""
