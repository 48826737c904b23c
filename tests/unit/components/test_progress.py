"""What the progress command makes of Jobs and pods."""

from typing import Any

import pytest

from modelops.training import progress


def pod(*, state: dict[str, Any] | None = None, index: str | None = None, scheduled: bool = True) -> dict[str, Any]:
    conditions = [] if scheduled else [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: no GPU"}]
    statuses = [{"name": "train", "state": state}, {"name": "publish", "state": {"running": {}}}] if state else []
    labels = {"batch.kubernetes.io/job-completion-index": index} if index else {}
    return {
        "metadata": {"name": "a", "labels": labels},
        "status": {"phase": "Pending", "conditions": conditions, "containerStatuses": statuses},
    }


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (pod(scheduled=False), "no node yet (0/1 nodes: no GPU)"),
        (pod(), "starting (Pending)"),
        (
            pod(state={"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}),
            "starting (ImagePullBackOff: not found)",
        ),
        (pod(state={"running": {}}), None),
        (pod(state={"terminated": {"exitCode": 1}}), None),
    ],
)
def test_what_keeps_a_pod_from_training_is_told(found: dict[str, Any], reason: str | None) -> None:
    assert progress.waiting_reason(found) == reason


def test_of_several_workers_the_first_one_is_heard() -> None:
    workers: dict[str, Any] = {"spec": {"successPolicy": {"rules": []}}}
    assert progress.is_followed(workers, pod(index="0"))
    assert not progress.is_followed(workers, pod(index="1"))
    assert progress.is_followed({"spec": {}}, pod(index="1"))


@pytest.mark.parametrize("kind", ["Complete", "Failed"])
def test_a_job_has_ended_when_it_says_so(kind: str) -> None:
    job = {"status": {"conditions": [{"type": kind, "status": "True"}]}}
    assert progress.ended(job) == kind
    assert progress.ended({"status": {"conditions": [{"type": kind, "status": "False"}]}}) is None
    assert progress.ended({"status": {}}) is None
