"""Watches a rollout, a smoke test or the start of a run until it is done, or ends with the reason once it is in vain.

Runs in the cluster, on Python's standard library alone. Pulumi's provider waits for an object until a deadline, and
looks at a pod's main containers only: a model that can't be fetched, a pod that can't be scheduled or a missing Secret
would cost the whole deadline and leave no reason. This program looks at everything that Kubernetes says about the pods,
tells what it waits for by events of the Job that the provider waits for, which the provider shows, and fails with the
containers' last lines.

Exit code 0: every pod of the new version is available, the smoke test passed, or the run's pods have started. 1: it
failed; the termination message says why.
"""

import contextlib
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

JsonObject = dict[str, Any]

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
TERMINATION_LOG = "/dev/termination-log"
TIMEOUT_SECONDS = 10
POLL_SECONDS = 1.0
TELL_SECONDS = 10.0
"""How long it is quiet before it first says what it waits for, and between two such sentences."""
FAILURES = 3
"""Failures of a container that end the rollout: the first ones may be a dependency that isn't up yet."""
STUCK_SECONDS = 30.0
"""How long an image or a Secret may be missing: a registry may be restarting, another program may bring the Secret."""
UNSCHEDULED_SECONDS = 60.0
"""How long a pod may be without a node, or its volumes. A node that is on its way gives the whole deadline."""
SLOW_POLL_SECONDS = 5.0
"""For what may take hours: a queue, a node."""
TRIES = 10
LOOKS_FOR_A_RUN = 5
"""After so many looks no new run comes where an older one has succeeded: only the watch itself has changed."""
NEVER = float("inf")
MAX_PODS = 10
"""Pods whose events are read; the others have the same problems."""
MAX_TEXT = 1500
"""Characters of a container's own words; a termination message holds 4096 bytes."""

STUCK = {
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
HOPELESS = {"InvalidImageName"}
NODE_COMES = {"TriggeredScaleUp", "Nominated", "NominatedForNode"}
"""Events by which the Cluster Autoscaler and Karpenter tell that a pod's node is on its way."""
STARTUP = "failed startup probe"
"""In the message of the event that the kubelet stops a container for that."""
RELEASE = "modelops.dev/release"
"""The label by which a group's pods say of which template they are (serving/vllm.py)."""
GROUPS = "leaderworkerset.sigs.k8s.io/name"
"""The label of all pods and StatefulSets of a LeaderWorkerSet."""
NEVER_COMPLETES = "unless that ends by itself, the Job never completes (a native sidecar would do)"
NOT_STARTED = ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox")


class Problem(NamedTuple):
    """Something that keeps a pod from getting ready."""

    pod: str
    """Name of the pod; empty if there is none yet."""
    part: str
    """What of the pod has the problem. The clock of `patience` runs while the same part of the same pod has one."""
    text: str
    patience: float
    """For how many seconds the rollout may have this problem."""


class State(NamedTuple):
    """What a rollout looks like at one time."""

    summary: str
    done: bool = False
    problems: tuple[Problem, ...] = ()
    waiting_for: str = ""
    """What pods without a problem are doing."""
    pause: float = POLL_SECONDS
    """Seconds until the next look."""


def at(obj: Any, *path: str) -> Any:
    """The value at a path of keys, None where there is nothing."""
    for key in path:
        obj = obj.get(key) if isinstance(obj, dict) else None
    return obj


def condition(obj: JsonObject, kind: str) -> JsonObject:
    """The status condition of that type, empty if there is none."""
    return next((entry for entry in at(obj, "status", "conditions") or [] if entry.get("type") == kind), {})


def containers(pod: JsonObject) -> list[JsonObject]:
    """The statuses of all containers, in the order in which they start."""
    return [*(at(pod, "status", "initContainerStatuses") or []), *(at(pod, "status", "containerStatuses") or [])]


def own_names(job: JsonObject) -> set[str]:
    """The containers that a Job has itself: its pods may have more, which somebody injects."""
    spec = at(job, "spec", "template", "spec") or {}
    return {each["name"] for key in ("initContainers", "containers") for each in spec.get(key) or []}


def injected(pods: list[JsonObject], own: set[str]) -> list[str]:
    """The injected containers that run and that a pod waits for at its end, unlike native sidecars."""
    statuses = [status for pod in pods for status in at(pod, "status", "containerStatuses") or []]
    return sorted({status["name"] for status in statuses if status["name"] not in own and runs(status)})


def runs(status: JsonObject) -> bool:
    """Whether a container runs now."""
    return at(status, "state", "running") is not None


def container_problem(pod: str, status: JsonObject, final: set[int]) -> Problem | None:
    """What is wrong with a container, if anything. `final` are the exit codes after which a retry can't help."""
    name, waiting = status["name"], at(status, "state", "waiting") or {}
    reason = waiting.get("reason")
    if reason in STUCK | HOPELESS:
        text = f"container {name}: {reason}: {short(waiting.get('message'))}"
        return Problem(pod, name, text, 0 if reason in HOPELESS else STUCK_SECONDS)
    ended = at(status, "state", "terminated") or at(status, "lastState", "terminated") or {}
    if not ended.get("exitCode") or status.get("ready"):
        return None
    times = status.get("restartCount", 0) + (0 if runs(status) else 1)
    cause = "" if ended.get("reason") in (None, "Error") else f"{ended['reason']}, "
    count = f" for the {ordinal(times)} time" if times > 1 else ""
    text = f"container {name} failed{count} ({cause}exit code {ended['exitCode']}): {short(ended.get('message'))}"
    over = times >= FAILURES or ended["exitCode"] in final
    return Problem(pod, f"{name} failed", text.rstrip(": "), 0 if over else NEVER)


def pod_problems(
    pod: JsonObject, events: list[JsonObject], final: dict[str, set[int]], unscheduled: float, since: str = ""
) -> list[Problem]:
    """What keeps a pod from getting ready, according to its conditions, containers and events.

    `unscheduled` is for how long it may be without a node, or its volumes. `since` is when the watch began.
    """
    name, scheduled = pod["metadata"]["name"], condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        # A gate is somebody's promise to open it: a queue's, for example.
        gated = scheduled.get("reason") == "SchedulingGated"
        comes = gated or any(event.get("reason") in NODE_COMES for event in events)
        text = f"it can't be scheduled: {short(scheduled.get('message'))}"
        return [Problem(name, "node", text, NEVER if comes else unscheduled)]
    statuses = containers(pod)
    found = [container_problem(name, status, final.get(status["name"], set())) for status in statuses]
    problems = [problem for problem in found if problem]
    problems += [
        Problem(
            name, f"{status['name']} startup", f"container {status['name']} did not get ready in its time: {said}", 0
        )
        for status in statuses
        if (said := too_slow(status["name"], events, since))
    ]
    running = [status["name"] for status in statuses if runs(status) and not status.get("ready")]
    for container in running:
        if said := last(events, "Unhealthy", f"{{{container}}}"):
            problems.append(Problem(name, f"{container} ready", f"container {container} runs, but: {said}", NEVER))
    if not any(runs(status) or at(status, "state", "terminated") for status in statuses):
        told = {reason: last(events, reason) for reason in NOT_STARTED}
        problems += [Problem(name, key, f"it can't start: {told[key]}", unscheduled) for key in told if told[key]]
    return problems


def last(events: list[JsonObject], reason: str, field: str = "") -> str:
    """The message of the last event with that reason, about that part of the object."""
    said = [e for e in events if e.get("reason") == reason and field in str(at(e, "involvedObject", "fieldPath"))]
    return short(max(said, key=when).get("message")) if said else ""


def too_slow(container: str, events: list[JsonObject], since: str) -> str:
    """What a container's startup probe said last, if the container was stopped for it: it has had its whole time."""
    stops = [event for event in events if event.get("reason") == "Killing" and STARTUP in str(event.get("message"))]
    field = f"{{{container}}}"
    if any(field in str(at(event, "involvedObject", "fieldPath")) and when(event) >= since for event in stops):
        return last(events, "Unhealthy", field) or "its startup probe failed"
    return ""


def when(event: JsonObject) -> str:
    """When an event was last seen."""
    return str(at(event, "series", "lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


def doing(pod: JsonObject) -> str:
    """What a pod without a problem is doing."""
    statuses = containers(pod)
    for status in statuses:
        if runs(status) and not status.get("ready"):
            return f"container {status.get('name')} is running"
        if at(status, "state", "waiting", "reason") == "ContainerCreating":
            return f"container {status.get('name')} is being created (its image may be on its way)"
    return "it is starting"


def short(text: Any) -> str:
    """The end of a text, which is where the reason of a failure mostly stands."""
    stripped = str(text or "").strip()
    return stripped if len(stripped) <= MAX_TEXT else f"… {stripped[-MAX_TEXT:]}"


def ordinal(number: int) -> str:
    """second, third, 4th …"""
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


class Cluster:
    """The API server, as far as the watch's account may use it."""

    def __init__(self, namespace: str) -> None:
        host = os.environ["KUBERNETES_SERVICE_HOST"]
        host = f"[{host}]" if ":" in host else host
        self.base = f"https://{host}:{os.environ['KUBERNETES_SERVICE_PORT']}"
        self.namespace = namespace
        self.tls = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")

    def _call(self, group: str, path: str, body: JsonObject | None = None, patch: str | None = None) -> JsonObject:
        with open(f"{ACCOUNT}/token", encoding="ascii") as token:
            headers = {"Authorization": f"Bearer {token.read().strip()}", "Content-Type": patch or "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.base}/{group}/namespaces/{self.namespace}/{path}", data, headers, method="PATCH" if patch else None
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=self.tls) as response:
            answer: JsonObject = json.load(response)
        return answer

    def get(self, group: str, path: str) -> JsonObject:
        """An object."""
        return self._call(group, path)

    def list(self, group: str, resource: str, **selectors: str) -> list[JsonObject]:
        """The objects that the selectors select."""
        return self._call(group, f"{resource}?{urllib.parse.urlencode(selectors)}").get("items") or []

    def tell(self, job: JsonObject, message: str, reason: str = "Waiting") -> None:
        """Records an event of the Job. It is a warning, because Pulumi's provider shows no others."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event = {
            "metadata": {"generateName": f"{job['name']}.", "namespace": self.namespace},
            "involvedObject": {"apiVersion": "batch/v1", "kind": "Job", "namespace": self.namespace, **job},
            "reason": reason,
            "message": message[:1000],
            "type": "Warning",
            "source": {"component": "modelops-watch"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._call("api/v1", "events", event)

    def record(self, config_map: str, entries: dict[str, str | None]) -> None:
        """Sets entries of a ConfigMap, and removes those without a value."""
        self._call("api/v1", f"configmaps/{config_map}", {"data": entries}, "application/merge-patch+json")

    def fail(self, job: JsonObject, why: str) -> None:
        """Fails a Job by its deadline. A condition could say why, but a namespace's admin may not grant that right."""
        self.tell(job, why, "CannotStart")
        body = {"spec": {"activeDeadlineSeconds": 1}}
        self._call("apis/batch/v1", f"jobs/{job['name']}", body, "application/strategic-merge-patch+json")


class Pods:
    """The pods of something that is watched."""

    def __init__(self, cluster: Any, settings: JsonObject) -> None:
        self.cluster, self.name = cluster, settings.get("name", "")
        self.final = {name: set(codes) for name, codes in settings.get("final_exit_codes", {}).items()}
        unscheduled = settings.get("unscheduled_seconds", UNSCHEDULED_SECONDS)
        self.unscheduled = unscheduled or NEVER
        self.since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.awaited: JsonObject = settings.get("watch", {})
        """Name and uid of the Job that the provider waits for: mostly the watch's own."""

    def end(self, reason: str) -> None:
        """Ends what is watched, where its failure isn't the watch's own."""

    def look(self, pods: list[JsonObject]) -> tuple[tuple[Problem, ...], str]:
        """The problems of the pods, and what one without any is doing."""
        pending = [pod for pod in pods if condition(pod, "Ready").get("status") != "True"][:MAX_PODS]
        problems = [
            problem
            for pod in pending
            for problem in pod_problems(pod, self._events(pod), self.final, self.unscheduled, self.since)
        ]
        doings = [f"pod {pod['metadata']['name']}: {doing(pod)}" for pod in pending]
        return tuple(problems), doings[0] if doings else ""

    def pods_of(self, job: JsonObject) -> list[JsonObject]:
        """The pods of a Job."""
        selector = f"batch.kubernetes.io/job-name={job['metadata']['name']}"
        pods: list[JsonObject] = self.cluster.list("api/v1", "pods", labelSelector=selector)
        return pods

    def forbidden(self, owner: JsonObject) -> tuple[Problem, ...]:
        """Why the pods of a Job or StatefulSet aren't there: a LimitRange, a ResourceQuota or a policy forbids them."""
        text = last(self._events(owner), "FailedCreate")
        if not text:
            return ()
        # What others use of a quota may become free, as a node may.
        patience = self.unscheduled if "exceeded quota" in text else STUCK_SECONDS
        return (Problem("", "pods", text, patience),)

    def _events(self, obj: JsonObject) -> list[JsonObject]:
        """The events of an object."""
        selector = f"involvedObject.uid={obj['metadata']['uid']}"
        events: list[JsonObject] = self.cluster.list("api/v1", "events", fieldSelector=selector)
        return events


class Rollout(Pods):
    """The rollout of one Deployment."""

    def state(self) -> State:
        """What it looks like now."""
        deployment = self.cluster.get("apis/apps/v1", f"deployments/{self.name}")
        status, wanted = deployment.get("status") or {}, at(deployment, "spec", "replicas")
        wanted = 1 if wanted is None else wanted
        counts = [status.get(key, 0) for key in ("updatedReplicas", "availableReplicas", "replicas")]
        if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
            return State("the Deployment's controller hasn't seen it yet")
        if counts == [wanted] * 3:
            return State(f"{wanted} of {wanted} pods are available", done=True)
        pods = self._pods_of(deployment)
        ready = sum(condition(pod, "Ready").get("status") == "True" for pod in pods)
        problems, waiting_for = self.look(pods)
        forbidden = condition(deployment, "ReplicaFailure")
        if forbidden.get("status") == "True":
            problems = (*problems, Problem("", "pods", short(forbidden.get("message")), STUCK_SECONDS))
        if ready == wanted:
            waiting_for = "the pods of the version before are leaving"
        return State(f"{ready} of {wanted} pods are ready", problems=problems, waiting_for=waiting_for)

    def _pods_of(self, deployment: JsonObject) -> list[JsonObject]:
        """The pods of the Deployment's current revision."""
        labels = at(deployment, "spec", "selector", "matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        revision = at(deployment, "metadata", "annotations", "deployment.kubernetes.io/revision")
        current = {
            at(entry, "metadata", "labels", "pod-template-hash")
            for entry in self.cluster.list("apis/apps/v1", "replicasets", labelSelector=selector)
            if at(entry, "metadata", "annotations", "deployment.kubernetes.io/revision") == revision
        }
        pods = self.cluster.list("api/v1", "pods", labelSelector=selector)
        return [
            pod
            for pod in pods
            if at(pod, "metadata", "labels", "pod-template-hash") in current
            and not at(pod, "metadata", "deletionTimestamp")
        ]


class Groups(Pods):
    """The rollout of one LeaderWorkerSet: groups of a leader and its workers.

    Its status doesn't say which spec it is about, so the pods' label does.
    """

    def __init__(self, cluster: Any, settings: JsonObject) -> None:
        super().__init__(cluster, settings)
        self.failures: dict[tuple[str, str], dict[str, JsonObject]] = {}
        """How the container of a pod's name ended, by the uid of each pod that has had the name."""

    def state(self) -> State:
        """What it looks like now."""
        found = self.cluster.get("apis/leaderworkerset.x-k8s.io/v1", f"leaderworkersets/{self.name}")
        template, count = at(found, "spec", "leaderWorkerTemplate") or {}, at(found, "spec", "replicas")
        wanted = (1 if count is None else count) * template.get("size", 1)
        release = at(template, "leaderTemplate", "metadata", "labels", RELEASE)
        selector = f"{GROUPS}={self.name}"
        every = self.cluster.list("api/v1", "pods", labelSelector=selector)
        there = [pod for pod in every if not at(pod, "metadata", "deletionTimestamp")]
        pods = [pod for pod in there if at(pod, "metadata", "labels", RELEASE) == release]
        ready = sum(condition(pod, "Ready").get("status") == "True" for pod in pods)
        available = condition(found, "Available").get("status") == "True"
        if ready == len(there) == wanted and available:
            return State(f"{wanted} of {wanted} pods are ready", done=True)
        problems, waiting_for = self.look(pods)
        again = self._failed_again([pod for pod in every if at(pod, "metadata", "labels", RELEASE) == release])
        problems = (*(each for each in problems if (each.pod, each.part) not in again), *again.values())
        sets = self.cluster.list("apis/apps/v1", "statefulsets", labelSelector=selector)
        if len(pods) < wanted:
            problems = (*problems, *(problem for each in sets for problem in self.forbidden(each)))
        if wanted and not (there or sets):
            waiting_for = "nothing was made of it: does the controller of LeaderWorkerSet run?"
        elif ready == wanted:
            waiting_for = "the groups of the version before are leaving"
        return State(f"{ready} of {wanted} pods are ready", problems=problems, waiting_for=waiting_for)

    def _failed_again(self, pods: list[JsonObject]) -> dict[tuple[str, str], Problem]:
        """Containers that failed in pod after pod, by pod and part: once one restarts, its whole group is made anew."""
        for pod in pods:
            for status in containers(pod):
                if at(status, "lastState", "terminated", "exitCode"):
                    by_uid = self.failures.setdefault((pod["metadata"]["name"], status["name"]), {})
                    by_uid[pod["metadata"]["uid"]] = status["lastState"]
        found = (
            container_problem(
                pod,
                {"name": name, "state": list(ends.values())[-1], "restartCount": len(ends) - 1},
                self.final.get(name, set()),
            )
            for (pod, name), ends in self.failures.items()
        )
        return {(problem.pod, problem.part): problem for problem in found if problem and problem.patience == 0}


class SmokeTest(Pods):
    """The Job of a smoke test."""

    def state(self) -> State:
        """What it looks like now."""
        job = self.cluster.get("apis/batch/v1", f"jobs/{self.name}")
        if condition(job, "Complete").get("status") == "True":
            return State("the smoke test passed", done=True)
        pods = self.pods_of(job)
        problems, waiting_for = self.look(pods) if pods else (self.forbidden(job), "")
        failed = condition(job, "Failed")
        if failed.get("status") == "True":
            over = [problem._replace(patience=0) for problem in problems]
            problems = tuple(over) or (Problem("", "job", short(failed.get("message")), 0),)
            return State("the smoke test failed", problems=problems)
        return State("the smoke test isn't over", problems=(*problems, *self._kept(job, pods)), waiting_for=waiting_for)

    def _kept(self, job: JsonObject, pods: list[JsonObject]) -> list[Problem]:
        """What keeps a pod whose own containers have ended."""
        problems, own = [], own_names(job)
        for pod in pods:
            mains = [each for each in at(pod, "status", "containerStatuses") or [] if each["name"] in own]
            if mains and all(at(each, "state", "terminated") for each in mains) and (names := injected([pod], own)):
                text = f"the check has ended, but {', '.join(names)} was injected: {NEVER_COMPLETES}"
                problems.append(Problem(pod["metadata"]["name"], "injected", text, STUCK_SECONDS))
        return problems


class Start(Pods):
    """The start of a run: of the first Job with its labels that was created after the watch.

    Provider and users wait for that Job itself. Once all pods that it starts with have started, what becomes of it is
    no longer the watch's business: a pod that replaces another one may have to wait for its node.
    """

    def __init__(self, cluster: Any, settings: JsonObject) -> None:
        super().__init__(cluster, settings)
        self.watch, self.labels, self.looks = settings["watch"]["name"], settings["labels"], 0

    def state(self) -> State:
        """What it looks like now."""
        began = self._began()
        jobs = self.cluster.list("apis/batch/v1", "jobs", labelSelector=self.labels)
        new = [job for job in jobs if job["metadata"]["creationTimestamp"] >= began]
        if not new:
            self.looks += 1
            done = self.looks >= LOOKS_FOR_A_RUN and any(ended(job, "Complete") for job in jobs)
            return State("there is no new run", done=done)
        job = min(new, key=lambda each: str(each["metadata"]["creationTimestamp"]))
        self.awaited = {key: job["metadata"][key] for key in ("name", "uid")}
        if ended(job, "Complete") or ended(job, "Failed"):
            return State("the run is over", done=True)
        if at(job, "spec", "suspend"):
            return State("the Job is suspended until its queue, or somebody, starts it", pause=SLOW_POLL_SECONDS)
        return self._started(job)

    def _began(self) -> str:
        """When the watch's own Job was created: its pod may be another one's successor."""
        [own] = self.cluster.list("apis/batch/v1", "jobs", fieldSelector=f"metadata.name={self.watch}")
        return str(own["metadata"]["creationTimestamp"])

    def _started(self, job: JsonObject) -> State:
        """How many of the first pods have started."""
        pods = self.pods_of(job)
        wanted = min(at(job, "spec", key) or 1 for key in ("parallelism", "completions"))
        own = own_names(job)
        coming = [pod for pod in pods if not started(pod, own)]
        count = len(pods) - len(coming)
        summary = f"{min(count, wanted)} of {wanted} pods have started"
        if count >= wanted:
            self._tell_of_injected(injected(pods, own))
            return State(summary, done=True)
        problems, waiting_for = self.look(coming) if pods else (self.forbidden(job), "")
        pause = SLOW_POLL_SECONDS if problems else POLL_SECONDS
        return State(summary, problems=problems, waiting_for=waiting_for, pause=pause)

    def _tell_of_injected(self, names: list[str]) -> None:
        """The watch ends with the start, and nobody else could say why the Job doesn't complete."""
        if names:
            said = f"{', '.join(names)} was injected into its pods: {NEVER_COMPLETES}"
            print(said, flush=True)
            with contextlib.suppress(OSError):
                self.cluster.tell(self.awaited, said, "Injected")

    def end(self, reason: str) -> None:
        """Fails the Job, for which the provider waits."""
        insist(lambda: self.cluster.fail(self.awaited, reason), "the Job couldn't be failed")


class Run(Start):
    """A run from its start to its end, for which nobody waits: the next `pulumi up` reads in a ConfigMap what became of
    it (training/background.py)."""

    def __init__(self, cluster: Any, settings: JsonObject) -> None:
        super().__init__(cluster, settings)
        self.run, self.config_map, self.begun = settings["run"], settings["record"], False
        self.recorded: dict[str, str | None] = {}

    def state(self) -> State:
        """What it looks like now."""
        began = self._began()
        jobs = self.cluster.list("apis/batch/v1", "jobs", labelSelector=self.labels)
        over = all(ended(job, "Complete") or ended(job, "Failed") for job in jobs)
        newest = max(jobs, key=lambda each: str(each["metadata"]["creationTimestamp"]), default=None)
        if newest and over and (ended(newest, "Complete") or newest["metadata"]["creationTimestamp"] >= began):
            return self._end(newest)
        if not over:
            self._record({"training": self.run, "failure": None})
        if not self.begun:
            state = super().state()
            self.begun = state.done and not over
            return state._replace(done=False)
        return State("the run goes on", pause=SLOW_POLL_SECONDS)

    def _end(self, job: JsonObject) -> State:
        """Records how the last of the run's Jobs ended."""
        if ended(job, "Complete"):
            self._record({"training": None, "run_id": self.run, "failure": None})
            return State("the run is published", done=True)
        problems, _ = self.look(self.pods_of(job))
        self._record_failure(
            job["metadata"]["name"], described(problems) or short(condition(job, "Failed").get("message"))
        )
        return State("the run failed", done=True)

    def end(self, reason: str) -> None:
        """Fails the Job, and records why."""
        super().end(reason)
        insist(lambda: self._record_failure(self.awaited["name"], reason), "the failure couldn't be recorded")

    def _record_failure(self, job: str, reason: str) -> None:
        self._record(
            {"training": None, "failed": self.run, "failed_job": job, "failure": reason or "no reason is known"}
        )

    def _record(self, entries: dict[str, str | None]) -> None:
        if entries != self.recorded:
            self.cluster.record(self.config_map, entries)
            self.recorded = entries


def insist(call: Callable[[], None], otherwise: str) -> None:
    """Calls the API server until it answers, a few times."""
    for _ in range(TRIES):
        try:
            call()
            return
        except OSError as error:
            print(f"{otherwise}: {error}", file=sys.stderr, flush=True)
            time.sleep(POLL_SECONDS)


def ended(job: JsonObject, kind: str) -> bool:
    """Whether a Job is over in that way."""
    return bool(condition(job, kind).get("status") == "True")


def started(pod: JsonObject, own: set[str]) -> bool:
    """Whether every one of these containers of a pod runs, or has run."""
    statuses = [status for status in containers(pod) if status["name"] in own]
    return bool(statuses) and all(runs(status) or at(status, "state", "terminated") for status in statuses)


WATCHED: dict[str, type[Rollout] | type[Groups] | type[SmokeTest] | type[Start]] = {
    "Run": Run,
    "Deployment": Rollout,
    "LeaderWorkerSet": Groups,
    "Job": SmokeTest,
    "Start": Start,
}


class Watch:
    """What was seen so far, so that problems can be timed and nothing is said twice."""

    def __init__(self, tell: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self.tell, self.now = tell, now
        self.began = self.told_at = now()
        self.told = ""
        self.since: dict[tuple[str, str], float] = {}

    def verdict(self, state: State, deadline_seconds: float) -> str | None:
        """Why the rollout failed: something lasts longer than it may, or time is up. None while there is hope."""
        moment = self.now()
        parts = {(problem.pod, problem.part): problem for problem in state.problems}
        self.since = {part: self.since.get(part, moment) for part in parts}
        over = [problem for part, problem in parts.items() if moment - self.since[part] >= problem.patience]
        if over:
            return f"{state.summary}. {described(over)}"
        waited = moment - self.began
        if waited >= deadline_seconds:
            said = described(state.problems) or state.waiting_for or "nothing was said about it"
            return f"{state.summary} after {waited:.0f} s. {said}"
        return None

    def report(self, state: State) -> None:
        """Says what the rollout waits for: a problem as soon as it is there, anything else from time to time."""
        said = f"{state.summary}. {described(state.problems) or state.waiting_for}".rstrip(". ")
        moment = self.now()
        quiet = moment - self.told_at < TELL_SECONDS
        if said != self.told and (state.problems or not quiet):
            self.told, self.told_at = said, moment
            self.tell(said)


def described(problems: Iterable[Problem]) -> str:
    """The problems and the pods that have them, each text once."""
    where: dict[str, list[str]] = {}
    for problem in problems:
        where.setdefault(problem.text, []).append(problem.pod)
    return "; ".join(f"{pods_called(pods)}{text}" for text, pods in where.items())


def pods_called(pods: list[str]) -> str:
    """How a sentence about the pods begins."""
    if len(pods) > 1:
        return f"{len(pods)} pods: "
    return f"pod {pods[0]}: " if pods[0] else ""


def follow(look: Callable[[], State], watch: Watch, deadline_seconds: float) -> str | None:
    """Looks until `look` finds it done (None) or there is a reason why it never will be."""
    state = State("nothing was seen")
    while True:
        try:
            state = look()
        except (OSError, ValueError) as error:
            state = state._replace(problems=(), waiting_for=f"the API server doesn't answer: {error}")
        if state.done:
            print(state.summary, flush=True)
            return None
        if reason := watch.verdict(state, deadline_seconds):
            return reason
        watch.report(state)
        time.sleep(state.pause)


def main() -> None:
    settings = json.loads(os.environ["MODELOPS_WATCH"])
    job = {"name": os.environ["MODELOPS_JOB_NAME"], "uid": os.environ["MODELOPS_JOB_UID"]}
    cluster = Cluster(settings["namespace"])
    watched = WATCHED[settings["kind"]](cluster, {**settings, "watch": job})

    def tell(said: str) -> None:
        print(said, flush=True)
        try:
            cluster.tell(watched.awaited, said)
        except OSError as error:
            print(f"the event couldn't be recorded: {error}", file=sys.stderr, flush=True)

    reason = follow(watched.state, Watch(tell), settings.get("deadline_seconds", NEVER))
    if reason:
        watched.end(reason)
        print(reason, file=sys.stderr, flush=True)
        with open(TERMINATION_LOG, "w", encoding="utf-8") as message:
            message.write(reason.encode()[:4000].decode(errors="ignore"))
        sys.exit(1)


if __name__ == "__main__":
    main()
