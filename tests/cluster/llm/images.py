"""The images of these tests: an engine for a processor, which takes minutes and 6 GB, and models as image volumes."""

import json
import shutil
import urllib.request
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
MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)


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


def size_of(image: str) -> int:
    """Bytes to pull: of all layers, as the registry's manifest says."""
    return sum(layer["size"] for layer in _layers(image))


def _layers(image: str) -> list[dict[str, Any]]:
    host, _, path = image.partition("/")
    repository, _, reference = path.partition("@")
    scheme = "http" if host.partition(":")[0] in ("localhost", "127.0.0.1") else "https"
    url = f"{scheme}://{host}/v2/{repository}/manifests/{reference}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": MANIFESTS}), timeout=30) as answer:
        manifest = json.load(answer)
    if "manifests" not in manifest:
        return list(manifest["layers"])
    machine = next(each for each in manifest["manifests"] if each["platform"]["os"] == "linux")
    return _layers(f"{host}/{repository}@{machine['digest']}")


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
