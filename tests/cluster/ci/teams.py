"""A team's repository and where it deploys to, for the tests of its deliveries."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.cluster.ci.forge_git import WorkingCopy
from tests.cluster.ci.github import GitHub
from tests.cluster.support import REPOSITORY, objects, post
from tests.forge import Forge

STACKS = ("dev", "staging", "prod")
PASSPHRASE = "passphrase-of-the-team"
_PYTHON = """#!/bin/sh
# What environments of the jobs need is installed on this machine already: nothing is fetched for each of them again.
case "$1 $2 $3" in
"-m venv policies/.venv") exec ln -s "{pack}" "$3" ;;
"-m venv "*) "{python}" "$@" && echo "{site}" >"$3/lib/python{version}/site-packages/here.pth" ;;
*) exec "{python}" "$@" ;;
esac
"""


@dataclass
class Team:
    """The team's repository, what it is hosted on, and where it deploys to."""

    copy: WorkingCopy
    forge: Forge
    github: GitHub
    environment: dict[str, str]
    """What every job of every host gets: state, cluster, tools."""
    namespaces: dict[str, str]
    folder: Path
    secrets: dict[str, str] = field(default_factory=dict)

    def step(self, name: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One step of `ci/steps`, in the working copy."""
        environment = {**os.environ, **self.environment, **self.secrets, **more}
        command = [self.copy.folder / "ci" / "steps" / f"{name}.sh", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def pulumi(self, *arguments: str) -> str:
        """Any command of the CLI, as somebody of the team."""
        environment = {**os.environ, **self.environment, **self.secrets}
        command = ["pulumi", *arguments, "--non-interactive"]
        done = subprocess.run(command, cwd=self.copy.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deployed(self, stack: str) -> bool:
        return bool(objects("deployments", self.namespaces[stack]))

    def release(self, stack: str) -> str:
        """What the stack's service says that it is."""
        [service] = objects("services", self.namespaces[stack])
        address = service["status"]["loadBalancer"]["ingress"][0]["ip"]
        status, answer = post(f"http://{address}:8080/predict", {"inputs": [[1]]})
        assert status == 200
        return str(answer["release"])

    def write(self, name: str, text: str) -> None:
        (self.copy.folder / name).write_text(text)


def python_of(folder: Path) -> Path:
    """A folder with the `python3` of the jobs."""
    pack = folder / "pack"
    subprocess.run([sys.executable, "-m", "venv", pack], check=True)
    pip = [pack / "bin" / "pip", "install", "--quiet", "--requirement", REPOSITORY / "policies" / "requirements.txt"]
    subprocess.run(pip, check=True)
    [site] = [path for path in sys.path if path.endswith("site-packages") and path.startswith(sys.prefix)]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    program = folder / "python" / "python3"
    program.parent.mkdir()
    base = Path(sys.base_prefix) / "bin" / f"python{version}"
    program.write_text(_PYTHON.format(pack=pack, python=base, site=site, version=version))
    program.chmod(0o755)
    return program.parent


def content_of(folder: Path, namespaces: dict[str, str], image: str) -> Path:
    """What the team has in its repository: its stack, the policies, and copies of our templates and steps."""
    unwanted = shutil.ignore_patterns("__pycache__", ".venv")
    shutil.copytree(Path(__file__).with_name("team"), folder, ignore=unwanted)
    for source, target in (("ci", "ci"), ("policies", "policies"), ("ci/github", ".github/workflows")):
        shutil.copytree(REPOSITORY / source, folder / target, ignore=unwanted)
    (folder / ".gitignore").write_text(".ci\n.venv\n__pycache__\n.pytest_cache\n")
    (folder / "release.txt").write_text("1\n")
    for stack, namespace in namespaces.items():
        config = {"config": {"team:namespace": namespace, "team:image": image}}
        (folder / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump(config))
    return folder
