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

from tests.cluster.serving.support import MODEL, SMALL, publish, publish_folder
from tests.cluster.support import REPOSITORY, eventually, exposure, kubectl, objects, platform_facts, post
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
pulumi.export("model_version", training.model_version)
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

    def pulumi(self, *arguments: str, library: str | None = None, succeed: bool = True) -> str:
        """A command, on the library in a folder of the stack's, or on this one."""
        path = {"PYTHONPATH": str(self.folder / library)} if library else {}
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color=never"],
            cwd=self.folder,
            env={**self.environment, **path},
            capture_output=True,
            text=True,
        )
        assert not succeed or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self, **options: Any) -> dict[str, Any]:
        self.pulumi("config", "set", "given", json.dumps(self.given))
        self.pulumi("up", "--yes", "--skip-preview", **options)
        return dict(json.loads(self.pulumi("stack", "output", "--json")))

    def drastic_steps(self, **options: Any) -> set[tuple[str, str]]:
        """(operation, type and name) of what a plan would replace or delete."""
        self.pulumi("config", "set", "given", json.dumps(self.given))
        return {
            (step["op"], step["urn"].split("::", 2)[2])
            for step in json.loads(self.pulumi("preview", "--json", **options))["steps"]
            if step["op"] not in ("same", "update", "create", "read", "refresh")
        }

    def job(self) -> tuple[str, str]:
        """The training's Job, and what its training container printed."""
        namespace = self.given["registry"]["namespace"]
        [job] = [each["metadata"]["name"] for each in objects("jobs", namespace) if "train" in each["metadata"]["name"]]
        return job, kubectl("logs", "--namespace", namespace, f"job/{job}", "--container", "train")

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


def test_a_filled_stack_goes_on_with_the_new_library(
    filled: UpgradeStack, serving_image: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    namespace = filled.given["registry"]["namespace"]
    found = filled.up(library="released")
    assert found["library"].startswith(str(filled.folder / "released"))
    # The program's publisher registers nothing: this is what another one would have left.
    publish_folder(found["registry_url"], "line", found["model_version"], tmp_path_factory.mktemp("line"))
    publish(found["registry_url"], "run-kept", slope=2.0, golden_error=0.0)
    filled.given["service"] = {
        "namespace": namespace,
        "image": serving_image,
        "model_uri": f"models:/{MODEL}@run-kept",
        # The baseline's default commands are those of its own images.
        "fetch_command": ["python", "-m", "modelops_runtime", "fetch"],
        "serve_command": ["python", "-m", "modelops_runtime", "serve"],
        "expose": exposure(),
        "resources": SMALL,
    }
    url = filled.up(library="released")["predict_url"]
    answer = eventually(lambda: post(url, {"inputs": [[0.5]]}))
    assert answer[0] == 200
    volumes = filled.volumes()
    assert volumes

    filled.given["training"]["checkpoints"] = {"storage_size": "1Gi"}  # as the changelog's table of renames says
    # Files are immutable and named by their content: a changed rule is a new ConfigMap, Alertmanager's file a Secret.
    # The Job once had a training's scripts in it, so it is made anew, and trains nothing.
    # Its account has one role now, and its pods have the namespace's policy.
    replaceable = (
        "core/v1:ConfigMap::",
        "core/v1:Secret::watch-alertmanager",
        "batch/v1:Job::train",
        "v1:Role::train",
        "v1:RoleBinding::train",
        "v1:NetworkPolicy::train",
    )
    assert [name for _, name in filled.drastic_steps() if not any(kind in name for kind in replaceable)] == []

    after = filled.up()
    assert not after["library"].startswith(str(filled.folder / "released"))
    assert filled.volumes().items() >= volumes.items()
    assert eventually(lambda: post(after["predict_url"], {"inputs": [[0.5]]})) == answer
    job, log = filled.job()
    assert log.strip().endswith("training skipped")
    filled.pulumi("preview", "--expect-no-changes")

    # From now on, another version of what runs in the pods leaves the Job alone.
    next_version = filled.folder / "next"
    shutil.copytree(REPOSITORY / "components" / "modelops", next_version / "components" / "modelops")
    shutil.copytree(REPOSITORY / "model" / "modelops_runtime", next_version / "model" / "modelops_runtime")
    for file in ("components/modelops/training/assets/train.sh", "model/modelops_runtime/registry/publish.py"):
        with (next_version / file).open("a") as source:
            source.write("\n# the next version\n")
    steps = filled.drastic_steps(library="next/components")
    changed = {name.rpartition("::")[2] for _, name in steps}
    assert len(changed) == 1 and all(name.startswith("training-job-runtime-") for name in changed)
    filled.up(library="next/components")
    assert filled.job() == (job, log)
    (scripts,) = (
        each["data"]
        for each in objects("configmaps", namespace)
        if each["metadata"]["name"].startswith("training-job-")
    )
    assert "the next version" in scripts["train.sh"]
    filled.pulumi("preview", "--expect-no-changes", library="next/components")


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
