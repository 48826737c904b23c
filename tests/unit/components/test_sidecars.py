"""Sidecars that a mesh injects, which run on, fail or are stopped: what judges pods means its own containers."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelops.kubernetes.assets import watch
from modelops.training import progress
from tests.airflow import dag_module
from tests.package.test_consumer import SERVING
from tests.unit.components.harness import Program
from tests.unit.components.test_arguments import RICH, made
from tests.unit.components.test_service_watch import FakeCluster as OneObject
from tests.unit.components.test_service_watch import Told
from tests.unit.components.test_training_watch import NOW, FakeCluster, start

PROXY = "istio-proxy"
RUNS: dict[str, Any] = {"running": {}}
STATES: dict[str, dict[str, Any]] = {
    "runs on": RUNS,
    "is on its way": {"waiting": {"reason": "ContainerCreating"}},
    "failed": {"terminated": {"exitCode": 1, "reason": "Error"}},
    "was stopped": {"terminated": {"exitCode": 143, "reason": "Error"}},
}
"""What an injected container may do meanwhile."""


def job_specs(value: Any) -> Iterator[dict[str, Any]]:
    """The specs of Jobs in an object's inputs: a Job's, a CronJob's, a JobSet's."""
    if isinstance(value, Mapping):
        if "template" in value and {"backoffLimit", "podFailurePolicy"} & value.keys():
            yield dict(value)
        for entry in value.values():
            yield from job_specs(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from job_specs(entry)


def every_job(program: Program) -> list[tuple[str, dict[str, Any]]]:
    """By name: the order in which they were registered is another one in each process."""
    found = sorted(program.resources, key=lambda each: each.name)
    return [(each.name, spec) for each in found for spec in job_specs(each.inputs)]


JOBS = [
    pytest.param(spec, id=f"{name}: {job}")
    for name, (component, args) in RICH.items()
    for job, spec in every_job(made(component, args))
]


def names(spec: Mapping[str, Any], *, ending: bool = False) -> list[str]:
    """The Job's own containers, all of them or those that come to an end."""
    pod = spec["template"]["spec"]
    found = [*pod.get("initContainers", []), *pod["containers"]]
    return [each["name"] for each in found if not ending or each.get("restartPolicy") != "Always"]


def action(spec: Mapping[str, Any], codes: Mapping[str, int]) -> str:
    """What the Job's controller makes of a failed pod whose containers ended so: the first rule that applies, else it
    counts. As in Kubernetes, a rule without a container's name is about all of them."""
    for rule in spec.get("podFailurePolicy", {}).get("rules", []):
        if on := rule.get("onExitCodes"):
            assert on["operator"] == "In"
            ended = [code for name, code in codes.items() if on.get("containerName") in (None, name) and code]
            if any(code in on["values"] for code in ended):
                return str(rule["action"])
    return "Count"


def test_every_kind_of_job_is_looked_at() -> None:
    kinds = {container for case in JOBS for container in names(case.values[0])}
    assert {
        "train",
        "publish",
        "select",
        "prepare",
        "save",
        "watch",
        "check",
        "transfer",
        "replicate",
        "setup",
    } <= kinds


@pytest.mark.parametrize("spec", JOBS)
@pytest.mark.parametrize("code", [1, 2, 75, 143])
def test_how_a_sidecar_ended_says_nothing_about_a_failed_pod(spec: dict[str, Any], code: int) -> None:
    """One that is stopped ends with 143. Were that the pod's, no failure would ever count, and retries never end."""
    for container in names(spec, ending=True):
        for own in (1, 2, 3, 75, 143):
            assert action(spec, {container: own, PROXY: code}) == action(spec, {container: own, PROXY: 0})
        assert action(spec, {container: 1, PROXY: code}) == "Count"


@pytest.mark.parametrize("spec", JOBS)
def test_a_policy_names_containers_that_the_pod_has_and_all_of_them_alike(spec: dict[str, Any]) -> None:
    """Kubernetes refuses a rule about a container that isn't there, and more than 20 rules."""
    rules = spec.get("podFailurePolicy", {}).get("rules", [])
    by_action: dict[str, list[str]] = {}
    for rule in rules:
        if "onExitCodes" in rule:
            by_action.setdefault(rule["action"], []).append(rule["onExitCodes"]["containerName"])
    assert all(found == names(spec, ending=True) for found in by_action.values())
    assert len(rules) <= 20


def pod_of(spec: Mapping[str, Any], *, own: Mapping[str, Any], proxy: Mapping[str, Any], native: bool) -> Any:
    """A pod of the Job, whose main containers are in the state `own`, and a sidecar, which comes first."""

    def status(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
        return {"name": name, "ready": False, "restartCount": 0, "state": dict(state), "lastState": {}}

    pod, injected = spec["template"]["spec"], [status(PROXY, proxy)]
    done = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    init = [
        status(each["name"], RUNS if each.get("restartPolicy") == "Always" else done)
        for each in pod.get("initContainers", [])
    ]
    mains = [status(each["name"], own) for each in pod["containers"]]
    return {
        "metadata": {"name": "demo-1", "uid": "pod-1", "labels": spec["template"]["metadata"]["labels"]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "initContainerStatuses": [*(injected if native else []), *init],
            "containerStatuses": [*([] if native else injected), *mains],
        },
    }


def job_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in spec.items() if key not in ("suspend", "parallelism", "completions")}
    return {"metadata": {"name": "demo-1a2b3c4d", "uid": "1", "creationTimestamp": NOW}, "spec": plain}


class Hearing(FakeCluster):
    """Keeps what it is told of Jobs."""

    def __init__(self, *jobs: dict[str, Any], pods: tuple[Any, ...]) -> None:
        super().__init__(*jobs, pods=pods)
        self.told: list[tuple[str, str]] = []

    def tell(self, job: Mapping[str, Any], message: str, _reason: str) -> None:
        self.told.append((job["name"], message))


@pytest.mark.parametrize("spec", JOBS)
@pytest.mark.parametrize("native", [False, True], ids=["plain", "native"])
@pytest.mark.parametrize("state", STATES)
def test_a_run_has_started_with_its_own_containers(spec: dict[str, Any], state: str, native: bool) -> None:
    found = pod_of(spec, own=RUNS, proxy=STATES[state], native=native)
    cluster = Hearing(job_of(spec), pods=(found,))
    assert start(cluster).state().done
    waits = state == "runs on" and not native
    told = [("demo-1a2b3c4d", f"{PROXY} was injected into its pods: {watch.NEVER_COMPLETES}")] if waits else []
    assert cluster.told == told, "nobody else could say why the Job doesn't complete"


WATCHES: list[Any] = [case for case in JOBS if names(case.values[0]) == ["watch"]]


@pytest.mark.parametrize("spec", WATCHES)
def test_a_watch_stays_out_of_the_mesh_whatever_is_said_of_the_other_pods(spec: dict[str, Any]) -> None:
    """Pulumi waits for some, and they ask nobody but the API server."""
    pod = spec["template"]["metadata"]
    assert pod["labels"]["sidecar.istio.io/inject"] == "false"
    assert pod["annotations"]["linkerd.io/inject"] == "disabled"
    meshed: Any = {
        "pod_labels": {"sidecar.istio.io/inject": "true"},
        "pod_annotations": {"linkerd.io/inject": "enabled"},
    }
    [again] = [
        found for job, found in every_job(made("ModelService", {**SERVING, **meshed})) if names(found) == ["watch"]
    ]
    assert again["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert again["template"]["metadata"]["annotations"]["linkerd.io/inject"] == "disabled"


@pytest.mark.parametrize("spec", JOBS)
def test_a_run_has_not_started_with_a_sidecar_alone(spec: dict[str, Any]) -> None:
    waiting = {"waiting": {"reason": "PodInitializing"}}
    found = pod_of(spec, own=waiting, proxy=RUNS, native=False)
    assert not start(Hearing(job_of(spec), pods=(found,))).state().done


def test_a_start_is_done_even_if_nobody_can_be_told_of_the_sidecar(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("HTTP Error 403: Forbidden")

    spec = JOBS[0].values[0]
    cluster = Hearing(job_of(spec), pods=(pod_of(spec, own=RUNS, proxy=RUNS, native=False),))
    monkeypatch.setattr(cluster, "tell", refuse)
    assert start(cluster).state().done


SMOKE: list[Any] = [case for case in JOBS if "smoke" in str(case.id)]


class SmokeCluster(OneObject):
    """Answers about the Job of a smoke test."""

    def __init__(self, spec: Mapping[str, Any], pod: Any) -> None:
        super().__init__([pod])
        self.job = job_of(spec)

    def get(self, _group: str, _path: str) -> Any:
        return self.job


@pytest.mark.parametrize("spec", SMOKE)
def test_a_smoke_test_that_a_sidecar_keeps_ends_with_the_reason(spec: dict[str, Any]) -> None:
    ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    kept = pod_of(spec, own=ended, proxy=RUNS, native=False)
    state, told = watch.SmokeTest(SmokeCluster(spec, kept), {"name": "demo-smoke"}).state(), Told()
    assert told.after(0, state) is None and told.after(watch.STUCK_SECONDS - 1, state) is None
    reason = told.after(1, state)
    assert reason is not None and f"the check has ended, but {PROXY} was injected" in reason
    for own, native in ((ended, True), (RUNS, False)):
        goes_on = pod_of(spec, own=own, proxy=RUNS, native=native)
        assert watch.SmokeTest(SmokeCluster(spec, goes_on), {"name": "demo-smoke"}).state().problems == ()


@pytest.mark.parametrize("native", [False, True], ids=["plain", "native"])
@pytest.mark.parametrize("state", STATES)
def test_progress_is_that_of_the_container_that_trains(state: str, native: bool) -> None:
    [spec] = [spec for job, spec in every_job(made(*RICH["TrainingJob"])) if job == "demo"]
    trains = pod_of(spec, own=RUNS, proxy=STATES[state], native=native)
    assert progress.waiting_reason(trains) is None
    waits = pod_of(spec, own={"waiting": {"reason": "PodInitializing"}}, proxy=STATES[state], native=native)
    assert "PodInitializing" in str(progress.waiting_reason(waits))
    done = pod_of(spec, own={"terminated": {"exitCode": 0}}, proxy=STATES[state], native=native)
    assert progress.kept_by(job_of(spec), trains) == []
    keeps = not native and "terminated" not in STATES[state]
    assert progress.kept_by(job_of(spec), done) == ([PROXY] if keeps else [])


class Airflow:
    """The API server for the DAG's tasks: one Job, and its pod with a sidecar before the container of the step."""

    def __init__(self, own: Any, proxy: Any, *, succeeded: bool) -> None:
        failed = SimpleNamespace(
            type="Failed", status="True", reason="DeadlineExceeded", message="longer than its time"
        )
        complete = SimpleNamespace(type="Complete", status="True", reason=None, message=None)
        self.status = SimpleNamespace(succeeded=int(succeeded), conditions=[complete if succeeded else failed])
        self.states = {PROXY: proxy, "step": own}

    def read_namespaced_job_status(self, _name: str, _namespace: str) -> Any:
        return SimpleNamespace(status=self.status)

    def list_namespaced_pod(self, _namespace: str, **_: Any) -> Any:
        statuses = [SimpleNamespace(name=name, state=state) for name, state in self.states.items()]
        pod = SimpleNamespace(metadata=SimpleNamespace(name="pod"), status=SimpleNamespace(container_statuses=statuses))
        return SimpleNamespace(items=[pod])

    def read_namespaced_pod_log(self, _name: str, _namespace: str, *, container: str, **_: Any) -> Any:
        assert container == "step", "with several containers the API server wants a name"
        return SimpleNamespace(data=b"of the step")


def terminated(code: int, message: str = "") -> Any:
    return SimpleNamespace(terminated=SimpleNamespace(exit_code=code, message=message))


RUNNING = SimpleNamespace(terminated=None)


def run_step(cluster: Airflow, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    files = made(*RICH["AirflowPipeline"]).one("ConfigMap", "demo-dag").inputs["data"]
    dag = dag_module(folder, files, monkeypatch)
    monkeypatch.setattr(dag, "POLL_SECONDS", 0)
    monkeypatch.setattr(dag, "kubernetes", lambda: (cluster, cluster))
    monkeypatch.setattr(dag, "start", lambda *_: "demo-step")
    monkeypatch.setattr(dag, "get_current_context", lambda: {"ti": SimpleNamespace(try_number=1)})
    return dag.run("prepare", {})


@pytest.mark.parametrize("proxy", [terminated(0, "the sidecar's"), terminated(143, "the sidecar's"), RUNNING])
def test_a_task_reads_the_log_and_the_message_of_its_own_container(
    proxy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Airflow(terminated(0, "3f2a"), proxy, succeeded=True)
    assert run_step(cluster, tmp_path, monkeypatch) == "3f2a"
    assert "of the step" in capsys.readouterr().out


def test_a_task_fails_with_its_own_container_s_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Airflow(terminated(11, "row 3: no number"), terminated(0), succeeded=False)
    with pytest.raises(RuntimeError, match="ended with exit code 11: row 3: no number"):
        run_step(cluster, tmp_path, monkeypatch)


def test_a_task_that_a_sidecar_kept_to_its_deadline_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Airflow(terminated(0, "3f2a"), RUNNING, succeeded=False)
    with pytest.raises(RuntimeError, match="exit code 0: longer than its time"):
        run_step(cluster, tmp_path, monkeypatch)


def test_the_load_that_scales_a_service_is_that_of_its_server() -> None:
    """A sidecar without a request would leave the pod as a whole without a utilization."""
    scaled = made(*RICH["ModelService that scales"]).one("HorizontalPodAutoscaler").inputs["spec"]["metrics"]
    loads = [each["containerResource"] for each in scaled if each["type"] == "ContainerResource"]
    assert {(each["name"], each["container"]) for each in loads} == {("cpu", "serve"), ("memory", "serve")}
    assert all(each["type"] in ("ContainerResource", "Pods") for each in scaled)
    zero = made(*RICH["ModelService with a canary"]).one("ScaledObject", "demo").inputs["spec"]["triggers"]
    assert [each["metadata"]["containerName"] for each in zero if each["type"] in ("cpu", "memory")] == ["serve"]
