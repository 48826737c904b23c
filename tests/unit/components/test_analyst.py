"""The analyst's arithmetic, its judgement, and what it asks Prometheus for."""

import importlib.util
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelops
from modelops.serving.release import verdict as component
from tests.conftest import REPOSITORY

_PATH = Path(modelops.__file__).parent / "serving" / "assets" / "analyst.py"
_SPEC = importlib.util.spec_from_file_location("analyst", _PATH)
assert _SPEC is not None and _SPEC.loader is not None
analyst: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(analyst)

BOUNDS = {
    "max_extra_error_percent": 1,
    "max_p99_ratio": 1.5,
    "max_prediction_drift": 0.25,
    "max_restarts": 0,
    "min_requests": 100,
    "min_seconds": 60,
}
A, B, C = ({"model_uri": f"models:/linear@run-{letter}", "image": ""} for letter in "abc")
SETTINGS = {"declared": A, "canary": B, "bounds": BOUNDS}
TRACK = {"requests": 1000, "error_percent": 0.0, "p99_seconds": 0.020, "restarts": 0}
BUCKETS = st.lists(st.integers(0, 1000), min_size=2, max_size=12).filter(any)


def figures(seconds: int = 90, drift: float | None = 0.01, **canary: Any) -> dict[str, Any]:
    return {"seconds": seconds, "stable": TRACK, "canary": {**TRACK, **canary}, "prediction_drift": drift}


def histogram(counts: list[int], edges: list[float] | None = None) -> list[tuple[float, float]]:
    bounds = [*(edges or range(len(counts) - 1)), math.inf]
    return [(float(bound), float(sum(counts[: number + 1]))) for number, bound in enumerate(bounds)]


def test_verdicts_and_key_are_those_that_the_component_reads() -> None:
    assert (analyst.RECORD, analyst.PROMOTE, analyst.HOLD, analyst.ROLL_BACK) == (
        component.RECORD,
        component.PROMOTE,
        component.HOLD,
        component.ROLL_BACK,
    )


def test_a_canary_that_keeps_all_bounds_is_promoted() -> None:
    assert analyst.judge(BOUNDS, figures())[0] == "promote"


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({"requests": 99}, "hold", "the canary has served 99 of 100 requests"),
        ({"requests": 99, "error_percent": 100.0}, "hold", "the canary has served 99 of 100"),
        ({"error_percent": 1.1}, "roll back", "error rate 1.1 % against 0 %, limit +1 points"),
        ({"error_percent": 1.0}, "promote", "within all bounds"),
        ({"p99_seconds": 0.036}, "roll back", "p99 latency 36 ms against 20 ms, limit 1.5 times"),
        ({"p99_seconds": 0.034}, "promote", "within all bounds"),
        ({"restarts": 1}, "roll back", "1 restarts, limit 0"),
        ({"drift": 0.3}, "roll back", "prediction drift 0.3, limit 0.25"),
        ({"drift": None}, "hold", "no figures for predicted values"),
        ({"p99_seconds": None}, "hold", "no figures for latency"),
        ({"seconds": 59}, "hold", "within all bounds for 59 of 60 seconds"),
        ({"seconds": 59, "error_percent": 5.0}, "roll back", "error rate 5 %"),
    ],
)
def test_each_bound(change: dict[str, Any], verdict: str, reason: str) -> None:
    found = analyst.judge(BOUNDS, figures(**change))
    assert found[0] == verdict and reason in found[1]


def test_every_broken_bound_is_named() -> None:
    said = analyst.judge(BOUNDS, figures(error_percent=5.0, p99_seconds=1.0))[1]
    assert "error rate" in said and "p99 latency" in said


ENGINE_BOUNDS = {
    **{key: BOUNDS[key] for key in ("max_extra_error_percent", "max_restarts", "min_requests", "min_seconds")},
    "max_first_token_ratio": 1.5,
    "max_token_interval_ratio": 2,
    "max_answer_length_ratio": 1.5,
}
ENGINE_TRACK = {
    "requests": 1000,
    "error_percent": 0.0,
    "first_token_p99_seconds": 0.2,
    "token_interval_p99_seconds": 0.03,
    "answer_tokens": 120.0,
    "restarts": 0,
}


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({}, "promote", "within all bounds"),
        ({"error_percent": 1.5}, "roll back", "error rate 1.5 %"),
        (
            {"first_token_p99_seconds": 0.31},
            "roll back",
            "p99 time to the first token 310 ms against 200 ms, limit 1.5",
        ),
        (
            {"token_interval_p99_seconds": 0.07},
            "roll back",
            "p99 time between tokens 70 ms against 30 ms, limit 2 times",
        ),
        ({"answer_tokens": 190.0}, "roll back", "answers of 190 tokens against 120, limit a factor of 1.5"),
        ({"answer_tokens": 70.0}, "roll back", "answers of 70 tokens against 120, limit a factor of 1.5"),
        (
            {"first_token_p99_seconds": None, "answer_tokens": None},
            "hold",
            "no figures for time to the first token and",
        ),
        ({"restarts": 1}, "roll back", "1 restarts, limit 0"),
    ],
)
def test_each_bound_of_a_language_models_engine(change: dict[str, Any], verdict: str, reason: str) -> None:
    found = {"seconds": 90, "stable": ENGINE_TRACK, "canary": {**ENGINE_TRACK, **change}}
    said = analyst.judge(ENGINE_BOUNDS, found)
    assert said[0] == verdict and reason in said[1]


def test_an_engines_figures_are_asked_of_its_own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    prometheus = analyst.Prometheus("http://prometheus", "ml", "chat")

    def answer(query: str) -> Any:
        asked.append(query)
        return [({}, 1.0)]

    monkeypatch.setattr(prometheus, "query", answer)
    record = {**analyst.begin(SETTINGS, None, 0.0)}
    found = analyst.measure(prometheus, record, 90.0, "vllm")
    assert found["canary"].keys() == ENGINE_TRACK.keys()
    recorded = (REPOSITORY / "tests" / "assets" / "vllm-metrics.txt").read_text()
    for name in {name for query in asked for name in re.findall('"(vllm:[a-z_]+)"', query)}:
        assert f"\n{name}{{" in recorded, name


def test_predictions_are_not_compared_when_their_bound_is_off() -> None:
    assert analyst.judge({**BOUNDS, "max_prediction_drift": 0}, figures(drift=None))[0] == "promote"


@given(BUCKETS)
def test_the_same_values_have_not_drifted(counts: list[int]) -> None:
    assert analyst.stability_index(histogram(counts), histogram(counts)) == pytest.approx(0)


@given(BUCKETS, st.data())
def test_the_index_is_the_sum_over_the_bins(counts: list[int], data: Any) -> None:
    others = data.draw(st.lists(st.integers(0, 1000), min_size=len(counts), max_size=len(counts)).filter(any))
    least = analyst.MIN_SHARE
    pairs = [(max(a / sum(counts), least), max(b / sum(others), least)) for a, b in zip(counts, others, strict=True)]
    wanted = sum((b - a) * math.log(b / a) for a, b in pairs)
    assert analyst.stability_index(histogram(counts), histogram(others)) == pytest.approx(wanted, abs=1e-6)


@given(BUCKETS, st.floats(-5, 20))
def test_shares_rise_from_nothing_to_all(counts: list[int], at: float) -> None:
    buckets = histogram(counts)
    found = analyst.cumulative_share(buckets, at)
    assert 0 <= found <= 1 + 1e-9
    assert found <= analyst.cumulative_share(buckets, at + 1) + 1e-9


def test_models_with_other_bins_are_compared_by_their_spread() -> None:
    even = histogram([0, *[100] * 10, 0], [float(edge) for edge in range(11)])
    finer = histogram([0, *[50] * 20, 0], [edge / 2 for edge in range(21)])
    far = histogram([0, *[100] * 10, 0], [100.0 + edge for edge in range(11)])
    assert analyst.stability_index(even, finer) < 0.01
    assert analyst.stability_index(even, far) > 1


def test_no_values_give_no_index() -> None:
    assert analyst.stability_index(None, histogram([1, 1])) is None
    assert analyst.stability_index(histogram([0, 0]), histogram([1, 1])) is None
    assert analyst.drift({}, {}) is None


def test_a_record_about_these_versions_goes_on() -> None:
    first = analyst.begin(SETTINGS, None, 100)
    assert (first["verdict"], first["stable"], first["started"]) == ("hold", A, 100)
    assert analyst.begin(SETTINGS, first, 200) is first


def test_another_canary_begins_anew() -> None:
    old = {**analyst.begin(SETTINGS, None, 100), "verdict": "roll back"}
    new = analyst.begin({**SETTINGS, "canary": C}, old, 200)
    assert (new["verdict"], new["stable"], new["canary"], new["started"]) == ("hold", A, C, 200)


def test_after_a_promotion_the_next_canary_is_compared_with_the_promoted_version() -> None:
    old = {**analyst.begin(SETTINGS, None, 100), "verdict": "promote"}
    assert analyst.begin({**SETTINGS, "canary": C}, old, 200)["stable"] == B
    assert analyst.begin({**SETTINGS, "declared": C}, old, 200)["stable"] == C


@given(st.sampled_from([A, B, C]), st.sampled_from([A, B, C]), st.sampled_from(["promote", "hold", "roll back"]))
def test_analyst_and_component_agree_on_the_stable_version(declared: Any, canary: Any, verdict: str) -> None:
    old = {**analyst.begin(SETTINGS, None, 100), "verdict": verdict}
    record = analyst.begin({**SETTINGS, "declared": declared, "canary": canary}, old, 200)
    version = {key: component.Version(entry["model_uri"]) for key, entry in (("d", declared), ("c", canary))}
    before = component.plan(version["d"], version["c"], {component.RECORD: json.dumps(old)}, [10])
    after = component.plan(version["d"], version["c"], {component.RECORD: json.dumps(record)}, [10])
    assert (before.stable, before.takes_traffic) == (after.stable, after.takes_traffic)
    if record["verdict"] != "promote":
        assert record["stable"]["model_uri"] == after.stable.model_uri


def test_a_final_verdict_stays() -> None:
    old = {**analyst.begin(SETTINGS, None, 100), "verdict": "roll back"}
    assert analyst.step(SETTINGS, None, old, 500) is old


def test_a_silent_prometheus_decides_nothing() -> None:
    silent = analyst.Prometheus("http://127.0.0.1:9", "ml", "demo")
    record = analyst.step(SETTINGS, silent, None, 100)
    assert record["verdict"] == "hold" and "the query to Prometheus failed" in record["reason"]


class Asked:
    """Keeps the queries."""

    def __init__(self, answer: Callable[[str], Any]) -> None:
        self.prometheus = analyst.Prometheus("http://prometheus", "ml", "demo")
        self.queries: list[str] = []
        self.answer = answer
        self.prometheus.query = self._query

    def _query(self, expression: str) -> Any:
        self.queries.append(expression)
        return self.answer(expression)


def test_a_step_measures_both_tracks_and_judges() -> None:
    def answer(query: str) -> Any:
        if "prediction_value" in query:
            return [({"le": bound, "output": "0"}, count) for bound, count in (("1", 50.0), ("+Inf", 100.0))]
        if "quantile" in query:
            return [({}, 0.01 if "stable" in query else 0.5)]
        return [({}, 5.0 if "5.." in query or "changes" in query else 500.0)]

    asked = Asked(answer)
    old = analyst.begin(SETTINGS, None, 100)
    record = analyst.step(SETTINGS, asked.prometheus, old, 400)
    assert record["verdict"] == "roll back"
    assert record["figures"]["canary"] == {
        "requests": 500,
        "error_percent": 1.0,
        "p99_seconds": 0.5,
        "restarts": 5,
    }
    assert record["figures"]["prediction_drift"] == 0
    assert all('namespace="ml", service="demo"' in query and "[300s]" in query for query in asked.queries)
    assert {'version="run-a"' in query for query in asked.queries if 'track="stable"' in query} == {True}
    assert {'version="run-b"' in query for query in asked.queries if 'track="canary"' in query} == {True}


def test_pods_are_found_by_the_version_that_the_component_read_in_the_reference() -> None:
    image = {"model_uri": f"oci://registry/linear@sha256:{'ab' * 32}", "image": "", "version": "abababababab"}
    asked = Asked(lambda _: [])
    record = analyst.begin({**SETTINGS, "canary": image}, None, 100)
    analyst.measure(asked.prometheus, record, 400)
    assert {'version="abababababab"' in query for query in asked.queries if 'track="canary"' in query} == {True}


@pytest.mark.parametrize("verdict", ["promote", "hold", "roll back"])
def test_a_record_without_versions_goes_on(verdict: str) -> None:
    """As releases of the library before wrote it."""
    old = {**analyst.begin(SETTINGS, None, 100), "verdict": verdict}
    settings = {**SETTINGS, "declared": {**A, "version": "run-a"}, "canary": {**B, "version": "run-b"}}
    assert analyst.begin(settings, old, 200) is old
    assert [analyst.label(old[track]) for track in ("stable", "canary")] == ["run-a", "run-b"]
    assert analyst.label({"model_uri": "models:/linear/3"}) == "3"
