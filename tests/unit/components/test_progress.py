"""What the progress command makes of Jobs and pods."""

import itertools
from collections.abc import Iterator
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


def labelled(name: str, found: dict[str, Any]) -> dict[str, Any]:
    found["metadata"].setdefault("labels", {})["app.kubernetes.io/name"] = name
    return found


def test_a_data_pipeline_is_heard_through_its_first_shard_which_leads() -> None:
    shards = {"spec": {"completionMode": "Indexed"}}
    assert progress.is_followed(shards, labelled("data-pipeline", pod(index="0")))
    assert not progress.is_followed(shards, labelled("data-pipeline", pod(index="1")))
    assert progress.is_followed({"spec": {}}, labelled("data-pipeline", pod()))


class Recorded:
    """A cluster whose Jobs are, one after another, those of a list; whoever follows a pod is noted."""

    def __init__(self, *states: list[dict[str, Any]]) -> None:
        self._states: Iterator[list[dict[str, Any]]] = itertools.chain(states, itertools.repeat(states[-1]))
        self.followed: list[tuple[str, str]] = []
        self.selectors: set[str] = set()

    def objects(self, kind: str, selector: str) -> list[dict[str, Any]]:
        self.selectors.add(selector)
        if kind == "jobs":
            return next(self._states)
        name = selector.partition("=")[2]
        found = labelled(name, pod(state={"running": {}}))
        found["metadata"]["name"] = f"{name}-pod"
        found["status"]["containerStatuses"].append({"name": "prepare", "state": {"running": {}}})
        return [found]

    def follow(self, name: str, container: str) -> None:
        self.followed.append((name, container))


def job(name: str, end: str | None = None) -> dict[str, Any]:
    conditions = [{"type": end, "status": "True", "message": "exit code 10"}] if end else []
    return labelled(name, {"metadata": {"name": name}, "spec": {}, "status": {"conditions": conditions}})


def watch(monkeypatch: pytest.MonkeyPatch, cluster: Recorded, *words: str) -> int:
    monkeypatch.setattr(progress, "Cluster", lambda *_: cluster)
    monkeypatch.setattr(progress, "PAUSE_SECONDS", 0)
    return progress.main(["--namespace", "ml", *words])


def test_prepared_data_and_the_training_with_it_are_followed_by_one_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = job("data-pipeline", "Complete")
    cluster = Recorded(
        [], [job("data-pipeline")], [done], [done], [done, job("training-job")], [done, job("training-job", "Complete")]
    )
    assert watch(monkeypatch, cluster) == 0
    assert cluster.followed == [("data-pipeline-pod", "prepare"), ("training-job-pod", "train")]
    assert capsys.readouterr().out.splitlines() == [
        "waiting for a run to start",
        "data-pipeline: data-pipeline-pod is preparing data",
        "data-pipeline: done; waiting for a training",
        "training-job: training-job-pod is training",
        "training-job: done",
    ]


def test_prepared_data_that_no_training_follows_is_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "TRAINING_WITHIN_SECONDS", 0.05)
    assert watch(monkeypatch, Recorded([job("data-pipeline")], [job("data-pipeline", "Complete")])) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "data-pipeline: done"


def test_data_that_failed_is_told_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch(monkeypatch, Recorded([job("data-pipeline")], [job("data-pipeline", "Failed")])) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "data-pipeline: failed (exit code 10)"


def test_a_named_run_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Recorded([job("data-pipeline", "Complete")])
    assert watch(monkeypatch, cluster, "--name", "customers") == 0
    [selector] = cluster.selectors
    assert selector == "app.kubernetes.io/name in (training-job,data-pipeline),app.kubernetes.io/instance=customers"


def background(end: str | None = None) -> dict[str, Any]:
    """The Job of a training with `wait: false`."""
    found = job("training-job", end)
    found["metadata"]["annotations"] = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
    found["metadata"]["labels"]["app.kubernetes.io/instance"] = "long"
    return found


class Watched(Recorded):
    """A cluster whose run has a watch, with these states one after another."""

    def __init__(self, jobs: list[dict[str, Any]], *watches: str | None) -> None:
        super().__init__(jobs)
        self.watches = iter(watches)

    def objects(self, kind: str, selector: str) -> list[dict[str, Any]]:
        if "job-watch" in selector:
            assert selector == "app.kubernetes.io/name=job-watch,app.kubernetes.io/instance=long"
            return [job("job-watch", next(self.watches))]
        return super().objects(kind, selector)


def test_a_run_in_the_background_has_ended_once_that_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Watched([background("Complete")], None, None, "Complete")
    assert watch(monkeypatch, cluster, "--name", "long") == 0
    assert next(cluster.watches, "all asked") == "all asked"


def test_a_watch_that_never_ends_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "RECORDED_WITHIN_SECONDS", 0)
    assert watch(monkeypatch, Watched([background("Failed")]), "--name", "long") == 1


@pytest.mark.parametrize(
    ("cluster", "code", "said"),
    [
        (Recorded([]), 3, "there is no run"),
        (Recorded([job("training-job")]), 3, "training-job: goes on"),
        (Recorded([job("training-job", "Failed")]), 1, "training-job: failed (exit code 10)"),
        (Watched([background("Complete")], None), 3, "training-job: goes on"),
        (Watched([background("Complete")], "Complete"), 0, "training-job: done"),
    ],
)
def test_the_state_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cluster: Recorded, code: int, said: str
) -> None:
    assert watch(monkeypatch, cluster, "--state") == code
    assert capsys.readouterr().out.splitlines() == [said]


@pytest.mark.parametrize("kind", ["Complete", "Failed"])
def test_a_job_has_ended_when_it_says_so(kind: str) -> None:
    job = {"status": {"conditions": [{"type": kind, "status": "True"}]}}
    assert progress.ended(job) == kind
    assert progress.ended({"status": {"conditions": [{"type": kind, "status": "False"}]}}) is None
    assert progress.ended({"status": {}}) is None
