"""TrainingJob: the Job that watches the start of a run."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from modelops import UPSTREAM_IMAGES, ArgumentsError, TrainingJob
from modelops.kubernetes.assets import watch
from tests.unit.components.harness import Program, breaks_restricted, container, environment, pod, run
from tests.unit.components.test_service_watch import UNSCHEDULABLE, Told, ended, event
from tests.unit.components.test_service_watch import container as status
from tests.unit.components.test_service_watch import pod as pod_with
from tests.unit.components.test_training_job import ARGS


def train(**changes: Any) -> Program:
    return run(lambda: TrainingJob("demo", {**ARGS, **changes}))  # type: ignore[typeddict-item]


def settings_of(program: Program) -> Any:
    return json.loads(environment(program.one("Job", "demo-watch"), "watch")["MODELOPS_WATCH"])


def test_pulumi_waits_for_the_training_and_not_for_its_watch() -> None:
    program = train()
    training, job = program.one("Job", "demo"), program.one("Job", "demo-watch")
    assert "pulumi.com/waitFor" not in training.inputs["metadata"]["annotations"]
    assert job.inputs["metadata"]["annotations"]["pulumi.com/waitFor"] == "jsonpath={.metadata.uid}"
    # The watch looks for a Job that is younger than itself.
    assert "demo-watch" in training.options["dependencies"]
    assert breaks_restricted(job) == []


def test_it_selects_the_jobs_of_the_run_and_is_none_of_them() -> None:
    program = train()
    pairs = dict(pair.split("=") for pair in settings_of(program)["labels"].split(","))
    training, job = (program.one("Job", name).inputs["metadata"]["labels"] for name in ("demo", "demo-watch"))
    assert pairs.items() <= training.items() and not pairs.items() <= job.items()


def test_its_account_may_fail_jobs_and_the_trainings_own_may_not() -> None:
    rules = [train().one("rbac.authorization.k8s.io/v1:Role", name).inputs["rules"] for name in ("demo-watch", "demo")]
    watching, training = (
        {(resource, verb) for rule in each for resource in rule["resources"] for verb in rule["verbs"]}
        for each in rules
    )
    assert watching == {
        ("jobs", "get"),
        ("jobs", "list"),
        ("jobs", "patch"),
        ("pods", "list"),
        ("events", "list"),
        ("events", "create"),
    }
    assert training == {("jobs", "list")}


@pytest.mark.parametrize("change", [{"resources": {"cpu": "2"}}, {"tracking_secret": "writer"}, {"command": ["./run"]}])
def test_another_pod_is_watched_again(change: dict[str, Any]) -> None:
    assert settings_of(train())["pod"] == settings_of(train())["pod"] != settings_of(train(**change))["pod"]


def test_what_makes_no_other_job_makes_no_other_watch() -> None:
    changed = train(timeout_seconds=7200, ttl_seconds_after_finished=60)
    assert settings_of(changed) == settings_of(train())


def test_it_runs_beside_the_training_and_not_on_its_nodes() -> None:
    where: Any = {"node_selector": {"gpu": "a100"}, "tolerations": [{"operator": "Exists"}], "image_pull_secret": "key"}
    spec = pod(train(**where).one("Job", "demo-watch"))
    assert "nodeSelector" not in spec
    assert spec["tolerations"] == [{"operator": "Exists"}] and spec["imagePullSecrets"] == [{"name": "key"}]


def test_it_runs_in_an_image_that_the_run_needs_anyway() -> None:
    def image(**changes: Any) -> str:
        return str(container(train(**changes).one("Job", "demo-watch"), "watch")["image"])

    assert image() == UPSTREAM_IMAGES["mlflow"]
    assert image(runtime_image="mine:1", publisher={"command": ["./publish"]}) == "mine:1"


@pytest.mark.parametrize("change", [{"watch": False}, {"backend": "jobset"}, {"publisher": {"command": ["./publish"]}}])
def test_there_may_be_no_watch(change: dict[str, Any]) -> None:
    assert not [found.name for found in train(**change).resources if found.name.endswith("-watch")]


def test_a_sweeps_second_job_needs_no_watch() -> None:
    program = train(sweep={"rate": [0.1, 0.2]}, sweep_metric="mse")
    assert [job.name for job in program.of("Job")] == ["demo-watch", "demo", "demo-select"]


def test_the_time_without_a_node_is_an_argument() -> None:
    assert settings_of(train())["unscheduled_seconds"] == 600
    assert settings_of(train(scheduling_timeout_seconds=5))["unscheduled_seconds"] == 5
    with pytest.raises(ArgumentsError, match="scheduling_timeout_seconds"):
        train(scheduling_timeout_seconds=-1)


# --- The program ---

NOW, BEFORE = "2026-01-01T00:00:10Z", "2026-01-01T00:00:09Z"


def job(created: str = NOW, name: str = "demo-1a2b3c4d", over: str = "", **spec: Any) -> dict[str, Any]:
    conditions = [{"type": over, "status": "True"}] if over else []
    metadata = {"name": name, "uid": f"uid-of-{name}", "creationTimestamp": created}
    return {"metadata": metadata, "spec": spec, "status": {"conditions": conditions}}


class FakeCluster:
    """Answers as the API server would, about the Jobs of a run."""

    def __init__(self, *jobs: dict[str, Any], pods: tuple[Any, ...] = (), events: tuple[Any, ...] = ()) -> None:
        self.found: dict[str, Any] = {"jobs": list(jobs), "pods": list(pods), "events": list(events)}
        self.failed: list[tuple[str, str]] = []
        self.refusals = 0

    def get(self, _group: str, path: str) -> Any:
        assert path == "jobs/demo-watch-1"
        return {"metadata": {"creationTimestamp": NOW}}

    def list(self, _group: str, resource: str, **_selectors: str) -> Any:
        return self.found[resource]

    def fail(self, job: dict[str, Any], reason: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError("HTTP Error 409: Conflict")
        self.failed.append((job["name"], reason))


def start(cluster: FakeCluster, **settings: Any) -> watch.Start:
    given = {"labels": "a=b", "unscheduled_seconds": 600, "watch": {"name": "demo-watch-1", "uid": "1"}}
    return watch.Start(cluster, {**given, **settings})


WAITING = status("check", waiting={"reason": "PodInitializing"})
STARTED = pod_with(status("train", running={}), status("publish", running={}))
PULLING = {"reason": "ImagePullBackOff", "message": "x/y:1: not found"}
NO_SECRET = {"reason": "CreateContainerConfigError", "message": 'secret "writer" not found'}
HOPELESS = {
    "an image that isn't there": (
        pod_with(status("train", waiting=PULLING), status("publish", running={})),
        watch.STUCK_SECONDS,
        "pod demo-1: container train: ImagePullBackOff: x/y:1: not found",
    ),
    "a missing Secret": (
        pod_with(status("train", waiting={"reason": "PodInitializing"}), init=(status("check", waiting=NO_SECRET),)),
        watch.STUCK_SECONDS,
        'pod demo-1: container check: CreateContainerConfigError: secret "writer" not found',
    ),
    "no node": (
        pod_with(conditions=[UNSCHEDULABLE]),
        600,
        "pod demo-1: it can't be scheduled: 0/1 nodes are available: 1 Insufficient cpu.",
    ),
}


@pytest.mark.parametrize(("found", "patience", "said"), HOPELESS.values(), ids=HOPELESS.keys())
def test_a_run_that_cannot_start_is_told_at_once_and_ends_with_the_reason(
    found: Any, patience: float, said: str
) -> None:
    watched, told = start(FakeCluster(job(), pods=(found,))), Told()
    assert told.after(0, watched.state()) is None
    assert told.said == [f"0 of 1 pods have started. {said}".rstrip(".")]
    assert told.after(patience - 1, watched.state()) is None
    assert told.after(1, watched.state()) == f"0 of 1 pods have started. {said}"


def test_what_is_told_is_told_of_the_job_that_pulumi_waits_for() -> None:
    watched = start(FakeCluster(job()))
    assert watched.awaited["name"] == "demo-watch-1"
    watched.state()
    assert watched.awaited == {"name": "demo-1a2b3c4d", "uid": "uid-of-demo-1a2b3c4d"}


def test_that_job_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelops.kubernetes.assets.watch.time.sleep", lambda _seconds: None)
    cluster = FakeCluster(job())
    cluster.refusals = 2
    watched = start(cluster)
    watched.state()
    watched.end("no such image")
    assert cluster.failed == [("demo-1a2b3c4d", "no such image")]


def test_a_job_fails_by_a_condition_that_the_official_provider_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret")
    monkeypatch.setattr(watch, "ACCOUNT", str(tmp_path))
    monkeypatch.setattr(watch.ssl, "create_default_context", lambda cafile: None)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    sent: list[Any] = []

    class Answer:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_error: object) -> None:
            pass

        def read(self) -> str:
            return "{}"

    def urlopen(request: urllib.request.Request, **_options: Any) -> Answer:
        sent.append(request)
        return Answer()

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    watch.Cluster("ml").fail({"name": "demo-1"}, "no such image")
    told, failed = sent
    said = json.loads(told.data)
    assert (said["reason"], said["message"], said["involvedObject"]["name"]) == (
        "CannotStart",
        "no such image",
        "demo-1",
    )
    assert (failed.get_method(), failed.full_url) == (
        "PATCH",
        "https://10.0.0.1:443/apis/batch/v1/namespaces/ml/jobs/demo-1",
    )
    assert failed.get_header("Content-type") == "application/strategic-merge-patch+json"
    assert json.loads(failed.data) == {"spec": {"activeDeadlineSeconds": 1}}


@pytest.mark.parametrize(
    "waits",
    [
        {"events": (event("TriggeredScaleUp", "a node comes"),)},
        {"events": (event("Nominated", "a node comes"),)},
        {"pods": (pod_with(conditions=[{**UNSCHEDULABLE, "reason": "SchedulingGated"}]),)},
    ],
)
def test_a_pod_that_is_promised_a_node_waits_as_long_as_it_needs(waits: dict[str, Any]) -> None:
    pending = (pod_with(conditions=[UNSCHEDULABLE]),)
    watched, told = start(FakeCluster(job(), **{"pods": pending, **waits})), Told()
    for _ in range(20):
        assert told.after(1000, watched.state(), watch.NEVER) is None


def test_without_a_time_limit_a_pod_waits_for_its_node() -> None:
    cluster, told = FakeCluster(job(), pods=(pod_with(conditions=[UNSCHEDULABLE]),)), Told()
    for _ in range(20):
        assert told.after(1000, start(cluster, unscheduled_seconds=0).state(), watch.NEVER) is None


def test_a_suspended_run_waits_for_its_queue_and_says_so() -> None:
    watched, told = start(FakeCluster(job(suspend=True))), Told()
    for _ in range(20):
        assert told.after(1000, watched.state(), watch.NEVER) is None
    assert told.said == ["the Job is suspended until its queue, or somebody, starts it"]


def test_a_run_that_has_started_is_left_alone() -> None:
    assert start(FakeCluster(job(), pods=(STARTED,))).state().done
    crashed = pod_with(status("train", terminated=ended(1)), status("publish", running={}))
    assert start(FakeCluster(job(), pods=(crashed,))).state().done


def test_all_of_the_first_pods_have_to_start() -> None:
    pending = pod_with(conditions=[UNSCHEDULABLE])
    workers = job(completions=2, parallelism=2)
    assert not start(FakeCluster(workers, pods=(STARTED, pending))).state().done
    assert start(FakeCluster(workers, pods=(STARTED, STARTED))).state().done
    assert start(FakeCluster(job(completions=20, parallelism=1), pods=(STARTED, pending))).state().done


@pytest.mark.parametrize("over", ["Complete", "Failed"])
def test_a_run_that_is_over_needs_no_watch(over: str) -> None:
    assert start(FakeCluster(job(over=over))).state().done


def test_the_jobs_of_the_run_from_before_the_watch_do_not_count() -> None:
    hopeless = FakeCluster(job(BEFORE, "older", over="Failed"))
    watched = start(hopeless)
    for _ in range(20):
        assert not watched.state().done
    hopeless.found["jobs"] += [job(), job("2026-01-01T00:09:00Z", "demo-select-1")]
    watched.state()
    assert watched.awaited["name"] == "demo-1a2b3c4d"


def test_where_only_the_watch_is_new_it_ends() -> None:
    watched = start(FakeCluster(job(BEFORE, over="Complete")))
    states = [watched.state().done for _ in range(watch.LOOKS_FOR_A_RUN)]
    assert states == [False] * (watch.LOOKS_FOR_A_RUN - 1) + [True]
