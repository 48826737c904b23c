"""A filled stack of the last release, then this library: nothing is replaced, and what was in it is there.

The last release is the newest tag `v…`. Where there is none yet, the commit BASELINE stands for it.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.serving.support import MODEL, SMALL, publish
from tests.cluster.support import REPOSITORY, eventually, exposure, objects, platform_facts, post
from tests.cluster.training.registry import platform_image

pytestmark = [pytest.mark.teams, pytest.mark.long]

BASELINE = "42b7054e5bdd3466bdfc14c7db82cb088c4363c2"
PROGRAM = """
import json
import pulumi
import pulumi_kubernetes as k8s
import modelops

given = json.loads(pulumi.Config().require("given"))
there = pulumi.ResourceOptions(provider=k8s.Provider("cluster"))
registry = modelops.ModelRegistry("registry", given["registry"], there)
monitoring = modelops.MonitoringStack("watch", given["monitoring"], there)
training = modelops.TrainingJob("train", {**given["training"], "tracking_uri": registry.tracking_uri}, there)
pulumi.export("registry_url", registry.url)
pulumi.export("library", modelops.__file__)
if "service" in given:
    service = modelops.ModelService("serve", {**given["service"], "tracking_uri": registry.tracking_uri}, there)
    pulumi.export("predict_url", service.predict_url)
"""


@dataclass
class UpgradeStack:
    """A stack that runs on either library."""

    folder: Path
    environment: dict[str, str]
    given: dict[str, Any]

    def pulumi(self, *arguments: str, old: bool = False, succeed: bool = True) -> str:
        """A command, on the last release's library or on this one."""
        before = {"PYTHONPATH": str(self.folder / "released")} if old else {}
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color=never"],
            cwd=self.folder,
            env={**self.environment, **before},
            capture_output=True,
            text=True,
        )
        assert not succeed or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self, **options: Any) -> dict[str, Any]:
        self.pulumi("config", "set", "given", json.dumps(self.given))
        self.pulumi("up", "--yes", "--skip-preview", **options)
        return dict(json.loads(self.pulumi("stack", "output", "--json")))

    def volumes(self) -> dict[str, str]:
        found = objects("persistentvolumeclaims", self.given["registry"]["namespace"])
        return {claim["metadata"]["name"]: claim["metadata"]["uid"] for claim in found}


def last_release() -> str:
    """The newest tag, or what stands for it."""
    command = ["git", "describe", "--tags", "--abbrev=0", "--match=v*"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() or BASELINE


@pytest.fixture
def filled(namespace: str, platform_env: dict[str, str], tmp_path: Path) -> Iterator[UpgradeStack]:
    archive = subprocess.run(
        ["git", "archive", last_release(), "components/modelops"], cwd=REPOSITORY, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tmp_path, filter="data")
    shutil.move(tmp_path / "components", tmp_path / "released")
    (tmp_path / "Pulumi.yaml").write_text("name: filled\nruntime: {name: python, options: {virtualenv: .venv}}\n")
    (tmp_path / "__main__.py").write_text(PROGRAM)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "backend").mkdir()
    facts = platform_facts()
    watched = {name: {"image": platform_image(facts, name)} for name in ("prometheus", "alertmanager")}
    off = {name: {"enabled": False} for name in ("node_exporter", "kube_state_metrics")}
    image = str(facts["base_image"])
    done = "import os; open(os.environ['MODELOPS_OUTPUT_DIR'] + '/metrics.json', 'w').write('{}')"
    made = UpgradeStack(
        tmp_path,
        {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "teams",
        },
        {
            "registry": {
                "namespace": namespace,
                "image": platform_image(facts, "mlflow"),
                "storage_size": "1Gi",
                "expose": exposure(),
                "resources": {"cpu": "50m"},
            },
            "monitoring": {"namespace": namespace, **watched, **off},
            "training": {
                "namespace": namespace,
                "image": image,
                "model_name": "line",
                "framework": "other",
                "command": ["python3", "-c", done],
                "publisher": {"command": ["python3", "-c", "print('published')"]},
                "checkpoints": {"size": "1Gi"},
                "resources": SMALL,
                "timeout_seconds": 600,
            },
        },
    )
    made.pulumi("stack", "init", "test")
    yield made
    made.pulumi("destroy", "--yes", "--skip-preview", succeed=False)


def test_a_filled_stack_goes_on_with_the_new_library(filled: UpgradeStack, serving_image: str) -> None:
    namespace = filled.given["registry"]["namespace"]
    found = filled.up(old=True)
    assert found["library"].startswith(str(filled.folder / "released"))
    publish(found["registry_url"], "kept", slope=2.0, golden_error=0.0)
    filled.given["service"] = {
        "namespace": namespace,
        "image": serving_image,
        "model_uri": f"models:/{MODEL}@kept",
        # The baseline's default commands are those of its own images.
        "fetch_command": ["python", "-m", "modelops_runtime", "fetch"],
        "serve_command": ["python", "-m", "modelops_runtime", "serve"],
        "expose": exposure(),
        "resources": SMALL,
    }
    url = filled.up(old=True)["predict_url"]
    answer = eventually(lambda: post(url, {"inputs": [[0.5]]}))
    assert answer[0] == 200
    volumes = filled.volumes()
    assert volumes

    filled.given["training"]["checkpoints"] = {"storage_size": "1Gi"}  # as the changelog's table of renames says
    filled.pulumi("config", "set", "given", json.dumps(filled.given))
    steps = json.loads(filled.pulumi("preview", "--json"))["steps"]
    drastic = {
        (step["op"], step["urn"].split("::", 2)[2])
        for step in steps
        if step["op"] not in ("same", "update", "create", "read", "refresh")
    }
    # Files are immutable and named by their content: a changed rule is a new ConfigMap, Alertmanager's file a Secret.
    files = ("core/v1:ConfigMap::", "core/v1:Secret::watch-alertmanager")
    assert {(op, name) for op, name in drastic if not any(kind in name for kind in files)} == set()

    after = filled.up()
    assert not after["library"].startswith(str(filled.folder / "released"))
    assert filled.volumes().items() >= volumes.items()
    assert eventually(lambda: post(after["predict_url"], {"inputs": [[0.5]]})) == answer
    filled.pulumi("preview", "--expect-no-changes")


def test_a_renamed_component_keeps_its_volume(filled: UpgradeStack) -> None:
    """The registry under a new name, with an alias: the engine finds everything again."""
    for part in ("monitoring", "training"):
        del filled.given[part]
    program = filled.folder / "__main__.py"
    lines = [line for line in PROGRAM.splitlines() if not line.startswith(("monitoring", "training"))]
    program.write_text("\n".join(lines))
    filled.up()
    volumes = filled.volumes()
    assert volumes
    renamed = "\n".join(lines).replace(
        '"registry", given["registry"], there)',
        '"mlflow", given["registry"], pulumi.ResourceOptions.merge(\n'
        '    there, pulumi.ResourceOptions(aliases=[pulumi.Alias(name="registry")])))',
    )
    assert renamed != program.read_text()
    program.write_text(renamed)
    steps = json.loads(filled.pulumi("preview", "--json"))["steps"]
    assert [(step["op"], step["urn"]) for step in steps if step["op"] not in ("same", "read")] == []
    filled.up()
    assert filled.volumes() == volumes
