"""Canaries: their share of the requests, and what the analysis makes of good and bad ones.

The tests share one stack of four services, each with a canary of another kind. Each test brings it first to where it
begins: seconds where it is there already, else a minute or two until there are verdicts.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import pulumi_kubernetes as k8s
import pytest

from tests.cluster.provider.harness import Stack
from tests.cluster.serving.canary_support import CanarySetup, analysis_record, prometheus_program, services_program
from tests.cluster.serving.support import Serving, released, versions
from tests.cluster.support import eventually, platform_facts
from tests.load import INPUTS, LoadResult, load, send_requests

pytestmark = pytest.mark.serving

FINAL = {"errors": "roll back", "slow": "roll back", "wrong": "roll back", "good": "promote"}
"""What is to become of each canary."""
BROKEN = {"errors": "error rate", "slow": "p99 latency", "wrong": "prediction drift"}
OLD = {(0.5, 2.0), (0.25, 1.5), (0.75, 2.5)}
"""What the stable version answers, and the good canary."""
SECONDS = 300


@pytest.fixture(scope="module")
def canary_setup(serving: Serving, platform_env: dict[str, str]) -> CanarySetup:
    stack = serving.new_stack()
    stack.up(prometheus_program("canaries", serving, platform_facts(), faults=("errors", "slow")))
    return CanarySetup(**stack.outputs())


def canary_of(kind: str, serving: Serving, canary_setup: CanarySetup) -> dict[str, Any]:
    images = {"errors": canary_setup.errors, "slow": canary_setup.slow}
    analysis = {
        "prometheus_url": canary_setup.prometheus_url,
        "min_requests": 150,
        "min_seconds": 45,
        "interval_seconds": 5,
        # Wide enough for a machine that is busy with other things.
        "max_p99_ratio": 6.0,
    }
    found: dict[str, Any] = {"model_uri": serving.uri("twin"), "weight_percent": 50, "analysis": analysis}
    if kind in images:
        found["image"] = images[kind]
    if kind == "wrong":
        found["model_uri"] = serving.uri("wrong")
    return found


Program = Callable[[k8s.Provider], Mapping[str, Any]]


def program(serving: Serving, services: Mapping[str, Mapping[str, Any]]) -> Program:
    """Services by name, each with its own changes to the usual arguments; exports `<name>_url` and `<name>_status`."""
    usual: dict[str, Any] = {"replicas": 1, "exposed": True, "drain_seconds": 5}
    return services_program({name: serving.args(**usual, **changes) for name, changes in services.items()})


def with_canaries(serving: Serving, canary_setup: CanarySetup, **instead: Mapping[str, Any]) -> Program:
    """Each service with its canary, or as `instead` says."""
    return program(serving, {**{kind: {"canary": canary_of(kind, serving, canary_setup)} for kind in FINAL}, **instead})


@pytest.fixture(scope="module")
def canaries(serving: Serving, canary_setup: CanarySetup) -> Program:
    return with_canaries(serving, canary_setup)


@pytest.fixture(scope="module")
def plain(serving: Serving) -> Program:
    return program(serving, {kind: {} for kind in FINAL})


@pytest.fixture(scope="module")
def stack(serving: Serving, plain: Program) -> Iterator[Stack]:
    yield from serving.deployed(plain)


@pytest.fixture(scope="module")
def under_load(stack: Stack) -> Iterator[dict[str, LoadResult]]:
    """What clients of every service get, for as long as the tests go on."""
    outputs = stack.outputs()
    with ExitStack() as clients:
        yield {
            kind: clients.enter_context(load(outputs[f"{kind}_url"], callers=2, pause_seconds=0.15, inputs=INPUTS))
            for kind in FINAL
        }


def at_work(serving: Serving) -> set[str]:
    """The services whose canary has pods."""
    return {kind for kind in FINAL if serving.pods(kind, track="canary")}


Records = dict[str, dict[str, Any]]


def final_records(serving: Serving) -> Records:
    """What the analysts have written, once each has come to a verdict."""
    found: Records = {}

    def final() -> bool:
        found.update({kind: analysis_record(serving.namespace, kind) for kind in FINAL})
        return all(entry.get("verdict", "hold") != "hold" for entry in found.values())

    with suppress(AssertionError):  # what is missing is told below
        eventually(final, SECONDS, 3)
    assert final(), found
    return found


@pytest.fixture
def judged(
    serving: Serving, stack: Stack, plain: Program, canaries: Program, under_load: dict[str, LoadResult]
) -> Records:
    """The verdicts on all canaries, on which no `up` has acted yet."""
    if at_work(serving) != set(FINAL):
        stack.up(plain)
        stack.up(canaries)
    return final_records(serving)


@pytest.fixture
def decided(serving: Serving, stack: Stack, canaries: Program, under_load: dict[str, LoadResult]) -> None:
    """An `up` has acted on all verdicts."""
    told = stack.outputs()
    if {kind: (told.get(f"{kind}_status") or {}).get("verdict") for kind in FINAL} != FINAL:
        stack.up(canaries)
        if at_work(serving):
            final_records(serving)
            stack.up(canaries)


def only_old(result: LoadResult) -> bool:
    return not result.failed and set(result.answers) <= OLD


def test_a_canary_joins_without_a_failed_request(
    stack: Stack, plain: Program, canaries: Program, under_load: dict[str, LoadResult]
) -> None:
    stack.up(plain)
    before = {kind: result.total for kind, result in under_load.items()}
    stack.up(canaries)
    for kind, result in under_load.items():
        assert result.total > before[kind]
        assert {each.status for each in result.failed} <= {500}, result.failed
    assert stack.outputs()["good_status"]["verdict"] == "hold"


def test_verdicts_come_with_figures(judged: Records, figure: Callable[[str], None]) -> None:
    for kind, entry in judged.items():
        figure(f"canary {kind}: {entry['verdict']}: {entry['reason']}; {entry['figures']}")
    assert {kind: entry["verdict"] for kind, entry in judged.items()} == FINAL
    for kind, words in BROKEN.items():
        assert words in judged[kind]["reason"]
    assert judged["errors"]["figures"]["canary"]["error_percent"] > 10
    assert judged["errors"]["figures"]["stable"]["error_percent"] == 0


@pytest.mark.usefixtures("judged")
def test_a_verdict_alone_changes_nothing_in_the_cluster(serving: Serving) -> None:
    for kind in FINAL:
        assert len(serving.pods(kind, track="canary")) == 1
        assert versions(serving.pods(kind, track="stable")) == {"double"}


@pytest.mark.usefixtures("judged")
def test_the_preview_tells_what_the_verdicts_do(stack: Stack, canaries: Program) -> None:
    assert released(stack.preview(canaries)) == {
        "good": ["update"],
        **{f"{kind}-canary": ["update"] for kind in FINAL},
    }


@pytest.mark.usefixtures("judged")
def test_the_next_up_rolls_back_the_bad_and_promotes_the_good(
    serving: Serving, stack: Stack, canaries: Program, under_load: dict[str, LoadResult]
) -> None:
    good = under_load["good"].failed.copy()
    stack.up(canaries)
    for kind, verdict in FINAL.items():
        assert serving.pods(kind, track="canary") == []
        assert versions(serving.pods(kind, track="stable")) == ({"twin"} if verdict == "promote" else {"double"})
        status = stack.outputs()[f"{kind}_status"]
        assert (status["verdict"], status["canary_takes_traffic"]) == (verdict, False)
        assert status["figures"]["canary"]["requests"] >= 150
    assert under_load["good"].failed == good == []


@pytest.mark.usefixtures("decided")
def test_after_a_roll_back_clients_get_the_old_version_alone(stack: Stack, under_load: dict[str, LoadResult]) -> None:
    outputs = stack.outputs()
    for kind in FINAL:
        assert only_old(send_requests(outputs[f"{kind}_url"], 100, callers=4))
    statuses = {each.status for result in under_load.values() for each in result.failed}
    assert statuses <= {500}, "only the faulty canary's own errors may have reached anyone"


@pytest.mark.usefixtures("decided")
def test_the_same_verdicts_again_change_nothing(stack: Stack, canaries: Program) -> None:
    stack.unchanged(canaries)


@pytest.mark.usefixtures("decided")
def test_naming_the_promoted_version_ends_the_canary_without_a_rollout(
    serving: Serving, stack: Stack, canary_setup: CanarySetup, under_load: dict[str, LoadResult]
) -> None:
    before = {pod["metadata"]["uid"] for pod in serving.pods("good", track="stable")}
    stack.up(with_canaries(serving, canary_setup, good={"alias": "twin"}))
    assert {pod["metadata"]["uid"] for pod in serving.pods("good", track="stable")} == before
    assert serving.pods("good", track="canary") == []
    assert not under_load["good"].failed
