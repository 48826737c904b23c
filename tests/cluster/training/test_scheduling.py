"""Where a training may run and when it starts, accepted and obeyed by the real cluster."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.serving.crds import KUEUE, TRAINER, crds
from tests.cluster.support import apply, eventually, kubectl, objects
from tests.cluster.training.plain_trainings import PlainTrainings

pytestmark = [pytest.mark.training, pytest.mark.long]


@pytest.fixture
def stack(trainings: PlainTrainings) -> Iterator[Stack]:
    made = trainings.new_stack()
    yield made
    made.destroy(succeed=None)


def test_shared_memory_selectors_tolerations_affinity_and_priority_reach_the_pod(
    trainings: PlainTrainings, stack: Stack
) -> None:
    node = objects("nodes", "default")[0]["metadata"]["name"]
    hostname = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    affinity = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}
    }
    script = (
        "import os, pathlib\n"
        "size = os.statvfs('/dev/shm')\n"
        "text = f'{size.f_blocks * size.f_frsize >> 20} MiB, {os.environ[\"HF_HOME\"]}'\n"
        "pathlib.Path(os.environ['HF_HOME'], 'weights').write_text('weights')\n"
        "pathlib.Path(os.environ['MODELOPS_OUTPUT_DIR'], 'result').write_text(text)\n"
    )
    program = trainings.program(
        "placed",
        "count",
        command=["python3", "-c", script],
        shared_memory="96Mi",
        model_cache={"storage_size": "100Mi"},
        node_selector={"kubernetes.io/os": "linux"},
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        affinity={"nodeAffinity": affinity},
        priority_class="system-cluster-critical",
    )
    stack.up(program)
    assert trainings.results(stack) == ["96 MiB, /cache"]
    stack.unchanged(program)


def test_a_suspended_training_starts_when_somebody_lets_it(trainings: PlainTrainings, stack: Stack) -> None:
    program = trainings.program("held", "count", suspend=True, parameters={"steps": 1, "pause": 0.1, "name": "held"})
    running = stack.start(program)
    (job,) = eventually(lambda: trainings.jobs("held"), 120)
    assert job["spec"]["suspend"] is True
    assert trainings.pods("held") == []
    patch = json.dumps({"spec": {"suspend": False}})
    kubectl("patch", "job", job["metadata"]["name"], "--namespace", trainings.namespace, "--patch", patch)
    assert running.end(300) == 0, running.text()
    assert trainings.results(stack) == ["begun at [0]"]
    stack.refresh()
    stack.unchanged(program)


def test_a_training_beyond_its_deadline_fails_and_leaves_no_survivor(trainings: PlainTrainings, stack: Stack) -> None:
    parameters = {"steps": 10_000, "pause": 0.1, "name": "late"}
    program = trainings.program("late", "count", timeout_seconds=30, parameters=parameters)
    outcome = stack.up(program, succeed=False)
    assert "DeadlineExceeded" in outcome.text
    eventually(lambda: not trainings.pods("late", active=True), 120)


@pytest.mark.parametrize(
    ("name", "change", "missing"),
    [
        ("no-trainer", {"backend": "trainer"}, "no-trainer-needs-the-crd-trainjobs.trainer.kubeflow.org"),
        ("no-queue", {"queue": "team-a"}, "no-queue-needs-kueue-with-the-crd-localqueues.kueue.x-k8s.io-and-its-queue"),
    ],
)
def test_without_what_was_asked_for_plan_and_update_say_what_is_missing(
    trainings: PlainTrainings, stack: Stack, name: str, change: dict[str, Any], missing: str
) -> None:
    program = trainings.program(name, "count", **change)
    for operation in (stack.preview, stack.up):
        outcome = operation(program, succeed=False)
        assert missing in outcome.text
        assert "does not exist" in outcome.text
    assert trainings.pods(name) == []


def test_a_queued_training_waits_until_it_is_admitted(trainings: PlainTrainings, stack: Stack) -> None:
    """With Kueue's own definitions; what admits it is this test."""
    with crds(KUEUE):
        metadata = {"name": "team-a", "namespace": trainings.namespace}
        queue = {"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "LocalQueue", "metadata": metadata}
        apply({**queue, "spec": {"clusterQueue": "all"}})
        parameters = {"steps": 1, "pause": 0.1, "name": "queued"}
        running = stack.start(trainings.program("queued", "count", queue="team-a", parameters=parameters))
        (job,) = eventually(lambda: trainings.jobs("queued"), 120)
        assert job["spec"]["suspend"] is True
        assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
        patch = json.dumps({"spec": {"suspend": False}})
        kubectl("patch", "job", job["metadata"]["name"], "--namespace", trainings.namespace, "--patch", patch)
        assert running.end(300) == 0, running.text()
        assert trainings.results(stack) == ["begun at [0]"]
        stack.destroy()
        kubectl("delete", "localqueue", "team-a", "--namespace", trainings.namespace)


def test_kubeflow_trainer_gets_what_its_definitions_accept(trainings: PlainTrainings, stack: Stack) -> None:
    """With its own definitions; in place of its controller this test says that the TrainJob is done."""
    with crds(TRAINER):
        running = stack.start(trainings.program("trained", "count", workers=2, backend="trainer"))
        (job,) = eventually(lambda: objects("trainjobs", trainings.namespace), 120)
        (runtime,) = objects("trainingruntimes", trainings.namespace)
        assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
        assert job["spec"]["trainer"]["numNodes"] == 2
        (replicated,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
        spec = replicated["template"]["spec"]
        assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (2, 2, "Indexed")
        assert [each["name"] for each in spec["template"]["spec"]["containers"]] == ["train", "publish"]
        done = {"type": "Complete", "status": "True", "reason": "JobsCompleted", "message": "all jobs are done"}
        status = {"status": {"conditions": [{**done, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
        arguments = ("--namespace", trainings.namespace, "--subresource=status", "--type=merge", "--patch")
        kubectl("patch", "trainjob", job["metadata"]["name"], *arguments, json.dumps(status))
        assert running.end(300) == 0, running.text()
        stack.destroy()


LARGE: dict[str, Any] = {
    "workers": 2,
    "processes_per_worker": 8,
    "tensor_parallel": 8,
    "command": ["torchrun", "shard.py"],
    "resources": {"cpu": "32", "memory": "512Gi", "gpus": 8, "devices": {"rdma/hca_shared_devices_a": 8}},
    "shared_memory": "64Gi",
    "model_cache": {"claim": "weights"},
    "checkpoints": {"storage_size": "2Ti", "access_modes": ["ReadWriteMany"], "interval_steps": 500},
    "environment": {"NCCL_IB_HCA": "mlx5", "NCCL_SOCKET_IFNAME": "eth0", "NCCL_DEBUG": "WARN"},
    "suspend": True,
    "queue_timeout_seconds": 0,
    "timeout_seconds": 30,
}


def test_the_manifest_of_a_large_model_is_complete_for_the_real_api_server(
    trainings: PlainTrainings, stack: Stack
) -> None:
    """Two workers of eight GPUs with RDMA: created suspended, for no machine of ours has them."""
    running = stack.start(trainings.program("large", "count", **LARGE))
    (job,) = eventually(lambda: trainings.jobs("large"), 120)
    running.interrupt()
    running.end(120)
    template = {"apiVersion": "v1", "kind": "Pod", **job["spec"]["template"]}
    template["metadata"] = {"name": "large", "namespace": trainings.namespace, "labels": template["metadata"]["labels"]}
    admitted = subprocess.run(
        ["kubectl", "create", "--dry-run=server", "--output=json", "--filename=-"],
        input=json.dumps(template),
        capture_output=True,
        text=True,
    )
    assert admitted.returncode == 0, admitted.stderr
    train = next(each for each in json.loads(admitted.stdout)["spec"]["containers"] if each["name"] == "train")
    assert train["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert train["resources"]["limits"]["rdma/hca_shared_devices_a"] == "8"
    variables = {entry["name"]: entry.get("value") for entry in train["env"]}
    assert (variables["MODELOPS_TENSOR_PARALLEL"], variables["MODELOPS_DATA_PARALLEL"]) == ("8", "2")
    assert variables["NCCL_IB_HCA"] == "mlx5"
    assert job["spec"]["completions"] == 2
