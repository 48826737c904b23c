"""The library as a Pulumi plugin: every component and every field is in its schema, with a description."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from pulumi.provider.experimental.component import ComponentProvider

import modelops
from modelops.__main__ import COMPONENTS

NAMES = {
    "AirflowPipeline",
    "DataPipeline",
    "ModelImage",
    "ModelPromotion",
    "ModelRegistry",
    "ModelService",
    "MonitoringStack",
    "TrainingJob",
}


def test_the_components_are_found() -> None:
    assert {found.__name__ for found in COMPONENTS} == NAMES


def test_the_schema_describes_every_field() -> None:
    analyzed = ComponentProvider(COMPONENTS, "modelops")
    undescribed = []
    for name, component in analyzed._component_defs.items():
        for group in (component.inputs, component.outputs):
            undescribed += [f"{name}.{field}" for field, found in group.items() if not found.description]
    for name, found in analyzed._type_defs.items():
        undescribed += [f"{name}.{field}" for field, entry in found.properties.items() if not entry.description]
    assert undescribed == []


def test_enums_that_decide_the_shape_are_plain() -> None:
    service = ComponentProvider(COMPONENTS, "modelops")._component_defs["ModelService"]
    assert service.inputs["expose"].plain
    assert not service.inputs["image"].plain


def test_exported_names_are_sorted_and_there() -> None:
    assert list(modelops.__all__) == sorted(modelops.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(modelops, name) for name in modelops.__all__)
    assert set(modelops.__all__) <= set(dir(modelops))


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    stub = ast.parse(Path(modelops.__file__).with_suffix(".pyi").read_text()).body
    seen = {alias.name: node.module for node in stub if isinstance(node, ast.ImportFrom) for alias in node.names}
    [listed] = [node.value for node in stub if isinstance(node, ast.Assign)]
    assert seen == modelops._MODULES
    assert ast.literal_eval(listed) == modelops.__all__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'modelops' has no attribute 'Nothing'"):
        modelops.Nothing  # type: ignore[attr-defined]  # noqa: B018


def test_a_component_brings_only_its_own_modules() -> None:
    code = "import sys, modelops; modelops.ModelImage; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "modelops.image.model_image" in loaded
    assert not {"modelops.monitoring", "modelops.serving", "modelops.training"} & loaded


def test_the_plugin_is_started_as_pulumi_starts_it() -> None:
    """By the package's name and the engine's address; then it says at which port it listens."""
    command = [sys.executable, "-u", "-m", "pulumi.run.plugin", "modelops", "127.0.0.1:1"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        assert int(started.stdout.readline()) > 0
    finally:
        started.kill()
        started.communicate()


def test_importing_the_library_loads_no_builder_sdk_and_no_framework() -> None:
    code = "import sys, modelops; print([name for name in sys.modules if name in %r])"
    heavy = {"pulumi_docker", "pulumi_docker_build", "tensorflow", "pandas", "mlflow", "pydantic", "kubernetes"}
    done = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
