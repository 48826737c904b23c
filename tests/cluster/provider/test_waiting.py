"""Waiting for workloads: until they are ready, and what is said when they don't get there."""

import json
import time

import pulumi_kubernetes as k8s
from pulumi import CustomTimeouts, ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.provider.manifests import annotations, container, job, pod, ready_when, workload
from tests.cluster.support import kubectl, objects

_AFTER_A_WHILE = "test $(( $(date +%s) - $(stat -c %Y /proc/1) )) -ge 3"
"""A readiness test that first succeeds three seconds after the container's start."""


def _deployment(provider, image, name="web", *, script=None, probe=None, timeouts=None, note=None, **spec):
    fields = {"readiness_probe": ready_when(probe)} if probe else {}
    made = container(image, script, **fields) if script else container(image, **fields)
    return k8s.apps.v1.Deployment(
        name,
        metadata={"name": name, "annotations": note or {}},
        spec=workload(name, [made], **spec),
        opts=ResourceOptions(provider=provider, custom_timeouts=timeouts),
    )


def test_a_deployment_is_done_when_its_pods_are_ready(stack: Stack, test_image: str) -> None:
    def program(provider):
        made = _deployment(provider, test_image, probe=_AFTER_A_WHILE, replicas=2)
        return {"ready": made.status["ready_replicas"]}

    began = time.monotonic()
    stack.up(program)
    assert time.monotonic() - began > 3
    assert stack.outputs() == {"ready": 2}
    stack.unchanged(program)


def test_an_update_waits_for_the_new_pods(stack: Stack, test_image: str) -> None:
    def program(version):
        def run(provider):
            _deployment(provider, test_image, script=f"echo {version}; sleep 1000", probe="true")

        return run

    stack.up(program(1))
    stack.up(program(2))
    found = objects("deployment", stack.namespace)[0]
    assert found["status"]["updatedReplicas"] == found["status"]["readyReplicas"] == 1
    pods = objects("pod", stack.namespace, "--field-selector=status.phase=Running")
    assert any("echo 2" in entry["spec"]["containers"][0]["command"][-1] for entry in pods)


def test_a_deployment_that_never_gets_ready_is_kept_with_its_errors_and_repaired_by_the_next_update(
    stack: Stack, test_image: str
) -> None:
    note = annotations(timeoutSeconds="6")
    failed = stack.up(
        lambda provider: (
            _deployment(provider, test_image, script="echo the last words; exit 7", probe="false", note=note) and None
        ),
        succeed=False,
    )
    assert "web" in failed.text and "timed out" in failed.text and "the last words" in failed.text
    kept = stack.state()["web"]
    assert kept["initErrors"] and kept["id"] == f"{stack.namespace}/web"
    repaired = stack.up(lambda provider: _deployment(provider, test_image, note=note) and None)
    assert repaired.changed() == {"web": ["update"]}
    assert "initErrors" not in stack.state()["web"]


def test_custom_timeouts_win_over_the_annotation(stack: Stack, test_image: str) -> None:
    began = time.monotonic()
    failed = stack.up(
        lambda provider: (
            _deployment(
                provider,
                test_image,
                probe="false",
                note=annotations(timeoutSeconds="300"),
                timeouts=CustomTimeouts(create="3s"),
            )
            and None
        ),
        succeed=False,
    )
    assert "timed out" in failed.text and time.monotonic() - began < 60


def test_skip_await_does_not_wait(stack: Stack, test_image: str) -> None:
    note = annotations(skipAwait="true")
    stack.up(lambda provider: _deployment(provider, test_image, probe="false", note=note) and None)
    assert "readyReplicas" not in objects("deployment", stack.namespace)[0].get("status", {})


def test_a_stateful_set_and_a_daemon_set_are_done_when_their_pods_are_ready(stack: Stack, test_image: str) -> None:
    def program(version):
        def run(provider):
            options = ResourceOptions(provider=provider)
            made = container(test_image, f"echo {version}; sleep 1000", readiness_probe=ready_when("true"))
            ordered = k8s.apps.v1.StatefulSet(
                "ordered",
                metadata={"name": "ordered"},
                spec={**workload("ordered", [made]), "replicas": 2, "service_name": "ordered"},
                opts=options,
            )
            each = k8s.apps.v1.DaemonSet("each", metadata={"name": "each"}, spec=workload("each", [made]), opts=options)
            return {"ordered": ordered.status["ready_replicas"], "each": each.status["number_ready"]}

        return run

    stack.up(program(1))
    assert stack.outputs() == {"ordered": 2, "each": len(json.loads(kubectl("get", "node", "-o", "json"))["items"])}
    stack.unchanged(program(1))
    stack.up(program(2))
    ordered = objects("statefulset", stack.namespace)[0]["status"]
    assert ordered["currentRevision"] == ordered["updateRevision"] and ordered["readyReplicas"] == 2
    each = objects("daemonset", stack.namespace)[0]["status"]
    assert each["updatedNumberScheduled"] == each["numberAvailable"] == each["desiredNumberScheduled"]


def test_a_stateful_set_that_never_gets_ready_says_why(stack: Stack, test_image: str) -> None:
    broken = container(test_image, "echo no database; exit 1", readiness_probe=ready_when("false"))

    def program(provider):
        k8s.apps.v1.StatefulSet(
            "ordered",
            metadata={"name": "ordered", "annotations": annotations(timeoutSeconds="6")},
            spec={**workload("ordered", [broken]), "service_name": "x"},
            opts=ResourceOptions(provider=provider),
        )

    failed = stack.up(program, succeed=False)
    assert "ordered" in failed.text and "0 out of 1" in failed.text and "no database" in failed.text


def test_a_job_is_done_when_it_has_succeeded(stack: Stack, test_image: str) -> None:
    def program(provider):
        made = k8s.batch.v1.Job("once", spec=job(test_image, "sleep 2"), opts=ResourceOptions(provider=provider))
        return {"succeeded": made.status["succeeded"]}

    stack.up(program)
    assert stack.outputs() == {"succeeded": 1}
    stack.unchanged(program)


def test_a_failed_job_shows_its_last_lines_and_replace_unready_runs_it_again(stack: Stack, test_image: str) -> None:
    def program(script):
        def run(provider):
            k8s.batch.v1.Job(
                "train",
                metadata={"name": "train", "annotations": annotations(replaceUnready="true")},
                spec=job(test_image, script),
                opts=ResourceOptions(provider=provider),
            )

        return run

    # The same script each time: only the file that it looks for makes the difference.
    kubectl("create", "configmap", "switch", "--namespace", stack.namespace)
    failed = stack.up(program("echo first line; echo no such column: price >&2; exit 1"), succeed=False)
    assert "train" in failed.text and "no such column: price" in failed.text
    assert "BackoffLimitExceeded" in failed.text
    state = stack.state()["train"]
    assert any("no such column: price" in reason for reason in state["initErrors"])
    uid = objects("job", stack.namespace)[0]["metadata"]["uid"]
    again = stack.up(program("echo first line; echo no such column: price >&2; exit 1"), succeed=False)
    assert again.changed()["train"] == ["delete-replaced", "replace", "create-replacement"]
    assert objects("job", stack.namespace)[0]["metadata"]["uid"] != uid
    stack.up(program("true"))
    stack.unchanged(program("true"))


def test_a_failed_job_without_replace_unready_is_only_updated(stack: Stack, test_image: str) -> None:
    def program(provider):
        k8s.batch.v1.Job(
            "train", metadata={"name": "train"}, spec=job(test_image, "exit 1"), opts=ResourceOptions(provider=provider)
        )

    stack.up(program, succeed=False)
    uid = objects("job", stack.namespace)[0]["metadata"]["uid"]
    again = stack.up(program, succeed=False)
    assert again.changed() == {"train": ["update"]} and "BackoffLimitExceeded" in again.text
    assert objects("job", stack.namespace)[0]["metadata"]["uid"] == uid


def test_a_job_past_its_deadline_fails(stack: Stack, test_image: str) -> None:
    def program(provider):
        k8s.batch.v1.Job(
            "slow",
            metadata={"name": "slow"},
            spec=job(test_image, "sleep 100", active_deadline_seconds=2),
            opts=ResourceOptions(provider=provider),
        )

    assert "DeadlineExceeded" in stack.up(program, succeed=False).text


def test_a_pod_is_done_when_it_is_ready(stack: Stack, test_image: str) -> None:
    def program(provider):
        options = ResourceOptions(provider=provider)
        made = k8s.core.v1.Pod(
            "alone", spec=pod([container(test_image, readiness_probe=ready_when("true"))]), opts=options
        )
        ended = k8s.core.v1.Pod(
            "short",
            spec=pod([container(test_image, "sleep 1", readiness_probe=ready_when("false"))], restart_policy="Never"),
            opts=options,
        )
        return {"alone": made.status["phase"], "short": ended.status["phase"]}

    stack.up(program)
    assert stack.outputs() == {"alone": "Running", "short": "Succeeded"}


def test_waits_do_not_hold_up_others(stack: Stack) -> None:
    def program(provider):
        for number in range(20):
            k8s.apps.v1.Deployment(
                f"stuck{number}",
                metadata={"annotations": annotations(timeoutSeconds="8")},
                spec=workload(f"stuck{number}", [container("nowhere.invalid/none")], replicas=1),
                opts=ResourceOptions(provider=provider),
            )
        first = None
        for number in range(10):
            # A chain: each waits for the one before.
            first = k8s.core.v1.ConfigMap(
                f"quick{number}",
                metadata={"name": f"quick{number}"},
                data={"before": first.metadata["name"] if first else ""},
                opts=ResourceOptions(provider=provider),
            )

    began = time.monotonic()
    # By default the engine itself begins only a few at a time.
    running = stack.start(program, "--parallel=64")
    while len(objects("configmap", stack.namespace)) < 11 and time.monotonic() - began < 30:
        time.sleep(0.3)
    quick = time.monotonic() - began
    code = running.end(60)
    assert code != 0 and quick < 8, running.text()


def test_an_interrupt_ends_waits_and_keeps_what_was_made(stack: Stack) -> None:
    def program(provider):
        k8s.apps.v1.Deployment(
            "stuck",
            metadata={"name": "stuck"},
            spec=workload("stuck", [container("nowhere.invalid/none")]),
            opts=ResourceOptions(provider=provider),
        )

    running = stack.start(program)
    deadline = time.monotonic() + 30
    while not objects("deployment", stack.namespace) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1)
    running.interrupt()
    began = time.monotonic()
    assert running.end(40) != 0
    assert time.monotonic() - began < 20
    assert stack.state()["stuck"]["id"] == f"{stack.namespace}/stuck"
    assert "stuck" in running.text()
