"""Verdicts on recorded objects."""

from typing import Any

from devkit.pulumi_plugins.kubernetes_provider.awaiting import awaiter_for
from devkit.pulumi_plugins.kubernetes_provider.awaiting.base import Object, Verdict
from devkit.pulumi_plugins.kubernetes_provider.awaiting.jobs import JobAwaiter, job_verdict
from devkit.pulumi_plugins.kubernetes_provider.awaiting.pods import pod_verdict
from devkit.pulumi_plugins.kubernetes_provider.awaiting.services import IngressAwaiter, ServiceAwaiter
from devkit.pulumi_plugins.kubernetes_provider.awaiting.storage import ClaimAwaiter, TokenSecretAwaiter
from devkit.pulumi_plugins.kubernetes_provider.awaiting.workloads import (
    DaemonSetAwaiter,
    DeploymentAwaiter,
    StatefulSetAwaiter,
)


def _true(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "status": "True", **fields}


def _false(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "status": "False", **fields}


def _pod(*conditions: dict[str, Any], owner: str = "set", **status: Any) -> Object:
    return {
        "metadata": {"name": "p", "namespace": "ns", "ownerReferences": [{"uid": owner}]},
        "status": {"conditions": list(conditions), **status},
    }


_FAILED = _pod(
    _true("PodScheduled"),
    _true("Initialized"),
    _false("Ready", reason="ContainersNotReady", message="containers with unready status: [c]"),
    phase="Failed",
    containerStatuses=[
        {"name": "c", "ready": False, "state": {"terminated": {"reason": "Error", "exitCode": 1, "message": "no disk"}}}
    ],
)


def test_a_failed_container_is_quoted() -> None:
    assert pod_verdict(_FAILED).reasons == ["[Pod ns/p]: containers with unready status: [c][Error] no disk"]


def test_a_crashing_container_is_quoted_with_its_last_end() -> None:
    terminated = {"reason": "Error", "exitCode": 7, "message": "bad key", "finishedAt": "2024-01-01T00:00:00Z"}
    status = {
        "name": "c",
        "ready": False,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": terminated},
    }
    pod = _pod(_true("PodScheduled"), _true("Initialized"), _false("Ready"), containerStatuses=[status])
    (reason,) = pod_verdict(pod).reasons
    assert "[CrashLoopBackOff] back-off" in reason and "exit code 7" in reason and "bad key" in reason


def test_init_containers_are_not_quoted() -> None:
    ended = {"reason": "Error", "exitCode": 1, "message": "init says no"}
    pod = _pod(
        _true("PodScheduled"),
        _false("Initialized", reason="ContainersNotInitialized", message="containers with incomplete status: [i]"),
        initContainerStatuses=[{"name": "i", "ready": False, "state": {"terminated": ended}}],
        containerStatuses=[{"name": "c", "ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}],
    )
    (reason,) = pod_verdict(pod).reasons
    assert "containers with incomplete status: [i]" in reason and "init says no" not in reason


def test_a_pod_that_ended_well_is_ready() -> None:
    pod = _pod(_true("PodScheduled"), _true("Initialized"), _false("Ready", reason="PodCompleted"), phase="Succeeded")
    assert pod_verdict(pod).ready


def _deployment(*, revision: str = "1", generation: int = 1, observed: int = 1, conditions: Any = ()) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "uid": "deployment",
            "generation": generation,
            "annotations": {"deployment.kubernetes.io/revision": revision},
        },
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"observedGeneration": observed, "conditions": list(conditions)},
    }


def _replica_set(revision: str, wanted: int, ready: int | None) -> Object:
    status = {} if ready is None else {"readyReplicas": ready}
    return {
        "metadata": {
            "name": f"web-{revision}",
            "uid": "set",
            "ownerReferences": [{"uid": "deployment"}],
            "annotations": {"deployment.kubernetes.io/revision": revision},
        },
        "spec": {"replicas": wanted},
        "status": status,
    }


def _judge(deployment: Object, *sets: Object, pods: Any = (), claims: Any = ()) -> Verdict:
    related = {"replica_sets": list(sets), "pods": list(pods), "claims": list(claims)}
    return DeploymentAwaiter(deployment).judge(deployment, related)


_AVAILABLE = _true("Available")
_DONE = _true("Progressing", reason="NewReplicaSetAvailable")


def test_a_first_deployment_is_ready_when_available() -> None:
    deployment = _deployment(conditions=[_AVAILABLE])
    assert _judge(deployment, _replica_set("1", 2, 2)).ready
    assert not _judge(deployment, _replica_set("1", 2, 1)).ready
    assert not _judge(deployment).ready


def test_a_rollout_is_ready_when_the_new_replica_set_is() -> None:
    rolling = _deployment(revision="2", generation=2, observed=2, conditions=[_AVAILABLE, _true("Progressing")])
    assert not _judge(rolling, _replica_set("1", 1, 1), _replica_set("2", 1, 1)).ready
    done = _deployment(revision="2", generation=2, observed=2, conditions=[_AVAILABLE, _DONE])
    assert _judge(done, _replica_set("2", 1, 1)).ready
    assert not _judge(done, _replica_set("2", 1, None)).ready
    assert _judge(done, _replica_set("2", 0, None)).ready


def test_a_change_that_the_controller_has_not_seen_is_not_ready() -> None:
    assert not _judge(_deployment(generation=2, observed=1, conditions=[_AVAILABLE]), _replica_set("1", 1, 1)).ready


def test_a_deployment_without_pods_says_why() -> None:
    late = _false("Progressing", reason="ProgressDeadlineExceeded", message="too slow")
    verdict = _judge(_deployment(conditions=[late, _false("Available")]), _replica_set("1", 1, 0), pods=[_FAILED])
    assert "[ProgressDeadlineExceeded] too slow" in verdict.reasons
    assert any("no disk" in reason for reason in verdict.reasons)


def test_a_deployment_waits_for_its_claims() -> None:
    deployment = _deployment(conditions=[_AVAILABLE])
    deployment["spec"]["template"] = {"spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]}}
    claim = {"metadata": {"name": "data"}, "status": {"phase": "Pending"}}
    assert not _judge(deployment, _replica_set("1", 1, 1), claims=[claim]).ready
    assert _judge(deployment, _replica_set("1", 1, 1), claims=[{**claim, "status": {"phase": "Bound"}}]).ready


def _stateful(**status: Any) -> Verdict:
    obj = {"metadata": {"name": "s", "generation": 1}, "spec": {"replicas": 2}, "status": status}
    return StatefulSetAwaiter(obj).judge(obj, {"pods": []})


def test_a_stateful_set_is_ready_when_all_replicas_are_and_of_one_revision() -> None:
    full = {"observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "currentReplicas": 2}
    assert _stateful(**full, currentRevision="a", updateRevision="a").ready
    assert not _stateful(**full, currentRevision="a", updateRevision="b").ready
    short = _stateful(**{**full, "readyReplicas": 1}, currentRevision="a", updateRevision="a")
    assert short.reasons == ["1 out of 2 replicas succeeded readiness checks"]


def test_a_daemon_set_is_ready_when_every_node_is() -> None:
    def judge(**status: Any) -> bool:
        obj = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, **status}}
        return DaemonSetAwaiter(obj).judge(obj, {"pods": []}).ready

    counts = {"currentNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1, "numberReady": 1}
    assert judge(desiredNumberScheduled=1, **counts) and judge(desiredNumberScheduled=0)
    assert not judge() and not judge(desiredNumberScheduled=2, **counts)


def _job(*conditions: dict[str, Any], started: bool = True) -> Object:
    status: dict[str, Any] = {"conditions": list(conditions)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "train", "namespace": "ns", "uid": "job"},
        "status": {**status, "startTime": "now"} if started else status,
    }


def test_a_job_is_ready_when_complete() -> None:
    assert job_verdict(_job(_true("Complete"))).ready
    assert not job_verdict(_job()).ready and not job_verdict(_job(started=False)).ready


def test_a_job_fails_for_good_only_for_the_reasons_of_the_official_provider() -> None:
    for reason, failed in (("BackoffLimitExceeded", True), ("DeadlineExceeded", True), ("PodFailurePolicy", False)):
        assert job_verdict(_job(_true("Failed", reason=reason, message="m"))).failed is failed


def test_what_the_pods_of_a_job_said_is_kept_though_they_are_gone() -> None:
    awaiter = JobAwaiter(_job())
    awaiter.observe("pods", {**_FAILED, "metadata": {**_FAILED["metadata"], "ownerReferences": [{"uid": "job"}]}})
    verdict = awaiter.judge(_job(_true("Failed", reason="BackoffLimitExceeded", message="limit")), {"pods": []})
    assert verdict.failed and "no disk" in verdict.reasons[0]
    assert verdict.reasons[-1] == "[BackoffLimitExceeded] limit"


def _service(kind: str = "ClusterIP", **fields: Any) -> Object:
    spec = {"type": kind, "selector": {"app": "x"}, **fields.pop("spec", {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec, **fields}


def _judge_service(service: Object, *ready: bool) -> Verdict:
    awaiter = ServiceAwaiter(service)
    awaiter.patient = False
    endpoints = [{"conditions": {"ready": state}} for state in ready]
    labels = {"kubernetes.io/service-name": "web"}
    return awaiter.judge(service, {"slices": [{"metadata": {"labels": labels}, "endpoints": endpoints}]})


def test_a_service_is_ready_when_no_endpoint_is_unready() -> None:
    assert _judge_service(_service(), True).ready and _judge_service(_service()).ready
    assert not _judge_service(_service(), True, False).ready


def test_services_without_targets_are_ready() -> None:
    assert _judge_service(_service(spec={"clusterIP": "None"}), False).ready
    assert _judge_service(_service("ExternalName"), False).ready
    assert _judge_service(_service(spec={"selector": None}), False).ready


def test_a_load_balancer_needs_an_address() -> None:
    assert not _judge_service(_service("LoadBalancer"), True).ready
    addressed = _service("LoadBalancer", status={"loadBalancer": {"ingress": [{"ip": "127.0.0.2"}]}})
    assert _judge_service(addressed, True).ready


def test_endpoints_may_settle_before_a_service_is_ready() -> None:
    service = _service()
    assert not ServiceAwaiter(service).judge(service, {"slices": []}).ready


def test_an_ingress_needs_an_address_and_its_services() -> None:
    path = {"backend": {"service": {"name": "web"}}}
    ingress = {
        "metadata": {"name": "i"},
        "spec": {"rules": [{"http": {"paths": [path]}}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.2"}]}},
    }
    known = {"metadata": {"labels": {"kubernetes.io/service-name": "web"}}}
    assert IngressAwaiter(ingress).judge(ingress, {"slices": [known], "services": []}).ready
    assert not IngressAwaiter(ingress).judge(ingress, {"slices": [], "services": []}).ready
    external = {"metadata": {"name": "web"}, "spec": {"type": "ExternalName"}}
    assert IngressAwaiter(ingress).judge(ingress, {"slices": [], "services": [external]}).ready
    assert (
        not IngressAwaiter({**ingress, "status": {}})
        .judge({**ingress, "status": {}}, {"slices": [known], "services": []})
        .ready
    )


def test_a_claim_may_stay_pending_when_its_class_waits_for_a_consumer() -> None:
    claim = {"spec": {"storageClassName": "late"}, "status": {"phase": "Pending"}}
    late = {"metadata": {"name": "late"}, "volumeBindingMode": "WaitForFirstConsumer"}
    soon = {**late, "volumeBindingMode": "Immediate"}
    assert ClaimAwaiter(claim).judge(claim, {"classes": [late]}).ready
    assert not ClaimAwaiter(claim).judge(claim, {"classes": [soon]}).ready
    bound = {**claim, "status": {"phase": "Bound"}}
    assert ClaimAwaiter(bound).judge(bound, {"classes": [soon]}).ready


def test_a_token_secret_is_ready_when_it_has_its_token() -> None:
    token = {"type": "kubernetes.io/service-account-token"}
    assert not TokenSecretAwaiter(token).judge(token, {}).ready
    assert TokenSecretAwaiter(token).judge({**token, "data": {"token": "x"}}, {}).ready


def test_annotations_decide_how_to_wait() -> None:
    job = _job()
    skipped = {**job, "metadata": {**job["metadata"], "annotations": {"pulumi.com/skipAwait": "true"}}}
    spelled = {**job, "metadata": {**job["metadata"], "annotations": {"pulumi.com/waitFor": "condition=Suspended"}}}
    assert isinstance(awaiter_for(job, job), JobAwaiter)
    assert awaiter_for(skipped, job) is None
    awaiter = awaiter_for(spelled, job)
    assert awaiter is not None and awaiter.judge(_job(_true("Suspended")), {}).ready
    assert awaiter_for({"metadata": {}}, {"apiVersion": "v1", "kind": "ConfigMap"}) is None
