"""Drawn arguments and settings: each is valid for the real API server, or refused in a plan by one readable message.

`MODELOPS_CHAOS_COUNT` of each (default 1000), by the seed `MODELOPS_CHAOS_SEED`.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from modelops.core.validation import Problems
from tests.chaos import outcomes, shapes
from tests.chaos.dry_run import Server
from tests.chaos.outcomes import Outcome
from tests.chaos.values import Example, examples
from tests.cluster.serving import crds
from tests.unit.components.harness import Resource
from tests.unit.components.test_arguments import MINIMAL

pytestmark = pytest.mark.chaos
COUNT = int(os.environ.get("MODELOPS_CHAOS_COUNT", "1000"))
SEED = int(os.environ.get("MODELOPS_CHAOS_SEED", "20"))
CRDS = (crds.GATEWAY_API, crds.LEADER_WORKER_SET, crds.KEDA, crds.TRAINER, crds.PROMETHEUS_OPERATOR)


@pytest.fixture
def server(namespace: str) -> Iterator[Server]:
    """The API server, with most of the kinds that clusters may lack."""
    with ExitStack() as stack:
        for source in CRDS:
            stack.enter_context(crds.crds(source))
        yield Server(namespace)


@dataclass
class Tally:
    """What became of the examples."""

    server: Server
    counts: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    """Objects of kinds that the cluster lacks, by kind: nobody judged them."""
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, subject: str, example: Example, outcome: Outcome) -> None:
        """Notes the outcome; the API server judges what was accepted."""
        refused = self._refused(outcome.resources or [])
        kind = "refused" if outcome.refusal else "faulty" if outcome.fault or refused else "accepted"
        self.counts[kind] += 1
        for fault in [outcome.fault] if outcome.fault else refused:
            self.faults[fault].append(f"{subject} {example.base}, with {example.changes}\n{outcome.detail}")

    def _refused(self, resources: list[Resource]) -> list[str]:
        verdicts = self.server.judge(resources)
        self.unknown.update(str(each.manifest["kind"]) for each in verdicts if not each.known)
        return sorted({each.kind for each in verdicts if each.refusal})

    def report(self) -> str:
        """The faults by kind, each with its shortest example."""
        found = sorted(self.faults.items(), key=lambda each: -len(each[1]))
        return "\n".join(f"{len(cases)} × {fault}\n  {min(cases, key=len)}" for fault, cases in found)

    def figure(self) -> str:
        """The counts, in a line."""
        counts = ", ".join(f"{self.counts[kind]} {kind}" for kind in ("accepted", "refused", "faulty"))
        unknown = ", ".join(f"{count} {kind}" for kind, count in sorted(self.unknown.items())) or "none"
        return (
            f"{counts}; {len(self.server.verdicts)} different objects judged; kinds that the cluster lacks: {unknown}"
        )


def every(
    count: int, schema: shapes.Schema, bases: list[Mapping[str, Any]], judge: Callable[[Example], None], python: bool
) -> None:
    """Hands `count` examples to `judge`."""

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(examples(schema, bases, python=python))
    def one(example: Example) -> None:
        judge(example)

    one()


def test_arguments_are_valid_for_the_api_server_or_refused_in_the_plan(
    server: Server, figure: Callable[[str], None]
) -> None:
    tally = Tally(server)
    for kind in MINIMAL:

        def judge(example: Example, kind: str = kind) -> None:
            tally.add(kind, example, outcomes.component(kind, example.values))

        every(-(-COUNT // len(MINIMAL)), shapes.arguments(kind), shapes.bases(kind), judge, python=True)
    figure(f"fuzzed arguments: {tally.figure()}")
    assert not tally.faults, tally.report()


def test_settings_are_valid_for_the_api_server_or_refused_in_the_plan(
    server: Server, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    tally = Tally(server)

    def judge(example: Example) -> None:
        stack = shapes.STACKS[example.base]
        tally.add(stack, example, outcomes.stack(stack, example.values, tmp_path))

    every(COUNT, shapes.settings(), shapes.stack_settings(), judge, python=False)
    figure(f"fuzzed settings: {tally.figure()}")
    assert not tally.faults, tally.report()


def test_an_object_that_the_api_server_would_refuse_is_seen(server: Server) -> None:
    made = outcomes.component("ModelService", MINIMAL["ModelService"]).resources
    assert made and not [each for each in server.judge(made) if each.refusal]
    wrong = [
        Resource(each.type, each.name, {**each.inputs, "specs": {}}, "", {}) for each in made if each.is_kubernetes
    ]
    verdicts = server.judge(wrong)
    assert len([each for each in verdicts if each.refusal and "specs" in each.refusal]) == len(wrong)


def test_what_a_validator_would_have_refused_is_seen(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    args = {**MINIMAL["ModelService"], "port": 70_000}
    assert outcomes.component("ModelService", args).refusal
    monkeypatch.setattr(Problems, "number", lambda *_, **__: None)
    made = outcomes.component("ModelService", args).resources
    assert made and [each for each in server.judge(made) if "70000" in (each.refusal or "")]
    assert "KeyError" in str(_without_its_reader({"model_uri": "models:/linear@run-1"}, monkeypatch).fault)


def _without_its_reader(args: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Of arguments that nobody looks at."""
    monkeypatch.setattr(Problems, "raise_if_any", lambda _: None)
    return outcomes.component("ModelService", args)
