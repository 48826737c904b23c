"""Custom resources are written as the cluster keeps them."""

import re
from decimal import Decimal
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devkit.pulumi_plugins.kubernetes_provider.objects import quantities as stand_in
from modelops.core.quantities import canonical, number_of
from modelops.kubernetes.custom_objects import CustomObject
from tests.unit.components.harness import run

core = k8s.core.v1


def made(spec: Any) -> dict[str, Any]:
    """What the engine is sent for an object with this spec."""
    meta = k8s.meta.v1.ObjectMetaArgs(name="x")
    program = run(lambda: CustomObject("x", "example.com/v1", "Widget", meta, spec, pulumi.ResourceOptions()))
    return dict(program.one("Widget").inputs)


def test_nulls_are_left_out_at_any_depth() -> None:
    spec = {"a": None, "b": {"c": None, "d": 1}, "e": [{"f": None}], "g": pulumi.Output.from_input({"h": None, "i": 2})}
    assert made(spec)["spec"] == {"b": {"d": 1}, "e": [{}], "g": {"i": 2}}


def test_other_empty_values_stay() -> None:
    assert made({"emptyDir": {}, "items": [], "flag": False})["spec"] == {"emptyDir": {}, "items": [], "flag": False}


@pytest.mark.parametrize("late", [False, True])
def test_quantities_of_pods_are_in_the_servers_form(late: bool) -> None:
    def quantity(value: str) -> Any:
        return pulumi.Output.from_input(value) if late else value

    resources = core.ResourceRequirementsArgs(
        requests={"cpu": quantity("1000m"), "memory": quantity("1024Mi")}, limits={"nvidia.com/gpu": quantity("2")}
    )
    volume = core.EmptyDirVolumeSourceArgs(size_limit=quantity("2048Ki"))
    spec = {"containers": [core.ContainerArgs(name="c", resources=resources)], "emptyDir": volume, "note": "1000m"}
    found = made(pulumi.Output.from_input(spec) if late else spec)["spec"]
    assert found["containers"][0]["resources"] == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"nvidia.com/gpu": "2"},
    }
    assert found["emptyDir"] == {"sizeLimit": "2Mi"} and found["note"] == "1000m"


def test_what_is_no_quantity_is_left_to_the_server() -> None:
    assert made({"requests": {"cpu": "much"}})["spec"] == {"requests": {"cpu": "much"}}


QUANTITIES = st.from_regex(
    re.compile(r"[+-]?[0-9]{1,6}(\.[0-9]{1,3})?([numkMGTP]|[KMGTP]i|[eE][+-]?[0-9])?"), fullmatch=True
)


@given(QUANTITIES)
@example("0.5Gi")
@example("1025Ki")
@example("1e3")
@example("0Mi")
@example("1500m")
def test_a_canonical_quantity_is_worth_the_same_and_is_canonical(quantity: str) -> None:
    found = canonical(quantity)
    assert abs(number_of(found) - number_of(quantity)) < Decimal("1e-9")
    assert canonical(found) == found
    # The stand-in's own is held against the API server by the conformance tests.
    assert found == stand_in.canonical(quantity)
