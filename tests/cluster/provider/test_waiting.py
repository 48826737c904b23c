"""Waits among other work: they hold nothing up, and end when they are told to."""

import time

import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.provider.manifests import annotations, container, workload
from tests.cluster.support import objects


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
