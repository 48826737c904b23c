"""The command line without a platform: what it says, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

from devkit import cli, clusters, environment
from devkit.errors import DevkitError


@pytest.fixture(autouse=True)
def nothing_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELOPS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MODELOPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELOPS_STACKS", str(tmp_path / "stacks"))


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--help"])
    said = capsys.readouterr().out
    assert left.value.code == 0
    assert all(command in said for command in ("up", "down", "status", "env"))


def test_env_without_a_platform_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["env"]) == 1
    assert "nothing is up — `make up`" in capsys.readouterr().err


def test_status_without_a_platform_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 0
    assert capsys.readouterr().out.startswith("nothing is up")


def test_a_machine_that_is_not_ready_is_told_everything_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("devkit.preflight.embedded_problems", lambda _: ["not root — run with sudo", "no Go — install"])
    assert cli.main(["up", "--cluster", "embedded"]) == 1
    said = capsys.readouterr().err
    assert "  - not root — run with sudo\n  - no Go — install" in said
    assert "needed: about 16 minutes on 2 cores" in said


def test_another_cluster_than_the_one_that_is_up_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    clusters.remember(clusters.Kind())
    assert cli.main(["up", "--cluster", "embedded"]) == 1
    assert "the kind cluster is up" in capsys.readouterr().err


def test_a_second_up_at_the_same_time_is_refused(tmp_path: Path) -> None:
    with (
        cli._exclusive(),
        pytest.raises(DevkitError, match="another `devkit up` or `down` is running"),
        cli._exclusive(),
    ):
        pass


def test_the_exported_lines_are_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    lines = environment.export_lines(clusters.Kind())
    done = subprocess.run(["sh", "-c", f'{lines}\nprintf %s "$PULUMI_HOME"'], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("pulumi-home")


def test_the_devkit_needs_only_the_standard_library(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, '.'); import devkit.cli"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
