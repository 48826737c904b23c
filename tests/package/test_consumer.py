"""The library as other teams get it: typed, with a schema that changes knowingly, every child within reach."""

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.provider.experimental.component import ComponentProvider

import modelops
from modelops.__main__ import COMPONENTS
from tests.package import consumer
from tests.package.clean_environment import clean_environment
from tests.unit.components.harness import IMAGE, SHARED, Program, Resource, provider, run

HERE = Path(__file__).parent
PYRIGHT = "1.1.414"
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
    "volume": {"storage_size": "1Gi"},
}
PROMOTION = {
    "namespace": "ml",
    "image": IMAGE,
    "model_name": "linear",
    "run_id": "0123456789ab",
    "source_uri": "http://registry.staging.svc:5000",
    "tracking_uri": "http://registry.ml.svc:5000",
}
ELK = {"enabled": True, "password": "long enough"}
DAG = {
    "namespace": "ml",
    "claim": "raw",
    "data": {"image": IMAGE, "sources": [{"uri": "/data/raw/*.csv"}], "steps": [{"split": {}}], "target": "y"},
    "training": {key: value for key, value in TRAINING.items() if key != "namespace"},
    "airflow": {"image": "registry.example.com/airflow@sha256:" + "0" * 64},
}
SOURCES = str(HERE.parents[1] / "model")
BUILT = {"context": SOURCES, "target": "serve", "repository": "registry.example.com/team/linear"}
MINIMAL: dict[str, Any] = {
    "AirflowPipeline": DAG,
    "DataPipeline": PIPELINE,
    "ModelImage": BUILT,
    "ModelPromotion": PROMOTION,
    "ModelRegistry": {"namespace": "ml", "database": {}, "backup": {}},
    "ModelService": SERVING,
    "MonitoringStack": {"namespace": "watch", "elk": ELK},
    "TrainingJob": TRAINING,
}
"""Each component's arguments, as few as make it whole."""


def make(component: str, opts: pulumi.ResourceOptions, name: str = "demo") -> Any:
    return getattr(modelops, component)(name, MINIMAL[component], opts)


def children(made: Program) -> list[Resource]:
    """What is not a component and not a provider."""
    return [found for found in made.resources if not found.type.startswith(("modelops:", "pulumi:"))]


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
    expected = {path.relative_to(source) for path in source.rglob("assets/**/*") if path.is_file()}
    kept = {path for path in expected if "__pycache__" not in path.parts}
    assert kept and all((package / path).exists() for path in kept)


def test_a_consumers_types_are_checked_strictly_and_its_mistakes_found(installed: Path) -> None:
    right = (HERE / "consumer.py").read_text()
    done = _types(installed, right)
    assert done.returncode == 0, done.stdout + done.stderr
    done = _types(installed, right.replace('{"max_replicas": 4}', '{"max_replicas": "four"}'))
    assert done.returncode == 1 and "max_replicas" in done.stdout


def test_a_choice_may_be_written_as_its_text_and_a_wrong_one_is_found(installed: Path) -> None:
    program = (HERE / "consumer.py").read_text().replace("modelops.Framework.TENSORFLOW", '"tensorflow"')
    text = program.replace('"tracking_uri": registry', '"expose": "NodePort", "tracking_uri": registry')
    done = _types(installed, text)
    # TrainingJob has no `expose`; ModelService has.
    assert done.stdout.count("error:") == 1 and 'Extra key "expose"' in done.stdout, done.stdout
    done = _types(installed, program)
    assert done.returncode == 0, done.stdout + done.stderr
    done = _types(installed, program.replace('"tensorflow"', '"tensorflow 2"'))
    assert done.returncode == 1 and "framework" in done.stdout


@pytest.mark.skipif(not shutil.which("npm"), reason="pyright is a Node program, and Node is not on this machine")
def test_pyright_takes_a_choice_as_its_text_too_and_finds_a_wrong_one(installed: Path) -> None:
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", f"pyright@{PYRIGHT}"]
    subprocess.run(command, cwd=installed, check=True)
    settings = {"typeCheckingMode": "strict", "extraPaths": ["site"], "include": ["consumer.py"]}
    (installed / "pyrightconfig.json").write_text(json.dumps(settings))
    pyright = [installed / "node_modules" / ".bin" / "pyright", "--pythonpath", sys.executable]
    program = (HERE / "consumer.py").read_text()
    for framework, problems in (("modelops.Framework.PYTORCH", 0), ('"tensorflow"', 0), ('"tensorflow 2"', 1)):
        (installed / "consumer.py").write_text(program.replace("modelops.Framework.TENSORFLOW", framework))
        done = subprocess.run(pyright, cwd=installed, env=clean_environment(), capture_output=True, text=True)
        assert (done.returncode, done.stdout.count("error:")) == (problems, problems), done.stdout


def test_a_consumers_program_runs_and_its_transformation_reaches_the_pods() -> None:
    made = run(consumer.program)
    assert made.one("Deployment", "serve").inputs["spec"]["template"]["spec"]["schedulerName"] == "team-scheduler"
    assert "schedulerName" not in made.one("Deployment", "registry").inputs["spec"]["template"]["spec"]


def test_no_component_is_left_out() -> None:
    assert sorted(MINIMAL) == sorted(component.__name__ for component in COMPONENTS)


@pytest.mark.parametrize("component", MINIMAL)
def test_a_transformation_can_change_every_child(component: str) -> None:
    changed: list[str] = []

    def note(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
        options = pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(protect=True))
        changed.append(args.name)
        return pulumi.ResourceTransformationResult(args.props, options)

    made = run(lambda: make(component, pulumi.ResourceOptions(transformations=[note])))
    # What the components of a namespace share is nobody's child.
    own = [found for found in children(made) if not found.name.startswith(SHARED)]
    assert {found.name for found in own} <= set(changed)
    assert [found.name for found in own if not found.options["protect"]] == []
    assert own


@pytest.mark.parametrize("component", MINIMAL)
def test_every_child_is_on_the_given_provider(component: str) -> None:
    def build() -> Any:
        import pulumi_docker_build as docker_build

        given = [provider(), docker_build.Provider("given")]
        return make(component, pulumi.ResourceOptions(providers=given))

    strays = [f"{found.type} {found.name}" for found in children(run(build)) if "::given::" not in found.provider]
    assert strays == []


@pytest.mark.parametrize("component", MINIMAL)
def test_a_component_that_is_renamed_keeps_its_objects(component: str) -> None:
    """Their names in the program as well, so nothing of them changes: only the component itself needs the alias."""
    before = run(lambda: make(component, pulumi.ResourceOptions()))
    renamed = pulumi.ResourceOptions(aliases=[pulumi.Alias(name="demo")])
    after = run(lambda: make(component, renamed, name="renamed"))
    names = [sorted((found.type, found.name) for found in children(made)) for made in (before, after)]
    assert names[0] == names[1]
    assert {found.name for found in after.resources if found.type == f"modelops:index:{component}"} == {"renamed"}


def test_an_alias_may_be_a_urn_as_it_is_from_other_languages() -> None:
    urn = "urn:pulumi:test::modelops::modelops:index:ModelService::demo"
    made = run(lambda: make("ModelService", pulumi.ResourceOptions(aliases=[urn]), name="renamed"))
    assert made.one("Deployment").inputs["metadata"]["name"] == "demo"


def test_another_alias_says_nothing_of_names() -> None:
    moved = pulumi.ResourceOptions(aliases=[pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)])
    assert run(lambda: make("ModelService", moved)).one("Deployment").name == "demo"


@pytest.mark.parametrize("component", MINIMAL)
def test_arguments_given_by_keyword_are_answered_by_how_to_give_them(component: str) -> None:
    with pytest.raises(modelops.ArgumentsError) as caught:
        getattr(modelops, component)("demo", **MINIMAL[component], opts=pulumi.ResourceOptions())
    given = ", ".join(f"{field}=…" for field in MINIMAL[component])
    how = f'{component}("demo", modelops.{component}Args({given}), opts)'
    assert str(caught.value) == f'{component} "demo": its arguments must be in one object: {how}'
    as_told = getattr(modelops, f"{component}Args")(**MINIMAL[component])
    assert children(run(lambda: getattr(modelops, component)("demo", as_told, pulumi.ResourceOptions())))


@pytest.mark.parametrize("component", MINIMAL)
def test_a_component_without_arguments_says_which_are_missing(component: str) -> None:
    with pytest.raises(modelops.ArgumentsError, match="is missing, it is required"):
        getattr(modelops, component)("demo")


def dedented(entry: dict[str, Any]) -> dict[str, Any]:
    """A docstring as Python 3.13 keeps it: without its indentation."""
    if isinstance(text := entry.get("description"), str):
        return {**entry, "description": inspect.cleandoc(text)}
    return entry


def test_the_plugins_schema_changes_knowingly() -> None:
    """What programs in other languages see changes with it."""
    found = json.loads(ComponentProvider(COMPONENTS, "modelops").schema, object_hook=dedented)
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    golden = HERE / "schema.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), "run `make generate`, and say in the CHANGELOG what changed"
