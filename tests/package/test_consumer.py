"""The library as other teams get it: typed, with a schema that changes knowingly, every child within reach."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.experimental.host import components_from_module

import modelops
from tests.package import consumer
from tests.unit.components.harness import IMAGE, ignored_provider, on, provider, run

HERE = Path(__file__).parent
SERVING = {
    "namespace": "ml",
    "image": IMAGE,
    "model_uri": "models:/linear@run-0123456789ab",
    "tracking_uri": "http://registry.ml.svc:5000",
}
TRAINING = {
    "namespace": "ml",
    "image": IMAGE,
    "model_name": "linear",
    "framework": "tensorflow",
    "tracking_uri": "http://registry.ml.svc:5000",
}
PIPELINE = {
    "namespace": "ml",
    "image": IMAGE,
    "sources": [{"uri": "/data/raw.csv"}],
    "steps": [{"split": {}}],
    "volume": {"size": "1Gi"},
}
ELK = {"enabled": True, "password": "long enough"}
COMPONENTS: dict[str, Callable[[pulumi.ResourceOptions], Any]] = {
    "pipeline": lambda opts: modelops.DataPipeline("demo", PIPELINE, opts),  # type: ignore[arg-type]
    "registry": lambda opts: modelops.ModelRegistry("demo", {"namespace": "ml", "database": {}, "backup": {}}, opts),
    "training": lambda opts: modelops.TrainingJob("demo", TRAINING, opts),  # type: ignore[arg-type]
    "service": lambda opts: modelops.ModelService("demo", SERVING, opts),  # type: ignore[arg-type]
    "monitoring": lambda opts: modelops.MonitoringStack("demo", {"namespace": "watch", "elk": ELK}, opts),  # type: ignore[typeddict-item]
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as pip installs it; an editable one is found by an import hook, which type checkers don't run."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder / "site"]
    source = folder / "components"
    shutil.copytree(HERE.parents[1] / "components", source, ignore=shutil.ignore_patterns("*.egg-info", "build"))
    subprocess.run([*command, source], check=True)
    return folder


def _types(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    (folder / "consumer.py").write_text(program)
    environment = {**os.environ, "MYPYPATH": str(folder / "site")}
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "consumer.py"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_an_installed_library_has_its_types_and_assets(installed: Path) -> None:
    package, source = installed / "site" / "modelops", HERE.parents[1] / "components" / "modelops"
    assert (package / "py.typed").exists()
    expected = {path.relative_to(source) for path in (source / "assets").rglob("*") if path.is_file()}
    kept = {path for path in expected if "__pycache__" not in path.parts}
    assert kept and all((package / path).exists() for path in kept)


def test_a_consumers_types_are_checked_strictly_and_its_mistakes_found(installed: Path) -> None:
    right = (HERE / "consumer.py").read_text()
    done = _types(installed, right)
    assert done.returncode == 0, done.stdout + done.stderr
    done = _types(installed, right.replace('{"max_replicas": 4}', '{"max_replicas": "four"}'))
    assert done.returncode == 1 and "max_replicas" in done.stdout


def test_a_consumers_program_runs_and_its_transformation_reaches_the_pods() -> None:
    made = run(consumer.program)
    assert made.one("Deployment", "serve").inputs["spec"]["template"]["spec"]["schedulerName"] == "team-scheduler"
    assert "schedulerName" not in made.one("Deployment", "registry").inputs["spec"]["template"]["spec"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_transformation_reaches_every_child(component: str) -> None:
    seen: set[tuple[str, str]] = set()

    def note(args: pulumi.ResourceTransformationArgs) -> None:
        seen.add((args.type_, args.name))

    made = run(lambda: COMPONENTS[component](pulumi.ResourceOptions(transformations=[note])))
    objects = {(found.type, found.name) for found in made.resources if found.is_kubernetes}
    assert len(objects) > 3
    assert objects <= seen


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_child_is_on_the_given_provider(component: str) -> None:
    assert ignored_provider(run(lambda: COMPONENTS[component](on(provider())))) == []


def test_the_plugins_schema_changes_knowingly() -> None:
    """`UPDATE_GOLDEN=1` writes it anew; what other languages' programs see has then changed."""
    found = json.loads(ComponentProvider(components_from_module(modelops), "modelops").schema)
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    golden = HERE / "schema.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
