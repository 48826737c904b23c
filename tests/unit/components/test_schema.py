"""The library as a Pulumi plugin: every component and every field is in its schema, with a description."""

import subprocess
import sys

from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.experimental.host import components_from_module

import modelops

COMPONENTS = {
    "AirflowPipeline",
    "DataPipeline",
    "ModelImage",
    "ModelRegistry",
    "ModelService",
    "MonitoringStack",
    "TrainingJob",
}


def test_the_components_are_found() -> None:
    assert {found.__name__ for found in components_from_module(modelops)} == COMPONENTS


def test_the_schema_describes_every_field() -> None:
    analyzed = ComponentProvider(components_from_module(modelops), "modelops")
    undescribed = []
    for name, component in analyzed._component_defs.items():
        for group in (component.inputs, component.outputs):
            undescribed += [f"{name}.{field}" for field, found in group.items() if not found.description]
    for name, found in analyzed._type_defs.items():
        undescribed += [f"{name}.{field}" for field, entry in found.properties.items() if not entry.description]
    assert undescribed == []


def test_enums_that_decide_the_shape_are_plain() -> None:
    service = ComponentProvider(components_from_module(modelops), "modelops")._component_defs["ModelService"]
    assert service.inputs["expose"].plain
    assert not service.inputs["image"].plain


def test_exported_names_are_sorted_and_there() -> None:
    assert list(modelops.__all__) == sorted(modelops.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(modelops, name) for name in modelops.__all__)


def test_importing_the_library_loads_no_builder_sdk_and_no_framework() -> None:
    code = "import sys, modelops; print([name for name in sys.modules if name in %r])"
    heavy = {"pulumi_docker", "pulumi_docker_build", "tensorflow", "pandas", "mlflow", "pydantic", "kubernetes"}
    done = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
