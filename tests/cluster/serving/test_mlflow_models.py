"""A model as plain MLflow logs it: its image is made of its own requirements, and another image is refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelImage, ModelService, mlflow_image
from tests.cluster.serving.support import Serving, publish_folder
from tests.cluster.support import get_json, platform_facts, post

pytestmark = [pytest.mark.serving, pytest.mark.models, pytest.mark.long]

NAME = "flowers"
VIRGINICA = [6.3, 3.3, 6.0, 2.5]
Program = Callable[[k8s.Provider], Mapping[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import mlflow
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    folder = tmp_path_factory.mktemp("mlflow") / "flowers"
    rows, classes = load_iris(return_X_y=True, as_frame=True)
    mlflow.sklearn.save_model(
        LogisticRegression(max_iter=1000).fit(rows, classes),
        folder,
        input_example=rows[:3],
        serialization_format="cloudpickle",
    )
    return folder


def program(serving: Serving, uri: str, model: Path) -> Program:
    """The image of a model's requirements, and a model in it."""
    facts = platform_facts()
    others = {"builder_name": facts["builder"]} if facts.get("builder") else {}
    args = mlflow_image(model, f"{facts['registry']}/mlflow-tests", base_image=facts.get("base_image", ""), **others)

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        image = ModelImage(NAME, args)
        settings = serving.args(image=image.ref, runtime_image=image.ref, model_uri=uri, replicas=1, exposed=True)
        settings["resources"] = {"cpu": "20m", "memory": "256Mi", "memory_limit": "1Gi"}
        service = ModelService(NAME, settings, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]
        return {"predict_url": service.predict_url, "url": service.url}

    return build


def test_a_model_is_served_in_the_image_of_its_own_requirements(
    serving: Serving, platform_env: dict[str, str], model: Path, tmp_path: Path
) -> None:
    uri = publish_folder(serving.registry_url, NAME, "run-one", model)
    stack = serving.new_stack()
    stack.up(program(serving, uri, model))
    try:
        outputs = stack.outputs()
        assert post(outputs["predict_url"], {"inputs": [VIRGINICA]}, timeout=60) == (200, {"outputs": [2]})
        assert post(f"{outputs['url']}/invocations", {"inputs": [VIRGINICA]}) == (200, {"predictions": [2]})
        assert get_json(f"{outputs['url']}/v2/models/{NAME}")["platform"] == "sklearn"
        refuses_another_image(serving, stack, model, tmp_path)
        assert post(outputs["predict_url"], {"inputs": [VIRGINICA]}) == (200, {"outputs": [2]})
    finally:
        stack.destroy(succeed=None)


def refuses_another_image(serving: Serving, stack: Any, model: Path, tmp_path: Path) -> None:
    """A version that requires something else fails as it is fetched, with the list."""
    import shutil

    newer = shutil.copytree(model, tmp_path / "newer")
    with (newer / "requirements.txt").open("a") as requirements:
        requirements.write("\nno-such-package==2\n")
    uri = publish_folder(serving.registry_url, NAME, "run-two", newer)
    outcome = stack.up(program(serving, uri, model), succeed=False)
    assert "container fetch failed" in outcome.text and "no-such-package==2: the image lacks it" in outcome.text
