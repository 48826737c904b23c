"""What a plan says of a gate."""

from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from tests.unit.components import test_model_promotion, test_training_job
from tests.unit.components.harness import Program

GATE = {"f1": {"min": 0.8}, "loss": {"max": 0.3, "max_delta": 0.01}}
COMPONENTS: dict[str, tuple[Callable[..., Program], dict[str, Any]]] = {
    "TrainingJob": (test_training_job.train, test_training_job.ARGS),
    "ModelPromotion": (test_model_promotion.promote, test_model_promotion.ARGS),
}
Said = Callable[..., list[str]]


@pytest.fixture(params=COMPONENTS)
def said(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Said:
    make, args = COMPONENTS[request.param]

    def plan(gate: Any, *, preview: bool = True) -> list[str]:
        lines: list[str] = []
        monkeypatch.setattr(pulumi.log, "info", lambda message, resource: lines.append(message))
        given = {} if gate is None else {"gate": gate, "serving_alias": "live"}
        make({**args, **given}, preview=preview)
        return [line for line in lines if "judges" in line]

    return plan


def test_a_preview_says_what_is_judged_and_against_what(said: Said) -> None:
    bounds = "f1 min 0.8, loss max 0.3, loss max_delta 0.01 (deltas against @live)"
    assert said(GATE) == [f"judges a new run, and the published one if the gate changed: {bounds}"]


def test_bounds_that_compare_with_nothing_name_no_alias(said: Said) -> None:
    [line] = said({"f1": {"min": 0.8}})
    assert line.endswith("changed: f1 min 0.8")


def test_an_output_is_said_as_soon_as_it_is_known(said: Said) -> None:
    assert said({"f1": {"min": pulumi.Output.from_input(0.8)}})[0].endswith("f1 min 0.8")
    assert said({"f1": {"min": pulumi.Output.from_input(pulumi.UNKNOWN)}}) == []


@pytest.mark.parametrize("gate", [None, {}])
def test_without_a_gate_nothing_is_said(said: Said, gate: Any) -> None:
    assert said(gate) == []


def test_an_update_does_not_repeat_it(said: Said) -> None:
    assert said(GATE, preview=False) == []
