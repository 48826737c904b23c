"""The images of these tests: an engine for a processor, which takes minutes and 6 GB, and models as image volumes."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import ModelImage
from tests.cluster.provider.harness import Stack
from tests.conftest import REPOSITORY
from tests.llm import write_models

HERE = Path(__file__).parent


def engine_context(folder: Path) -> Path:
    """The folder from which the engine's image is built."""
    context = folder / "engine"
    shutil.copytree(HERE / "image", context)
    shutil.copy(REPOSITORY / "tests" / "requirements-vllm.txt", context)
    return context


def built(folder: Path, facts: Mapping[str, Any], namespace: str) -> tuple[Stack, dict[str, str]]:
    """A stack whose outputs are the engine's image (`image`) and the models' URIs (`base`, `polite`, `terse`)."""
    models = write_models(folder / "models")
    pushed = {name: {"context": str(models / name), "artifact": True} for name in ("base", "polite", "terse")}
    return _up(folder, facts, namespace, pushed)


def engine(folder: Path, facts: Mapping[str, Any], namespace: str) -> tuple[Stack, str]:
    """A stack and the engine's image."""
    stack, outputs = _up(folder, facts, namespace, {})
    return stack, outputs["image"]


def _up(
    folder: Path, facts: Mapping[str, Any], namespace: str, models: Mapping[str, Mapping[str, Any]]
) -> tuple[Stack, dict[str, str]]:
    context = engine_context(folder)
    builder = {"builder_name": facts["builder"]} if facts.get("builder") else {}
    arguments = {"BASE_IMAGE": facts["base_image"]} if facts.get("base_image") else {}

    def image(name: str, **more: Any) -> ModelImage:
        args: Any = {"repository": f"{facts['registry']}/llm-tests/{name}", **builder, **more}
        return ModelImage(name, args)

    def program(_provider: k8s.Provider) -> dict[str, pulumi.Output[str]]:
        found = {"image": image("engine", context=str(context), build_args=arguments).ref}
        return {**found, **{name: image(name, **args).model_uri for name, args in models.items()}}

    stack = Stack(folder / "images", namespace=namespace)
    stack.up(program)
    return stack, stack.outputs()
