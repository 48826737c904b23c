"""What components keep while a program runs is gone with the run, and is no other run's."""

import gc
import weakref

import pulumi
import pytest

from modelops import ModelRegistry, ModelService, TrainingJob
from modelops.core.per_run import per_run
from tests.unit.components.harness import IMAGE, Program, run

URI = "http://registry.ml.svc:5000"


def everything() -> None:
    """Components that keep something: accounts, objects in common, a volume."""
    ModelRegistry("registry", {"namespace": "ml"})
    ModelService(
        "service", {"image": IMAGE, "model_uri": "models:/linear@run-1", "tracking_uri": URI, "namespace": "ml"}
    )
    TrainingJob(
        "training",
        {"image": IMAGE, "model_name": "linear", "framework": "pytorch", "tracking_uri": URI, "namespace": "ml"},
    )


def test_a_run_that_is_over_is_in_memory_no_longer() -> None:
    run(lambda: None)  # Pulumi itself holds a process's first run and its last one
    before: list[weakref.ref[Program]] = [weakref.ref(run(everything)) for _ in range(3)]
    run(lambda: None)
    gc.collect()
    assert [each() for each in before] == [None] * 3


def test_a_run_finds_what_it_kept_and_nothing_of_another_one() -> None:
    seen = []

    def keep() -> None:
        seen.append(dict(per_run("letters")))
        per_run("letters")["a"] = 1
        seen.append(dict(per_run("letters")))
        seen.append(dict(per_run("numbers")))

    run(keep)
    run(keep)
    assert seen == [{}, {"a": 1}, {}] * 2


def test_outside_a_run_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi.runtime.settings, "get_monitor", lambda: None)
    per_run("letters")["a"] = 1
    assert per_run("letters") == {}
