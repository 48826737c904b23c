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
    context, models = engine_context(folder), write_models(folder / "models")
    builder = {"builder_name": facts["builder"]} if facts.get("builder") else {}
    arguments = {"BASE_IMAGE": facts["base_image"]} if facts.get("base_image") else {}

    def program(_provider: k8s.Provider) -> dict[str, pulumi.Output[str]]:
        repository = f"{facts['registry']}/{namespace}"
        engine: Any = {
            "context": str(context),
            "repository": f"{repository}/engine",
            "build_args": arguments,
            **builder,
        }
        found = {"image": ModelImage("engine", engine).ref}
        for name in ("base", "polite", "terse"):
            files: Any = {
                "context": str(models / name),
                "artifact": True,
                "repository": f"{repository}/{name}",
                **builder,
            }
            found[name] = ModelImage(name, files).model_uri
        return found

    stack = Stack(folder / "images", namespace=namespace)
    stack.up(program)
    return stack, stack.outputs()
