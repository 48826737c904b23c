"""A program in Pulumi YAML deploys a ModelService through the plugin. Node's language host could not be had."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.serving.support import Serving
from tests.cluster.support import REPOSITORY, eventually, post

pytestmark = [pytest.mark.teams, pytest.mark.long]

HOST = "github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml@v1.25.0"
"""The newest that Go's proxy has. It does not know today's `pulumi package add`, so the program names the plugin."""


@pytest.fixture(scope="module")
def yaml_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of Pulumi's own language host for YAML. Go keeps what it built."""
    if found := shutil.which("pulumi-language-yaml"):
        return Path(found).parent
    folder = tmp_path_factory.mktemp("bin")
    done = subprocess.run(
        ["go", "install", HOST], env={**os.environ, "GOBIN": str(folder)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def install(plugin: Path) -> None:
    """What `pulumi package add` does: an environment in the plugin's folder. It sees the packages of this one, too."""
    environment = plugin / ".venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    [site] = environment.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text(sysconfig.get_path("purelib"))
    command = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--editable", plugin]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def project(serving: Serving, yaml_host: Path, tmp_path: Path) -> Iterator[Path]:
    """The consumer's project, with the plugin beside it as a team would have cloned it."""
    plugin = tmp_path / "components"
    shutil.copytree(REPOSITORY / "components", plugin, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    install(plugin)
    folder = tmp_path / "consumer"
    folder.mkdir()
    args = serving.args()
    service = {
        "namespace": args["namespace"],
        "image": args["image"],
        "modelUri": args["model_uri"],
        "trackingUri": args["tracking_uri"],
        "resources": args["resources"],
        "replicas": 1,
        "expose": "LoadBalancer",
    }
    program = {
        "name": "consumer",
        "runtime": "yaml",
        "packages": {"modelops": str(plugin)},
        "resources": {"demo": {"type": "modelops:ModelService", "properties": service}},
        "outputs": {"predict_url": "${demo.predictUrl}"},
    }
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(program, sort_keys=False))
    (folder / "backend").mkdir()
    os.environ["PATH"] = f"{os.environ['PATH']}{os.pathsep}{yaml_host}"
    assert pulumi(folder, "stack", "init", "test").returncode == 0
    yield folder
    done = pulumi(folder, "destroy", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stdout + done.stderr


def pulumi(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "teams",
    }
    command = ["pulumi", *arguments, "--non-interactive", "--color=never"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_program_in_yaml_serves_a_model(project: Path) -> None:
    done = pulumi(project, "up", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stdout + done.stderr
    url = json.loads(pulumi(project, "stack", "output", "--json").stdout)["predict_url"]
    assert eventually(lambda: post(url, {"inputs": [[0.5]]})[0] == 200)
    assert pulumi(project, "preview", "--expect-no-changes").returncode == 0


def test_a_wrong_argument_is_told_with_its_rule(project: Path) -> None:
    program = yaml.safe_load((project / "Pulumi.yaml").read_text())
    program["resources"]["demo"]["properties"]["drainSeconds"] = 0
    (project / "Pulumi.yaml").write_text(yaml.safe_dump(program, sort_keys=False))
    done = pulumi(project, "preview")
    assert done.returncode != 0
    assert "drain_seconds is 0, must be at least 1" in done.stdout + done.stderr
