"""Programs in Pulumi YAML and in TypeScript deploy a ModelService through the plugin.

Node's language host is in no registry, so Pulumi's Automation API runs the program in TypeScript in its own process.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.serving.support import Serving
from tests.cluster.support import REPOSITORY, eventually, objects, post

HERE = Path(__file__).parent
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


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin as a team would have cloned it, installed as `pulumi package add` does.

    Into an environment of its own, that is, which sees the packages of this one, too.
    """
    folder = tmp_path_factory.mktemp("plugin") / "components"
    shutil.copytree(REPOSITORY / "components", folder, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    environment = folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    [site] = environment.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text(sysconfig.get_path("purelib"))
    command = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--editable", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def service_of(serving: Serving) -> dict[str, Any]:
    """The service's arguments, as other languages spell them."""
    args = serving.args(exposed=True)
    return {
        "namespace": args["namespace"],
        "image": args["image"],
        "modelUri": args["model_uri"],
        "trackingUri": args["tracking_uri"],
        "resources": args["resources"],
        "replicas": 1,
        "expose": args["expose"],
    }


@pytest.fixture
def project(serving: Serving, plugin: Path, yaml_host: Path, tmp_path: Path) -> Iterator[Path]:
    """The consumer's project."""
    folder = tmp_path / "consumer"
    folder.mkdir()
    program = {
        "name": "consumer",
        "runtime": "yaml",
        "packages": {"modelops": str(plugin)},
        "resources": {"demo": {"type": "modelops:ModelService", "properties": service_of(serving)}},
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


def test_pulumi_package_add_describes_the_components_to_a_program_in_yaml(
    plugin: Path, yaml_host: Path, tmp_path: Path
) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: consumer\nruntime: yaml\n")
    (tmp_path / "backend").mkdir()
    os.environ["PATH"] = f"{os.environ['PATH']}{os.pathsep}{yaml_host}"
    done = pulumi(tmp_path, "package", "add", str(plugin))
    # The last step, the entry in Pulumi.yaml, is one that hosts as old as this one don't know.
    assert done.returncode == 0 or "linking package: method Link not implemented" in done.stderr, done.stderr
    assert "generated an SDK for the modelops package" in done.stdout + done.stderr
    assert list((tmp_path / "sdks").rglob("modelops*"))


def test_a_program_in_yaml_makes_objects_of_kubernetes_itself(
    platform_env: dict[str, str], namespace: str, yaml_host: Path, tmp_path: Path
) -> None:
    """The host checks the program's types by the provider's schema, and takes the constants from it."""
    settings = {
        "type": "kubernetes:core/v1:ConfigMap",
        "properties": {"metadata": {"labels": {"app": "plain"}}, "data": {"a": "1"}},
        "options": {"provider": "${cluster}"},
    }
    cluster = {"type": "pulumi:providers:kubernetes", "properties": {"namespace": namespace}}
    program = {
        "name": "plain",
        "runtime": "yaml",
        "resources": {"cluster": cluster, "settings": settings},
        "outputs": {"name": "${settings.metadata.name}"},
    }
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump(program, sort_keys=False))
    (tmp_path / "backend").mkdir()
    os.environ["PATH"] = f"{os.environ['PATH']}{os.pathsep}{yaml_host}"
    assert pulumi(tmp_path, "stack", "init", "test").returncode == 0
    done = pulumi(tmp_path, "up", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = objects("configmaps", namespace, "--selector", "app=plain")
    assert found["data"] == {"a": "1"}
    assert json.loads(pulumi(tmp_path, "stack", "output", "--json").stdout)["name"] == found["metadata"]["name"]
    assert pulumi(tmp_path, "preview", "--expect-no-changes").returncode == 0
    assert pulumi(tmp_path, "destroy", "--yes", "--skip-preview").returncode == 0


def test_a_wrong_argument_is_told_with_its_rule(project: Path) -> None:
    program = yaml.safe_load((project / "Pulumi.yaml").read_text())
    program["resources"]["demo"]["properties"]["drainSeconds"] = 0
    (project / "Pulumi.yaml").write_text(yaml.safe_dump(program, sort_keys=False))
    done = pulumi(project, "preview")
    assert done.returncode != 0
    assert "drain_seconds is 0, must be 1 to 600" in done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("npm"), reason="Node is not on this machine, and the platform does not bring it")
def test_a_program_in_typescript_serves_a_model(serving: Serving, plugin: Path, tmp_path: Path) -> None:
    shutil.copytree(HERE / "typescript", tmp_path, dirs_exist_ok=True)
    for command in (
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"],
        ["npx", "tsc", "--project", "."],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "backend").mkdir()
    project = tmp_path / "project"
    project.mkdir()
    providers = [{"name": "modelops", "path": str(plugin)}]
    described = {"name": "consumer", "runtime": "nodejs", "plugins": {"providers": providers}}
    (project / "Pulumi.yaml").write_text(yaml.safe_dump(described))
    environment = {
        **os.environ,
        "PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "teams",
    }

    def run(command: str) -> str:
        words = ["node", "out/consumer.js", command, str(project), json.dumps(service_of(serving))]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        url = json.loads(run("up"))["predict_url"]["value"]
        assert eventually(lambda: post(url, {"inputs": [[0.5]]})[0] == 200)
        assert set(json.loads(run("preview"))) == {"same"}
    finally:
        run("destroy")
