"""A language model on a cluster: adapters on one engine, keys that rotate, releases under streams."""

import base64
import json
import re
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelService
from tests.cluster.llm.images import built
from tests.cluster.provider.harness import Stack
from tests.cluster.support import apply, eventually, exposure, kubectl, objects, platform_facts
from tests.llm import QUESTION, SMALL

pytestmark = [pytest.mark.llm, pytest.mark.long]

SIZES = {"cpu": "200m", "memory": "3Gi", "memory_limit": "6Gi", "gpus": 0}
STREAMS, TOKENS = 200, 60
Program = Callable[[k8s.Provider], Mapping[str, Any]]


@dataclass
class Place:
    """A namespace with the images of an engine and of its models."""

    namespace: str
    folder: Path
    image: str
    base: str
    polite: str
    terse: str

    def program(self, **changes: Any) -> Program:
        """A service of the adapter `polite` and its base; `vllm` adds to its settings."""
        engine = {
            "base_model_uri": self.base,
            "shared_memory": "256Mi",
            "api_keys_secret": "keys",
            "arguments": [*SMALL],
        }
        args: Any = {
            "namespace": self.namespace,
            "runtime": "vllm",
            "image": self.image,
            "model_uri": self.polite,
            "model_name": "chat",
            "resources": SIZES,
            "replicas": 1,
            "expose": exposure(),
            "startup_timeout_seconds": 600,
            **changes,
            "vllm": {**engine, **changes.get("vllm", {})},
        }

        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            return {"url": ModelService("chat", args, pulumi.ResourceOptions(provider=provider)).url}

        return build

    def keys(self, **values: str) -> None:
        """The Secret with the API keys."""
        data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        meta = {"name": "keys", "namespace": self.namespace}
        apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})


@pytest.fixture(scope="module")
def place(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, namespace = tmp_path_factory.mktemp("llm"), f"llm-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    images, found = built(folder, platform_facts(), namespace)
    try:
        made = Place(namespace, folder, **found)
        made.keys(team="first")
        yield made
    finally:
        images.destroy(succeed=None)
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)


@pytest.fixture(scope="module")
def stack(place: Place) -> Iterator[Stack]:
    """The service, up."""
    made = Stack(place.folder / "service", namespace=place.namespace)
    try:
        made.up(place.program())
        yield made
    finally:
        made.destroy(succeed=None)


def ask(url: str, key: str = "first", **body: Any) -> str:
    """The whole answer's text, streamed or not."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    content = json.dumps({**QUESTION, "model": "chat", **body}).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", content, headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return str(answer.read().decode())


def said(url: str, **body: Any) -> str:
    return str(json.loads(ask(url, **body))["choices"][0]["message"]["content"])


def names(url: str) -> dict[str, str]:
    """The models that are served, and the folders that they are in."""
    request = urllib.request.Request(f"{url}/v1/models", headers={"Authorization": "Bearer first"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return {each["id"]: each["root"] for each in json.load(answer)["data"]}


def test_an_adapter_answers_in_its_own_way_beside_its_base(stack: Stack) -> None:
    url = stack.outputs()["url"]
    base = next(name for name in names(url) if name != "chat")
    assert said(url) == said(url) != said(url, model=base)


def test_a_key_is_rotated_without_a_restart(stack: Stack, place: Place) -> None:
    url = stack.outputs()["url"]
    before = [pod["metadata"]["uid"] for pod in engines(place)]
    with pytest.raises(OSError, match="401"):
        ask(url, "second")
    place.keys(team="first", next="second")
    try:
        assert eventually(lambda: ask(url, "second"), 180)
        assert [pod["metadata"]["uid"] for pod in engines(place)] == before
    finally:
        place.keys(team="first")


def test_several_adapters_share_an_engine_and_say_their_versions(stack: Stack, place: Place) -> None:
    url, adapters = stack.outputs()["url"], [{"name": "terse", "model_uri": place.terse}]
    stack.up(place.program(vllm={"adapters": adapters}))
    version = place.terse.partition("@sha256:")[2][:12]
    assert names(url)["terse"].endswith(f"/terse/{version}")
    assert said(url, model="terse") != said(url)
    [pod] = engines(place)
    assert pod["metadata"]["labels"]["adapter.modelops.dev/terse"] == version


def test_a_wrong_answer_is_a_release_that_never_begins(stack: Stack, place: Place) -> None:
    url = stack.outputs()["url"]
    right = said(url)
    before = [pod["metadata"]["uid"] for pod in engines(place)]
    prompt = {"prompt": QUESTION["messages"][0]["content"], "max_tokens": QUESTION["max_tokens"]}
    wrong = {"prompts": [{**prompt, "answer": "something else"}]}
    failed = stack.up(place.program(smoke_test=wrong), succeed=False)
    assert "must be 'something else'" in failed.text
    assert [pod["metadata"]["uid"] for pod in engines(place)] == before
    stack.up(place.program(smoke_test={"prompts": [{**prompt, "answer": right, "forbidden": ["sorry"]}]}))


def test_rollouts_under_streams_break_none(stack: Stack, place: Place, figure: Callable[[str], None]) -> None:
    """A control: deleting the pods without any grace does break streams."""
    url = stack.outputs()["url"]

    def rollouts() -> None:
        for length in (250, 240, 230):
            stack.up(place.program(vllm={"max_model_len": length, "arguments": [*SMALL[:1], *SMALL[3:]]}))

    whole, broken = streamed(url, rollouts)
    assert broken == [] and whole >= STREAMS
    figure(f"language model: {whole} streams over 3 rollouts, {len(broken)} broken")

    def kill() -> None:
        for pod in engines(place):
            kubectl(
                "delete", "pod", "--namespace", place.namespace, pod["metadata"]["name"], "--grace-period=0", "--force"
            )
        kubectl("rollout", "status", "deployment/chat", "--namespace", place.namespace, "--timeout=600s")

    assert streamed(url, kill)[1] != []


def streamed(url: str, work: Callable[[], None], callers: int = 4) -> tuple[int, list[str]]:
    """How many streams were whole while `work` went on, at least STREAMS if none breaks; and what broke others."""
    done, whole, broken = Event(), [0], list[str]()

    def call(_: int) -> None:
        while not broken and not (done.is_set() and whole[0] >= STREAMS):
            try:
                text = ask(url, stream=True, max_tokens=TOKENS, ignore_eos=True)
                assert text.rstrip().endswith("[DONE]") and re.search('"finish_reason": ?"length"', text), text[-500:]
                whole[0] += 1
            except (OSError, AssertionError) as error:
                broken.append(str(error))
            time.sleep(0.05)

    with ThreadPoolExecutor(callers) as clients:
        running = [clients.submit(call, each) for each in range(callers)]
        try:
            work()
        finally:
            done.set()
        for each in running:
            each.result()
    return whole[0], broken


def engines(place: Place) -> list[dict[str, Any]]:
    """The service's pods that are to stay."""
    found = objects(
        "pods", place.namespace, "--selector", "app.kubernetes.io/name=model-service,modelops.dev/live=true"
    )
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
