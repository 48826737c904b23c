"""Secrets stay secret: in the state, in outputs, in what is printed."""

import base64

import pulumi
import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.support import objects

_ENCRYPTED = "1b47061264138c4ac30d75fd1eb44270"
"""Marks an encrypted value in a stack's state."""


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_data_of_a_secret_is_never_in_clear(stack: Stack) -> None:
    def program(provider):
        options = ResourceOptions(provider=provider)
        plain = k8s.core.v1.Secret("plain", string_data={"key": "in-the-open"}, opts=options)
        encoded = k8s.core.v1.Secret("encoded", data={"key": _encoded("hidden-as-well")}, opts=options)
        return {"plain": plain.data["key"], "encoded": encoded.data["key"]}

    preview = stack.preview(program)
    done = stack.up(program)
    text = stack.state_text() + preview.text + done.text
    for word in ("in-the-open", "hidden-as-well"):
        assert word not in text and _encoded(word) not in text
    # What the program wrote as text comes back the way the server stores it.
    assert stack.outputs() == {"plain": _encoded("in-the-open"), "encoded": _encoded("hidden-as-well")}
    assert {entry["data"]["key"] for entry in objects("secret", stack.namespace)} == set(stack.outputs().values())
    stack.unchanged(program)
    for name in ("plain", "encoded"):
        assert _ENCRYPTED in str(stack.state()[name]["outputs"]["data"])


def test_secret_inputs_of_other_kinds_stay_secret(stack: Stack) -> None:
    def program(provider):
        made = k8s.core.v1.ConfigMap(
            "settings",
            metadata={"annotations": {"token": pulumi.Output.secret("hidden-token")}},
            data={"open": "seen", "hidden": pulumi.Output.secret("hidden-value")},
            opts=ResourceOptions(provider=provider),
        )
        return {"data": made.data}

    done = stack.up(program)
    text = stack.state_text() + done.text
    assert "hidden-value" not in text and "hidden-token" not in text
    assert stack.outputs()["data"]["hidden"] == "hidden-value"
    live = next(entry for entry in objects("configmap", stack.namespace) if "open" in entry.get("data", {}))
    assert live["data"]["hidden"] == "hidden-value" and live["metadata"]["annotations"]["token"] == "hidden-token"
    stack.unchanged(program)
    stack.refresh()
    assert "hidden-value" not in stack.state_text()


def test_a_changed_secret_is_replaced(stack: Stack) -> None:
    def program(value):
        def run(provider):
            made = k8s.core.v1.Secret("key", string_data={"key": value}, opts=ResourceOptions(provider=provider))
            return {"name": made.metadata["name"]}

        return run

    stack.up(program("one"))
    first = stack.outputs()["name"]
    assert stack.up(program("two")).changed()["key"] == ["create-replacement", "replace", "delete-replaced"]
    assert stack.outputs()["name"] != first
