"""`git bisect run make test-unit` finds the commit that broke something, on a machine without a cluster."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.package.copies import copy_sources, git, lend_environment

TESTS = "tests/unit/stacks/test_cluster.py"
RIGHT = 'if host in ("localhost", "kubernetes.docker.internal"):'


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """These sources, unfinished ones included, with four commits on top of which the third one breaks something."""
    folder = tmp_path / "project"
    copy_sources(folder)
    git(folder, "tag", "good")
    for number in range(4):
        if number == 2:
            source = folder / "stacks" / "cluster.py"
            assert RIGHT in source.read_text()
            source.write_text(source.read_text().replace(RIGHT, 'if host in ("localhost",):'))
        (folder / "notes.md").write_text(f"{number}\n")
        git(folder, "add", "--all")
        git(folder, "commit", "-q", "-m", f"commit {number}")
    lend_environment(folder)
    return folder


def finder() -> str:
    """Where Python finds the library."""
    code = "import modelops; print(modelops.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    return done.stdout


def test_bisect_finds_the_commit_without_a_cluster(history: Path, tmp_path: Path) -> None:
    git(history, "bisect", "start", "HEAD", "good")
    # No kubeconfig, no Pulumi state, none of the platform's tools.
    nowhere = {"KUBECONFIG": str(tmp_path / "none"), "PULUMI_HOME": str(tmp_path / "none"), "PATH": "/usr/bin:/bin"}
    nowhere["PATH"] = f"{Path(shutil.which('python3') or '/usr/bin/python3').parent}{os.pathsep}{nowhere['PATH']}"
    nowhere["PATH"] += f"{os.pathsep}{Path(shutil.which('go')).parent}" if shutil.which("go") else ""  # type: ignore[arg-type]
    before = finder()
    said = git(history, "bisect", "run", "make", "test-unit", f"TESTS={TESTS}", **nowhere)
    assert "commit 2" in said and "is the first bad commit" in said
    assert finder() == before, "the environment was changed"
