"""A language model on a cluster: adapters on one engine, keys that rotate, releases under streams."""

from collections.abc import Callable, Iterator

import pytest

from tests.cluster.llm.support import Place, ask, names, said, streamed
from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, kubectl
from tests.llm import QUESTION, SMALL

pytestmark = [pytest.mark.llm, pytest.mark.long]

STREAMS = 200


@pytest.fixture(scope="module")
def stack(place: Place) -> Iterator[Stack]:
    """The service, up."""
    with place.stack("service", place.program()) as made:
        yield made


def test_an_adapter_answers_in_its_own_way_beside_its_base(stack: Stack) -> None:
    url = stack.outputs()["url"]
    base = next(name for name in names(url) if name != "chat")
    assert said(url) == said(url) != said(url, model=base)


def test_a_key_is_rotated_without_a_restart(stack: Stack, place: Place) -> None:
    url = stack.outputs()["url"]
    before = place.uids()
    with pytest.raises(OSError, match="401"):
        ask(url, "second")
    place.keys(team="first", next="second")
    try:
        assert eventually(lambda: ask(url, "second"), 180)
        assert place.uids() == before
    finally:
        place.keys(team="first")


def test_several_adapters_share_an_engine_and_say_their_versions(stack: Stack, place: Place) -> None:
    url, adapters = stack.outputs()["url"], [{"name": "terse", "model_uri": place.terse}]
    stack.up(place.program(vllm={"adapters": adapters}))
    version = place.terse.partition("@sha256:")[2][:12]
    assert names(url)["terse"].endswith(f"/terse/{version}")
    assert said(url, model="terse") != said(url)
    [pod] = place.engines()
    assert pod["metadata"]["labels"]["adapter.modelops.dev/terse"] == version


def test_a_wrong_answer_is_a_release_that_never_begins(stack: Stack, place: Place) -> None:
    url = stack.outputs()["url"]
    right = said(url)
    before = place.uids()
    prompt = {"prompt": QUESTION["messages"][0]["content"], "max_tokens": QUESTION["max_tokens"]}
    wrong = {"prompts": [{**prompt, "answer": "something else"}]}
    failed = stack.up(place.program(smoke_test=wrong), succeed=False)
    assert "must be 'something else'" in failed.text
    assert place.uids() == before
    stack.up(place.program(smoke_test={"prompts": [{**prompt, "answer": right, "forbidden": ["sorry"]}]}))


def test_rollouts_under_streams_break_none(stack: Stack, place: Place, figure: Callable[[str], None]) -> None:
    """A control: deleting the pods without any grace does break streams."""
    url = stack.outputs()["url"]

    def rollouts() -> None:
        for length in (250, 240, 230):
            stack.up(place.program(vllm={"max_model_len": length, "arguments": [*SMALL[:1], *SMALL[3:]]}))

    whole, broken = streamed(url, rollouts, STREAMS)
    assert broken == [] and whole >= STREAMS
    figure(f"language model: {whole} streams over 3 rollouts, {len(broken)} broken")

    def kill() -> None:
        for pod in place.engines():
            kubectl(
                "delete", "pod", "--namespace", place.namespace, pod["metadata"]["name"], "--grace-period=0", "--force"
            )
        kubectl("rollout", "status", "deployment/chat", "--namespace", place.namespace, "--timeout=600s")

    assert streamed(url, kill, STREAMS)[1] != []
