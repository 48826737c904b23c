"""Parts of the language host that need no engine."""

import sys
from pathlib import Path

import pytest

from devkit.pulumi_plugins.language_host.interpreters import activated, choose_python, environment_dir
from devkit.pulumi_plugins.language_host.probe import required_plugins
from devkit.pulumi_plugins.language_host.processes import Children
from devkit.pulumi_plugins.language_host.program import entry_of, readable_traceback
from devkit.pulumi_plugins.language_host.servicer import distribution_name, installed


def _environment(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("")
    python = folder / "bin" / "python"
    python.touch()
    return python


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIRTUAL_ENV", "PULUMI_PYTHON_CMD"):
        monkeypatch.delenv(name, raising=False)


def test_the_projects_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = _environment(tmp_path / ".venv")
    active = _environment(tmp_path / "active")
    monkeypatch.setenv("VIRTUAL_ENV", str(active.parents[1]))
    assert choose_python(tmp_path, {"virtualenv": ".venv"}) == python
    assert choose_python(tmp_path, {"virtualenv": "missing"}) == active
    assert choose_python(tmp_path, {}) == active


def test_without_any_environment_the_hosts_interpreter_runs_programs(tmp_path: Path) -> None:
    assert choose_python(tmp_path, {}) == Path(sys.executable)


def test_plugins_have_an_environment_of_their_own(tmp_path: Path) -> None:
    assert environment_dir(tmp_path, {}, is_plugin=True) == tmp_path / "venv"
    assert environment_dir(tmp_path, {}) is None


def test_an_activated_environment_is_first_on_the_path(tmp_path: Path) -> None:
    python = _environment(tmp_path / "e")
    found = activated({"PATH": "/usr/bin", "PYTHONHOME": "/x"}, python)
    assert found == {"PATH": f"{python.parent}:/usr/bin", "VIRTUAL_ENV": str(tmp_path / "e")}


def test_a_folder_and_a_file_can_be_run(tmp_path: Path) -> None:
    (tmp_path / "program.py").touch()
    assert entry_of(".", str(tmp_path)) == (str(tmp_path), str(tmp_path))
    assert entry_of("program.py", str(tmp_path)) == (str(tmp_path / "program.py"), str(tmp_path))


def test_a_traceback_begins_in_the_program() -> None:
    def boom() -> None:
        raise ValueError("x")

    try:
        boom()
    except ValueError as error:
        said = readable_traceback(error)
    assert said.startswith("Traceback (most recent call last)") and said.endswith("ValueError: x") and "boom" in said


def test_installed_packages_name_their_plugins() -> None:
    found = {entry["name"]: entry["version"] for entry in required_plugins()}
    assert found["kubernetes"] == "v4.34.2" and "pulumi" not in found


def test_a_plugin_is_installed_when_it_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path))
    plugin = {"name": "thing", "version": "v1.2.3"}
    assert not installed(plugin)
    (tmp_path / "plugins" / "resource-thing-v1.2.3").mkdir(parents=True)
    assert installed(plugin)


def test_a_plugins_name_comes_from_its_packaging(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert distribution_name(folder) == "folder"
    (folder / "PulumiPlugin.yaml").write_text("name: described\nruntime: python\n")
    assert distribution_name(folder) == "described"
    (folder / "pyproject.toml").write_text('[project]\nname = "packaged"\n')
    assert distribution_name(folder) == "packaged"


def test_a_childs_output_and_exit_code_are_relayed(tmp_path: Path) -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    found: dict[str, object] = {"stdout": b"", "stderr": b""}
    for name, value in Children().stream([sys.executable, "-c", script], cwd=str(tmp_path), env={}):
        found[name] = found[name] + value if isinstance(value, bytes) else value  # type: ignore[operator]
    assert found == {"stdout": b"out\n", "stderr": b"err\n", "exitcode": 3}
