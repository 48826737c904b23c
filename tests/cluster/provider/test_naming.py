"""Names: chosen by the provider or by the program."""

import re

import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.support import kubectl, objects


def _config_map(provider, data, *, name=None, **options):
    metadata = {"name": name} if name else None
    made = k8s.core.v1.ConfigMap(
        "settings", metadata=metadata, data=data, opts=ResourceOptions(provider=provider, **options)
    )
    return {"name": made.metadata["name"]}


def test_unnamed_objects_get_a_name_that_stays(stack: Stack) -> None:
    def program(labels):
        def run(provider):
            made = k8s.core.v1.ServiceAccount(
                "robot", metadata={"labels": labels}, opts=ResourceOptions(provider=provider)
            )
            return {"name": made.metadata["name"]}

        return run

    stack.up(program({"step": "1"}))
    name = stack.outputs()["name"]
    assert re.fullmatch(r"robot-[0-9a-f]{8}", name)
    found = {entry["metadata"]["name"]: entry["metadata"] for entry in objects("serviceaccount", stack.namespace)}
    assert found[name]["annotations"]["pulumi.com/autonamed"] == "true"

    updated = stack.up(program({"step": "2"}))
    assert updated.changed() == {"robot": ["update"]}
    assert stack.outputs()["name"] == name


def test_unnamed_objects_are_created_before_the_old_one_goes(stack: Stack) -> None:
    stack.up(lambda provider: _config_map(provider, {"a": "1"}))
    first = stack.outputs()["name"]
    preview = stack.preview(lambda provider: _config_map(provider, {"a": "2"}))
    assert "replace" in preview.operations("settings")
    replaced = stack.up(lambda provider: _config_map(provider, {"a": "2"}))
    assert replaced.changed()["settings"] == ["create-replacement", "replace", "delete-replaced"]
    second = stack.outputs()["name"]
    assert second != first and re.fullmatch(r"settings-[0-9a-f]{8}", second)
    assert first not in kubectl("get", "configmap", "--namespace", stack.namespace, "--output", "name")


def test_unnamed_immutable_objects_are_replaced_through_replace_on_changes(stack: Stack) -> None:
    def program(value):
        def run(provider):
            options = ResourceOptions(provider=provider, replace_on_changes=["data", "stringData"])
            k8s.core.v1.Secret("token", string_data={"a": value}, immutable=True, opts=options)
            k8s.core.v1.ConfigMap("table", data={"a": value}, immutable=True, opts=options)

        return run

    stack.up(program("1"))
    stack.unchanged(program("1"))
    changed = stack.up(program("2")).changed()
    assert changed["token"] == changed["table"] == ["create-replacement", "replace", "delete-replaced"]


def test_named_objects_go_before_the_new_one_is_created(stack: Stack) -> None:
    stack.up(lambda provider: _config_map(provider, {"a": "1"}, name="fixed"))
    uid = objects("configmap", stack.namespace, "--field-selector=metadata.name=fixed")[0]["metadata"]["uid"]
    replaced = stack.up(lambda provider: _config_map(provider, {"a": "2"}, name="fixed"))
    assert replaced.changed()["settings"] == ["delete-replaced", "replace", "create-replacement"]
    found = objects("configmap", stack.namespace, "--field-selector=metadata.name=fixed")[0]
    assert found["data"] == {"a": "2"} and found["metadata"]["uid"] != uid


def test_a_new_name_makes_a_new_object(stack: Stack) -> None:
    stack.up(lambda provider: _config_map(provider, {"a": "1"}, name="before"))
    renamed = stack.up(lambda provider: _config_map(provider, {"a": "1"}, name="after"))
    assert renamed.changed()["settings"] == ["create-replacement", "replace", "delete-replaced"]
    names = kubectl("get", "configmap", "--namespace", stack.namespace, "--output", "name")
    assert "configmap/after" in names and "configmap/before" not in names


def test_a_name_taken_back_makes_an_unnamed_object(stack: Stack) -> None:
    stack.up(lambda provider: _config_map(provider, {"a": "1"}, name="fixed"))
    stack.up(lambda provider: _config_map(provider, {"a": "1"}))
    assert re.fullmatch(r"settings-[0-9a-f]{8}", stack.outputs()["name"])


def test_the_annotation_of_generated_names_is_the_providers_own(stack: Stack) -> None:
    def program(**options):
        def run(provider):
            options_of = ResourceOptions(provider=provider, **options)
            k8s.core.v1.ConfigMap("settings", metadata={"annotations": {"a": "1"}}, data={"a": "1"}, opts=options_of)

        return run

    warning = 'ignoring user-specified value for internal annotation "pulumi.com/autonamed"'
    stack.up(program())
    assert warning not in stack.up(program()).text
    # What `ignore_changes` names comes from the state, as if the program had set it.
    ignored = ["metadata.name", 'metadata.annotations["pulumi.com/autonamed"]']
    assert warning in stack.up(program(ignore_changes=ignored)).text
