"""Values on the way from and to the engine."""

from typing import Any

from devkit.pulumi_plugins.kubernetes_provider.objects.checkpoint import FIELD_MANAGER, INPUTS, pack, unpack
from devkit.pulumi_plugins.kubernetes_provider.objects.properties import (
    UNKNOWN,
    Secret,
    decode,
    encode,
    from_object,
    has_unknown,
    to_object,
)
from devkit.pulumi_plugins.kubernetes_provider.objects.secrets import annotate_secrets


def test_values_come_back_as_they_went() -> None:
    given = {"a": 1, "b": 1.5, "c": "x", "d": True, "e": [1, {"f": Secret("s")}], "g": {}, "h": [], "u": UNKNOWN}
    found = decode(encode(given))
    assert found == given and isinstance(found["a"], int) and isinstance(found["d"], bool)


def test_a_property_that_is_null_is_left_out_and_a_null_inside_of_one_is_kept() -> None:
    assert decode(encode({"a": None, "b": {"c": None, "d": [None]}})) == {"b": {"c": None, "d": [None]}}


def test_unknowns_are_seen_inside_of_secrets_and_lists() -> None:
    assert has_unknown({"a": [Secret({"b": UNKNOWN})]}) and not has_unknown({"a": [Secret({"b": 1})]})


def test_dashed_fields_have_underscores_in_programs() -> None:
    obj = {"properties": {"x": {"x-kubernetes-preserve-unknown-fields": True}}}
    properties = {"properties": {"x": {"x_kubernetes_preserve_unknown_fields": True}}}
    assert from_object(obj) == properties and to_object(properties) == obj


def test_secret_values_stay_secret_and_their_neighbours_do_not_become_so() -> None:
    outs: dict[str, Any] = {"data": {"a": "1", "b": "2"}, "list": [1, 2], "new": 3}
    annotate_secrets(outs, {"data": {"a": Secret("1"), "b": "2"}, "list": [1, Secret(2)]})
    assert outs == {"data": {"a": Secret("1"), "b": "2"}, "list": Secret([1, 2]), "new": 3}


def test_the_data_of_a_secret_is_secret_whatever_the_inputs_say() -> None:
    outs: dict[str, Any] = {"kind": "Secret", "data": {"a": "1"}}
    annotate_secrets(outs, {})
    assert outs["data"] == Secret({"a": "1"})


def test_a_state_holds_the_live_object_and_its_inputs() -> None:
    live = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "uid": "u"}, "data": {"a": "1"}}
    inputs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1"}}
    given = {**inputs, "data": {"a": Secret("1")}}
    state = pack(inputs, live, given, api_version="v1", field_manager="m")
    assert state["data"] == {"a": Secret("1")} and state[INPUTS]["data"] == {"a": Secret("1")}
    assert state[FIELD_MANAGER] == "m"
    assert unpack(state) == (inputs, live)
