"""Where models come from, on a cluster: an image volume, a claim, and an alias that moves."""

import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
import yaml

from modelops import ModelImage, ModelService
from tests.cluster.provider.harness import Stack
from tests.cluster.serving.support import SMALL, base_program, publish
from tests.cluster.support import apply, eventually, exposure, kubectl, objects, platform_facts, post
from tests.models import write_model

pytestmark = [pytest.mark.models, pytest.mark.long]

ONE = {"inputs": [[1.0]]}
Program = Callable[[k8s.Provider], Mapping[str, Any]]


@dataclass
class Place:
    """A namespace with a serving image and a registry."""

    namespace: str
    image: str
    tracking_uri: str
    registry_url: str
    folder: Path

    def stack(self, name: str) -> Stack:
        return Stack(self.folder / name, namespace=self.namespace)

    def args(self, **more: Any) -> dict[str, Any]:
        common = {"namespace": self.namespace, "image": self.image, "resources": SMALL, "expose": exposure()}
        return {**common, "replicas": 1, "drain_seconds": 1, **more}

    def serving(self, name: str, **more: Any) -> Program:
        def program(provider: k8s.Provider) -> Mapping[str, Any]:
            args: Any = self.args(**more)
            return {"url": ModelService(name, args, pulumi.ResourceOptions(provider=provider)).predict_url}

        return program

    def pods(self, service: str) -> list[dict[str, Any]]:
        found = objects("pods", self.namespace, "--selector", f"app.kubernetes.io/instance={service}")
        return [
            pod
            for pod in found
            if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "model-service"
            and "deletionTimestamp" not in pod["metadata"]
        ]

    def version(self, service: str) -> str:
        [pod] = self.pods(service)
        return str(pod["metadata"]["labels"]["app.kubernetes.io/version"])


@pytest.fixture(scope="module")
def place(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("sources")
    namespace = f"sources-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    base = Stack(folder / "base", namespace=namespace)
    try:
        base.up(base_program(namespace, platform_facts()))
        yield Place(namespace=namespace, folder=folder, **base.outputs())
    finally:
        base.destroy(succeed=None)
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of y = 3x + 1, which only its owner can read."""
    folder = tmp_path / "model"
    folder.mkdir()
    write_model(folder, name="line", weights=((3.0,),))
    for file in folder.iterdir():
        file.chmod(0o600)
    return folder


def test_an_image_volume_brings_a_model(place: Place, model: Path, figure: Callable[[str], None]) -> None:
    facts = platform_facts()
    pushed: dict[str, Any] = {"context": str(model), "artifact": True, "repository": f"{facts['registry']}/line-files"}
    if facts.get("builder"):
        pushed["builder_name"] = facts["builder"]

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        files = ModelImage("files", pushed)  # type: ignore[arg-type]
        return {**place.serving("volume", model_uri=files.model_uri)(provider), "model_uri": files.model_uri}

    stack = place.stack("volume")
    try:
        stack.up(program)
        found = stack.outputs()
        assert post(found["url"], ONE) == (200, {"outputs": [4.0]})
        reference = found["model_uri"].removeprefix("oci://")
        [pod] = place.pods("volume")
        volume = next(each for each in pod["spec"]["volumes"] if each["name"] == "model")
        assert volume["image"] == {"reference": reference, "pullPolicy": "IfNotPresent"}
        assert place.version("volume") == reference.partition("@sha256:")[2][:12]
        said = kubectl("logs", "--namespace", place.namespace, pod["metadata"]["name"], "--container=fetch")
        assert said.startswith("fetched file:///modelops/model: line")
        written = kubectl(
            "exec", "--namespace", place.namespace, pod["metadata"]["name"], "--container=serve", "--",
            "python3", "-c", "open('/modelops/model/x', 'w')", check=False,
        )  # fmt: skip
        assert written == "", "mounted read-only"
        stack.unchanged(program)
    finally:
        stack.destroy(succeed=None)
