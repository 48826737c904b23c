"""Plans tell the truth: of seeded changes to a training, what the preview and its comment say is what happens.

`MODELOPS_CHAOS_PLANS` changes (default 20), by the seed `MODELOPS_CHAOS_SEED`.
"""

import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from previews import reading, risks
from tests.cluster.provider.harness import Outcome, Program, Stack
from tests.cluster.training.plain_trainings import PlainTrainings

pytestmark = pytest.mark.chaos
COUNT = int(os.environ.get("MODELOPS_CHAOS_PLANS", "20"))
SEED = int(os.environ.get("MODELOPS_CHAOS_SEED", "20"))
NAME = "plans"
REPLACED = {"replace", "create-replacement", "delete-replaced"}
CHOICES: Mapping[str, tuple[Any, ...]] = {
    # What a run is: another value is another run, but one that is in the registry trains nothing.
    "parameters": tuple({"steps": 2, "pause": 0.1, "variant": variant} for variant in range(4)),
    "data_version": ("monday", "tuesday"),
    "workers": (1, 2),
    # How it runs, or is judged.
    "gate": ({}, {"mse": {"max": 1}}, {"mse": {"max": 2}}),
    "timeout_seconds": (300, 600),
    "retries": (0, 1),
    "resources": ({"cpu": "20m", "memory": "64Mi"}, {"cpu": "20m", "memory": "96Mi"}),
    "pod_labels": ({}, {"team": "red"}),
    "environment": ({}, {"COLOUR": "blue"}),
    "git_commit": ("a" * 40, "b" * 40),
}


@dataclass(frozen=True)
class Plan:
    """What a preview says."""

    operations: Mapping[str, str]
    trains: int
    judges: int


@pytest.fixture
def stack(trainings: PlainTrainings) -> Iterator[Stack]:
    made = trainings.new_stack()
    yield made
    made.destroy(succeed=None)


def planned(stack: Stack, program: Program) -> Plan:
    """By the reader of the comment on pull requests."""
    said = stack.preview(program, "--json").text
    preview = reading.read(said[said.index("{") :], source="the preview", stack="test")
    steps = [step for step in preview.steps if step.custom]
    return Plan(
        {step.name: step.op for step in steps},
        sum(map(risks.is_training, steps)),
        sum(map(risks.is_judgement, steps)),
    )


def done(outcome: Outcome) -> dict[str, str]:
    """What an update did, in the comment's words."""
    return {
        name: "replace" if REPLACED & set(operations) else operations[0]
        for name, operations in outcome.changed().items()
        # Of the harness' provider and stack the comment says nothing.
        if name != "cluster" and not name.startswith("conformance-")
    }


def runs(trainings: PlainTrainings) -> int:
    """How often anything was published."""
    return sum(len(each) for each in trainings.published().values())


def changes(rng: random.Random, args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with one or two other values."""
    changed = dict(args)
    for field in rng.sample(sorted(CHOICES), rng.choice([1, 1, 2])):
        changed[field] = rng.choice([value for value in CHOICES[field] if value != args[field]])
    return changed


def test_what_a_preview_says_is_what_happens(
    trainings: PlainTrainings, stack: Stack, figure: Callable[[str], None]
) -> None:
    rng = random.Random(SEED)
    args = {field: values[0] for field, values in CHOICES.items()}
    known: set[str] = set()
    lies: list[str] = []
    trained = skipped = 0
    for number in range(COUNT + 1):
        program = trainings.program(NAME, "count", **args)
        plan, before = planned(stack, program), runs(trainings)
        operations = done(stack.up(program))
        run, published = stack.outputs()["run_id"], runs(trainings) - before
        promised = 0 if run in known else plan.trains
        if operations != plan.operations or published != promised:
            lies.append(f"{number}: {args}\n  said {plan}\n  did {operations}, published {published}")
        trained, skipped = trained + published, skipped + plan.trains - promised
        known.add(run)
        args = changes(rng, args)
    figure(
        f"plans: {COUNT + 1} updates, {trained} runs trained, {skipped} planned that were in the registry, "
        f"{len(lies)} lies"
    )
    assert not lies, "\n".join(lies)


def test_a_plan_that_is_not_kept_is_seen(trainings: PlainTrainings, stack: Stack) -> None:
    args = {field: values[0] for field, values in CHOICES.items()}
    args["parameters"] = {**args["parameters"], "variant": "another"}
    stack.up(trainings.program(NAME, "count", **args))
    plan, before = planned(stack, trainings.program(NAME, "count", **args)), runs(trainings)
    assert plan == Plan({}, 0, 0)
    args["parameters"] = {**args["parameters"], "variant": "unplanned"}
    assert done(stack.up(trainings.program(NAME, "count", **args))) != plan.operations
    assert runs(trainings) - before == 1 > plan.trains
