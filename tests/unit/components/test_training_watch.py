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


Right = tuple[str, str, str | None]


def rights(program: Program, account: str) -> set[Right]:
    """What an account may do: resource, verb and the one object, if there is one."""
    roles = {
        binding.inputs["roleRef"]["name"]
        for binding in program.of("RoleBinding")
        if account in [subject["name"] for subject in binding.inputs["subjects"]]
    }
    allowing = [role for role in program.of("v1:Role") if role.inputs["metadata"]["name"] in roles]
    return {
        (resource, verb, name)
        for role in allowing
        for rule in role.inputs["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames") or [None]
    }


def account_of(program: Program, job: str) -> str:
    return str(pod(program.one("Job", job))["serviceAccountName"])


READING: set[Right] = {("jobs", "list", None), ("pods", "list", None), ("events", "list", None)}
TELLING: set[Right] = {("events", "create", None)}


def test_its_account_may_fail_jobs_and_the_trainings_own_may_not() -> None:
    program = train()
    watching, training = (rights(program, account_of(program, job)) for job in ("demo-watch", "demo"))
    assert watching == READING | TELLING | {("jobs", "patch", None)}
    assert training == {("jobs", "list", None), ("configmaps", "patch", "demo-report")}


def several(*trainings: dict[str, Any]) -> Program:
    def program() -> None:
        for index, changes in enumerate(trainings):
            TrainingJob(f"demo-{index}", {**ARGS, **changes})  # type: ignore[typeddict-item]

    return run(program)


def test_the_watches_of_a_namespace_share_their_account_and_their_program() -> None:
    program = several({}, {"parameters": {"epochs": 2}}, {"backend": "jobset"})
    [account] = {account_of(program, f"demo-{index}-watch") for index in range(3)}
    assert rights(program, account) == rights(train(), account_of(train(), "demo-watch")), "it may do what each could"
    watches = [program.one("Job", f"demo-{index}-watch") for index in range(3)]
    programs = {pod(watch)["volumes"][1]["configMap"]["name"] for watch in watches}
    [files] = [found for found in program.of("ConfigMap") if found.inputs["metadata"]["name"] in programs]
    for found in watches:
        assert container(found, "watch")["command"] == ["python3", "/opt/modelops-watch/watch.py"]
        assert {files.name, f"{account}-ml-watch"} <= set(found.options["dependencies"])
        labels = found.inputs["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "job-watch"
    [policy] = [each for each in program.of("NetworkPolicy") if each.name.endswith("-watch")]
    assert policy.inputs["spec"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "job-watch"}}
    assert all(policy.name in found.options["dependencies"] for found in watches)


def test_another_namespace_has_an_account_of_its_own() -> None:
    program = several({}, {"namespace": "other"})
    accounts = [each.inputs["metadata"] for each in program.of("ServiceAccount") if each.name.endswith("-watch")]
    assert sorted(each["namespace"] for each in accounts) == ["ml", "other"]


def test_a_watch_with_a_network_of_its_own_has_a_policy_of_its_own() -> None:
    program = several({}, {"network": {"api_server_ports": [7443]}})
    own, shared = sorted(
        (each for each in program.of("NetworkPolicy") if each.name.endswith("-watch")), key=lambda each: each.name
    )
    assert own.inputs["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "demo-1"
    assert 7443 in [port["port"] for rule in own.inputs["spec"]["egress"] for port in rule["ports"]]
    dependencies = program.one("Job", "demo-1-watch").options["dependencies"]
    assert own.name in dependencies and shared.name not in dependencies


def test_each_training_adds_few_objects_to_the_state_which_is_written_anew_for_each() -> None:
    several_more = [
        [
            found.type.rpartition(":")[2]
            for found in several(*[{"parameters": {"n": n}, **changes} for n in range(3)]).resources
        ]
        for changes in ({}, {"wait": False})
    ]
    one = [[found.type.rpartition(":")[2] for found in several(changes).resources] for changes in ({}, {"wait": False})]
    awaited, background = ((len(more) - len(few)) / 2 for more, few in zip(several_more, one, strict=True))
    assert (awaited, background) == (7, 10)


def test_the_state_has_the_watchs_program_once() -> None:
    program = several({}, {"parameters": {"epochs": 2}})
    assert sum("class Rollout" in str(found.inputs) for found in program.resources) == 1


def test_a_plugin_which_makes_each_component_by_itself_gives_each_watch_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modelops.kubernetes.shared.is_program", lambda: False)
    program = several({}, {})
    assert [account_of(program, f"demo-{index}-watch") for index in range(2)] == ["demo-0-watch", "demo-1-watch"]
    assert rights(program, "demo-1-watch") == READING | TELLING | {("jobs", "patch", None)}


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


@pytest.mark.parametrize("change", [{"watch": False}, {"publisher": {"command": ["./publish"]}}])
def test_there_may_be_no_watch(change: dict[str, Any]) -> None:
    assert not [found.name for found in train(**change).resources if found.name.endswith("-watch")]


@pytest.mark.parametrize(("backend", "kind"), [("jobset", "JobSet"), ("trainer", "TrainJob")])
def test_the_job_that_another_controller_makes_is_watched_by_its_labels(backend: str, kind: str) -> None:
    program = train(backend=backend, workers=2)
    pairs = dict(pair.split("=") for pair in settings_of(program)["labels"].split(","))
    owner = program.one("JobSet" if backend == "jobset" else "TrainingRuntime").inputs["spec"]
    [child] = (owner if backend == "jobset" else owner["template"]["spec"])["replicatedJobs"]
    assert pairs.items() <= child["template"]["metadata"]["labels"].items()
    assert "demo-watch" in program.one(kind).options["dependencies"]
    assert settings_of(program)["pod"] == settings_of(train(workers=2))["pod"]


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
    pod = {"initContainers": [{"name": "check"}], "containers": [{"name": "train"}, {"name": "publish"}]}
    return {"metadata": metadata, "spec": {"template": {"spec": pod}, **spec}, "status": {"conditions": conditions}}


class FakeCluster:
    """Answers as the API server would, about the Jobs of a run."""

    def __init__(self, *jobs: dict[str, Any], pods: tuple[Any, ...] = (), events: tuple[Any, ...] = ()) -> None:
        self.found: dict[str, Any] = {"jobs": list(jobs), "pods": list(pods), "events": list(events)}
        self.failed: list[tuple[str, str]] = []
        self.refusals = 0

    def list(self, _group: str, resource: str, **selectors: str) -> Any:
        if selectors.get("fieldSelector") == "metadata.name=demo-watch-1":
            return [{"metadata": {"creationTimestamp": NOW}}]
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


TOO_MUCH = 'pods "demo-1" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi'
QUOTA = 'pods "demo-1" is forbidden: exceeded quota: team, requested: limits.cpu=2, limited: limits.cpu=1'


@pytest.mark.parametrize(
    ("message", "patience"),
    [(TOO_MUCH, watch.STUCK_SECONDS), (QUOTA, 600)],
    ids=["a limit range, which stays", "a quota, of which something may become free"],
)
def test_a_run_whose_pods_are_forbidden_is_told_at_once_and_ends_with_the_reason(message: str, patience: float) -> None:
    earlier = event("FailedCreate", "another reason", seen="2025-01-01T00:00:00Z")
    refused = (event("FailedCreate", f"Error creating: {message}"), earlier, event("SuccessfulDelete", "x"))
    watched, told = start(FakeCluster(job(), events=refused)), Told()
    assert told.after(0, watched.state()) is None
    assert told.said == [f"0 of 1 pods have started. Error creating: {message}"]
    assert told.after(patience - 1, watched.state()) is None
    assert told.after(1, watched.state()) == f"0 of 1 pods have started. Error creating: {message}"


def test_a_pod_that_was_made_in_the_end_was_not_forbidden() -> None:
    refused = (event("FailedCreate", TOO_MUCH),)
    assert start(FakeCluster(job(), pods=(STARTED,), events=refused)).state().done


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
