"""Models in an object store or at Hugging Face, fetched in a pod by the image that the target `fetch` makes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelImage, ModelService
from tests.cluster.hub import COMMIT, hub
from tests.cluster.models.test_sources import ONE, Place, model, place
from tests.cluster.s3 import ObjectStore
from tests.cluster.serving.support import image_args
from tests.cluster.support import platform_facts, post

__all__ = ["model", "place"]
pytestmark = [pytest.mark.models, pytest.mark.long]


@pytest.fixture(scope="module")
def fetch_image(place: Place) -> str:
    args = image_args(platform_facts(), "fetch")
    stack = place.stack("fetch-image")
    stack.up(lambda _: {"image": ModelImage("fetch", args).ref})  # type: ignore[arg-type]
    return str(stack.outputs()["image"])


def answers(place: Place, name: str, image: str, **source: Any) -> None:
    """Serves the model of that source, and checks what it answers and what it says that it is."""

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        args: Any = place.args(runtime_image=image, **source)
        return {"url": ModelService(name, args, pulumi.ResourceOptions(provider=provider)).predict_url}

    stack = place.stack(name)
    try:
        stack.up(program)
        assert post(stack.outputs()["url"], ONE) == (200, {"outputs": [4.0]})
        stack.unchanged(program)
    finally:
        stack.destroy(succeed=None)


def test_an_object_store_brings_a_model(place: Place, fetch_image: str, model: Path, object_store: ObjectStore) -> None:
    for file in model.iterdir():
        object_store.put(f"line/v7/{file.name}", file.read_bytes())
    source = {"model_uri": f"s3://{object_store.bucket}/line/v7", "model_endpoint_url": object_store.endpoint}
    secret = object_store.credentials(place.namespace)
    answers(place, "stored", fetch_image, **source, model_secret=secret)


def test_hugging_face_brings_a_model(place: Place, fetch_image: str, model: Path) -> None:
    with hub(place.namespace, place.image, "team/line", model) as secret:
        answers(place, "hugged", fetch_image, model_uri=f"hf://team/line@{COMMIT}", model_secret=secret)
