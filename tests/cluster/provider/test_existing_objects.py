"""Objects that exist before the stack makes them: somebody's, another resource's, or left by an update that died."""

import os
import signal

import pulumi_kubernetes as k8s
import pytest
from pulumi import Alias, ResourceOptions

from tests.cluster.provider.harness import Program, Stack
from tests.cluster.provider.manifests import annotations, container, workload
from tests.cluster.support import eventually, kubectl, objects


def _settings(provider, resource_name, value="mine", **options):
    """A ConfigMap of a fixed name."""
    return k8s.core.v1.ConfigMap(
        resource_name,
        metadata={"name": "settings"},
        data={"a": value},
        opts=ResourceOptions(provider=provider, **options),
    )


def _program(*resource_names: str, value: str = "mine", **options) -> Program:
    def run(provider) -> None:
        for name in resource_names:
            _settings(provider, name, value, **options)

    return run


def _live(stack: Stack) -> dict:
    (found,) = objects("configmap", stack.namespace, "--field-selector=metadata.name=settings")
    return found


def _somebodys(stack: Stack) -> None:
    kubectl("create", "configmap", "settings", "--from-literal=a=theirs", "--namespace", stack.namespace)


def test_what_exists_is_not_created_and_stays_as_it_is(stack: Stack) -> None:
    _somebodys(stack)
    stack.preview(_program("settings"))  # a plan can't tell it from what the resource replaces
    refused = stack.up(_program("settings"), succeed=False)
    assert 'configmaps "settings" already exists' in refused.text
    assert "settings" not in stack.state()
    assert _live(stack)["data"] == {"a": "theirs"}
    stack.destroy()
    assert _live(stack)["data"] == {"a": "theirs"}


@pytest.mark.parametrize("by", ["setting", "environment"])
def test_a_provider_may_take_over_what_exists(new_stack, namespace: str, by: str) -> None:
    stack = new_stack(namespace=namespace, PULUMI_K8S_UPSERT_EXISTING_OBJECTS=str(by == "environment").lower())
    _somebodys(stack)
    uid = _live(stack)["metadata"]["uid"]
    settings = {"upsert_existing_objects": True} if by == "setting" else {}
    # Other people's fields stay theirs unless they are taken by force; those that nobody else sets are no conflict.
    stack.up(_program("settings", value="theirs"), **settings)
    assert _live(stack)["metadata"]["uid"] == uid
    stack.unchanged(_program("settings", value="theirs"), **settings)


def test_two_resources_of_one_name_are_not_one_object(stack: Stack) -> None:
    stack.up(_program("one"))
    refused = stack.up(_program("one", "two"), succeed=False)
    assert 'configmaps "settings" already exists' in refused.text
    assert "two" not in stack.state()
    stack.up(_program("one"))
    assert _live(stack)["data"] == {"a": "mine"}


def test_a_resource_under_a_new_name_needs_an_alias_or_its_object_would_be_gone(stack: Stack) -> None:
    stack.up(_program("before"))
    uid = _live(stack)["metadata"]["uid"]
    refused = stack.up(_program("after"), succeed=False)
    assert 'configmaps "settings" already exists' in refused.text
    assert _live(stack)["metadata"]["uid"] == uid
    stack.up(_program("after", aliases=[Alias(name="before")]))
    assert _live(stack)["metadata"]["uid"] == uid


def test_a_replaced_object_of_a_fixed_name_is_a_new_one(stack: Stack) -> None:
    stack.up(_program("settings"))
    uid = _live(stack)["metadata"]["uid"]
    preview = stack.preview(_program("settings", value="changed"))
    assert "replace" in preview.operations("settings")
    stack.up(_program("settings", value="changed"))
    found = _live(stack)
    assert found["data"] == {"a": "changed"} and found["metadata"]["uid"] != uid
    stack.unchanged(_program("settings", value="changed"))


def test_an_object_that_was_created_is_updated_by_server_side_apply(stack: Stack) -> None:
    def program(labels: dict[str, str]) -> Program:
        def run(provider) -> None:
            k8s.core.v1.ServiceAccount(
                "robot", metadata={"name": "robot", "labels": labels}, opts=ResourceOptions(provider=provider)
            )

        return run

    stack.up(program({"a": "1", "b": "1"}))
    # Neither a plan nor the update meets a conflict with what the same provider created.
    assert stack.preview(program({"a": "2"})).changed() == {"robot": ["update"]}
    stack.up(program({"a": "2"}))
    (found,) = objects("serviceaccount", stack.namespace, "--field-selector=metadata.name=robot")
    assert found["metadata"]["labels"] == {"a": "2"}


def _deployment(name: str | None) -> Program:
    """A Deployment that never becomes ready, so that an update can be killed while it waits for it."""

    def run(provider) -> None:
        k8s.apps.v1.Deployment(
            "stuck",
            metadata={"name": name, "annotations": annotations(timeoutSeconds="300")} if name else None,
            spec=workload("stuck", [container("nowhere.invalid/none")]),
            opts=ResourceOptions(provider=provider),
        )

    return run


def _killed(stack: Stack, program: Program) -> str:
    """Kill an `up` with everything that it started, as the end of a CI runner does. The name of what it left."""
    running = stack.start(program)
    (left,) = eventually(lambda: objects("deployment", stack.namespace), 60)
    os.killpg(running.process_id, signal.SIGKILL)
    running.end(30)
    stack.cancel()
    assert "stuck" not in stack.state()
    return str(left["metadata"]["name"])


def _unawaited(name: str | None) -> Program:
    """The same Deployment, mended: nothing waits for it."""

    def run(provider) -> None:
        k8s.apps.v1.Deployment(
            "stuck",
            metadata={"name": name, "annotations": annotations(skipAwait="true")}
            if name
            else {"annotations": annotations(skipAwait="true")},
            spec=workload("stuck", [container("nowhere.invalid/none")]),
            opts=ResourceOptions(provider=provider),
        )

    return run


def test_what_a_killed_update_left_is_taken_up_by_one_that_may(stack: Stack) -> None:
    _killed(stack, _deployment("stuck"))
    (left,) = objects("deployment", stack.namespace)
    # Forced, for what was left may be of another program than today's.
    once = {"PULUMI_K8S_UPSERT_EXISTING_OBJECTS": "true", "PULUMI_K8S_ENABLE_PATCH_FORCE": "true"}
    usual = dict(stack.environment)
    stack.environment.update(once)
    stack.up(_unawaited("stuck"))
    stack.environment = usual
    (found,) = objects("deployment", stack.namespace)
    assert found["metadata"]["uid"] == left["metadata"]["uid"]
    stack.unchanged(_unawaited("stuck"))
    stack.refresh()
    stack.unchanged(_unawaited("stuck"))


def test_what_a_killed_update_left_is_in_the_next_ones_way_until_it_is_deleted(stack: Stack) -> None:
    name = _killed(stack, _deployment("stuck"))
    refused = stack.up(_unawaited("stuck"), succeed=False)
    assert 'deployments.apps "stuck" already exists' in refused.text
    kubectl("delete", "deployment", name, "--namespace", stack.namespace)
    stack.up(_unawaited("stuck"))
    stack.unchanged(_unawaited("stuck"))


def test_an_unnamed_object_that_a_killed_update_left_is_in_nobodys_way(stack: Stack) -> None:
    left = _killed(stack, _deployment(None))
    stack.up(_unawaited(None))
    stack.unchanged(_unawaited(None))
    names = {found["metadata"]["name"] for found in objects("deployment", stack.namespace)}
    assert left in names and len(names) == 2
