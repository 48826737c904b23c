"""What runs a training's pods, and what it needs in the cluster."""

import json
from typing import Any

import pytest

from modelops import ArgumentsError, TrainingJob
from modelops.training.backends import _jobset_outcome
from tests.unit.components.harness import Program, ignored_provider, on, provider, run
from tests.unit.components.test_training_job import ARGS


def train(**changes: Any) -> Program:
    return run(lambda: TrainingJob("demo", {**ARGS, **changes}))  # type: ignore[typeddict-item]


def test_a_jobset_holds_the_very_job() -> None:
    alone, program = train(workers=2), train(workers=2, backend="jobset", ttl_seconds_after_finished=60)
    jobset = program.one("JobSet").inputs
    assert [found.name for found in program.of("Job")] == ["demo-watch"]
    (job,) = jobset["spec"]["replicatedJobs"]
    assert job["template"]["spec"] == alone.one("Job", "demo").inputs["spec"]
    assert jobset["spec"]["network"] == {"enableDNSHostnames": False}
    assert jobset["spec"]["ttlSecondsAfterFinished"] == 60
    assert jobset["metadata"]["annotations"] == {"pulumi.com/waitFor": "jsonpath={.status.terminalState}"}
    assert program.outputs["run_id"].value == alone.outputs["run_id"].value
    assert program.one("core/v1:Service").name == "demo"


@pytest.mark.parametrize("backend", ["jobset", "trainer"])
def test_a_custom_resource_has_neither_nulls_nor_quantities_that_a_webhook_would_write_otherwise(backend: str) -> None:
    resources = {"cpu": "1500m", "memory": "2048Mi", "memory_limit": "3072Mi"}
    program = train(workers=2, backend=backend, resources=resources, shared_memory="512Mi")
    found = [each.inputs for each in program.resources if "x-k8s.io" in each.type or "kubeflow" in each.type]
    spec = found[0]["spec"] if backend == "jobset" else found[0]["spec"]["template"]["spec"]
    train_container = spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]
    assert train_container["resources"] == {
        "requests": {"cpu": "1500m", "memory": "2Gi"},
        "limits": {"memory": "3Gi"},
    }
    assert "null" not in json.dumps(found) and "suspend" not in json.dumps(found)


def test_a_trainjob_runs_a_runtime_of_its_own() -> None:
    program = train(workers=2, backend="trainer")
    runtime, job = program.one("TrainingRuntime").inputs, program.one("TrainJob").inputs
    assert job["spec"]["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "TrainingRuntime",
        "name": "demo-runtime-1a2b3c4d",
    }
    assert job["spec"]["trainer"] == {"numNodes": 2}
    (part,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert part["template"]["metadata"]["labels"]["trainer.kubeflow.org/trainjob-ancestor-step"] == "trainer"
    assert part["template"]["spec"] == train(workers=2).one("Job", "demo").inputs["spec"]


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ({"backend": "jobset"}, "demo-needs-the-crd-jobsets.jobset.x-k8s.io"),
        ({"backend": "trainer"}, "demo-needs-the-crd-trainjobs.trainer.kubeflow.org"),
        ({"queue": "team-a"}, "demo-needs-kueue-with-the-crd-localqueues.kueue.x-k8s.io-and-its-queue"),
    ],
)
def test_what_a_back_end_needs_is_read_before_anything_runs(change: dict[str, Any], read: str) -> None:
    program = train(**change)
    kind = {"jobset": "JobSet", "trainer": "TrainingRuntime"}.get(change.get("backend", ""), "Job")
    name = "demo-runtime" if kind == "TrainingRuntime" else "demo"
    assert read in program.one(kind, name).options["dependencies"]


def test_a_plain_job_reads_nothing() -> None:
    assert not [found.name for found in train().resources if "needs" in found.name]


def test_a_failed_jobset_fails_the_update_with_its_own_words() -> None:
    failed = {"terminalState": "Failed", "conditions": [{"type": "Failed", "message": "jobset failed due to one job"}]}
    with pytest.raises(Exception, match="ended as Failed: jobset failed due to one job"):
        _jobset_outcome("demo", failed)
    assert _jobset_outcome("demo", {"terminal_state": "Completed"}) == "Completed"


def test_every_back_end_respects_the_provider() -> None:
    for backend in ("jobset", "trainer"):
        args: Any = {**ARGS, "backend": backend, "queue": "team-a"}
        assert ignored_provider(run(lambda args=args: TrainingJob("demo", args, on(provider())))) == []


def test_names_leave_room_for_those_of_a_sets_jobs() -> None:
    with pytest.raises(ArgumentsError, match="at most 40 characters"):
        run(lambda: TrainingJob("a" * 41, {**ARGS, "backend": "jobset"}))  # type: ignore[typeddict-item]
