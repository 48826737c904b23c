"""Replica counts as traffic weights."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops.serving.release.replica_split import (
    Count,
    broken_rule,
    canary_count,
    canary_replicas,
    keeps,
    replicas_for,
    share,
    shares,
)

PERCENT = st.integers(1, 50)
REPLICAS = st.integers(1, 200)
TOLERANCE = st.integers(2, 40).map(lambda quarters: quarters / 4)
"""Numbers that floats hold exactly: at a bound itself, rounding decides, and both answers are right."""


@given(REPLICAS, PERCENT)
def test_no_other_count_comes_nearer(stable: int, percent: int) -> None:
    found = canary_replicas(stable, percent)
    nearest = min(abs(share(stable, other) - percent) for other in range(1, stable + 2))
    assert abs(share(stable, found) - percent) == pytest.approx(nearest)


@given(REPLICAS, REPLICAS, PERCENT, st.floats(0, 50))
def test_a_weight_that_is_kept_is_kept_by_every_count(one: int, other: int, percent: int, tolerance: float) -> None:
    stable = Count(min(one, other), max(one, other))
    canary = canary_count(stable, percent)
    every = [
        share(pods, canaries)
        for pods in (stable.low, (stable.low + stable.high) // 2, stable.high)
        for canaries in range(canary.low, canary.high + 1)
    ]
    assert keeps(stable, canary, percent, tolerance) is (
        percent - tolerance <= shares(stable, canary)[0] and shares(stable, canary)[1] <= percent + tolerance
    )
    if keeps(stable, canary, percent, tolerance):
        assert all(percent - tolerance - 1e-9 <= found <= percent + tolerance + 1e-9 for found in every)


@given(PERCENT, TOLERANCE)
def test_the_named_remedy_is_one_and_the_smallest(percent: int, tolerance: float) -> None:
    needed = replicas_for(percent, tolerance)
    assert needed is not None
    kept = [
        replicas
        for replicas in range(1, needed + 1)
        if abs(share(replicas, canary_replicas(replicas, percent)) - percent) <= tolerance
    ]
    assert kept == [needed]


def test_one_in_ten() -> None:
    assert canary_replicas(9, 10) == 1
    assert broken_rule(Count.fixed(9), Count.fixed(1), 10, 3) is None


def test_what_two_pods_cannot_keep_is_refused_with_the_nearest() -> None:
    rule = broken_rule(Count.fixed(2), Count.fixed(canary_replicas(2, 10)), 10, 3)
    assert rule is not None
    assert "the nearest possible is 33.3 %, 1 canary pod beside 2 stable pods" in rule
    assert "`replicas` of 7" in rule


def test_autoscalers_that_part_are_refused_with_the_range() -> None:
    stable = Count(9, 18)
    rule = broken_rule(stable, canary_count(stable, 10), 10, 3)
    assert rule is not None
    assert "from 5.26 to 18.2 %" in rule


def test_more_than_half_is_refused() -> None:
    assert "at most 50" in str(broken_rule(Count.fixed(4), Count.fixed(16), 80, 3))
