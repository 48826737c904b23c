"""What a run leaves in the registry and in the outputs: progress, metrics, gates, sweeps, the version that serves.

The image that trains, and at the end the one that serves, know nothing of this project: a plain Python image publishes,
passes gates, fetches and moves the alias by `runtime_image` alone.

The tests share one stack, and each brings it first to where it begins: what it is at already costs seconds.
"""

import base64
import io
import tarfile
import urllib.error
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelImage, ModelRegistry, ModelService, TrainingJob
from tests.cluster.provider.harness import Stack
from tests.cluster.serving.support import image_args
from tests.cluster.support import eventually, exposure, get_json, kubectl, objects, platform_facts, post
from tests.cluster.training.registry import TINY, Program, stand_in
from tests.models import write_model

pytestmark = [pytest.mark.training, pytest.mark.long]

MODEL = "told"
TRAINING = (Path(__file__).parent / "tiny_training.py").read_text()
SERVER = (Path(__file__).parent / "foreign_server.py").read_text()
SMALL = {"cpu": "20m", "memory": "96Mi", "memory_limit": "512Mi"}


def packed(folder: Path, golden_error: float = 0.0) -> str:
    """A model of y = 2x + 1 as a variable takes it. With a `golden_error` its server never gets ready."""
    write_model(folder, name=MODEL, golden_error=golden_error)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:xz") as target:
        for file in folder.iterdir():
            target.add(file, file.name)
    return base64.b64encode(archive.getvalue()).decode()


@dataclass
class Setting:
    """A registry, and programs that train and serve with it."""

    namespace: str
    stack: Stack
    model: str
    broken: str
    facts: Mapping[str, Any]

    @property
    def foreign_image(self) -> str:
        """A Python image without anything of this project."""
        return str(self.facts["base_image"])

    def image(self, target: str) -> pulumi.Output[str]:
        return ModelImage(target, image_args(self.facts, target)).ref  # type: ignore[arg-type]

    def program(
        self,
        training: Mapping[str, Any] | None = None,
        *,
        serve: bool = False,
        broken: bool = False,
        service: Mapping[str, Any] | None = None,
    ) -> Program:
        """The registry, a training with these changes, and a service of what it published."""

        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            there = pulumi.ResourceOptions(provider=provider)
            registry = ModelRegistry(
                "registry",
                {
                    "namespace": self.namespace,
                    "image": stand_in(self.facts, "mlflow"),
                    "storage_size": "1Gi",
                    "resources": TINY,  # type: ignore[typeddict-item]
                    "expose": exposure(),  # type: ignore[typeddict-item]
                },
                there,
            )
            outputs: dict[str, Any] = {"registry_url": registry.url}
            publish, fetch, server = (self.image(target) for target in ("publish", "registry", "serve"))
            if training is None:
                return outputs
            run = TrainingJob("told", self._training(training, publish, registry, broken), there)  # type: ignore[arg-type]
            outputs |= {key: getattr(run, key) for key in ("run_id", "model_uri", "metrics", "run_url")}
            if serve:
                args = {**self._service(server, fetch, registry, run), **(service or {})}
                outputs["predict_url"] = ModelService("told-serve", args, there).predict_url  # type: ignore[arg-type]
            return outputs

        return build

    def _training(
        self, changes: Mapping[str, Any], runtime_image: Any, registry: ModelRegistry, broken: bool
    ) -> dict[str, Any]:
        return {
            "image": self.foreign_image,
            "runtime_image": runtime_image,
            "model_name": MODEL,
            "framework": "other",
            "namespace": self.namespace,
            "tracking_uri": registry.tracking_uri,
            "tracking_url": registry.url,
            "git_commit": "c0ffee",
            "data_version": "v5",
            "command": ["python3", "-c", TRAINING],
            "environment": {"TINY_MODEL": self.broken if broken else self.model},
            "resources": SMALL,
            "timeout_seconds": 900,
            **changes,
        }

    def _service(self, image: Any, runtime_image: Any, registry: ModelRegistry, run: TrainingJob) -> dict[str, Any]:
        return {
            "image": image,
            "runtime_image": runtime_image,
            "namespace": self.namespace,
            "model_uri": run.model_uri,
            "tracking_uri": registry.tracking_uri,
            "serving_alias": "serving",
            "replicas": 1,
            "resources": SMALL,
            "startup_timeout_seconds": 90,
            "drain_seconds": 1,
        }

    def mlflow(self, path: str, **query: str) -> Any:
        """A GET of MLflow's API."""
        return get_json(f"{self.stack.outputs()['registry_url']}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}")

    def serving(self) -> str:
        """MLflow run of the version that the registry takes for the serving one."""
        return str(self.mlflow("registered-models/alias", name=MODEL, alias="serving")["model_version"]["run_id"])


@pytest.fixture(scope="module")
def setting(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("publishing")
    namespace = f"publishing-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    stack = Stack(folder / "stack", namespace=namespace)
    model, broken = packed(folder / "good"), packed(folder / "broken", golden_error=1.0)
    made = Setting(namespace, stack, model, broken, platform_facts())
    try:
        stack.up(made.program())
        yield made
    finally:
        stack.destroy(succeed=None)
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def run_of(outputs: Mapping[str, Any]) -> str:
    return str(outputs["run_url"]).rpartition("/")[2]


FIRST: Mapping[str, Any] = {"parameters": {"mse": 0.2, "hold": 40}}
"""A run that every test but the first may begin from; it is trained once."""


@pytest.fixture
def trained(setting: Setting) -> dict[str, Any]:
    """The outputs of the stack with the first run."""
    setting.stack.up(setting.program(FIRST))
    return setting.stack.outputs()


@pytest.fixture
def served(setting: Setting) -> str:
    """MLflow run of the first version, which serves."""
    setting.stack.up(setting.program(FIRST, serve=True))
    return setting.serving()


def test_a_person_sees_the_training_in_the_registry_while_it_goes_on(setting: Setting) -> None:
    going = setting.stack.start(setting.program({"parameters": {"mse": 0.21, "hold": 40}}))

    def seen() -> Any:
        experiments = setting.mlflow("experiments/search", max_results="10")["experiments"]
        home = [each["experiment_id"] for each in experiments if each["name"] == MODEL]
        jobs = [each for each in objects("jobs", setting.namespace) if each["status"].get("active")]
        if not home or not jobs:
            return None
        found = post_search(setting, home[0])
        return [run for run in found if run["info"]["status"] == "RUNNING" and "modelops.progress" in tags(run)]

    (run,) = eventually(seen, timeout_seconds=400, every_seconds=1)
    assert tags(run)["modelops.progress"].startswith("epoch 1/2, ")
    assert going.end(600) == 0, going.text()


def post_search(setting: Setting, experiment: str) -> list[dict[str, Any]]:
    url = f"{setting.stack.outputs()['registry_url']}/api/2.0/mlflow/runs/search"
    return list(post(url, {"experiment_ids": [experiment]})[1].get("runs", []))


def tags(run: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}


def test_metrics_and_the_runs_page_are_outputs(setting: Setting, trained: dict[str, Any]) -> None:
    outputs = trained
    assert outputs["metrics"] == {"mse": 0.2}
    assert outputs["run_url"].startswith(f"{outputs['registry_url']}/#/experiments/")
    run = setting.mlflow("runs/get", run_id=run_of(outputs))["run"]
    assert run["info"]["status"] == "FINISHED"
    expected = {"modelops.run_id": outputs["run_id"], "modelops.git_commit": "c0ffee", "modelops.data_version": "v5"}
    assert expected.items() <= tags(run).items()
    assert "@sha256:" in tags(run)["modelops.image"]
    history = setting.mlflow("metrics/get-history", run_id=run_of(outputs), metric_key="loss")["metrics"]
    assert {point["step"]: point["value"] for point in history} == {1: 0.5, 2: 0.25}
    assert len(history) == 2


@pytest.mark.usefixtures("trained")
def test_what_the_pod_reported_is_no_drift_and_is_not_taken_back(setting: Setting) -> None:
    program = setting.program(FIRST)
    setting.stack.unchanged(program)
    assert setting.stack.refresh().changed() == {}
    setting.stack.unchanged(program)
    assert setting.stack.up(program).changed() == {}
    assert setting.stack.outputs()["metrics"] == {"mse": 0.2}


@pytest.mark.usefixtures("trained")
def test_a_plan_that_would_train_does_not_promise_the_old_metrics(setting: Setting) -> None:
    before = objects("jobs", setting.namespace)
    planned = setting.stack.preview(setting.program({"parameters": {"mse": 0.24}}))
    assert planned.operations("told")
    assert "0.2}" not in planned.text
    assert objects("jobs", setting.namespace) == before


def test_the_alias_stands_for_the_version_that_serves_and_is_not_moved_before(setting: Setting) -> None:
    before = setting.program({"parameters": {"mse": 0.22}, "model_name": "unserved"})
    setting.stack.up(before)
    with pytest.raises(urllib.error.HTTPError):
        setting.mlflow("registered-models/alias", name="unserved", alias="serving")
    setting.stack.up(setting.program(FIRST, serve=True))
    assert setting.serving() == run_of(setting.stack.outputs())


def test_a_model_that_is_too_much_worse_than_the_serving_one_stops_the_release(setting: Setting, served: str) -> None:
    gate = {"mse": {"max_delta": 0.05}}
    stopped = setting.stack.up(setting.program({"parameters": {"mse": 0.3}, "gate": gate}, serve=True), succeed=False)
    assert "gate not met: mse is 0.3, must be at most 0.25 (max_delta 0.05; version " in stopped.text
    assert "which serves now, has 0.2)" in stopped.text
    assert setting.serving() == served

    setting.stack.up(setting.program({"parameters": {"mse": 0.24}, "gate": gate}, serve=True))
    outputs = setting.stack.outputs()
    assert outputs["metrics"] == {"mse": 0.24}
    assert setting.serving() == run_of(outputs) != served


def test_a_rollout_that_failed_does_not_claim_to_serve(setting: Setting, served: str) -> None:
    def versions() -> int:
        found = setting.mlflow("registered-models/get", name=MODEL)["registered_model"]["aliases"]
        return len([each for each in found if each["alias"].startswith("run-")])

    before = versions()
    program = setting.program({"parameters": {"mse": 0.1}}, serve=True, broken=True)
    setting.stack.up(program, succeed=False)
    assert versions() == before + 1
    assert setting.serving() == served


def test_the_best_of_a_sweep_is_registered_and_reported(setting: Setting) -> None:
    sweep = {"sweep": {"mse": [0.3, 0.05, 0.2]}, "sweep_metric": "mse", "gate": {"mse": {"max": 0.1}}}
    setting.stack.up(setting.program(sweep))
    outputs = setting.stack.outputs()
    assert outputs["metrics"] == {"mse": 0.05}
    run = setting.mlflow("runs/get", run_id=run_of(outputs))["run"]
    parent = setting.mlflow("runs/get", run_id=tags(run)["mlflow.parentRunId"])["run"]
    assert tags(parent)["modelops.best_trial"] == tags(run)["modelops.trial"]
    experiment = run["info"]["experiment_id"]
    parents = [tags(each).get("mlflow.parentRunId") for each in post_search(setting, experiment)]
    assert parents.count(parent["info"]["run_id"]) == 3
    setting.stack.unchanged(setting.program(sweep))


def test_a_server_of_a_teams_own_in_an_image_of_its_own_serves_and_gets_the_alias(setting: Setting) -> None:
    own = {"image": setting.foreign_image, "serve_command": ["python3", "-c", SERVER], "expose": exposure()}
    training = {"parameters": {"mse": 0.01}, "gate": {"mse": {"max_delta": 0}}}
    setting.stack.up(setting.program(training, serve=True, service=own))
    outputs = setting.stack.outputs()
    assert setting.serving() == run_of(outputs)
    status, answer = eventually(lambda: post(outputs["predict_url"], {"inputs": [[1.0]]}))
    assert (status, answer) == (200, {"served_by": "a server of its own", "model": MODEL})
