"""Language models that another environment has: promoted from its registry, served from the own one, rolled back.

The base is a registered model too, which adapters name by themselves.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelPromotion, ModelRegistry, ModelService
from modelops_runtime.artifacts.language_model import Base, LanguageModel, digest
from modelops_runtime.registry.publishing import language
from tests.cluster.llm.support import Place, names, said
from tests.cluster.provider.harness import Stack
from tests.cluster.serving.support import publish_folder
from tests.cluster.support import exposure, get_json, platform_facts
from tests.cluster.training.registry import TINY, platform_image
from tests.llm import BASE_URI

pytestmark = [pytest.mark.llm, pytest.mark.long]

HOUSE, POLITE, TERSE = ("house", "a1"), ("support", "b1"), ("support", "b2")
"""Names and runs of the base and of its adapters."""
CACHED = "in the cache already"
Version = tuple[str, str]


def uri(version: Version) -> str:
    return f"models:/{version[0]}@run-{version[1]}"


@pytest.fixture(scope="module")
def registries(place: Place) -> Iterator[dict[str, str]]:
    """Addresses of `staging`, which has the models, and of `production`, which is empty."""

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        outputs: dict[str, Any] = {}
        for name in ("staging", "production"):
            args: Any = {
                "namespace": place.namespace,
                "image": platform_image(platform_facts(), "mlflow"),
                "storage_size": "1Gi",
                "resources": TINY,
                "expose": exposure(),
            }
            made = ModelRegistry(name, args, pulumi.ResourceOptions(provider=provider))
            outputs |= {f"{name}_url": made.url, name: made.tracking_uri}
        return outputs

    with place.stack("registries", program) as stack:
        found = {key: str(value) for key, value in stack.outputs().items()}
        publish(found["staging_url"], place.folder / "models")
        yield found


def publish(url: str, models: Path) -> None:
    """The base and its adapters, as a fine-tuning publishes them."""
    with tempfile.TemporaryDirectory() as folder:
        base = published(models / "base", Path(folder, "base"), LanguageModel("model", Base(BASE_URI, None, None), 512))
        made_for = Base(uri(HOUSE), digest(base), None)
        publish_folder(url, HOUSE[0], f"run-{HOUSE[1]}", base)
        for (name, run), adapter in ((POLITE, "polite"), (TERSE, "terse")):
            tuned = published(models / adapter, Path(folder, adapter), LanguageModel("adapter", made_for, 512))
            publish_folder(url, name, f"run-{run}", tuned)


def published(model: Path, folder: Path, description: LanguageModel) -> Path:
    """The folder with the model, its description, MLflow's and the digests of all files."""
    shutil.copytree(model, folder)
    description.write(folder)
    described = language.read(folder)
    assert described
    with tempfile.TemporaryDirectory() as added:
        language.write(described, folder, Path(added))
        shutil.copytree(added, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def promoted(place: Place, registries: dict[str, str]) -> Iterator["Promoted"]:
    made = Promoted(place, registries)
    with place.stack("promoted", made.program(POLITE)) as made.stack:
        yield made


class Promoted:
    """All three versions, promoted to production; one of them is served from there."""

    stack: Stack

    def __init__(self, place: Place, registries: Mapping[str, str]) -> None:
        self.place, self.registries = place, registries

    def program(self, served: Version) -> Any:
        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            there = pulumi.ResourceOptions(provider=provider)
            house = self.promotion(HOUSE, there)
            on_base = pulumi.ResourceOptions(provider=provider, depends_on=[house])
            all_of_them = {HOUSE: house, **{each: self.promotion(each, on_base) for each in (POLITE, TERSE)}}
            args = self.place.args(
                model_uri=all_of_them[served].model_uri,
                tracking_uri=self.registries["production"],
                serving_alias="serving",
                cache={"storage_size": "1Gi", "access_modes": ["ReadWriteOnce"]},
                vllm={"base_model_uri": None},
            )
            return {"url": ModelService("promoted", args, there).url}

        return build

    def promotion(self, version: Version, opts: pulumi.ResourceOptions) -> ModelPromotion:
        name, run = version
        args: Any = {
            "namespace": self.place.namespace,
            "image": platform_image(platform_facts(), "python"),
            "model_name": name,
            "run_id": run,
            "source_uri": self.registries["staging"],
            "tracking_uri": self.registries["production"],
        }
        return ModelPromotion(f"{name}-{run}", args, opts)

    def serve(self, version: Version) -> str:
        """The address."""
        self.stack.up(self.program(version))
        return str(self.stack.outputs()["url"])

    def number(self, name: str, alias: str) -> str:
        """Of the version that an alias of production leads to."""
        asked = f"registered-models/alias?name={name}&alias={alias}"
        answer = get_json(f"{self.registries['production_url']}/api/2.0/mlflow/{asked}")
        return str(answer["model_version"]["version"])

    def serves(self, version: Version) -> bool:
        """Whether the registry says so."""
        name, run = version
        return self.number(name, "serving") == self.number(name, f"run-{run}")


def test_a_promoted_adapter_is_served_on_the_base_that_it_names(promoted: Promoted) -> None:
    url = promoted.serve(POLITE)
    assert names(url).keys() == {"chat", "house"}
    assert said(url) == said(url) != said(url, model="house")
    assert promoted.serves(POLITE)
    promoted.stack.unchanged(promoted.program(POLITE))


def test_a_rollback_serves_the_former_version_and_the_alias_says_so_and_nothing_is_downloaded(
    promoted: Promoted,
) -> None:
    old = said(promoted.serve(POLITE))
    assert said(promoted.serve(TERSE)) != old
    assert promoted.serves(TERSE) and not promoted.serves(POLITE)
    assert said(promoted.serve(POLITE)) == old
    assert promoted.serves(POLITE) and not promoted.serves(TERSE)
    assert promoted.place.log("promoted", "fetch").count(CACHED) == 2  # the adapter and its base


def test_a_promoted_model_of_its_own_is_served_without_any_other(promoted: Promoted) -> None:
    base = said(promoted.serve(POLITE), model="house")
    url = promoted.serve(HOUSE)
    assert names(url).keys() == {"chat"}
    assert said(url) == base
    assert promoted.serves(HOUSE)
    assert CACHED in promoted.place.log("promoted", "fetch")
