"""What counts as a change, and how it is written."""

from typing import Any

import pytest

from devkit.pulumi_plugins.kubernetes_provider.objects.normalize import normalize, prune
from devkit.pulumi_plugins.kubernetes_provider.objects.properties import UNKNOWN
from devkit.pulumi_plugins.kubernetes_provider.operations.changes import (
    Change,
    changes,
    ignored,
    parse_path,
    path_text,
    without_ignored,
)


def _found(old: Any, new: Any, last: Any = None, *, built_in: bool = True) -> dict[str, str]:
    found = changes(old, new, old if last is None else last, built_in=built_in)
    return {path_text(change.path): change.kind for change in found}


def test_equal_objects_have_no_changes() -> None:
    assert _found({"a": {"b": [1, {"c": "x"}]}}, {"a": {"b": [1.0, {"c": "x"}]}}) == {}


def test_values_are_added_changed_and_deleted() -> None:
    old = {"spec": {"a": 1, "b": 2, "c": {"d": 3}}}
    new = {"spec": {"a": 1, "b": 5, "e": 6}}
    assert _found(old, new) == {"spec.b": "UPDATE", "spec.c": "DELETE", "spec.e": "ADD"}


def test_lists_are_compared_item_by_item() -> None:
    old = {"ports": [{"port": 80}, {"port": 81}]}
    assert _found(old, {"ports": [{"port": 80}]}) == {"ports[1]": "DELETE"}
    assert _found(old, {"ports": [{"port": 80}, {"port": 82}, {"port": 83}]}) == {
        "ports[1].port": "UPDATE",
        "ports[2]": "ADD",
    }


def test_true_is_not_one() -> None:
    assert _found({"a": True}, {"a": 1}) == {"a": "UPDATE"}


def test_an_unknown_value_is_a_change() -> None:
    assert _found({"a": 1}, {"a": UNKNOWN, "b": UNKNOWN}) == {"a": "UPDATE", "b": "ADD"}


def test_empty_values_that_the_server_drops_are_no_change() -> None:
    assert _found({"spec": {}}, {"spec": {"hostNetwork": False, "env": [], "value": ""}}) == {}
    # Where "empty" differs from "not there", the server keeps it: its lack is a difference.
    assert _found({"spec": {}}, {"spec": {"replicas": 0}}) == {"spec.replicas": "ADD"}
    assert _found({"data": {}}, {"data": {"key": ""}}) == {"data.key": "ADD"}


def test_unknown_fields_that_the_server_drops_are_no_change() -> None:
    inputs = {"spec": {"typo": "x"}}
    assert _found({"spec": {}}, inputs, last=inputs) == {}
    assert _found({"spec": {}}, {"spec": {"typo": "y"}}, last=inputs) == {"spec.typo": "ADD"}


def test_lists_that_the_server_writes_as_null_when_they_are_empty_are_a_change() -> None:
    inputs: dict[str, Any] = {"rules": []}
    assert _found({}, inputs, last=inputs) == {"rules": "ADD"}
    assert _found({"spec": {}}, {"spec": {"rules": []}}, last={"spec": {"rules": []}}) == {}


def test_of_a_custom_resource_every_value_that_was_written_otherwise_is_a_change() -> None:
    inputs = {"spec": {"typo": "x", "env": [], "value": ""}}
    assert _found({"spec": {}}, inputs, last=inputs, built_in=False) == {
        "spec.typo": "ADD",
        "spec.env": "ADD",
        "spec.value": "ADD",
    }


@pytest.mark.parametrize("live", [{}, {"suspend": False}])
def test_a_null_in_a_custom_resource_is_deleted_again_and_again(live: dict[str, Any]) -> None:
    inputs = {"spec": {"suspend": None}}
    old = prune({"spec": live}, inputs)
    assert _found(old, inputs, last=inputs, built_in=False) == {"spec.suspend": "DELETE"}
    assert _found(old, {"spec": {}}, last={"spec": {}}, built_in=False) == ({"spec.suspend": "DELETE"} if live else {})


def test_a_null_in_a_kind_of_kubernetes_is_no_value() -> None:
    job: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"suspend": None, "template": {"spec": {"a": None}}},
    }
    assert normalize(job)["spec"] == {"template": {"spec": {}}}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("spec", "ports", 0, "name"), "spec.ports[0].name"),
        (("metadata", "annotations", "a.b/c"), 'metadata.annotations["a.b/c"]'),
        (("data", 'say "x"'), 'data["say \\"x\\""]'),
    ],
)
def test_paths_are_written_and_read(path: tuple[str | int, ...], text: str) -> None:
    assert path_text(path) == text
    assert parse_path(text) == tuple(str(step) for step in path)


def test_ignored_changes_are_left_out() -> None:
    found = [Change(("spec", "replicas"), "UPDATE", 2), Change(("spec", "ports", 0, "port"), "UPDATE", 1)]
    assert [change.path for change in without_ignored(found, ["spec.replicas"])] == [("spec", "ports", 0, "port")]
    assert without_ignored(found, ["spec"]) == []
    assert ignored(("spec", "ports", 0, "port"), [parse_path("spec.ports[*].port")])
    assert not ignored(("spec",), [parse_path("spec.replicas")])


def test_the_live_object_is_pruned_to_the_shape_of_the_inputs() -> None:
    live = {"spec": {"a": 1, "default": 2, "ports": [{"port": 80, "protocol": "TCP"}]}, "status": {}}
    assert prune(live, {"spec": {"a": 9, "ports": [{"port": 1}, {"port": 2}]}}) == {
        "spec": {"a": 1, "ports": [{"port": 80}]}
    }


def test_inputs_are_normalized() -> None:
    inputs: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "uid": "1", "creationTimestamp": "now"},
        "spec": {
            "containers": [{"resources": {"requests": {"cpu": "1000m"}}}],
            "volumes": [{"emptyDir": {"sizeLimit": "1024Mi"}}],
        },
    }
    found = normalize(inputs)
    assert found["metadata"] == {"name": "x"}
    assert found["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}
    assert found["spec"]["volumes"][0]["emptyDir"] == {"sizeLimit": "1Gi"}
    assert inputs["metadata"]["uid"] == "1"


def test_the_data_of_a_config_map_and_custom_resources_are_not_touched() -> None:
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"requests": "1000m"}}
    custom = {"apiVersion": "example.com/v1", "kind": "Thing", "spec": {"resources": {"requests": {"cpu": "1000m"}}}}
    assert normalize(settings) == settings and normalize(custom) == custom


def test_text_of_a_secret_becomes_data() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "x"}, "data": {"b": " eQ==\n", "a": "old"}}
    assert normalize(secret) == {"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA==", "b": " eQ==\n"}}
    assert normalize({"apiVersion": "v1", "kind": "Secret", "data": {"b": " eQ==\n"}})["data"] == {"b": "eQ=="}
