"""How a new version of a language model is released: blue and green, a shadow, a canary by steps; and scaled.

At most two engines run at a time.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import pytest

from tests.cluster.llm.support import Place, said, streamed
from tests.cluster.provider.harness import Stack
from tests.cluster.serving import adapter, keda
from tests.cluster.serving.canary_support import analysis_record, prometheus_program
from tests.cluster.serving.support import released
from tests.cluster.support import eventually, kubectl, objects, platform_facts

pytestmark = [pytest.mark.llm, pytest.mark.long]

STREAMS, COPIES, MINUTE = 40, 20, 60
AIMS = {
    "target_queue_length": 100,
    "target_running_requests": 100,
    "target_kv_cache_percent": 90,
    "target_tokens_per_second": 100_000,
    "target_requests_per_second": 1_000,
}
Figure = Callable[[str], None]


def version(uri: str) -> str:
    """Of an image's model, as its pods have it."""
    return uri.partition("@sha256:")[2][:12]


def versions(place: Place, service: str, track: str) -> set[str]:
    return {pod["metadata"]["labels"]["app.kubernetes.io/version"] for pod in place.engines(service, track)}


class TestBlueGreen:
    """Each test first brings the tracks to where it begins."""

    @pytest.fixture(scope="class")
    def colours(self, place: Place) -> Iterator[Stack]:
        with place.stack("colours", self.before(place)) as made:
            yield made

    def before(self, place: Place) -> Any:
        return place.program("colours", blue_green={"live": "blue"})

    def released(self, place: Place) -> Any:
        standby = {"live": "green", "standby_model_uri": place.polite}
        return place.program("colours", model_uri=place.terse, blue_green=standby)

    def back(self, place: Place) -> Any:
        return place.program("colours", blue_green={"live": "blue", "standby_model_uri": place.terse})

    def test_a_release_switches_all_requests_and_breaks_no_stream(
        self, place: Place, colours: Stack, figure: Figure
    ) -> None:
        colours.up(self.before(place))
        url = colours.outputs()["url"]
        old = said(url)
        whole, broken = streamed(url, lambda: colours.up(self.released(place)), STREAMS)
        assert broken == []
        assert {said(url) for _ in range(10)} == {said(url)} != {old}
        assert versions(place, "colours", "blue") == {version(place.polite)}
        assert versions(place, "colours", "green") == {version(place.terse)}
        figure(f"language model: blue/green released under {whole} streams, {len(broken)} broken")
        colours.unchanged(self.released(place))

    def test_a_rollback_switches_back_at_once_and_starts_no_engine(
        self, place: Place, colours: Stack, figure: Figure
    ) -> None:
        colours.up(self.released(place))
        url, running = colours.outputs()["url"], place.uids("colours")
        new = said(url)
        assert released(colours.preview(self.back(place))) == {"colours": ["update"]}
        began = time.monotonic()
        colours.up(self.back(place))
        figure(f"language model: rolled back by blue/green in {time.monotonic() - began:.1f} s")
        assert new not in {said(url) for _ in range(10)}
        assert place.uids("colours") == running


class TestShadow:
    @pytest.fixture(scope="class")
    def shadowed(self, place: Place) -> Iterator[Stack]:
        with place.stack("shadowed", place.program("shadowed", shadow={"model_uri": place.terse})) as made:
            yield made

    def test_it_answers_copies_of_the_requests_and_nobody_sees_them(
        self, place: Place, shadowed: Stack, figure: Figure
    ) -> None:
        url, before = shadowed.outputs()["url"], place.answers("shadowed", "shadow")
        assert len({said(url) for _ in range(COPIES)}) == 1
        made = eventually(lambda: place.answers("shadowed", "shadow") - before >= COPIES, MINUTE)
        assert versions(place, "shadowed", "shadow") == {version(place.terse)}
        figure(f"language model: {COPIES} requests were copied to a shadow, which answered all: {made}")

    def test_one_that_is_gone_costs_no_stream(self, place: Place, shadowed: Stack) -> None:
        url = shadowed.outputs()["url"]

        def lose() -> None:
            kubectl("scale", "deployment", "shadowed-shadow", "--replicas=0", "--namespace", place.namespace)
            eventually(lambda: not place.engines("shadowed", "shadow"), MINUTE)

        assert streamed(url, lose, STREAMS)[1] == []


@pytest.fixture(scope="module")
def prometheus_url(place: Place) -> Iterator[str]:
    """As pods name it."""
    with place.stack("watching", prometheus_program("releases-monitoring", place, platform_facts())) as made:
        yield str(made.outputs()["prometheus_url"])


@pytest.fixture
def asked() -> Iterator[Callable[[str], None]]:
    """Asks an address in the background until the test ends; what fails there is no matter."""
    stopped, threads = Event(), list[Thread]()

    def keep_asking(url: str) -> None:
        while not stopped.wait(0.1):
            with suppress(OSError):
                said(url)

    def start(url: str) -> None:
        threads.append(Thread(target=keep_asking, args=(url,)))
        threads[-1].start()

    yield start
    stopped.set()
    for thread in threads:
        thread.join()


class TestSteps:
    """Of a canary beside one stable engine: half of the requests go to it."""

    @pytest.fixture(scope="class")
    def stepped(self, place: Place) -> Iterator[Stack]:
        with place.stack("stepped", self.alone(place)) as made:
            yield made

    def alone(self, place: Place, **more: Any) -> Any:
        # A third engine at a time is more than this machine has room for.
        return place.program("stepped", rollout={"max_surge": 0}, **more)

    def canary(self, place: Place, prometheus_url: str, uri: str, pause_seconds: int) -> Any:
        loose = dict.fromkeys(("max_first_token_ratio", "max_token_interval_ratio", "max_answer_length_ratio"), 50)
        analysis = {"prometheus_url": prometheus_url, "min_requests": 10, "interval_seconds": 5, **loose}
        steps = [{"weight_percent": 50, "pause_seconds": pause_seconds}]
        return self.alone(place, canary={"model_uri": uri, "steps": steps, "analysis": analysis})

    def test_an_engine_that_restarts_is_out_of_traffic_within_a_minute(
        self, place: Place, stepped: Stack, prometheus_url: str, asked: Callable[[str], None], figure: Figure
    ) -> None:
        stepped.up(self.alone(place))
        url, program = stepped.outputs()["url"], self.canary(place, prometheus_url, place.terse, 86_400)
        stable = said(url)
        stepped.up(program)
        asked(url)
        record = eventually(lambda: self.compared(place), 3 * MINUTE)
        assert record["verdict"] == "hold", record
        [pod] = place.engines("stepped", "canary")
        where = ("--namespace", place.namespace, pod["metadata"]["name"], "--container=serve")
        kubectl("exec", *where, "--", "python3", "-c", "import os; os.kill(1, 15)")
        began = time.monotonic()
        eventually(lambda: not place.engines("stepped", "canary"), 2 * MINUTE)
        taken = time.monotonic() - began
        record = analysis_record(place.namespace, "stepped")
        figure(f"language model: an engine that restarts was out of traffic in {taken:.0f} s: {record['reason']}")
        assert record["verdict"] == "roll back" and taken < MINUTE
        assert {said(url) for _ in range(10)} == {stable}
        assert "gets no requests and has no pods: " in stepped.preview(program).text
        stepped.up(program)
        stepped.unchanged(program)

    def test_an_autoscaler_reads_every_aim_from_the_engine(
        self, place: Place, stepped: Stack, prometheus_url: str, asked: Callable[[str], None]
    ) -> None:
        """The update waits until it has read them all, as prometheus-adapter serves them by the library's rules."""
        stepped.up(self.alone(place))
        asked(stepped.outputs()["url"])
        bounds = {"min_replicas": 1, "max_replicas": 2, **AIMS}
        with adapter.installed(prometheus_url):
            stepped.up(self.alone(place, autoscaling=bounds))
            scaler = json.loads(kubectl("get", "hpa", "stepped", "--namespace", place.namespace, "--output", "json"))
            read = {each["pods"]["metric"]["name"] for each in scaler["status"]["currentMetrics"]}
            assert len(read) == len(AIMS)
            assert adapter.known(place.namespace, "vllm_tokens_per_second") > 0
        assert scaler["status"]["desiredReplicas"] == 1

    def test_keda_reads_every_aim_from_the_engine(
        self, place: Place, stepped: Stack, prometheus_url: str, asked: Callable[[str], None]
    ) -> None:
        wake = {"prometheus_url": prometheus_url, "query": "vector(1)", "threshold": 1}
        bounds = {"min_replicas": 1, "max_replicas": 2, **AIMS, "scale_to_zero": wake}
        stepped.up(self.alone(place))
        asked(stepped.outputs()["url"])
        with keda.installed():
            stepped.up(self.alone(place, autoscaling=bounds))

            def read() -> bool:
                scalers = objects("horizontalpodautoscalers", place.namespace)
                known = [each for scaler in scalers for each in scaler["status"].get("currentMetrics") or ()]
                return len([each for each in known if "external" in each]) == len(AIMS) + 1

            eventually(read, 3 * MINUTE)
            assert len(place.engines("stepped", "stable")) == 1
            stepped.unchanged(self.alone(place, autoscaling=bounds))
            stepped.up(self.alone(place))

    def test_a_good_one_walks_its_steps_and_becomes_the_stable_one(
        self, place: Place, stepped: Stack, prometheus_url: str, asked: Callable[[str], None], figure: Figure
    ) -> None:
        stepped.up(self.alone(place))
        url, program = stepped.outputs()["url"], self.canary(place, prometheus_url, place.base, 5)
        stepped.up(program)
        began = time.monotonic()
        asked(url)
        eventually(lambda: analysis_record(place.namespace, "stepped").get("verdict") == "promote", 5 * MINUTE)
        figure(f"language model: a canary by steps was promoted after {time.monotonic() - began:.0f} s")
        stepped.up(program)
        assert stepped.outputs()["canary"]["verdict"] == "promote"
        assert versions(place, "stepped", "stable") == {version(place.base)}
        assert place.engines("stepped", "canary") == []
        stepped.unchanged(program)

    def compared(self, place: Place) -> dict[str, Any] | None:
        """The record, once it has requests of both tracks."""
        record = analysis_record(place.namespace, "stepped")
        return record if all(record["figures"][track]["requests"] >= 10 for track in ("stable", "canary")) else None
