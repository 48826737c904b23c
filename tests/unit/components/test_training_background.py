"""TrainingJob with `wait: false`: what an update does with a run that goes on, and how the run's end is recorded."""

from typing import Any

import pulumi
import pytest

from modelops import ArgumentsError, ModelService, TrainingJob
from modelops.kubernetes.assets import watch
from modelops.training.background import told
from tests.unit.components.harness import Program, pod, run
from tests.unit.components.test_service_watch import container as status
from tests.unit.components.test_service_watch import ended as exited
from tests.unit.components.test_service_watch import pod as pod_with
from tests.unit.components.test_training_job import ARGS
from tests.unit.components.test_training_watch import (
    BEFORE,
    NO_SECRET,
    READING,
    STARTED,
    TELLING,
    FakeCluster,
    account_of,
    job,
    rights,
    settings_of,
)

UNAWAITED = "jsonpath={.metadata.uid}"


def train(recorded: dict[str, str] | None = None, *, preview: bool = False, **changes: Any) -> Program:
    records = {} if recorded is None else {"demo-recorded": recorded}
    return run(
        lambda: TrainingJob("demo", {**ARGS, "wait": False, **changes}),  # type: ignore[typeddict-item]
        records=records,
        preview=preview,
    )


RUN = train().outputs["run_id"].value


def annotations(program: Program) -> Any:
    return program.one("Job", "demo").inputs["metadata"]["annotations"]


def pod_annotations(program: Program) -> Any:
    return program.one("Job", "demo").inputs["spec"]["template"]["metadata"].get("annotations")


def test_nobody_waits_for_the_job_and_a_job_that_trains_is_not_replaced() -> None:
    # A Job that trains is unready: `replaceUnready` would put another one in its place.
    assert annotations(train()) == {"pulumi.com/waitFor": UNAWAITED}
    assert annotations(train(wait=True)) == {"pulumi.com/replaceUnready": "true"}


def test_a_watch_goes_on_from_update_to_update() -> None:
    again = [
        train(wait=wait).one("Job", "demo-watch").inputs["metadata"]["annotations"].get("pulumi.com/replaceUnready")
        for wait in (False, True)
    ]
    assert again == [None, "true"]


def test_the_version_is_that_of_the_last_published_run_and_waits_for_no_training() -> None:
    outputs = train({"run_id": "0123456789ab", "metrics": '{"mse": 0.5}', "mlflow_run_id": "m", "experiment_id": "1"})
    assert outputs.outputs["model_version"].value == "run-0123456789ab"
    assert outputs.outputs["model_uri"].value == "models:/linear@run-0123456789ab"
    assert outputs.outputs["metrics"].value == {"mse": 0.5}
    assert outputs.outputs["run_url"].value.endswith("/#/experiments/1/runs/m")
    assert outputs.outputs["run_id"].value == RUN
    assert "demo" not in outputs.outputs["model_uri"].depends_on


def test_a_published_run_is_taken_and_its_job_stays_as_it_was() -> None:
    before, after = train(), train({"run_id": RUN})
    assert after.outputs["model_version"].value == f"run-{RUN}"
    assert after.one("Job", "demo").inputs == before.one("Job", "demo").inputs
    assert settings_of(after) == settings_of(before)


@pytest.mark.parametrize("preview", [True, False])
def test_before_the_first_run_is_published_there_is_no_version(preview: bool) -> None:
    outputs = train(preview=preview).outputs
    assert (outputs["model_version"].value, outputs["model_uri"].value) == ("", "")


def service(uri: Any) -> ModelService:
    args: Any = {"image": ARGS["image"], "namespace": "ml", "tracking_uri": ARGS["tracking_uri"], "model_uri": uri}
    return ModelService("serve", args)


def test_a_service_of_no_version_is_refused_with_the_way_to_make_it_later() -> None:
    def program() -> ModelService:
        return service(TrainingJob("demo", {**ARGS, "wait": False}).model_uri)  # type: ignore[typeddict-item]

    with pytest.raises(ValueError, match=r"no run of a TrainingJob with `wait` false is published yet.*apply\(lambda"):
        run(program)


@pytest.mark.parametrize("preview", [True, False])
@pytest.mark.parametrize("recorded", [{}, {"run_id": "0123456789ab"}])
def test_a_service_may_begin_with_the_first_published_run(recorded: dict[str, str], preview: bool) -> None:
    def program() -> None:
        training = TrainingJob("demo", {**ARGS, "wait": False})  # type: ignore[typeddict-item]
        training.model_uri.apply(lambda uri: service(uri) if uri else None)

    made = run(program, records={"demo-recorded": recorded}, preview=preview)
    assert bool([each for each in made.of("Deployment") if each.name == "serve"]) == bool(recorded)


def test_a_failed_run_gets_another_job_and_that_one_stays_whatever_becomes_of_it() -> None:
    failed = {"failed": RUN, "failed_job": "demo-1", "failure": "container train failed"}
    again = train(failed)
    assert pod_annotations(train()) is None
    assert pod_annotations(again) == {"modelops.dev/after": "demo-1"}
    assert settings_of(again)["pod"] != settings_of(train())["pod"]
    goes_on = train({**failed, "failure": "", "training": RUN})
    published = train({**failed, "failure": "", "run_id": RUN})
    assert again.one("Job", "demo").inputs == goes_on.one("Job", "demo").inputs == published.one("Job", "demo").inputs
    assert pod_annotations(train({**failed, "failed": "another"})) is None


A, B = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


@pytest.mark.parametrize(
    ("record", "text", "is_failure"),
    [
        ({}, f"training run {B}; no run is published yet", False),
        ({"run_id": A}, f"training run {B}; run-{A} stays the version", False),
        ({"run_id": A, "training": B}, f"training run {B}; run-{A} stays the version", False),
        (
            {"run_id": A, "training": "cccccccccccc"},
            f"training run {B}; run-{A} stays the version; run cccccccccccc, which hasn't ended, is stopped",
            False,
        ),
        ({"run_id": B}, "", False),
        ({"run_id": B, "training": A}, f"run {B} is published; run {A}, which hasn't ended, is stopped", False),
        (
            {"run_id": A, "failed": B, "failure": "out of memory"},
            f"run {B} failed, and a new Job runs it again; run-{A} stays the version. out of memory",
            True,
        ),
        ({"run_id": A, "failed": B, "training": B}, f"training run {B}; run-{A} stays the version", False),
        ({"run_id": B, "failed": A, "failure": "out of memory"}, "", False),
    ],
)
def test_an_update_says_what_becomes_of_the_run(record: dict[str, str], text: str, is_failure: bool) -> None:
    assert told(record, B) == (text, is_failure)


@pytest.mark.parametrize("preview", [True, False])
def test_it_says_so_in_a_plan_and_in_an_update(monkeypatch: pytest.MonkeyPatch, preview: bool) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", lambda text, *_: said.append(text))
    train({"run_id": A}, preview=preview)
    assert said == [f"training run {RUN}; run-{A} stays the version"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sweep": {"rate": [1, 2]}, "sweep_metric": "mse"}, "wait is False, must not be given with sweep"),
        ({"backend": "jobset"}, "wait is False, must not be given with a backend other than job"),
        ({"watch": False}, "wait is False, needs the watch"),
        ({"publisher": {"command": ["./publish"]}}, "wait is False, needs the watch"),
    ],
)
def test_something_has_to_see_the_run_end(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError, match=problem):
        train(**changes)


def test_its_watch_may_fail_the_one_job_and_record_that_one_run() -> None:
    program = train()
    account = account_of(program, "demo-watch")
    job = ("jobs", "patch", "demo-1a2b3c4d")
    assert rights(program, account) == READING | TELLING | {job, ("configmaps", "patch", "demo-report")}
    # The name of the Job is known once it is there.
    assert "demo" in program.one("rbac.authorization.k8s.io/v1:Role", "demo-watch").options["dependencies"]
    assert settings_of(train())["record"] == "demo-report" and settings_of(train())["run"] == RUN
    assert pod(train().one("Job", "demo-watch"))["restartPolicy"] == "Never"


# --- The program ---


class Recording(FakeCluster):
    """Keeps the entries of the report's ConfigMap."""

    def __init__(self, *jobs: dict[str, Any], **found: Any) -> None:
        super().__init__(*jobs, **found)
        self.data: dict[str, str] = {}

    def record(self, config_map: str, entries: dict[str, str | None]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError("HTTP Error 503: Service Unavailable")
        assert config_map == "demo-report"
        merged = {**self.data, **entries}
        self.data = {key: value for key, value in merged.items() if value is not None}


def follow(cluster: FakeCluster) -> watch.Run:
    given = {"labels": "a=b", "unscheduled_seconds": 600, "watch": {"name": "demo-watch-1", "uid": "1"}}
    return watch.Run(cluster, {**given, "run": B, "record": "demo-report"})


def test_a_run_is_followed_beyond_its_start_and_its_publication_recorded() -> None:
    cluster = Recording(job(), pods=(STARTED,))
    watched = follow(cluster)
    assert not watched.state().done and not watched.state().done
    assert cluster.data == {"training": B}
    cluster.found["jobs"] = [job(over="Complete")]
    assert watched.state().done
    assert cluster.data == {"run_id": B}


def test_a_failure_is_recorded_with_the_containers_own_words_and_the_job() -> None:
    crashed = pod_with(status("train", terminated={**exited(1), "message": "no such column"}))
    cluster = Recording(job(over="Failed"), pods=(crashed,))
    assert follow(cluster).state().done
    assert cluster.data["failed"] == B and cluster.data["failed_job"] == "demo-1a2b3c4d"
    assert "no such column" in cluster.data["failure"] and "training" not in cluster.data


def test_a_run_that_cannot_start_fails_and_is_recorded_though_the_server_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modelops.kubernetes.assets.watch.time.sleep", lambda _seconds: None)
    cluster = Recording(job(), pods=(pod_with(init=(status("check", waiting=NO_SECRET),)),))
    watched = follow(cluster)
    assert watched.state().problems
    cluster.refusals = 3
    watched.end("no Secret")
    assert cluster.failed == [("demo-1a2b3c4d", "no Secret")]
    assert (cluster.data["failed"], cluster.data["failure"]) == (B, "no Secret")


def test_an_older_failure_is_no_end_of_the_new_run() -> None:
    cluster = Recording(job(BEFORE, "older", over="Failed"))
    cluster.data = {"failed": B, "failed_job": "older", "failure": "boom"}
    watched = follow(cluster)
    assert not watched.state().done
    cluster.found |= {"jobs": [job(BEFORE, "older", over="Failed"), job()], "pods": [STARTED]}
    assert not watched.state().done
    assert cluster.data == {"failed": B, "failed_job": "older", "training": B}


def test_of_two_jobs_of_a_run_the_last_to_end_decides() -> None:
    """After a killed `up` the Job that it left trains, and the next one's Job waits for it."""
    older, newer = job(name="older"), job("2026-01-01T00:09:00Z", "newer")
    cluster = Recording({**older, "status": job(over="Failed")["status"]}, newer, pods=(STARTED,))
    watched = follow(cluster)
    for _ in range(3):
        assert not watched.state().done
    assert "failed" not in cluster.data
    cluster.found["jobs"] = [older, {**newer, "status": job(over="Complete")["status"]}]
    assert not watched.state().done
    cluster.found["jobs"] = [{**each, "status": job(over="Complete")["status"]} for each in (older, newer)]
    assert watched.state().done and cluster.data == {"run_id": B}


def test_a_run_that_was_published_before_is_recorded_where_only_the_watch_is_new() -> None:
    cluster = Recording(job(BEFORE, over="Complete"))
    assert follow(cluster).state().done and cluster.data == {"run_id": B}


def test_what_is_recorded_is_recorded_once() -> None:
    cluster = Recording(job(), pods=(STARTED,))
    watched = follow(cluster)
    watched.state()
    cluster.data = {}
    watched.state()
    assert cluster.data == {}
