"""What is released: archives that are whole, and that work where nothing else of this repository is."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from devkit import dist
from modelops.kubernetes.runtime import runtime_files
from tests.package.clean_environment import clean_environment


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "dist"
    dist.build(out)
    return out


@pytest.fixture(scope="session")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheels, and nothing that they depend on."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    command = [sys.executable, "-m", "pip", "--python", folder, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, *built.glob("*.whl")], check=True, env=clean_environment())
    return folder / "bin"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd="/", env=clean_environment())


def test_each_archive_has_the_licence_and_every_file_of_its_packages(built: Path) -> None:
    assert len(list(built.iterdir())) == 2 * len(dist.PACKAGES)
    assert dist.missing(built) == []


def test_the_library_brings_the_program_of_its_pods(built: Path) -> None:
    [wheel] = built.glob("modelops_pulumi-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        for path, text in runtime_files("fetch", "hold", "promote", "transfer", "publish", "watch", "select").items():
            assert opened.read(f"modelops/kubernetes/assets/runtime/{path}").decode() == text


def test_a_file_that_no_pattern_packs_is_noticed(built: Path, tmp_path: Path) -> None:
    for folder, packages in dist.PACKAGES.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pyproject.toml").symlink_to(dist.REPOSITORY / folder / "pyproject.toml")
        for package in packages:
            (tmp_path / folder / package).mkdir()
    (tmp_path / "model" / "modelops_runtime" / "forgotten.json").write_text("{}")
    assert [line.split(": ")[1] for line in dist.missing(built, tmp_path)] == ["modelops_runtime/forgotten.json"] * 2


@pytest.mark.parametrize("command", ["modelops-preview-comment", "modelops-fetch", "modelops-promote"])
def test_an_installed_command_explains_itself(environment: Path, command: str) -> None:
    done = run(environment / command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: {command}" in done.stdout


def test_the_rules_of_the_policy_pack_need_nothing_else(environment: Path) -> None:
    done = run(
        environment / "python", "-c", "from modelops_policies import RESOURCE_RULES; print(RESOURCE_RULES[0].name)"
    )
    assert done.stdout == "image-by-digest\n", done.stderr


def test_the_library_is_there_under_its_own_name(environment: Path) -> None:
    done = run(environment / "python", "-c", "import modelops, modelops_pulumi; print(modelops.__file__)")
    assert done.stdout.startswith(str(environment.parent)), done.stderr
