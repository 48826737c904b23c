"""Patch resources: some fields of an object that isn't the stack's own."""

import json

import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.support import kubectl


def _labels(stack: Stack) -> dict[str, str]:
    found = json.loads(kubectl("get", "configmap", "theirs", "-n", stack.namespace, "-o", "json"))
    assert found["data"] == {"a": "theirs"}
    labels: dict[str, str] = found["metadata"].get("labels", {})
    return labels


def _patch(labels, **annotations):
    def program(provider):
        metadata = {"name": "theirs", "labels": labels, "annotations": annotations}
        k8s.core.v1.ConfigMapPatch("patch", metadata=metadata, opts=ResourceOptions(provider=provider))

    return program


def _theirs(stack: Stack) -> None:
    kubectl("create", "configmap", "theirs", "--from-literal=a=theirs", "-n", stack.namespace)
    kubectl("label", "configmap", "theirs", "kept=yes", "level=low", "-n", stack.namespace)


def test_a_patch_sets_its_fields_and_gives_them_up_when_it_is_removed(stack: Stack) -> None:
    _theirs(stack)
    stack.up(_patch({"mine": "1"}))
    assert _labels(stack) == {"kept": "yes", "level": "low", "mine": "1"}
    stack.up(_patch({"mine": "2"}))
    assert _labels(stack) == {"kept": "yes", "level": "low", "mine": "2"}
    assert not stack.preview(_patch({"mine": "2"})).changed()
    stack.up(lambda provider: None)
    assert _labels(stack) == {"kept": "yes", "level": "low"}


def test_a_patch_takes_over_a_field_of_another_owner_only_by_force(stack: Stack) -> None:
    _theirs(stack)
    refused = stack.up(_patch({"level": "high"}), succeed=False)
    assert "conflict" in refused.text and _labels(stack)["level"] == "low"
    stack.up(_patch({"level": "high"}, **{"pulumi.com/patchForce": "true"}))
    assert _labels(stack)["level"] == "high"


def test_a_patch_of_nothing_is_refused_and_makes_nothing(stack: Stack) -> None:
    refused = stack.up(_patch({"mine": "1"}), succeed=False)
    assert "not found" in refused.text
    assert "theirs" not in kubectl("get", "configmaps", "-n", stack.namespace, "-o", "name")


def test_a_patch_of_what_the_same_update_makes_can_be_planned(stack: Stack) -> None:
    assert "patch" in stack.preview(_patch({"mine": "1"})).changed()
