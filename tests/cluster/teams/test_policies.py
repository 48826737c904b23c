"""The policy pack in a real `pulumi preview`, and what the comment says of it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster.support import REPOSITORY, objects

pytestmark = pytest.mark.teams

_PROGRAM = """
import pulumi_kubernetes as k8s
pod = {"containers": [{"name": "web", "image": "registry.example.com/web:latest"}]}
k8s.apps.v1.Deployment(
    "web",
    metadata={"namespace": "default"},
    spec={
        "replicas": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod},
    },
)
"""
_BALANCER = """
import pulumi_kubernetes as k8s
spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
balancer = k8s.core.v1.Service("balancer", metadata={"namespace": "default"}, spec=spec)
address = balancer.status.load_balancer.ingress[0].ip
"""
"""Has an address once it is there."""


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack with an environment of its own, as docs/how-to/policies.md says."""
    folder = tmp_path_factory.mktemp("pack") / "policies"
    shutil.copytree(REPOSITORY / "policies", folder, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    pip = [folder / ".venv" / "bin" / "pip", "install", "--quiet", "--requirement", folder / "requirements.txt"]
    subprocess.run(pip, check=True)
    return folder


@pytest.fixture
def project(platform_env: dict[str, str], tmp_path: Path) -> Path:
    """A stack of one careless Deployment, with the CI steps beside it."""
    (tmp_path / "backend").mkdir()
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "careless", "runtime": "python"}))
    (tmp_path / "__main__.py").write_text(_PROGRAM)
    shutil.copytree(REPOSITORY / "ci", tmp_path / "ci", ignore=shutil.ignore_patterns("__pycache__"))
    done = _run(tmp_path, "pulumi", "stack", "init", "test", "--non-interactive")
    assert done.returncode == 0, done.stderr
    return tmp_path


def _run(project: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": sys.prefix,
        "PULUMI_BACKEND_URL": f"file://{project / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "teams",
        **{"POLICY_PACK": "", "POLICY_CONFIG": "", "BUILDER": "", "SMOKE_OUTPUT": "", **more},
    }
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def test_a_mandatory_rule_fails_the_preview_and_the_comment_says_why(project: Path, pack: Path) -> None:
    said = _run(project, "ci/steps/preview.sh", "test", POLICY_PACK=str(pack))
    assert said.returncode == 1 and said.stderr.endswith("test: the preview failed\n")
    for rule in ("image-by-digest", "resources-set", "restricted", "no-default-token"):
        assert f"- policy test: mandatory policy {rule} on web: " in said.stdout
    for rule in ("labels", "disruption-budget"):
        assert f"- policy test: advisory policy {rule} on web: " in said.stdout
    assert "name it by digest" in said.stdout


def test_exemptions_and_levels_come_from_the_packs_configuration(project: Path, pack: Path, tmp_path: Path) -> None:
    chosen = {
        "all": "advisory",
        "image-by-digest": {"enforcementLevel": "advisory", "exempt": [{"resource": "web", "reason": "a test"}]},
        "labels": "disabled",
    }
    (tmp_path / "levels.json").write_text(json.dumps(chosen))
    steps = {"POLICY_PACK": str(pack), "POLICY_CONFIG": str(tmp_path / "levels.json")}
    said = _run(project, "ci/steps/preview.sh", "test", **steps)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "- test: creates 1" in said.stdout
    assert "advisory policy resources-set on web" in said.stdout
    assert (
        "mandatory" not in said.stdout and "image-by-digest" not in said.stdout and "policy labels" not in said.stdout
    )


def test_what_a_preview_cannot_know_is_judged_by_the_update_before_it_is_made(
    project: Path, pack: Path, tmp_path: Path, namespace: str
) -> None:
    image = '"registry.example.com/web:latest"'
    program = _BALANCER + _PROGRAM.replace(image, f"address.apply(lambda _: {image})")
    (project / "__main__.py").write_text(program.replace("default", namespace))
    (tmp_path / "levels.json").write_text(json.dumps({"all": "advisory", "image-by-digest": "mandatory"}))
    steps = {"POLICY_PACK": str(pack), "POLICY_CONFIG": str(tmp_path / "levels.json")}
    said = _run(project, "ci/steps/preview.sh", "test", **steps)
    assert said.returncode == 0, said.stdout + said.stderr
    said = _run(project, "ci/steps/up.sh", "test", **steps)
    assert said.returncode != 0 and "image-by-digest" in said.stdout + said.stderr
    assert objects("deployments", namespace) == []
