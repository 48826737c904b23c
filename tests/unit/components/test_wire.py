"""Values that would not arrive as they are written, and names that are no text, are refused where they are read."""

import math
from typing import Any

import pulumi
import pytest

import modelops
from modelops.core.quantities import number_of
from modelops.core.shown import shown
from tests.package.test_consumer import MINIMAL
from tests.unit.components.harness import run


def refusal(component: str, **changes: Any) -> str:
    with pytest.raises(modelops.ArgumentsError) as caught:
        getattr(modelops, component)("demo", {**MINIMAL[component], **changes})
    return str(caught.value)


@pytest.mark.parametrize(
    ("component", "changes"),
    [
        ("ModelService", {"rollout": {1: 2}}),
        ("ModelService", {"pod_labels": {1: "x"}}),
        ("ModelService", {"environment": {None: "x"}}),
        ("ModelService", {"resources": {"devices": {1: 2}}}),
        ("TrainingJob", {"gate": {1: {"max": 1}}}),
        ("TrainingJob", {"sweep": {1: [1]}, "sweep_metric": "mse"}),
        ("DataPipeline", {"steps": [{1: {}}]}),
        ("DataPipeline", {"steps": [{"split": {1: 2}}]}),
        ("DataPipeline", {"sources": [{"\ud800": 2, "uri": "/data/raw.csv"}]}),
    ],
)
def test_a_name_is_text(component: str, changes: dict[str, Any]) -> None:
    assert (
        "must be text: it is a name" in (said := refusal(component, **changes)) or "must have text as its name" in said
    )


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_is_finite(number: float) -> None:
    assert "must be a finite number" in refusal(
        "ModelService", autoscaling={"max_replicas": 3, "target_requests_per_second": number}
    )


@pytest.mark.parametrize("number", [2**53, -(2**53), 10**5000], ids=["53 bits", "negative", "endless"])
def test_a_whole_number_is_one_that_the_wire_keeps(number: int) -> None:
    said = refusal("TrainingJob", parameters={"seed": number}, checkpoints={"claim": "c", "interval_steps": number})
    assert "parameters.seed is a very large number, must be within ±9007199254740991" in said
    assert "checkpoints.interval_steps is a very large number, must be within" in said


def test_a_count_is_one_that_kubernetes_can_count_to() -> None:
    spread = [{"topology_key": "zone", "max_skew": 2**31}]
    assert "max_skew is 2147483648, must be 1 to 2147483647" in refusal("ModelService", topology_spread=spread)


@pytest.mark.parametrize("text", ["a\ud800", "a\0"])
def test_text_is_what_a_variable_can_hold(text: str) -> None:
    said = refusal("TrainingJob", environment={"A": text}, parameters={"a": text})
    assert said.count("must be Unicode text without lone surrogates and zero bytes") == 2


def test_bytes_are_no_list() -> None:
    assert "steps is b'text', must be a list" in refusal("DataPipeline", steps=b"text")


def test_a_quantity_that_no_number_is_large_enough_for_is_none() -> None:
    with pytest.raises(ValueError, match="out of range"):
        number_of("1e9999999")
    assert "must be a Kubernetes quantity" in refusal("ModelService", resources={"memory": "1e9999999"})


@pytest.mark.parametrize("name", ["é", "1A", "A B", ""])
def test_a_variable_has_a_name_that_a_shell_reads(name: str) -> None:
    assert "must be a variable name" in refusal("ModelService", environment={name: "x"})


def test_a_wrong_value_is_shown_short_and_without_pythons_insides() -> None:
    assert shown("x" * 5000) == f"'{'x' * 199}… (5002 characters)"
    assert shown("a\0b") == r"'a\x00b'"
    assert shown(object()) == "a object"
    assert "0x" not in shown({"a": [object(), len]})

    def program() -> None:
        late = pulumi.Output.from_input("secret")
        assert shown({"a": [late]}) == "{'a': [not known yet]}"

    run(program)


@pytest.mark.parametrize("number", [10**400, 1e308, math.inf, math.nan], ids=["int", "float", "inf", "nan"])
def test_no_endless_number_is_proposed_as_text(number: float) -> None:
    assert refusal("ModelService", priority_class=number).endswith("must be text")


def test_a_wrong_name_is_shown_short_too() -> None:
    said = refusal("ModelService", **{"x" * 5000: 1}, environment={"A": 1, "y" * 5000: "\n"}, pod_labels={"z\n": "x"})
    assert max(map(len, said.splitlines())) < 700


def test_no_private_output_is_proposed() -> None:
    def program() -> None:
        other = pulumi.ComponentResource("test:index:Other", "other")
        assert refusal("ModelService", priority_class=other).endswith("itself, must be one of its outputs")

    run(program)
