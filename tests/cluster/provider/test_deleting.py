"""Deleting: gone means gone, and not more than asked for."""

import json
import time

import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.provider.manifests import annotations, container, workload
from tests.cluster.support import eventually, kubectl, objects


def test_a_destroy_ends_when_everything_is_gone(cluster_wide_stack: Stack, test_image: str) -> None:
    def program(provider):
        options = ResourceOptions(provider=provider)
        place = k8s.core.v1.Namespace("place", opts=options)
        name = place.metadata["name"]
        k8s.apps.v1.Deployment(
            "web", metadata={"namespace": name}, spec=workload("web", [container(test_image)]), opts=options
        )
        k8s.core.v1.ConfigMap(
            "guarded",
            metadata={"name": "guarded", "namespace": name},
            opts=options,
        )
        return {"name": name}

    cluster_wide_stack.up(program)
    name = cluster_wide_stack.outputs()["name"]
    # Something that Pulumi does not know of goes with its namespace, too.
    kubectl("create", "configmap", "foreign", "--namespace", name)
    cluster_wide_stack.destroy()
    assert not kubectl("get", "namespace", name, "--ignore-not-found")


def test_a_deletion_waits_for_finalizers(stack: Stack) -> None:
    def program(provider):
        k8s.core.v1.ConfigMap(
            "held",
            metadata={
                "name": "held",
                "finalizers": ["example.invalid/hold"],
                "annotations": annotations(timeoutSeconds="3"),
            },
            opts=ResourceOptions(provider=provider),
        )

    stack.up(program)
    began = time.monotonic()
    failed = stack.destroy(succeed=False)
    assert "held" in failed.text and time.monotonic() - began < 60
    assert "held" in stack.state()
    kubectl(
        "patch",
        "configmap",
        "held",
        "--namespace",
        stack.namespace,
        "--type=merge",
        "--patch",
        json.dumps({"metadata": {"finalizers": None}}),
    )
    stack.destroy()


def test_an_object_that_is_already_gone_is_no_error(stack: Stack) -> None:
    def program(provider):
        k8s.core.v1.ConfigMap("short", metadata={"name": "short"}, opts=ResourceOptions(provider=provider))

    stack.up(program)
    kubectl("delete", "configmap", "short", "--namespace", stack.namespace)
    stack.destroy()


def test_dependents_go_too_unless_orphaned(stack: Stack) -> None:
    def program(note):
        def run(provider):
            k8s.apps.v1.Deployment(
                "web",
                metadata={"name": "web", "annotations": {**annotations(skipAwait="true"), **note}},
                spec=workload("web", [container("nowhere.invalid/none")], replicas=1),
                opts=ResourceOptions(provider=provider),
            )

        return run

    def sets():
        return objects("replicaset", stack.namespace)

    stack.up(program(annotations(deletionPropagationPolicy="orphan")))
    eventually(sets, 20, 0.2)
    stack.destroy()
    assert not objects("deployment", stack.namespace) and sets()
    kubectl("delete", "replicaset", "--all", "--namespace", stack.namespace)
    stack.up(program(annotations(deletionPropagationPolicy="background")))
    eventually(sets, 20, 0.2)
    stack.destroy()
    eventually(lambda: not sets(), 30, 0.2)


def test_retained_and_protected_objects_stay(stack: Stack) -> None:
    def program(**options):
        def run(provider):
            k8s.core.v1.ConfigMap("kept", metadata={"name": "kept"}, opts=ResourceOptions(provider=provider, **options))

        return run

    stack.up(program(protect=True))
    assert "protect" in stack.destroy(succeed=False).text
    stack.up(program(retain_on_delete=True))
    stack.destroy()
    assert objects("configmap", stack.namespace, "--field-selector=metadata.name=kept")
