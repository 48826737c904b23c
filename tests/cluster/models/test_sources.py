"""Where models come from, on a cluster: an image volume, a claim, and an alias that moves."""

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelImage, ModelService
from tests.cluster.provider.harness import Stack
from tests.cluster.serving.support import SMALL, base_program, publish
from tests.cluster.support import eventually, exposure, fill_claim, kubectl, objects, platform_facts, post
from tests.models import write_model
from tests.runtime import run_module

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

    def opened_for_writing(self, service: str) -> str:
        """The reply to a server that tries to change the model."""
        [pod] = self.pods(service)
        attempt = "try: open('/modelops/model/model.json', 'a')\nexcept OSError as error: print(error.strerror)"
        where = ("--namespace", self.namespace, pod["metadata"]["name"], "--container=serve")
        return kubectl("exec", *where, "--", "python3", "-c", attempt).strip()

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


def test_an_image_volume_brings_a_model_and_so_does_its_copy_in_another_repository(place: Place, model: Path) -> None:
    facts = platform_facts()
    pushed: dict[str, Any] = {
        "context": str(model),
        "artifact": True,
        "repository": f"{facts['registry']}/{place.namespace}/files",
    }
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
        assert place.opened_for_writing("volume") == "Read-only file system"
        stack.unchanged(program)
        # By its other name the registry is another one, to which everything is sent.
        elsewhere = facts["registry"].replace("localhost", "127.0.0.1")
        for sent in (r"[1-9]\d*", "0"):
            done = run_module(
                "modelops_runtime replicate",
                MODELOPS_SOURCE_IMAGE=reference,
                MODELOPS_TARGET_REPOSITORY=f"{elsewhere}/{place.namespace}/copy",
            )
            assert re.search(f", {sent} bytes sent", done.stdout), done.stdout + done.stderr
        copied = f"{facts['registry']}/{place.namespace}/copy"
        digest = reference.partition("@")[2]
        stack.up(place.serving("volume", model_uri=f"oci://{copied}@{digest}"))
        assert post(found["url"], ONE) == (200, {"outputs": [4.0]})
    finally:
        stack.destroy(succeed=None)


@pytest.fixture
def claim(place: Place, model: Path) -> str:
    """A claim with the model in `line/v1`."""
    fill_claim(place.namespace, "models", place.image, "line/v1", model)
    return "models"


def test_a_claim_brings_a_model(place: Place, claim: str) -> None:
    program = place.serving("claimed", model_uri=f"pvc://{claim}/line/v1")
    stack = place.stack("claimed")
    try:
        stack.up(program)
        assert post(stack.outputs()["url"], ONE) == (200, {"outputs": [4.0]})
        assert place.version("claimed") == "v1"
        assert place.opened_for_writing("claimed") == "Read-only file system"
        stack.unchanged(program)
    finally:
        stack.destroy(succeed=None)


def test_pods_serve_what_an_alias_was_in_the_plan_until_the_next_up(place: Place) -> None:
    def answer() -> object:
        return post(stack.outputs()["url"], ONE)

    publish(place.registry_url, "champion", slope=2.0, golden_error=0.0)
    args = {"model_uri": "models:/line@champion", "tracking_uri": place.tracking_uri}
    program = place.serving("pinned", **args, tracking_url=place.registry_url)
    stack = place.stack("pinned")
    try:
        assert "models:/line@champion is version 1" in stack.preview(program).text
        stack.up(program)
        assert (place.version("pinned"), answer()) == ("1", (200, {"outputs": [3.0]}))
        stack.unchanged(program)
        publish(place.registry_url, "champion", slope=3.0, golden_error=0.0)
        [pod] = place.pods("pinned")
        kubectl("delete", "pod", pod["metadata"]["name"], "--namespace", place.namespace)
        assert eventually(lambda: answer() == (200, {"outputs": [3.0]}))
        assert place.version("pinned") == "1"
        planned = stack.preview(program)
        assert "models:/line@champion is version 2" in planned.text
        assert "update" in planned.operations("pinned"), json.dumps(planned.diffs)
        stack.up(program)
        assert eventually(lambda: answer() == (200, {"outputs": [4.0]}))
        assert place.version("pinned") == "2"
        refused = stack.preview(place.serving("pinned", **args), succeed=False)
        assert "which can move, and can't be pinned" in refused.text
        assert f"{place.tracking_uri} is not reachable from here" in refused.text
        assert "Traceback" not in refused.text
    finally:
        stack.destroy(succeed=None)
