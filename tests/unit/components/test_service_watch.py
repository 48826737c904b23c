"""ModelService: the Job that watches a release."""

import json
from typing import Any

import pulumi
import pytest

from modelops import ModelService
from modelops.kubernetes.assets import watch
from modelops.serving.watch import _own as own
from tests.unit.components.harness import breaks_restricted, environment, run
from tests.unit.components.service import ARGS, serve


def settings_of(program: Any, name: str = "demo-watch") -> Any:
    return json.loads(environment(program.one("Job", name), "watch")["MODELOPS_WATCH"])


def test_the_watch_waits_in_the_place_of_the_provider() -> None:
    program = serve(ARGS)
    deployment, job = program.one("Deployment"), program.one("Job", "demo-watch")
    assert deployment.inputs["metadata"]["annotations"] == {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
    assert "demo-watch" in program.one("core/v1:Service").options["dependencies"]
    assert breaks_restricted(job) == []


@pytest.mark.parametrize(
    "change",
    [{"model_uri": "models:/linear@run-ba9876543210"}, {"replicas": 3}, {"drain_seconds": 20}],
)
def test_another_release_is_watched_again(change: dict[str, Any]) -> None:
    assert settings_of(serve(ARGS)) == settings_of(serve(ARGS))
    assert settings_of(serve({**ARGS, **change}))["release"] != settings_of(serve(ARGS))["release"]


def test_what_a_transformation_does_to_the_deployment_is_watched_too() -> None:
    def annotate(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if args.type_ != "kubernetes:apps/v1:Deployment":
            return None
        spec: Any = args.props["spec"]
        spec.template.metadata.annotations = {"team": "vision"}
        return pulumi.ResourceTransformationResult(args.props, args.opts)

    opts = pulumi.ResourceOptions(transformations=[annotate])
    changed = run(lambda: ModelService("demo", ARGS, opts))  # type: ignore[arg-type]
    assert settings_of(changed)["release"] != settings_of(serve(ARGS))["release"]


def test_what_an_autoscaler_does_is_no_new_release() -> None:
    spec = {"replicas": 2, "template": {}}
    assert own(spec, autoscaled=True) == own({**spec, "replicas": 5}, autoscaled=True)
    assert own(spec, autoscaled=False) != own({**spec, "replicas": 5}, autoscaled=False)


def test_the_watch_may_read_pods_and_tell_of_them_and_nothing_else() -> None:
    rules = serve(ARGS).one("rbac.authorization.k8s.io/v1:Role", "demo-watch").inputs["rules"]
    allowed = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert allowed == {
        ("deployments", "get"),
        ("replicasets", "list"),
        ("pods", "list"),
        ("events", "list"),
        ("events", "create"),
    }


def test_only_the_own_fetcher_has_codes_that_are_final() -> None:
    assert settings_of(serve(ARGS))["final_exit_codes"] == {"fetch": [1, 2]}
    assert settings_of(serve({**ARGS, "fetch_command": ["fetch-it"]}))["final_exit_codes"] == {}


def test_every_track_has_a_watch_of_its_own() -> None:
    canary = {"model_uri": "models:/linear@run-ba9876543210", "weight_percent": 10, "tolerance_points": 30}
    program = serve({**ARGS, "canary": canary})
    assert settings_of(program)["name"] == "demo"
    assert settings_of(program, "demo-canary-watch")["name"] == "demo-canary"


def test_a_smoke_test_is_watched_too() -> None:
    program = serve({**ARGS, "smoke_test": {"inputs": [[0.5]], "outputs": [2.0]}})
    job, settings = program.one("Job", "demo-smoke"), settings_of(program, "demo-smoke-watch")
    assert job.inputs["metadata"]["annotations"]["pulumi.com/waitFor"] == "jsonpath={.metadata.uid}"
    assert settings["kind"] == "Job" and settings["name"].startswith("demo-smoke-")
    assert settings["final_exit_codes"] == {"fetch": [1, 2]}
    assert "demo-smoke-watch" in program.one("Deployment").options["dependencies"]
    rules = program.one("rbac.authorization.k8s.io/v1:Role", "demo-smoke-watch").inputs["rules"]
    assert rules[0] == {
        "apiGroups": ["batch"], "resources": ["jobs"], "resourceNames": [settings["name"]], "verbs": ["get"]
    }  # fmt: skip


def test_without_the_watch_pulumi_waits_for_the_smoke_test() -> None:
    program = serve({**ARGS, "smoke_test": {"inputs": [[0.5]], "outputs": [2.0]}, "rollout": {"watch": False}})
    job = program.one("Job", "demo-smoke")
    assert "pulumi.com/waitFor" not in job.inputs["metadata"]["annotations"]
    assert "demo-smoke" in program.one("Deployment").options["dependencies"]


def test_without_the_watch_pulumi_waits() -> None:
    program = serve({**ARGS, "rollout": {"watch": False}})
    assert program.of("Job") == [] and program.of("Role") == []
    assert "annotations" not in program.one("Deployment").inputs["metadata"]
    assert "demo" in program.one("core/v1:Service").options["dependencies"]


# --- The program ---

POD: dict[str, Any] = {
    "metadata": {"name": "demo-1", "uid": "pod-1", "labels": {"pod-template-hash": "new"}},
    "status": {"conditions": [{"type": "PodScheduled", "status": "True"}]},
}


def pod(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **changes: Any) -> dict[str, Any]:
    status = {**POD["status"], "initContainerStatuses": list(init), "containerStatuses": list(containers), **changes}
    return {**POD, "status": status}


def container(name: str = "serve", *, restarts: int = 0, ready: bool = False, last: Any = None, **state: Any) -> Any:
    return {
        "name": name,
        "ready": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": {"terminated": last} if last else {},
    }


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"exitCode": code, "message": message, "reason": reason}


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient cpu.",
}
STARTING = container(waiting={"reason": "PodInitializing"})


class FakeCluster:
    """Answers as the API server would, about one Deployment."""

    def __init__(self, pods: list[Any], events: tuple[Any, ...] = (), **deployment: Any) -> None:
        self.pods, self.events = pods, events
        revision = {"deployment.kubernetes.io/revision": "2"}
        self.deployment: dict[str, Any] = {
            "metadata": {"name": "demo", "generation": 2, "annotations": revision},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"track": "stable"}}},
            "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1},
        }
        for part, fields in deployment.items():
            self.deployment[part] |= fields
        self.replica_sets = [{"metadata": {"labels": {"pod-template-hash": "new"}, "annotations": revision}}]

    def get(self, _group: str, _path: str) -> Any:
        return self.deployment

    def list(self, _group: str, resource: str, **_selectors: str) -> Any:
        return {"pods": self.pods, "events": self.events, "replicasets": self.replica_sets}[resource]


def state_of(cluster: FakeCluster) -> watch.State:
    return watch.Rollout(cluster, {"name": "demo", "final_exit_codes": {"fetch": [2]}}).state()


class Told:
    """A watch whose clock stands at `second`."""

    def __init__(self) -> None:
        self.second, self.said = 0.0, list[str]()
        self.watch = watch.Watch(self.said.append, lambda: self.second)

    def after(self, seconds: float, state: watch.State, deadline: float = 600) -> str | None:
        self.second += seconds
        reason = self.watch.verdict(state, deadline)
        if reason is None:
            self.watch.report(state)
        return reason


def test_a_rollout_is_done_once_every_pod_is_of_the_release_and_available() -> None:
    whole = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    assert state_of(FakeCluster([], status=whole)).done
    for field in whole:
        assert not state_of(FakeCluster([], status={**whole, field: 1})).done
    assert not state_of(FakeCluster([], status={**whole, "replicas": 3})).done


def test_the_version_before_is_not_taken_for_the_new_one() -> None:
    whole = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    state = state_of(FakeCluster([], status={**whole, "observedGeneration": 1}))
    assert not state.done and state.problems == ()


def test_a_service_without_pods_is_done_at_once() -> None:
    nothing = {"replicas": 0, "updatedReplicas": 0, "availableReplicas": 0}
    assert state_of(FakeCluster([], spec={"replicas": 0}, status=nothing)).done


FATAL = {
    "a model that can't be fetched": (
        pod(STARTING, init=(container("fetch", terminated=ended(2, "error: no version has the alias champion")),)),
        0,
        "pod demo-1: container fetch failed (exit code 2): error: no version has the alias champion",
    ),
    "a crash loop": (
        pod(container(restarts=2, waiting={"reason": "CrashLoopBackOff"}, last=ended(1, "ImportError: no torch"))),
        0,
        "pod demo-1: container serve failed for the third time (exit code 1): ImportError: no torch",
    ),
    "a killed container": (
        pod(container(restarts=3, running={}, last=ended(137, reason="OOMKilled"))),
        0,
        "pod demo-1: container serve failed for the third time (OOMKilled, exit code 137)",
    ),
    "a name that is no image": (
        pod(container(waiting={"reason": "InvalidImageName", "message": "couldn't parse image name"})),
        0,
        "pod demo-1: container serve: InvalidImageName: couldn't parse image name",
    ),
    "an image that isn't there": (
        pod(container(waiting={"reason": "ImagePullBackOff", "message": "x/y:1: not found"})),
        watch.STUCK_SECONDS,
        "pod demo-1: container serve: ImagePullBackOff: x/y:1: not found",
    ),
    "a missing Secret": (
        pod(STARTING, init=(container("fetch", waiting={"reason": "CreateContainerConfigError", "message": "no s"}),)),
        watch.STUCK_SECONDS,
        "pod demo-1: container fetch: CreateContainerConfigError: no s",
    ),
    "no node": (
        pod(conditions=[UNSCHEDULABLE]),
        watch.UNSCHEDULED_SECONDS,
        "pod demo-1: it can't be scheduled: 0/1 nodes are available: 1 Insufficient cpu.",
    ),
}


@pytest.mark.parametrize(("found", "patience", "said"), FATAL.values(), ids=FATAL.keys())
def test_a_release_that_cannot_succeed_ends_with_the_reason(found: Any, patience: float, said: str) -> None:
    state, told = state_of(FakeCluster([found])), Told()
    if patience:
        assert told.after(0, state) is None
        assert told.said == [f"0 of 2 pods are ready. {said}".rstrip(".")]
        assert told.after(patience - 1, state) is None
    assert told.after(1, state) == f"0 of 2 pods are ready. {said}"


RECOVERING = {
    "the first failure of a server": pod(container(waiting={"reason": "CrashLoopBackOff"}, last=ended(1, "not yet"))),
    "a fetch that may be tried again": pod(STARTING, init=(container("fetch", terminated=ended(1, "502")),)),
}


@pytest.mark.parametrize("found", RECOVERING.values(), ids=RECOVERING.keys())
def test_what_may_still_come_right_is_told_and_waited_for(found: Any) -> None:
    state, told = state_of(FakeCluster([found])), Told()
    assert told.after(0, state) is None and told.after(500, state) is None
    assert len(told.said) == 1 and "failed (exit code 1)" in told.said[0]


def test_a_container_that_recovered_is_no_problem() -> None:
    found = pod(container(restarts=5, running={}, ready=True, last=ended(1)))
    assert state_of(FakeCluster([found])).problems == ()


def test_patience_begins_anew_when_a_problem_is_gone_for_a_while() -> None:
    told = Told()
    missing = state_of(FakeCluster([pod(container(waiting={"reason": "ErrImagePull", "message": "502"}))]))
    pulled = state_of(FakeCluster([pod(container(running={}))]))
    for state in (missing, pulled, missing):
        assert told.after(watch.STUCK_SECONDS - 1, state) is None


def event(reason: str, message: str, field: str = "", seen: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    where = {"uid": "pod-1", "fieldPath": field}
    return {"reason": reason, "message": message, "involvedObject": where, "lastTimestamp": seen}


@pytest.mark.parametrize("scaler", ["TriggeredScaleUp", "Nominated"])
def test_a_node_that_is_on_its_way_is_waited_for(scaler: str) -> None:
    cluster, told = FakeCluster([pod(conditions=[UNSCHEDULABLE])], (event(scaler, "a node comes"),)), Told()
    for _ in range(5):
        assert told.after(100, state_of(cluster)) is None


def test_a_volume_that_cannot_be_mounted_is_told() -> None:
    creating = pod(container(waiting={"reason": "ContainerCreating"}))
    events = (event("FailedMount", 'secret "tls" not found'), event("Scheduled", "to node-1"))
    state, told = state_of(FakeCluster([creating], events)), Told()
    assert told.after(0, state) is None
    reason = told.after(watch.UNSCHEDULED_SECONDS, state)
    assert reason == '0 of 2 pods are ready. pod demo-1: it can\'t start: secret "tls" not found'


def test_the_deadline_says_what_the_probe_said_last() -> None:
    running = pod(container(running={}))
    events = (
        event("Unhealthy", "HTTP probe failed with statuscode: 404", "spec.containers{serve}", "2026-01-01T00:00:01Z"),
        event("Unhealthy", "HTTP probe failed with statuscode: 503", "spec.containers{serve}", "2026-01-01T00:00:09Z"),
        event("Unhealthy", "of another container", "spec.containers{metrics}", "2026-01-01T00:00:10Z"),
    )
    told = Told()
    reason = told.after(600, state_of(FakeCluster([running], events)))
    probe = "pod demo-1: container serve runs, but: HTTP probe failed with statuscode: 503"
    assert reason == f"0 of 2 pods are ready after 600 s. {probe}"


STOPPED = "Container serve failed startup probe, will be restarted"
LATER = "2999-01-01T00:00:00Z"


def test_a_server_that_was_not_ready_in_its_time_ends_the_release() -> None:
    starting = pod(container(restarts=1, running={}, last=ended(143)))
    events = (
        event("Unhealthy", "connection refused", "spec.containers{serve}", LATER),
        event("Killing", STOPPED, "spec.containers{serve}", LATER),
    )
    reason = Told().after(0, state_of(FakeCluster([starting], events)))
    assert (
        reason == "0 of 2 pods are ready. pod demo-1: container serve did not get ready in its time: connection refused"
    )


@pytest.mark.parametrize(
    "other",
    [
        event("Killing", STOPPED, "spec.containers{serve}", "2026-01-01T00:00:00Z"),
        event("Killing", STOPPED, "spec.containers{metrics}", LATER),
        event("Killing", "Container serve failed liveness probe, will be restarted", "spec.containers{serve}", LATER),
    ],
    ids=["before the watch began", "another container", "another probe"],
)
def test_a_server_has_its_whole_time_in_each_watch(other: dict[str, Any]) -> None:
    starting = pod(container(restarts=1, running={}, last=ended(143)))
    assert Told().after(0, state_of(FakeCluster([starting], (other,)))) is None


def test_while_it_waits_it_says_what_for_and_says_nothing_twice() -> None:
    fetching = state_of(FakeCluster([pod(STARTING, init=(container("fetch", running={}),))]))
    told = Told()
    for _ in range(60):
        assert told.after(1, fetching) is None
    assert told.said == ["0 of 2 pods are ready. pod demo-1: container fetch is running"]


def test_pods_with_the_same_problem_are_told_once() -> None:
    broken = pod(container(waiting={"reason": "InvalidImageName", "message": "no"}))
    other = {**broken, "metadata": {**POD["metadata"], "name": "demo-2"}}
    reason = Told().after(0, state_of(FakeCluster([broken, other])))
    assert reason == "0 of 2 pods are ready. 2 pods: container serve: InvalidImageName: no"


def test_pods_of_the_version_before_do_not_count() -> None:
    old = pod(container(waiting={"reason": "InvalidImageName", "message": "no"}))
    old["metadata"] = {**POD["metadata"], "labels": {"pod-template-hash": "old"}}
    assert state_of(FakeCluster([old])).problems == ()


def test_a_pod_that_a_quota_forbids_is_told() -> None:
    forbidden = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: team, limited: pods=1"}
    state = state_of(FakeCluster([], status={"conditions": [forbidden]}))
    told = Told()
    assert told.after(0, state) is None
    assert told.after(60, state) == "0 of 2 pods are ready. exceeded quota: team, limited: pods=1"


class FakeGroups(FakeCluster):
    """Answers as the API server would, about two groups of a leader and a worker each."""

    def __init__(
        self, pods: list[Any], events: tuple[Any, ...] = (), *, sets: int = 1, available: bool = False
    ) -> None:
        super().__init__(pods, events)
        self.deployment = {
            "metadata": {"name": "demo", "generation": 2},
            "spec": {
                "replicas": 2,
                "leaderWorkerTemplate": {"size": 2, "leaderTemplate": {"metadata": {"labels": {watch.RELEASE: "new"}}}},
            },
            "status": {"conditions": [{"type": "Available", "status": str(available)}]},
        }
        self.sets = [{"metadata": {"name": "demo", "uid": "set-1"}}] * sets

    def list(self, _group: str, resource: str, **_selectors: str) -> Any:
        if resource == "events":
            uid = _selectors["fieldSelector"].partition("=")[2]
            return [each for each in self.events if each["involvedObject"]["uid"] == uid]
        return self.sets if resource == "statefulsets" else super().list(_group, resource, **_selectors)


def member(found: dict[str, Any], index: int = 0, *, release: str = "new", uid: str = "pod-1", **more: Any) -> Any:
    """A pod as one of a group."""
    return {**found, "metadata": {"name": f"demo-{index}", "uid": uid, "labels": {watch.RELEASE: release}, **more}}


def groups_state(cluster: FakeGroups) -> watch.State:
    return watch.WATCHED["LeaderWorkerSet"](cluster, {"name": "demo", "final_exit_codes": {"fetch": [2]}}).state()


READY = pod(container(running={}, ready=True), conditions=[{"type": "Ready", "status": "True"}])


def test_groups_are_done_once_every_pod_of_theirs_is_of_the_release_and_ready() -> None:
    new = [member(READY, index) for index in range(4)]
    assert groups_state(FakeGroups(new, available=True)).done
    assert not groups_state(FakeGroups(new, available=False)).done
    assert not groups_state(FakeGroups(new[1:], available=True)).done
    leaving = member(READY, 4, release="old", deletionTimestamp="2026-01-01T00:00:00Z")
    assert groups_state(FakeGroups([*new, leaving], available=True)).done


def test_the_status_that_groups_had_before_a_release_is_not_taken_for_the_new_one() -> None:
    """LeaderWorkerSet's status has no generation: until its controller has seen the new spec, all looks available."""
    old = [member(READY, index, release="old") for index in range(4)]
    assert not groups_state(FakeGroups(old, available=True)).done
    mixed = [*(member(READY, index) for index in range(4)), *old[:1]]
    state = groups_state(FakeGroups(mixed, available=True))
    assert not state.done and state.waiting_for == "the groups of the version before are leaving"


@pytest.mark.parametrize(("found", "patience", "said"), FATAL.values(), ids=FATAL.keys())
def test_groups_that_cannot_succeed_end_with_the_reason(found: Any, patience: float, said: str) -> None:
    state, told = groups_state(FakeGroups([member(found, 1)])), Told()
    if patience:
        assert told.after(0, state) is None and told.after(patience - 1, state) is None
    assert told.after(1, state) == f"0 of 4 pods are ready. {said}"


def test_a_group_that_a_quota_forbids_is_told() -> None:
    text = 'create Pod demo-0 in StatefulSet demo failed error: pods "demo-0" is forbidden: exceeded quota: team'
    forbidden = {"reason": "FailedCreate", "message": text, "involvedObject": {"uid": "set-1"}}
    state, told = groups_state(FakeGroups([], (forbidden,))), Told()
    assert told.after(0, state) is None
    assert told.after(watch.UNSCHEDULED_SECONDS, state) == f"0 of 4 pods are ready. {text}"


def test_groups_that_no_controller_makes_are_told_at_the_deadline() -> None:
    reason = Told().after(600, groups_state(FakeGroups([], sets=0)))
    why = "nothing was made of it: does the controller of LeaderWorkerSet run?"
    assert reason == f"0 of 4 pods are ready after 600 s. {why}"


def test_a_crash_loop_is_seen_though_each_crash_makes_the_group_anew() -> None:
    cluster, told = FakeGroups([]), Told()
    groups = watch.Groups(cluster, {"name": "demo"})
    for uid in ("a", "b", "c"):
        assert told.after(1, groups.state()) is None
        crashed = pod(container(restarts=1, running={}, last=ended(1, "no such device")))
        # It is on its way out as soon as it has crashed.
        cluster.pods = [member(crashed, uid=uid, deletionTimestamp="2026-01-01T00:00:00Z")]
    assert told.after(1, groups.state()) == (
        "0 of 4 pods are ready. pod demo-0: container serve failed for the third time (exit code 1): no such device"
    )


def test_a_worker_that_is_stopped_with_its_leader_has_not_failed() -> None:
    cluster, told = FakeGroups([]), Told()
    groups = watch.Groups(cluster, {"name": "demo"})
    for uid in ("a", "b", "c", "d"):
        stopped = pod(container(terminated=ended(137)))
        cluster.pods = [member(stopped, 1, uid=uid, deletionTimestamp="2026-01-01T00:00:00Z")]
        assert told.after(1, groups.state()) is None


class FakeJob(FakeCluster):
    """Answers as the API server would, about the Job of a smoke test."""

    def __init__(self, pods: list[Any], **conditions: str) -> None:
        super().__init__(pods)
        status = [{"type": kind, "status": "True", "message": message} for kind, message in conditions.items()]
        self.deployment = {"metadata": {"name": "demo-smoke", "uid": "1"}, "status": {"conditions": status}}


def smoke_state(cluster: FakeJob) -> watch.State:
    settings = {"kind": "Job", "name": "demo-smoke", "final_exit_codes": {"fetch": [2]}}
    return watch.WATCHED["Job"](cluster, settings).state()


LIMIT = "Job has reached the specified backoff limit"


def test_a_smoke_test_that_passed_is_done() -> None:
    assert smoke_state(FakeJob([], Complete="")).done
    assert not smoke_state(FakeJob([pod(container("check", running={}))])).done


def test_a_smoke_test_that_failed_ends_with_what_its_containers_said() -> None:
    lost = container("fetch", terminated=ended(1, "the registry is not reachable"))
    reason = Told().after(0, smoke_state(FakeJob([pod(STARTING, init=(lost,))], Failed=LIMIT)))
    said = "pod demo-1: container fetch failed (exit code 1): the registry is not reachable"
    assert reason == f"the smoke test failed. {said}"
    wrong = container("check", terminated=ended(1, "outputs[0] is 2.5, must be 2"))
    reason = Told().after(0, smoke_state(FakeJob([pod(wrong)], Failed=LIMIT)))
    assert (
        reason
        == "the smoke test failed. pod demo-1: container check failed (exit code 1): outputs[0] is 2.5, must be 2"
    )


def test_a_smoke_test_whose_pod_is_gone_says_what_the_job_says() -> None:
    assert Told().after(0, smoke_state(FakeJob([], Failed="the deadline is over"))) == (
        "the smoke test failed. the deadline is over"
    )


def test_a_smoke_test_that_cannot_start_ends_before_its_deadline() -> None:
    missing = pod(STARTING, init=(container("serve", waiting={"reason": "ErrImagePull", "message": "x: not found"}),))
    state, told = smoke_state(FakeJob([missing])), Told()
    assert told.after(0, state) is None
    reason = told.after(watch.STUCK_SECONDS, state)
    assert reason == "the smoke test isn't over. pod demo-1: container serve: ErrImagePull: x: not found"


def test_an_api_server_that_is_away_for_a_while_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelops.kubernetes.assets.watch.time.sleep", lambda _seconds: None)
    answers: list[Any] = [OSError("connection refused"), watch.State("2 of 2 pods are available", done=True)]

    def look() -> watch.State:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer  # type: ignore[no-any-return]

    assert watch.follow(look, Told().watch, 600) is None
