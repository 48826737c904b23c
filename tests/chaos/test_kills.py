"""`pulumi up` killed at seeded points: after the recovery that the docs describe, the stack is as if nothing had been.

`MODELOPS_CHAOS_KILLS` points (default 100), by the seed `MODELOPS_CHAOS_SEED`. One of them again:
`MODELOPS_CHAOS_SEED=20 .venv/bin/pytest tests/chaos/test_kills.py -m chaos -k 'point and 7-'`.
"""

import json
import os
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import kills, leavings
from tests.chaos.programs import Project
from tests.cluster.serving.support import Serving
from tests.cluster.support import eventually, exposure, get_json, kubectl, objects, platform_facts, post
from tests.cluster.training.registry import platform_image
from tests.models import model_archive

pytestmark = pytest.mark.chaos
COUNT = int(os.environ.get("MODELOPS_CHAOS_KILLS", "100"))
SEED = int(os.environ.get("MODELOPS_CHAOS_SEED", "20"))
SMALL = {"cpu": "20m", "memory": "96Mi", "memory_limit": "512Mi"}
NOTING = """
import json, os, socket, time, urllib.request
name = f"{os.environ['NOTED_AS']} {socket.gethostname()} {time.time()}"
url = os.environ["NOTED_AT"] + "/api/2.0/mlflow/experiments/create"
request = urllib.request.Request(url, json.dumps({"name": name}).encode(), {"Content-Type": "application/json"})
urllib.request.urlopen(request, timeout=60).close()
"""
"""A training says that it begins where that stays, whatever becomes of its pod: each is an experiment of that name."""
TRAINING = (Path(__file__).parents[1] / "cluster" / "training" / "tiny_training.py").read_text()


@dataclass
class Released:
    """A stack of a trained and served model, in a namespace of its own."""

    namespace: str
    model: str
    project: Project
    registry_url: str
    arguments: dict[str, Any]

    def versions(self) -> list[str]:
        """The versions of the model in the registry."""
        query = urllib.parse.urlencode({"filter": f"name='{self.model}'"})
        found = get_json(f"{self.registry_url}/api/2.0/mlflow/model-versions/search?{query}", timeout=60)
        return [each["version"] for each in found.get("model_versions", [])]

    def trainings(self) -> int:
        """How often a training has begun."""
        body = {"filter": f"name LIKE '{self.namespace} %'", "max_results": 100}
        status, found = post(f"{self.registry_url}/api/2.0/mlflow/experiments/search", body, timeout=60)
        assert status == 200, found
        return len(found.get("experiments", []))

    def leavings(self) -> list[tuple[str, str]]:
        return leavings.leavings(self.namespace, self.project.identifiers())

    def predicts(self) -> bool:
        url = self.project.outputs()["predict_url"]
        return eventually(lambda: post(url, {"inputs": [[0.5]]}) == (200, {"outputs": [2.0]}), 60)

    def unchanged(self) -> None:
        self.project.pulumi("preview", "--expect-no-changes")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    return model_archive(tmp_path_factory.mktemp("model") / "model", "killed")


@pytest.fixture
def make(serving: Serving, archive: str, test_image: str, tmp_path: Path) -> Iterator[Callable[[], Released]]:
    """Makes what a stack needs; nothing of it is up."""
    namespaces: list[str] = []

    def made() -> Released:
        name = f"killed-{uuid.uuid4().hex[:8]}"
        namespaces.append(name)
        kubectl("create", "namespace", name)
        kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        common = {"namespace": name, "tracking_uri": serving.tracking_uri, "resources": SMALL}
        training = {
            **common,
            "image": test_image,
            "runtime_image": platform_image(platform_facts(), "mlflow"),
            "model_name": name,
            "framework": "tensorflow",
            "command": ["python3", "-c", NOTING + TRAINING],
            "environment": {"TINY_MODEL": archive, "NOTED_AT": serving.tracking_uri, "NOTED_AS": name},
            "parameters": {"mse": 0.2, "hold": 2},
            "timeout_seconds": 300,
        }
        service = {**common, "image": serving.image, "expose": exposure(), "replicas": 1}
        arguments = {"training": training, "service": service}
        return Released(name, name, Project(tmp_path / name, arguments), serving.registry_url, arguments)

    yield made
    for name in namespaces:
        kubectl("delete", "namespace", name, "--wait=false", check=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the measure of an `up` that nobody killed, which all points share."""
    return tmp_path_factory.mktemp("undisturbed") / "measure.json"


def measured(file: Path, make: Callable[[], Released]) -> kills.Undisturbed:
    if not file.exists():
        released = make()
        found = kills.watch(released.project)
        assert released.leavings() == [] and released.trainings() == 1 and len(released.versions()) == 1
        file.write_text(json.dumps(vars(found)))
    return kills.Undisturbed(**json.loads(file.read_text()))


@pytest.mark.parametrize("number", range(COUNT), ids=lambda number: f"{number}-of-seed-{SEED}")
def test_an_up_killed_at_any_point_is_recovered_with_nothing_lost_left_or_done_twice(
    number: int, make: Callable[[], Released], undisturbed: Path, figure: Callable[[str], None]
) -> None:
    measure = measured(undisturbed, make)
    kill, released = kills.drawn(SEED, number, measure), make()
    struck = kills.strike(released.project, kill)
    before = len(released.versions())
    took_over = released.project.recover()

    left = released.leavings()
    found = f"killed, {number} of seed {SEED}: {kill} of {measure.seconds:.0f} s and {measure.steps}"
    figure(
        f"{found}; died: {struck.killed}, exit code {struck.code}; taken over: {took_over}; "
        f"left in nobody's way: {', '.join(f'{kind} {name}' for kind, name in left) or 'nothing'}"
    )
    told = released.project.leftovers(released.namespace)
    assert sorted(told) == sorted(f"{kind.removesuffix('s')}/{name}" for kind, name in left)
    assert released.trainings() == 1
    assert len(released.versions()) == 1 >= before
    assert released.predicts()
    released.unchanged()

    if told:
        kubectl("delete", *told, "--namespace", released.namespace, "--timeout=60s")
    assert released.leavings() == []
    released.unchanged()
    assert released.predicts()


def test_what_is_left_and_what_is_trained_twice_is_seen(make: Callable[[], Released]) -> None:
    """The control: of a stack that loses an object from its state, and one that has a reason to train again."""
    released = make()
    kills.watch(released.project)
    assert (released.leavings(), released.trainings(), len(released.versions())) == ([], 1, 1)
    known = released.project.identifiers()
    for kind in ("jobs", "networkpolicies"):
        [name, *_] = [each["metadata"]["name"] for each in objects(kind, released.namespace)]
        lost = leavings.leavings(released.namespace, known - {f"{released.namespace}/{name}"})
        assert lost == [(kind, name)]
    training = {**released.arguments["training"], "parameters": {"mse": 0.1, "hold": 1}}
    released.project.write({**released.arguments, "training": training})
    released.project.pulumi("up", "--yes", "--skip-preview")
    assert (released.trainings(), len(released.versions())) == (2, 2)
