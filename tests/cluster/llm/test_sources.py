"""Where the parts of a language model come from: a claim, an object store; and what is there already."""

import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.llm.images import size_of
from tests.cluster.llm.support import Place, names, said
from tests.cluster.provider.harness import Stack
from tests.cluster.s3 import ObjectStore
from tests.cluster.support import eventually, fill_claim, kubectl, platform_facts
from tests.cluster.training.images import TrainingImages

pytestmark = [pytest.mark.llm, pytest.mark.long]

BASE = "tests/tiny-llama"
"""As the adapter names it."""


@pytest.fixture(scope="module")
def fetch_image(place: Place) -> str:
    return TrainingImages(place.folder / "fetching", platform_facts()).target("fetch")


@pytest.fixture(scope="module")
def sourced(place: Place, fetch_image: str, object_store: ObjectStore) -> Iterator[Stack]:
    """An adapter on a claim, and its base in an object store."""
    models = place.folder / "models"
    for file in (models / "base").iterdir():
        object_store.put(f"bases/tiny/{file.name}", file.read_bytes())
    adapter = shutil.copytree(models / "polite", place.folder / "readable")
    for file in adapter.iterdir():
        file.chmod(0o644)  # the engine's user is another one than who fills the claim
    fill_claim(place.namespace, "adapters", place.image, "polite/v1", adapter)
    program = place.program(
        "sourced",
        model_uri="pvc://adapters/polite/v1",
        runtime_image=fetch_image,
        model_endpoint_url=object_store.endpoint,
        model_secret=object_store.credentials(place.namespace),
        cache={"storage_size": "1Gi", "access_modes": ["ReadWriteOnce"]},
        vllm={"base_model_uri": f"s3://{object_store.bucket}/bases/tiny"},
    )
    with place.stack("sourced", program) as made:
        yield made


def test_an_adapter_comes_from_a_claim_and_its_base_from_an_object_store(place: Place, sourced: Stack) -> None:
    url = sourced.outputs()["url"]
    assert names(url).keys() == {"chat", BASE}
    assert said(url) == said(url) != said(url, model=BASE)
    [pod] = place.engines("sourced")
    assert pod["metadata"]["labels"]["app.kubernetes.io/version"] == "v1"


def test_what_is_there_already_is_not_downloaded_again(place: Place, sourced: Stack) -> None:
    answer, [pod] = said(sourced.outputs()["url"]), place.engines("sourced")
    kubectl("delete", "pod", "--namespace", place.namespace, pod["metadata"]["name"])
    kubectl("rollout", "status", "deployment/sourced", "--namespace", place.namespace, "--timeout=600s")
    assert "in the cache already" in place.log("sourced", "fetch")
    assert eventually(lambda: said(sourced.outputs()["url"])) == answer


def test_the_image_that_fetches_is_small(fetch_image: str, figure: Callable[[str], None]) -> None:
    size = size_of(fetch_image)
    figure(f"image that fetches: {size / 1e6:.0f} MB to pull")
    assert size < 150e6
