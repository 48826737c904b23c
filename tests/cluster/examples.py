"""Examples as a team runs them: programs outside the checkout, the library installed from its wheel."""

import json
import re
import shutil
import subprocess
import venv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from devkit import dist
from tests.cluster.support import REPOSITORY
from tests.package.clean_environment import clean_environment


class Example:
    """A copy of an example with a stack and a back end of its own."""

    def __init__(self, name: str, folder: Path, environment: Path) -> None:
        shutil.copytree(REPOSITORY / "examples" / name, folder, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
        (folder / ".venv").symlink_to(environment)
        (folder / "backend").mkdir()
        self.folder = folder
        self.environment = {
            **clean_environment(),
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "teams",
        }
        self.pulumi("stack", "init", "test")

    def build_on(self, facts: Mapping[str, Any]) -> None:
        """Images are built by the platform's builder, as after `docker buildx use`, and on its base image."""
        if facts.get("base_image"):
            for dockerfile in self.folder.rglob("Dockerfile"):
                text = re.sub("(ARG BASE_IMAGE=).*", rf"\g<1>{facts['base_image']}", dockerfile.read_text())
                dockerfile.write_text(text)
        if facts.get("builder"):
            own = self.folder.parent / f"{self.folder.name}-buildx"
            shutil.copytree(self.environment["BUILDX_CONFIG"], own)
            current = {"Key": "", "Name": facts["builder"], "Global": True}
            (own / "current").write_text(json.dumps(current))
            self.environment["BUILDX_CONFIG"] = str(own)

    def command(self, *arguments: str) -> list[str]:
        return ["pulumi", *arguments, "--non-interactive", "--color=never"]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = self.command(*arguments)
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)

    def pulumi(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self, **config: str) -> dict[str, Any]:
        """Sets config, brings the stack up, finds that a second `up` has nothing to do; the outputs."""
        self.configure(**config)
        self.pulumi("up", "--yes", "--skip-preview")
        self.pulumi("preview", "--expect-no-changes")
        return self.outputs()

    def outputs(self) -> dict[str, Any]:
        return dict(json.loads(self.pulumi("stack", "output", "--json")))

    def configure(self, **config: str) -> None:
        for key, value in config.items():
            self.pulumi("config", "set", key, value)

    def destroy(self) -> None:
        self.pulumi("destroy", "--yes", "--skip-preview")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the library's wheel and what that declares."""
    folder = tmp_path_factory.mktemp("installed")
    [wheel] = (
        each
        for each in dist.build(folder / "dist")
        if each.name.startswith("modelops_pulumi-") and each.suffix == ".whl"
    )
    venv.create(folder / "venv", with_pip=True)
    command = [folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", wheel]
    subprocess.run(command, env=clean_environment(), check=True)
    return folder / "venv"


@pytest.fixture
def example(platform_env: dict[str, str], installed: Path, tmp_path: Path) -> Iterator[Callable[[str], Example]]:
    made: list[Example] = []

    def make(name: str) -> Example:
        made.append(Example(name, tmp_path / name, installed))
        return made[-1]

    yield make
    for each in made:
        each.destroy()
