"""Waiting for workloads: until they are ready, and what is said when they don't get there.

Pods take seconds to come and go, so the workloads of this module live in two stacks that its tests share: one where
all is well, one where nothing is.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi_kubernetes as k8s
import pytest
from pulumi import CustomTimeouts, ResourceOptions

from tests.cluster.provider.harness import Outcome, Stack
from tests.cluster.provider.manifests import annotations, container, job, pod, ready_when, workload
from tests.cluster.support import kubectl, objects

_AFTER_A_WHILE = "test $(( $(date +%s) - $(stat -c %Y /proc/1) )) -ge 3"
"""A readiness test that first succeeds three seconds after the container's start."""


@pytest.fixture(scope="module")
def stacks(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Makes stacks in restricted namespaces of their own."""
    namespaces: list[str] = []

    def make() -> Stack:
        namespaces.append(f"test-{uuid.uuid4().hex[:8]}")
        kubectl("create", "namespace", namespaces[-1])
        kubectl("label", "namespace", namespaces[-1], "pod-security.kubernetes.io/enforce=restricted")
        folder: Path = tmp_path_factory.mktemp("stack") / "project"
        return Stack(folder, namespace=namespaces[-1])

    yield make
    for name in namespaces:
        kubectl("delete", "namespace", name, "--wait=false")


def _deployment(provider, name, containers, *, timeouts=None, note=None, **spec):
    return k8s.apps.v1.Deployment(
        name,
        metadata={"name": name, "annotations": note or {}},
        spec=workload(name, containers, **spec),
        opts=ResourceOptions(provider=provider, custom_timeouts=timeouts),
    )


def _stateful_set(provider, name, containers, *, note=None, **spec):
    return k8s.apps.v1.StatefulSet(
        name,
        metadata={"name": name, "annotations": note or {}},
        spec={**workload(name, containers), "service_name": name, **spec},
        opts=ResourceOptions(provider=provider),
    )


def _job(provider, name, spec, *, note=None):
    return k8s.batch.v1.Job(
        name,
        metadata={"name": name, "annotations": note or {}},
        spec=spec,
        opts=ResourceOptions(provider=provider),
    )


# --- where all is well ------------------------------------------------------------------------------------------------


def _healthy_program(image, version):
    def run(provider):
        options = ResourceOptions(provider=provider)
        made = container(image, f"echo {version}; sleep 1000", readiness_probe=ready_when(_AFTER_A_WHILE))
        web = _deployment(provider, "web", [made], replicas=2)
        ordered = _stateful_set(provider, "ordered", [made], replicas=2, pod_management_policy="Parallel")
        each = k8s.apps.v1.DaemonSet("each", metadata={"name": "each"}, spec=workload("each", [made]), opts=options)
        once = _job(provider, "once", job(image, "sleep 1"))
        alone = k8s.core.v1.Pod("alone", spec=pod([container(image, readiness_probe=ready_when("true"))]), opts=options)
        never = container(image, "sleep 1", readiness_probe=ready_when("false"))
        short = k8s.core.v1.Pod("short", spec=pod([never], restart_policy="Never"), opts=options)
        return {
            "web": web.status["ready_replicas"],
            "ordered": ordered.status["ready_replicas"],
            "each": each.status["number_ready"],
            "once": once.status["succeeded"],
            "alone": alone.status["phase"],
            "short": short.status["phase"],
        }

    return run


@dataclass
class Healthy:
    """What two updates of good workloads left."""

    stack: Stack
    first: dict[str, Any]
    """The outputs of the first update: what the objects' status was when each was reported done."""
    updated: Outcome


@pytest.fixture(scope="module")
def healthy(stacks: Any, test_image: str) -> Healthy:
    """Created, checked for changes, updated."""
    stack = stacks()
    stack.up(_healthy_program(test_image, 1), "--parallel=16")
    first = stack.outputs()
    stack.unchanged(_healthy_program(test_image, 1))
    updated = stack.up(_healthy_program(test_image, 2), "--parallel=16")
    return Healthy(stack, first, updated)


def test_a_deployment_is_done_when_its_pods_are_ready(healthy: Healthy) -> None:
    assert healthy.first["web"] == 2


def test_a_stateful_set_is_done_when_its_pods_are_ready(healthy: Healthy) -> None:
    assert healthy.first["ordered"] == 2


def test_a_daemon_set_is_done_when_every_node_has_a_ready_pod(healthy: Healthy) -> None:
    assert healthy.first["each"] == len(json.loads(kubectl("get", "node", "--output", "json"))["items"])


def test_a_job_is_done_when_it_has_succeeded(healthy: Healthy) -> None:
    assert healthy.first["once"] == 1


def test_a_pod_is_done_when_it_is_ready_or_has_ended_well(healthy: Healthy) -> None:
    assert healthy.first["alone"] == "Running" and healthy.first["short"] == "Succeeded"


def test_an_update_is_done_when_the_new_pods_are_ready(healthy: Healthy) -> None:
    assert healthy.updated.changed() == {"each": ["update"], "ordered": ["update"], "web": ["update"]}
    namespace = healthy.stack.namespace
    web = objects("deployment", namespace)[0]["status"]
    assert web["updatedReplicas"] == web["readyReplicas"] == 2
    ordered = objects("statefulset", namespace)[0]["status"]
    assert ordered["currentRevision"] == ordered["updateRevision"] and ordered["readyReplicas"] == 2
    each = objects("daemonset", namespace)[0]["status"]
    assert each["updatedNumberScheduled"] == each["numberAvailable"] == each["desiredNumberScheduled"]


# --- where nothing is -------------------------------------------------------------------------------------------------

_LINES = "echo first line; echo no such column: price >&2; exit 1"


def _broken_program(image, *, repaired=False):
    def run(provider):
        # As long as a pod takes to start and end on a busy machine: its last words are to be told.
        short = annotations(timeoutSeconds="120" if repaired else "20")
        long = annotations(timeoutSeconds="300")
        unready = {"readiness_probe": ready_when("true" if repaired else "false")}
        script = {} if repaired else {"script": "echo the last words; exit 7"}
        _deployment(provider, "web", [container(image, **script, **unready)], note=short)
        _deployment(
            provider,
            "impatient",
            [container(image, **unready)],
            note=long,
            timeouts=CustomTimeouts(create="3s", update="120s" if repaired else "3s"),
        )
        _deployment(provider, "skipped", [container(image, **unready)], note=annotations(skipAwait="true"))
        broken = [container(image, **script, **unready)]
        # An ordered set would wait for its broken pod before it replaces it.
        _stateful_set(provider, "ordered", broken, note=short, replicas=1, pod_management_policy="Parallel")
        ends = "true" if repaired else _LINES
        _job(provider, "train", job(image, ends), note=annotations(replaceUnready="true"))
        _job(provider, "plain", job(image, _LINES) if not repaired else job(image, "true"))
        seconds = 60 if repaired else 2
        _job(provider, "slow", job(image, f"sleep {0 if repaired else 100}", active_deadline_seconds=seconds))

    return run


@dataclass
class Broken:
    """What updates of bad workloads left."""

    stack: Stack
    first: Outcome
    state: dict[str, Any]
    uids: dict[str, str]
    again: Outcome
    uids_again: dict[str, str]
    repaired: Outcome


def _job_uids(namespace: str) -> dict[str, str]:
    return {entry["metadata"]["name"]: entry["metadata"]["uid"] for entry in objects("job", namespace)}


@pytest.fixture(scope="module")
def broken(stacks: Any, test_image: str) -> Broken:
    """Created, tried again as it is, put right."""
    stack = stacks()
    options = ("--parallel=16", "--continue-on-error")
    first = stack.up(_broken_program(test_image), *options, succeed=False)
    state, uids = stack.state(), _job_uids(stack.namespace)
    again = stack.up(_broken_program(test_image), *options, succeed=False)
    uids_again = _job_uids(stack.namespace)
    repaired = stack.up(_broken_program(test_image, repaired=True), *options)
    return Broken(stack, first, state, uids, again, uids_again, repaired)


def _errors(broken: Broken, name: str) -> str:
    return "\n".join(broken.state[name].get("initErrors", []))


def test_a_deployment_that_never_gets_ready_is_kept_with_its_errors(broken: Broken) -> None:
    assert "timed out" in _errors(broken, "web") and "the last words" in _errors(broken, "web")
    assert "'web' timed out" in broken.first.text and "the last words" in broken.first.text
    assert broken.state["web"]["id"] == f"{broken.stack.namespace}/web"


def test_custom_timeouts_win_over_the_annotation(broken: Broken) -> None:
    assert "timed out" in _errors(broken, "impatient")


def test_skip_await_does_not_wait(broken: Broken) -> None:
    assert not _errors(broken, "skipped")
    assert not broken.state["skipped"]["outputs"]["status"].get("readyReplicas")


def test_a_stateful_set_that_never_gets_ready_says_why(broken: Broken) -> None:
    assert "0 out of 1" in _errors(broken, "ordered") and "the last words" in _errors(broken, "ordered")


def test_a_failed_job_is_named_with_its_last_lines(broken: Broken) -> None:
    assert "train" in broken.first.text and "no such column: price" in broken.first.text
    assert "no such column: price" in _errors(broken, "train") and "BackoffLimitExceeded" in _errors(broken, "train")


def test_a_job_past_its_deadline_fails(broken: Broken) -> None:
    assert "DeadlineExceeded" in _errors(broken, "slow")


def test_replace_unready_runs_a_failed_job_again(broken: Broken) -> None:
    assert broken.again.changed()["train"] == ["delete-replaced", "replace", "create-replacement"]
    assert broken.uids_again["train"] != broken.uids["train"]


def test_without_replace_unready_a_failed_job_is_only_looked_at_again(broken: Broken) -> None:
    assert broken.again.changed()["plain"] == ["update"]
    assert broken.uids_again["plain"] == broken.uids["plain"]
    assert "BackoffLimitExceeded" in broken.again.text


def test_the_next_update_repairs_what_failed(broken: Broken) -> None:
    changed = broken.repaired.changed()
    assert changed["web"] == changed["ordered"] == ["update"]
    assert changed["plain"] == changed["slow"] == ["delete-replaced", "replace", "create-replacement"]
    assert not any(resource.get("initErrors") for resource in broken.stack.state().values())
