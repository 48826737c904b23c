"""Each framework trains for real: alone, with several workers to the same model, and on after a worker was killed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.s3 import ObjectStore
from tests.cluster.support import eventually, kubectl
from tests.cluster.training.images import TARGETS, TrainingImages
from tests.cluster.training.plain_trainings import PlainTrainings, command

pytestmark = [pytest.mark.training, pytest.mark.long]

PARAMETERS = {"task": "classification", "samples": 150, "hidden_layers": 1, "epochs": 6, "learning_rate": 0.05}
MORE = [pytest.param(name, marks=pytest.mark.long) for name in ("pytorch", "mxnet")]
Train = Callable[..., dict[str, Any]]


def job(trainings: PlainTrainings, images: TrainingImages, name: str, framework: str, **changes: Any) -> Any:
    """A program of one TrainingJob with the framework's own image."""
    args = {
        "image": images[framework],
        "framework": framework,
        "command": ["python", "-m", "sample.train"],
        "runtime_image": trainings.image,
        "publisher": {"command": command("publish_outputs")},
        "parameters": PARAMETERS,
        "resources": {"cpu": "20m", "memory": "400Mi", "memory_limit": "2Gi"},
        "timeout_seconds": 1800,
        **changes,
    }
    return trainings.program(name, "count", **args)


@pytest.fixture
def train(trainings: PlainTrainings, training_images: TrainingImages) -> Train:
    """Trains, and gives what was published."""

    def run(name: str, framework: str, **changes: Any) -> dict[str, Any]:
        stack = trainings.new_stack()
        try:
            stack.up(job(trainings, training_images, name, framework, **changes))
            [published] = trainings.results(stack)
        finally:
            stack.destroy(succeed=None)
        found: dict[str, Any] = json.loads(published)
        return found

    return run


@pytest.mark.parametrize("framework", ["tensorflow", *MORE])
def test_several_workers_train_the_model_that_one_trains(train: Train, framework: str) -> None:
    """Each row once an epoch: the chief counts them, and fails the training otherwise."""
    one = train(f"{framework}-one", framework)
    assert one["metrics"]["accuracy"] > 0.9
    assert one["model"]["framework"] == framework
    assert one["model"]["runtime"] == ("litert" if framework == "tensorflow" else "onnx")
    assert [row["epoch"] for row in one["history"]] == list(range(1, PARAMETERS["epochs"] + 1))  # type: ignore[operator]
    assert one["progress"]["epoch"] == PARAMETERS["epochs"]
    for workers in (2, 4):
        several = train(f"{framework}-{workers}", framework, workers=workers)
        losses = [[row["loss"] for row in found["history"]] for found in (one, several)]
        assert losses[1] == pytest.approx(losses[0], rel=0.01), f"{workers} workers"
        assert several["metrics"] == pytest.approx(one["metrics"], abs=0.01), f"{workers} workers"


@pytest.mark.parametrize("framework", list(TARGETS))
def test_a_killed_worker_ends_the_others_and_all_go_on(
    trainings: PlainTrainings, training_images: TrainingImages, framework: str
) -> None:
    name, epochs = f"{framework}-killed", 400
    stack = trainings.new_stack()
    changes = {
        "workers": 2,
        "retries": 2,
        "parameters": {**PARAMETERS, "epochs": epochs},
        "checkpoints": {"storage_size": "100Mi", "interval_steps": 10},
    }
    running = stack.start(job(trainings, training_images, name, framework, **changes))

    def worker(index: int) -> str | None:
        for pod in trainings.pods(name, active=True):
            if pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == str(index):
                return str(pod["metadata"]["name"])
        return None

    def chief_is_at_work() -> bool:
        return any(f"/{epochs}" in trainings.logs(pod) for pod in trainings.pods(name, active=True))

    try:
        eventually(chief_is_at_work, 900)
        victim = worker(1)
        assert victim
        script = (
            "import os, pathlib\n"
            "for entry in pathlib.Path('/proc').glob('[0-9]*'):\n"
            "    own = entry.name in ('1', str(os.getpid()))\n"
            "    if not own and b'sample.train' in (entry / 'cmdline').read_bytes():\n"
            "        os.kill(int(entry.name), 9)\n"
        )
        kubectl("exec", "-n", trainings.namespace, victim, "-c", "train", "--", "python", "-c", script, check=False)
        assert running.end(1500) == 0, running.text()
        chiefs = "\n".join(trainings.logs(pod) for pod in trainings.pods(name))
        assert "resuming after epoch" in chiefs
        [published] = trainings.results(stack)
        found = json.loads(published)
        assert [row["epoch"] for row in found["history"]] == list(range(1, epochs + 1))
        assert found["metrics"]["accuracy"] > 0.9
    finally:
        stack.destroy(succeed=None)
    assert trainings.pods(name, active=True) == []


def test_a_checkpoint_in_an_object_store_outlives_the_pod(
    trainings: PlainTrainings, training_images: TrainingImages, object_store: ObjectStore
) -> None:
    name, epochs = "in-a-store", 400
    uri = f"s3://{object_store.bucket}/checkpoints"
    secret = object_store.credentials(trainings.namespace)
    changes = {
        "parameters": {**PARAMETERS, "epochs": epochs},
        "checkpoints": {"uri": uri, "secret": secret, "interval_steps": 10},
        "environment": object_store.variables,
    }
    stack = trainings.new_stack()
    running = stack.start(job(trainings, training_images, name, "pytorch", **changes))
    try:
        eventually(lambda: object_store.objects("checkpoints/"), 600)
        (pod,) = trainings.pods(name, active=True)
        kubectl("delete", "pod", pod["metadata"]["name"], "--namespace", trainings.namespace, "--wait=false")
        assert running.end(900) == 0, running.text()
        assert "resuming after epoch" in "\n".join(trainings.logs(pod) for pod in trainings.pods(name))
        (published,) = trainings.results(stack)
        assert [row["epoch"] for row in json.loads(published)["history"]] == list(range(1, epochs + 1))
        assert object_store.secret_key not in running.text()
    finally:
        stack.destroy(succeed=None)
