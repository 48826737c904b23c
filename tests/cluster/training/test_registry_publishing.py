"""What a run leaves in the registry and in the outputs: progress, metrics, gates, sweeps, the version that serves.

The image that trains, and at the end the one that serves, know nothing of this project: the library itself brings what
publishes, judges the gate, fetches and moves the alias.

The tests share one stack, and each brings it first to where it begins: what it is at already costs seconds.
"""

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
from tests.cluster.training.registry import TINY, Program, platform_image
from tests.models import model_archive

pytestmark = [pytest.mark.training, pytest.mark.long]

MODEL = "tiny"
TRAINING = (Path(__file__).parent / "tiny_training.py").read_text()
SERVER = (Path(__file__).parent / "foreign_server.py").read_text()
SMALL = {"cpu": "20m", "memory": "96Mi", "memory_limit": "512Mi"}


@dataclass
class PublishingStack:
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
                    "image": platform_image(self.facts, "mlflow"),
                    "storage_size": "1Gi",
                    "resources": TINY,  # type: ignore[typeddict-item]
                    "expose": exposure(),  # type: ignore[typeddict-item]
                },
                there,
            )
            outputs: dict[str, Any] = {"registry_url": registry.url}
            if training is None:
                return outputs
            run = TrainingJob("train", self._training(training, registry, broken), there)  # type: ignore[arg-type]
            outputs |= {key: getattr(run, key) for key in ("run_id", "model_uri", "metrics", "run_url")}
            if serve:
                args = {**self._service(registry, run), **(service or {})}
                outputs["predict_url"] = ModelService("serve", args, there).predict_url  # type: ignore[arg-type]
            return outputs

        return build

    def _training(self, changes: Mapping[str, Any], registry: ModelRegistry, broken: bool) -> dict[str, Any]:
        return {
            "image": self.foreign_image,
            "model_name": MODEL,
            "framework": "other",
            "namespace": self.namespace,
            "tracking_uri": registry.tracking_uri,
            "tracking_url": registry.url,
            "git_commit": "c0ffee",
            "data_version": "v5",
            "serving_alias": "serving",
            "command": ["python3", "-c", TRAINING],
            "environment": {"TINY_MODEL": self.broken if broken else self.model},
            "resources": SMALL,
            "timeout_seconds": 900,
            **changes,
        }

    def _service(self, registry: ModelRegistry, run: TrainingJob) -> dict[str, Any]:
        return {
            "image": ModelImage("serve", image_args(self.facts, "serve")).ref,  # type: ignore[arg-type]
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

    def runs(self) -> set[str]:
        """Every MLflow run of the model: what was trained, published or not."""
        experiments = self.mlflow("experiments/search", max_results="100")["experiments"]
        homes = [each["experiment_id"] for each in experiments if each["name"] == MODEL]
        return {run["info"]["run_id"] for home in homes for run in post_search(self, home)}

    def versions(self) -> dict[str, str]:
        """The model's versions by the alias of their run."""
        aliases = self.mlflow("registered-models/get", name=MODEL)["registered_model"]["aliases"]
        return {each["alias"]: each["version"] for each in aliases if each["alias"].startswith("run-")}

    def serving(self) -> str:
        """MLflow run of the version that the registry takes for the serving one."""
        return str(self.mlflow("registered-models/alias", name=MODEL, alias="serving")["model_version"]["run_id"])


@pytest.fixture(scope="module")
def publishing(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublishingStack]:
    folder = tmp_path_factory.mktemp("publishing")
    namespace = f"publishing-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    stack = Stack(folder / "stack", namespace=namespace)
    model, broken = model_archive(folder / "good", MODEL), model_archive(folder / "broken", MODEL, golden_error=1.0)
    made = PublishingStack(namespace, stack, model, broken, platform_facts())
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
def trained(publishing: PublishingStack) -> dict[str, Any]:
    """The outputs of the stack with the first run."""
    publishing.stack.up(publishing.program(FIRST))
    return publishing.stack.outputs()


@pytest.fixture
def served(publishing: PublishingStack) -> str:
    """MLflow run of the first version, which serves."""
    publishing.stack.up(publishing.program(FIRST, serve=True))
    return publishing.serving()


def test_a_person_sees_the_training_in_the_registry_while_it_goes_on(publishing: PublishingStack) -> None:
    update = publishing.stack.start(publishing.program({"parameters": {"mse": 0.21, "hold": 40}}))

    def running() -> Any:
        experiments = publishing.mlflow("experiments/search", max_results="10")["experiments"]
        home = [each["experiment_id"] for each in experiments if each["name"] == MODEL]
        jobs = [each for each in objects("jobs", publishing.namespace) if each["status"].get("active")]
        if not home or not jobs:
            return None
        found = post_search(publishing, home[0])
        return [run for run in found if run["info"]["status"] == "RUNNING" and "modelops.progress" in tags(run)]

    (run,) = eventually(running, timeout_seconds=400, every_seconds=1)
    assert tags(run)["modelops.progress"].startswith("epoch 1/2, ")
    assert update.end(600) == 0, update.text()


def post_search(publishing: PublishingStack, experiment: str) -> list[dict[str, Any]]:
    url = f"{publishing.stack.outputs()['registry_url']}/api/2.0/mlflow/runs/search"
    return list(post(url, {"experiment_ids": [experiment]})[1].get("runs", []))


def tags(run: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}


def test_metrics_and_the_runs_page_are_outputs(publishing: PublishingStack, trained: dict[str, Any]) -> None:
    outputs = trained
    assert outputs["metrics"] == {"mse": 0.2}
    assert outputs["run_url"].startswith(f"{outputs['registry_url']}/#/experiments/")
    run = publishing.mlflow("runs/get", run_id=run_of(outputs))["run"]
    assert run["info"]["status"] == "FINISHED"
    expected = {"modelops.run_id": outputs["run_id"], "modelops.git_commit": "c0ffee", "modelops.data_version": "v5"}
    assert expected.items() <= tags(run).items()
    assert "@sha256:" in tags(run)["modelops.image"]
    history = publishing.mlflow("metrics/get-history", run_id=run_of(outputs), metric_key="loss")["metrics"]
    assert {point["step"]: point["value"] for point in history} == {1: 0.5, 2: 0.25}
    assert len(history) == 2


@pytest.mark.usefixtures("trained")
def test_what_the_pod_reported_is_no_drift_and_is_not_taken_back(publishing: PublishingStack) -> None:
    program = publishing.program(FIRST)
    publishing.stack.unchanged(program)
    assert publishing.stack.refresh().changed() == {}
    publishing.stack.unchanged(program)
    assert publishing.stack.up(program).changed() == {}
    assert publishing.stack.outputs()["metrics"] == {"mse": 0.2}


@pytest.mark.usefixtures("trained")
def test_a_plan_that_would_train_does_not_promise_the_old_metrics(publishing: PublishingStack) -> None:
    before = objects("jobs", publishing.namespace)
    planned = publishing.stack.preview(publishing.program({"parameters": {"mse": 0.24}}))
    assert planned.operations("train")
    assert "0.2}" not in planned.text
    assert objects("jobs", publishing.namespace) == before


def test_the_alias_stands_for_the_version_that_serves_and_is_not_moved_before(publishing: PublishingStack) -> None:
    before = publishing.program({"parameters": {"mse": 0.22}, "model_name": "unserved"})
    publishing.stack.up(before)
    with pytest.raises(urllib.error.HTTPError):
        publishing.mlflow("registered-models/alias", name="unserved", alias="serving")
    publishing.stack.up(publishing.program(FIRST, serve=True))
    assert publishing.serving() == run_of(publishing.stack.outputs())


def test_a_model_that_is_too_much_worse_than_the_serving_one_stops_the_release(
    publishing: PublishingStack, served: str
) -> None:
    gate = {"mse": {"max_delta": 0.05}}
    stopped = publishing.stack.up(
        publishing.program({"parameters": {"mse": 0.3}, "gate": gate}, serve=True), succeed=False
    )
    assert "gate not met: mse is 0.3, must be at most 0.25 (max_delta 0.05; version " in stopped.text
    assert "which serves now, has 0.2)" in stopped.text
    assert publishing.serving() == served

    publishing.stack.up(publishing.program({"parameters": {"mse": 0.24}, "gate": gate}, serve=True))
    outputs = publishing.stack.outputs()
    assert outputs["metrics"] == {"mse": 0.24}
    assert publishing.serving() == run_of(outputs) != served


def test_a_changed_gate_judges_the_published_run_in_the_same_up_and_leaves_what_serves(
    publishing: PublishingStack, served: str
) -> None:
    runs, versions = publishing.runs(), publishing.versions()

    def judged(gate: Mapping[str, Any], *, succeed: bool = True) -> str:
        program = publishing.program({**FIRST, "gate": gate}, serve=True)
        assert "judges a new run, and the published one if the gate changed: " in publishing.stack.preview(program).text
        said = str(publishing.stack.up(program, succeed=succeed).text)
        assert publishing.serving() == served
        # Nothing is trained, and there is no new version.
        assert (publishing.runs(), publishing.versions()) == (runs, versions)
        return said

    assert "gate not met: mse is 0.2, must be at most 0.1" in judged({"mse": {"max": 0.1}}, succeed=False)
    unknown = judged({"f1[class=spam]": {"min": 0.5}}, succeed=False)
    assert "f1[class=spam] not reported; reported metrics: mse" in unknown
    # The run serves itself, and no other did before it.
    judged({"mse": {"max": 0.2, "max_delta": 0}})
    assert publishing.stack.outputs()["metrics"] == {"mse": 0.2}


def test_going_back_to_an_older_version_is_not_refused_by_a_relative_gate(
    publishing: PublishingStack, served: str
) -> None:
    gate = {"gate": {"mse": {"max_delta": 0}}}
    publishing.stack.up(publishing.program({**FIRST, **gate}, serve=True))
    publishing.stack.up(publishing.program({"parameters": {"mse": 0.15}, **gate}, serve=True))
    assert publishing.serving() != served
    publishing.stack.up(publishing.program({**FIRST, **gate}, serve=True))
    assert publishing.serving() == served


def test_a_relative_gate_with_nothing_to_compare_with_fails_before_the_training_unless_it_is_the_first(
    publishing: PublishingStack,
) -> None:
    training = {"parameters": {"mse": 0.25}, "model_name": "alone", "gate": {"mse": {"max_delta": 0}}}
    refused = publishing.stack.up(publishing.program(training), succeed=False)
    assert "no version of alone has the alias serving, which the gate's mse.max_delta would compare with" in (
        refused.text
    )
    assert "set first_version for the first version" in refused.text
    experiments = publishing.mlflow("experiments/search", max_results="100")["experiments"]
    assert "alone" not in [each["name"] for each in experiments]
    publishing.stack.up(publishing.program({**training, "first_version": True}))
    assert publishing.stack.outputs()["metrics"] == {"mse": 0.25}


def test_a_rollout_that_failed_does_not_claim_to_serve(publishing: PublishingStack, served: str) -> None:
    before = len(publishing.versions())
    program = publishing.program({"parameters": {"mse": 0.1}}, serve=True, broken=True)
    publishing.stack.up(program, succeed=False)
    assert len(publishing.versions()) == before + 1
    assert publishing.serving() == served


def test_the_best_of_a_sweep_is_registered_and_reported(publishing: PublishingStack) -> None:
    sweep = {"sweep": {"mse": [0.3, 0.05, 0.2]}, "sweep_metric": "mse", "gate": {"mse": {"max": 0.1}}}
    publishing.stack.up(publishing.program(sweep))
    outputs = publishing.stack.outputs()
    assert outputs["metrics"] == {"mse": 0.05}
    run = publishing.mlflow("runs/get", run_id=run_of(outputs))["run"]
    parent = publishing.mlflow("runs/get", run_id=tags(run)["mlflow.parentRunId"])["run"]
    assert tags(parent)["modelops.best_trial"] == tags(run)["modelops.trial"]
    experiment = run["info"]["experiment_id"]
    parents = [tags(each).get("mlflow.parentRunId") for each in post_search(publishing, experiment)]
    assert parents.count(parent["info"]["run_id"]) == 3
    publishing.stack.unchanged(publishing.program(sweep))


def test_a_sweep_that_missed_its_gate_is_published_without_another_trial_once_the_gate_lets_it(
    publishing: PublishingStack,
) -> None:
    sweep = {"sweep": {"mse": [0.31, 0.06]}, "sweep_metric": "mse"}
    missed = publishing.stack.up(publishing.program({**sweep, "gate": {"mse": {"max": 0.01}}}), succeed=False)
    assert "gate not met: mse is 0.06, must be at most 0.01" in missed.text

    def trials() -> set[str]:
        found = objects("jobs", publishing.namespace)
        return {each["metadata"]["uid"] for each in found if each["spec"].get("completionMode") == "Indexed"}

    before = trials()
    publishing.stack.up(publishing.program({**sweep, "gate": {"mse": {"max": 0.1}}}))
    # The update that failed may have left the Job of an earlier test.
    assert trials() and trials() <= before
    assert publishing.stack.outputs()["metrics"] == {"mse": 0.06}


def test_a_server_of_a_teams_own_in_an_image_of_its_own_serves_and_gets_the_alias(publishing: PublishingStack) -> None:
    own = {"image": publishing.foreign_image, "serve_command": ["python3", "-c", SERVER], "expose": exposure()}
    training = {"parameters": {"mse": 0.01}, "gate": {"mse": {"max_delta": 0}}, "first_version": True}
    publishing.stack.up(publishing.program(training, serve=True, service=own))
    outputs = publishing.stack.outputs()
    assert publishing.serving() == run_of(outputs)
    status, answer = eventually(lambda: post(outputs["predict_url"], {"inputs": [[1.0]]}))
    assert (status, answer) == (200, {"served_by": "a server of its own", "model": MODEL})
