"""Releases: no request is lost, a wrong version never gets one, and the way back is a release like any other."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelService
from tests.cluster.provider.harness import Outcome, Stack
from tests.cluster.serving.support import BROKEN, Serving, released, versions
from tests.cluster.support import eventually, objects, post
from tests.load import LoadResult, load

pytestmark = pytest.mark.serving

NAME = "rolling"
SHAPE: dict[str, Any] = {"replicas": 2, "exposed": True, "drain_seconds": 5}
VERSIONS = ("triple", "double")
Figure = Callable[[str], None]


@pytest.fixture(scope="module")
def stack(serving: Serving) -> Iterator[Stack]:
    yield from serving.deployed(serving.program(NAME, **SHAPE))


def release(serving: Serving, stack: Stack, rollouts: int, callers: int) -> LoadResult:
    """Releases one version after the other under load."""
    with load(stack.outputs()["predict_url"], callers=callers, kept=callers // 2) as result:
        for alias in itertools.islice(itertools.cycle(VERSIONS), rollouts):
            stack.up(serving.program(NAME, alias=alias, **SHAPE))
            assert versions(serving.pods(NAME, track="stable")) == {alias}
    return result


def test_releases_lose_no_request(serving: Serving, stack: Stack, figure: Figure) -> None:
    result = release(serving, stack, rollouts=4, callers=4)
    figure(f"4 rollouts under load: {result.answered} answered, {len(result.failed)} failed")
    assert not result.failed, result.failed[:5]
    assert result.outputs == {2.0, 2.5}, "the load went to both versions"


@pytest.mark.long
def test_fifty_releases_lose_no_request(serving: Serving, stack: Stack, figure: Figure) -> None:
    result = release(serving, stack, rollouts=50, callers=8)
    figure(f"50 rollouts under load: {result.answered} answered, {len(result.failed)} failed")
    assert not result.failed, result.failed[:5]
    assert result.outputs == {2.0, 2.5}


def without_drain(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """Takes away from a Deployment's pods what lets them leave quietly."""
    if args.type_ != "kubernetes:apps/v1:Deployment":
        return None
    [server] = args.props["spec"].template.spec.containers
    server.lifecycle = None
    for variable in server.env:
        if variable.name == "MODELOPS_DRAIN_SECONDS":
            variable.value = "0"
    return pulumi.ResourceTransformationResult(args.props, args.opts)


def test_without_the_drain_settings_the_same_load_sees_failures(serving: Serving, figure: Figure) -> None:
    """The control: if this one saw none, the test above would prove nothing."""
    stack = serving.new_stack()

    def program(alias: str) -> Callable[[k8s.Provider], Mapping[str, Any]]:
        args = serving.args(alias, **SHAPE)

        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            opts = pulumi.ResourceOptions(provider=provider, transformations=[without_drain])
            return {"predict_url": ModelService("abrupt", args, opts).predict_url}  # type: ignore[arg-type]

        return build

    stack.up(program("double"))
    with load(stack.outputs()["predict_url"], callers=8, kept=4, pause_seconds=0.002) as result:
        for alias in itertools.islice(itertools.cycle(VERSIONS), 6):
            stack.up(program(alias))
            if result.failed:
                break
    figure(f"rollouts without the drain settings: {result.answered} answered, {len(result.failed)} failed")
    assert result.failed
    stack.destroy()


def test_going_back_is_a_release_that_builds_and_trains_nothing(serving: Serving, stack: Stack, figure: Figure) -> None:
    """The best of three: what else the machine does may not count."""
    seconds: list[float] = []
    while not seconds or (min(seconds) >= 30 and len(seconds) < 3):
        stack.up(serving.program(NAME, alias="triple", **SHAPE))
        started = time.monotonic()
        outcome = stack.up(serving.program(NAME, alias="double", **SHAPE))
        seconds.append(time.monotonic() - started)
        assert released(outcome) == {NAME: ["update"]}
        # A pod that drains may still answer: its last requests are its own version's.
        eventually(lambda: versions(serving.pods(NAME, track="stable", leaving=True)) == {"double"})
        assert post(stack.outputs()["predict_url"], {"inputs": [[0.5]]}) == (200, {"outputs": [2.0]})
    figure(f"rollback of {SHAPE['replicas']} replicas: {', '.join(f'{took:.1f} s' for took in seconds)}")
    assert min(seconds) < 30


def settled(serving: Serving, stack: Stack, alias: str, **more: Any) -> None:
    """Releases a version and waits until no pod of another one is left: one that drains still answers."""
    stack.up(serving.program(NAME, alias=alias, **SHAPE, **more))
    eventually(lambda: versions(serving.pods(NAME, track="stable", leaving=True)) == {alias})


SMOKE = {"smoke_test": {"inputs": [[0.5], [1]], "outputs": [2.0, 3.0]}}


def stopped(serving: Serving, stack: Stack) -> Outcome:
    """Tries to release a version that its smoke test stops."""
    return stack.up(serving.program(NAME, alias="triple", **SHAPE, **SMOKE), succeed=False)


def test_a_version_that_answers_wrongly_is_stopped_before_it_takes_traffic(serving: Serving, stack: Stack) -> None:
    settled(serving, stack, "double", **SMOKE)
    before = {pod["metadata"]["uid"] for pod in serving.pods(NAME, track="stable")}
    with load(stack.outputs()["predict_url"], kept=2) as result:
        failed = stopped(serving, stack)
    assert "outputs[0] is 2.5, must be 2 within" in failed.text, failed.text
    assert not result.failed and result.outputs == {2.0}
    assert {pod["metadata"]["uid"] for pod in serving.pods(NAME, track="stable")} == before


def test_after_a_failed_smoke_test_the_next_good_version_goes_out(serving: Serving, stack: Stack) -> None:
    settled(serving, stack, "double", **SMOKE)
    stopped(serving, stack)
    expected = {"smoke_test": {"inputs": [[0.5]], "outputs": [2.5]}}
    stack.up(serving.program(NAME, alias="triple", **SHAPE, **expected))
    assert versions(serving.pods(NAME, track="stable")) == {"triple"}
    stack.unchanged(serving.program(NAME, alias="triple", **SHAPE, **expected))
    jobs = objects("jobs", serving.namespace)
    tests = [job["metadata"]["name"] for job in jobs if job["metadata"]["name"].startswith(f"{NAME}-smoke")]
    assert sorted(name.rpartition("-")[0] for name in tests) == [f"{NAME}-smoke", f"{NAME}-smoke-watch"]


def test_a_version_that_never_gets_ready_leaves_the_old_one_serving(serving: Serving, stack: Stack) -> None:
    settled(serving, stack, "double")
    with load(stack.outputs()["predict_url"], kept=2) as result:
        failed = stack.up(serving.program(NAME, alias=BROKEN, **SHAPE, startup_timeout_seconds=10), succeed=False)
    assert "golden" in failed.text, failed.text
    assert not result.failed and result.outputs == {2.0}


def test_a_release_without_a_spare_pod_takes_one_at_a_time(serving: Serving, stack: Stack) -> None:
    low = {**SHAPE, "rollout": {"max_surge": 0}}
    stack.up(serving.program(NAME, alias="double", **low))
    with load(stack.outputs()["predict_url"], kept=2) as result:
        stack.up(serving.program(NAME, alias="triple", **low))
    assert not result.failed, result.failed[:5]
    assert versions(serving.pods(NAME, track="stable")) == {"triple"}
