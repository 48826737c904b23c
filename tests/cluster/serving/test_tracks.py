"""Tracks beside each other: a split by pods, blue and green, and a shadow."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.serving.canary_support import write_analysis_record
from tests.cluster.serving.support import BROKEN, WRONG_SLOPE, Serving, released, versions
from tests.cluster.support import eventually, kubectl
from tests.load import INPUTS, LoadResult, load, send_requests

pytestmark = [pytest.mark.serving, pytest.mark.long]

OLD = {(value, 2 * value + 1) for value in INPUTS}
NEW = {(value, WRONG_SLOPE * value + 1) for value in INPUTS}
POINTS = 3


def test_a_plain_cluster_splits_by_pods_within_three_points(serving: Serving, figure: Callable[[str], None]) -> None:
    stack = serving.new_stack()
    canary = {"model_uri": serving.uri("wrong"), "weight_percent": 10}
    stack.up(serving.program("split", replicas=9, exposed=True, canary=canary))
    url = stack.outputs()["predict_url"]
    # A node may take a moment to learn of a new address.
    eventually(lambda: not send_requests(url, 40).failed, 60)
    result = send_requests(url, 5000)
    share = result.share(*NEW)
    figure(f"split by pods, 9 and 1: {share:.2f} % of 5,000 requests to a canary of 10 %, {len(result.failed)} failed")
    assert not result.failed
    assert abs(share - 10) <= POINTS
    stack.destroy()


def test_an_autoscaled_canary_goes_and_the_next_one_comes(serving: Serving) -> None:
    stack = serving.new_stack()
    analysis = {"prometheus_url": "http://prometheus:9090", "interval_seconds": 3600}

    def program(alias: str) -> Any:
        canary = {"model_uri": serving.uri(alias), "weight_percent": 50, "analysis": analysis}
        bounds = {"min_replicas": 2, "max_replicas": 2}
        return serving.program("scaled", autoscaling=bounds, canary=canary)

    def count() -> int:
        return len(serving.pods("scaled", track="canary"))

    stack.up(program("twin"))
    # By now the number of pods is the autoscaler's own field.
    eventually(lambda: count() == 2, 90)
    old = serving.uri("double")
    write_analysis_record(
        serving.namespace, "scaled", "roll back", declared=old, stable=old, canary=serving.uri("twin")
    )
    stack.up(program("twin"))
    eventually(lambda: count() == 0, 60)
    stack.unchanged(program("twin"))
    stack.up(program("third"))
    eventually(lambda: count() == 2, 90)
    stack.unchanged(program("third"))
    stack.destroy()


@pytest.fixture(scope="class")
def blue_green(serving: Serving) -> Iterator[Stack]:
    yield from serving.deployed(TestBlueGreen().before(serving))


@pytest.fixture(scope="class")
def background_load(blue_green: Stack) -> Iterator[LoadResult]:
    """What clients get for as long as the tests go on."""
    with load(blue_green.outputs()["predict_url"], callers=3, inputs=INPUTS) as result:
        yield result


class TestBlueGreen:
    """Each test first brings the tracks to where it begins."""

    def program(self, serving: Serving, alias: str, **blue_green: Any) -> Any:
        return serving.program(
            "colours",
            alias=alias,
            replicas=2,
            exposed=True,
            drain_seconds=5,
            startup_timeout_seconds=30 if alias == BROKEN else 120,
            blue_green=blue_green,
        )

    def before(self, serving: Serving) -> Any:
        return self.program(serving, "double", live="blue")

    def released(self, serving: Serving) -> Any:
        return self.program(serving, "wrong", live="green", standby_model_uri=serving.uri("double"))

    def switched_back(self, serving: Serving) -> Any:
        return self.program(serving, "double", live="blue", standby_model_uri=serving.uri("wrong"))

    def test_a_release_switches_all_requests_and_loses_none(
        self, serving: Serving, blue_green: Stack, background_load: LoadResult, figure: Callable[[str], None]
    ) -> None:
        blue_green.up(self.before(serving))
        blue_green.up(self.released(serving))
        blue_green.unchanged(self.released(serving))
        result = send_requests(blue_green.outputs()["predict_url"], 200)
        assert set(result.answers) <= NEW and not result.failed
        assert set(background_load.answers) & OLD and not background_load.failed
        figure(f"blue/green: {background_load.total} requests over the switch, {len(background_load.failed)} failed")

    def test_the_old_track_stays(self, serving: Serving, blue_green: Stack) -> None:
        blue_green.up(self.released(serving))
        assert versions(serving.pods("colours", track="blue")) == {"double"}
        assert len(serving.pods("colours", track="blue")) == len(serving.pods("colours", track="green")) == 2

    def test_switching_back_touches_the_service_alone(
        self, serving: Serving, blue_green: Stack, background_load: LoadResult, figure: Callable[[str], None]
    ) -> None:
        blue_green.up(self.released(serving))
        back = self.switched_back(serving)
        assert released(blue_green.preview(back)) == {"colours": ["update"]}
        pods = {pod["metadata"]["uid"] for pod in serving.pods("colours")}
        started = time.monotonic()
        blue_green.up(back)
        figure(f"blue/green: switched back in {time.monotonic() - started:.1f} s")
        assert {pod["metadata"]["uid"] for pod in serving.pods("colours")} == pods
        result = send_requests(blue_green.outputs()["predict_url"], 200)
        assert set(result.answers) <= OLD and not result.failed
        assert not background_load.failed

    def test_a_version_that_does_not_start_never_gets_a_request(
        self, serving: Serving, blue_green: Stack, background_load: LoadResult
    ) -> None:
        blue_green.up(self.switched_back(serving))
        broken = self.program(serving, BROKEN, live="green", standby_model_uri=serving.uri("double"))
        blue_green.up(broken, succeed=False)
        result = send_requests(blue_green.outputs()["predict_url"], 100)
        assert set(result.answers) <= OLD and not result.failed
        assert not background_load.failed


@pytest.fixture(scope="class")
def shadowed(serving: Serving) -> Iterator[Stack]:
    made = serving.new_stack()
    made.up(serving.program("shadowed", replicas=1, exposed=True, shadow={"model_uri": serving.uri("wrong")}))
    yield made
    made.destroy(succeed=None)


class TestShadow:
    def test_the_shadow_gets_the_requests_and_clients_see_only_the_stable_answers(
        self, serving: Serving, shadowed: Stack, figure: Callable[[str], None]
    ) -> None:
        result = send_requests(shadowed.outputs()["predict_url"], 300, callers=4)
        assert set(result.answers) <= OLD and not result.failed
        eventually(lambda: serving.predictions("shadowed", track="shadow") >= 300, 60)
        copies = serving.predictions("shadowed", track="shadow")
        figure(f"shadow: {copies:.0f} copies of {result.total} requests, none of its answers seen")

    def test_a_shadow_that_is_gone_costs_no_answer(self, serving: Serving, shadowed: Stack) -> None:
        kubectl("scale", "deployment", "shadowed-shadow", "--replicas=0", "--namespace", serving.namespace)
        eventually(lambda: not serving.pods("shadowed", track="shadow"), 60)
        result = send_requests(shadowed.outputs()["predict_url"], 200, callers=4)
        assert set(result.answers) <= OLD and not result.failed
