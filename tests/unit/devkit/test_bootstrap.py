"""When the virtual environment counts as installed."""

import sysconfig
import venv
from pathlib import Path

import pytest

from devkit import bootstrap


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stamped environment whose `modelops` is an editable install of a checkout. Returns that checkout."""
    checkout = tmp_path / "checkout"
    (checkout / "modelops").mkdir(parents=True)
    (checkout / "modelops" / "__init__.py").touch()
    folder = tmp_path / ".venv"
    venv.create(folder, with_pip=False)
    monkeypatch.setattr(bootstrap, "virtualenv", lambda: folder)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (packages / "modelops.pth").write_text(str(checkout))
    bootstrap._stamp(bootstrap.ALL_REQUIREMENTS).write_text(bootstrap._fingerprint(bootstrap.ALL_REQUIREMENTS))
    return checkout


def installs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that bring the environment up to date."""
    commands: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "_run", lambda command, _: commands.append(command))
    bootstrap.ensure_virtualenv(lambda _: None, bootstrap.ALL_REQUIREMENTS)
    return commands


def test_an_environment_with_unchanged_requirements_is_taken_as_it_is(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installs(monkeypatch) == []


def test_an_environment_that_points_to_a_deleted_checkout_is_installed_anew(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.rename(environment.with_name("elsewhere"))
    [command] = installs(monkeypatch)
    assert command[-1] == bootstrap.ALL_REQUIREMENTS
