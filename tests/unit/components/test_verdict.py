"""What the analyst's record makes of the tracks."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelops.serving.release import verdict as judged
from modelops.serving.release.verdict import HOLD, PROMOTE, RECORD, ROLL_BACK, Plan, Version

A, B, C = (Version(f"models:/linear@run-{letter}") for letter in "abc")
VERSIONS = st.builds(Version, st.sampled_from([A.model_uri, B.model_uri, C.model_uri]), st.sampled_from([None, "i@1"]))


def plan(declared: Version, canary: Version, data: Any, weights: Sequence[int] = (10,)) -> Plan:
    return judged.plan(declared, canary, data, weights)


def record(declared: Version, stable: Version, canary: Version, verdict: str, **more: Any) -> dict[str, str]:
    versions = vars_of(declared, stable, canary)
    entry = {name: {"model_uri": each.model_uri, "image": each.image or ""} for name, each in versions.items()}
    return {RECORD: json.dumps({**entry, "verdict": verdict, "reason": "because", "figures": {"p99": 1}, **more})}


def vars_of(declared: Version, stable: Version, canary: Version) -> dict[str, Version]:
    return {"declared": declared, "stable": stable, "canary": canary}


def test_without_a_record_the_canary_takes_its_share() -> None:
    for data in (None, {}, {RECORD: "not json"}, {RECORD: "[]"}, {RECORD: '{"verdict": "maybe"}'}):
        found = plan(A, B, data)
        assert (found.stable, found.takes_traffic, found.verdict) == (A, True, HOLD)


def test_promote_gives_the_stable_track_the_canarys_version() -> None:
    found = plan(A, B, record(A, A, B, PROMOTE))
    assert (found.stable, found.takes_traffic, found.verdict) == (B, False, PROMOTE)
    assert found.status()["figures"] == {"p99": 1}


def test_roll_back_takes_the_canarys_traffic() -> None:
    found = plan(A, B, record(A, A, B, ROLL_BACK))
    assert (found.stable, found.takes_traffic, found.reason) == (A, False, "because")


def test_hold_leaves_everything() -> None:
    found = plan(A, B, record(A, A, B, HOLD))
    assert (found.stable, found.takes_traffic, found.verdict) == (A, True, HOLD)


def test_the_next_canary_stands_beside_the_promoted_version() -> None:
    found = plan(A, C, record(A, A, B, PROMOTE))
    assert (found.stable, found.takes_traffic, found.verdict) == (B, True, HOLD)
    assert plan(A, C, record(A, B, C, HOLD)).stable == B


def test_naming_another_stable_version_ends_every_verdict() -> None:
    for verdict in (PROMOTE, ROLL_BACK, HOLD):
        assert plan(C, B, record(A, A, B, verdict)) == plan(C, B, None)


def test_naming_the_promoted_version_as_stable_changes_no_track() -> None:
    before, after = plan(A, B, record(A, A, B, PROMOTE)), plan(B, B, record(A, A, B, PROMOTE))
    assert (before.stable, before.takes_traffic) == (after.stable, after.takes_traffic) == (B, False)


@given(VERSIONS, VERSIONS, VERSIONS, VERSIONS, VERSIONS, st.sampled_from([PROMOTE, HOLD, ROLL_BACK]))
def test_a_verdict_on_other_versions_never_counts(
    declared: Version, canary: Version, said: Version, beside: Version, judged: Version, verdict: str
) -> None:
    found = plan(declared, canary, record(said, beside, judged, verdict))
    if said != declared:
        assert found.stable == declared
    elif judged != canary and found.stable != canary:
        assert found.takes_traffic and found.verdict == HOLD
    assert found.stable in (declared, beside, judged)
    assert found.takes_traffic is (found.verdict == HOLD)


STEPS = st.lists(st.integers(1, 100), min_size=1, max_size=6, unique=True).map(sorted)


def test_a_canary_begins_with_its_first_share() -> None:
    for data in (None, record(A, A, C, HOLD, weight_percent=50)):
        assert plan(A, B, data, [5, 50]).weight_percent == 5


@given(STEPS, st.data())
def test_the_plan_takes_over_the_share_that_the_analyst_gave(weights: list[int], data: st.DataObject) -> None:
    weight = data.draw(st.sampled_from(weights))
    assert plan(A, B, record(A, A, B, HOLD, weight_percent=weight), weights).weight_percent == weight


@given(STEPS, st.integers(0, 100))
def test_with_other_steps_the_share_does_not_rise_unjudged(weights: list[int], before: int) -> None:
    found = plan(A, B, record(A, A, B, HOLD, weight_percent=before), weights).weight_percent
    assert found in weights and (found <= before or found == weights[0])
    assert not [weight for weight in weights if found < weight <= before]


def test_a_canary_that_was_taken_out_stays_so() -> None:
    found = plan(A, B, record(A, A, B, ROLL_BACK, weight_percent=0), [5, 50])
    assert (found.weight_percent, found.takes_traffic, found.status()["weight_percent"]) == (0, False, 0)
