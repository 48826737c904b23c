"""The program of examples/data for each of its models: raw files on a volume, prepared, trained, served, and asked."""

import io
import re
import subprocess
import tarfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pulumi
import pulumi_kubernetes as k8s
import pytest

import modelops
from examples.data.raw_data import EXAMPLES
from tests.cluster.data.pipelines import CLAIM, Pipelines
from tests.cluster.provider.harness import Program
from tests.cluster.support import REPOSITORY, eventually, exposure, get_json, kubectl, objects, platform_facts, post
from tests.cluster.training.images import TrainingImages
from tests.cluster.training.registry import TINY, platform_image

pytestmark = [pytest.mark.data, pytest.mark.long]

PROGRAM = (REPOSITORY / "examples" / "data" / "__main__.py").read_text()
SMALL = {"cpu": "50m", "memory": "256Mi", "memory_limit": "3Gi"}


def put(pipelines: Pipelines, folder: Path, destination: str) -> None:
    """Copies a folder's files onto the volume."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(folder, ".")
    script = f"import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('{destination}')"
    command = [
        "kubectl",
        "exec",
        "--stdin",
        "--namespace",
        pipelines.namespace,
        "volume",
        "--",
        "python3",
        "-c",
        script,
    ]
    subprocess.run(command, input=content.getvalue(), check=True, capture_output=True)


def program(pipelines: Pipelines, images: dict[str, str], name: str, **changes: Any) -> Program:
    """The program for one of the models, with a registry and in the test's namespace."""
    facts = platform_facts()
    exposed = exposure()
    # What the test gives in their place: names, the components, the configuration.
    own = re.sub(r"^(from (modelops|raw_data) import|config =) .*$", "", PROGRAM, flags=re.MULTILINE)
    own = own.replace("/data/raw", f"/data/raw-{name}")

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        there = pulumi.ResourceOptions(provider=provider)
        settings: dict[str, Any] = {"image": platform_image(facts, "mlflow"), "storage_size": "1Gi", "resources": TINY}
        registry = modelops.ModelRegistry(
            f"{name}-registry",
            {"namespace": pipelines.namespace, "expose": exposed, **settings},  # type: ignore[typeddict-item]
            there,
        )

        def in_place(component: Any, **more: Any) -> Any:
            def make(given: str, args: dict[str, Any]) -> Any:
                args = {**args, "namespace": pipelines.namespace, "resources": SMALL, **more}
                if "volume" in args:
                    args |= {"volume": {"claim": CLAIM}, "destination": f"/data/{name}", **changes}
                return component(f"{name}-{given}", args, there)

            return make

        chosen = {
            "namespace": pipelines.namespace,
            "example": name,
            "claim": CLAIM,
            "tracking_uri": registry.tracking_uri,
            **images,
        }
        names: dict[str, Any] = {
            "EXAMPLES": EXAMPLES,
            "Framework": modelops.Framework,
            "config": SimpleNamespace(require=chosen.__getitem__),
            "DataPipeline": in_place(modelops.DataPipeline),
            "TrainingJob": in_place(modelops.TrainingJob),
            "ModelService": in_place(modelops.ModelService, expose=exposed),
        }
        exec(own, names)  # exports the other outputs
        return {"url": names["service"].url, "registry_url": registry.url}

    return build


def quality(pipelines: Pipelines, name: str) -> dict[str, float]:
    """What the registry's exporter tells Prometheus of an example's data."""
    selected = f"app.kubernetes.io/component=model-registry,app.kubernetes.io/instance={name}-registry"
    [pod] = objects("pods", pipelines.namespace, "--selector", selected)
    port = pod["metadata"]["annotations"]["prometheus.io/port"]
    address = f"/api/v1/namespaces/{pipelines.namespace}/pods/{pod['metadata']['name']}:{port}/proxy/metrics"
    told = kubectl("get", "--raw", address)
    found = re.findall(
        rf'^modelops_run_metric{{(?=.*model="{name}-data").*metric="(.*?)".*}} (.*)$', told, re.MULTILINE
    )
    return {metric: float(value) for metric, value in found}


def profile(registry: str, model: str) -> str:
    """The page about the data that the newest version of a model was trained on, by what the registry has of it."""
    versions = f"{registry}/api/2.0/mlflow/model-versions/search?" + urlencode({"filter": f"name='{model}'"})
    newest = max(get_json(versions)["model_versions"], key=lambda version: int(version["version"]))
    [data_version] = [tag["value"] for tag in newest["tags"] if tag["key"] == "modelops.data_version"]
    home = get_json(f"{registry}/api/2.0/mlflow/experiments/get-by-name?experiment_name=data")["experiment"]
    filter_ = f"tags.`modelops.data_version` = '{data_version}'"
    asked = {"experiment_ids": [home["experiment_id"]], "filter": filter_}
    status, found = post(f"{registry}/api/2.0/mlflow/runs/search", asked)
    assert status == 200, found
    [run] = found["runs"]
    assert run["info"]["run_name"] == f"data-{data_version}"
    page = urlencode({"path": "profile.html", "run_uuid": run["info"]["run_id"]})
    with urllib.request.urlopen(f"{registry}/get-artifact?{page}", timeout=30) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def images(prepare_image: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    built = TrainingImages(tmp_path_factory.mktemp("images"), platform_facts())
    return {"prepare_image": prepare_image, "train_image": built.target("train"), "image": built.target("serve")}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_goes_from_raw_files_to_a_served_prediction(
    pipelines: Pipelines, images: dict[str, str], name: str, tmp_path: Path
) -> None:
    example, stack = EXAMPLES[name], pipelines.new_stack()
    example.write(tmp_path)
    put(pipelines, tmp_path, f"/data/raw-{name}")
    made = program(pipelines, images, name)
    stack.up(made)
    stack.unchanged(made)
    said = stack.outputs()
    for metric, bounds in example.gate.items():
        assert said["metrics"][metric] >= bounds["min"]
    measured = eventually(lambda: quality(pipelines, name), 60, 3)
    assert measured["data_rows_read"] >= measured["data_rows"] > 0
    assert measured["data_violations"] == 0
    assert (measured["data_missing"] > 0) == (name == "tabular")
    assert said["data_version"] in profile(said["registry_url"], name)
    eventually(lambda: get_json(f"{said['url']}/healthz/ready")["ready"])
    status, answer = post(said["predict_url"], {"inputs": [example.question]})
    assert status == 200, answer
    described = get_json(f"{said['url']}/openapi.json")["paths"]["/api/predict"]["post"]["responses"]["200"]
    text = described["content"]["application/json"]["schema"]["properties"]["outputs"]["description"]
    labels = text.partition(": ")[2].rstrip(".").split(", ")
    assert labels[int(np.argmax(answer["outputs"][0]))] == example.answer

    if name == "tabular":
        # A new version of the data is a new training, and the preview shows both.
        steps = [step for step in example.steps if "outliers" not in step]
        planned = stack.preview(program(pipelines, images, name, steps=steps))
        assert {"tabular-data", "tabular-training"} <= planned.changed().keys()
    stack.destroy()
