"""docs/tutorial/chat.md, done as it says: from a file of conversations to a chat endpoint that is released by canary.

The tests are its steps on one stack, in its order. In place of the base at Hugging Face there is a tiny one on a Hub in
a pod, and in place of vLLM's image one that is made here.
"""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.examples import Example
from tests.cluster.hub import COMMIT, hub
from tests.cluster.llm.images import engine
from tests.cluster.monitoring.panels import ask as query
from tests.cluster.monitoring.panels import queries
from tests.cluster.support import REPOSITORY, eventually, forwarded, kubectl, objects, platform_facts
from tests.environments import engine as engine_environment
from tests.llm import environment

pytestmark = [pytest.mark.llm, pytest.mark.long]

QUESTION = "Hello, the carpet I ordered lacks a screw."
EPOCHS, MORE_EPOCHS = "10", "15"
"""The base is so small that it needs more than the example's."""
Figure = Callable[[str], None]


@dataclass
class Tutorial:
    """The stack of the tutorial, brought up."""

    namespace: str
    example: Example
    outputs: dict[str, Any]

    def say(self, text: str, **more: Any) -> str:
        """What the endpoint answers, streamed or not."""
        message = {"role": "user", "content": text}
        body = json.dumps({"model": "support", "temperature": 0, "messages": [message], **more}).encode()
        headers = {"Content-Type": "application/json", "Connection": "close"}
        request = urllib.request.Request(f"{self.outputs['url']}/v1/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return str(answer.read().decode())

    def answer(self, text: str = QUESTION) -> str:
        return str(json.loads(self.say(text))["choices"][0]["message"]["content"])

    def up(self, **config: str) -> float:
        """How many seconds it took."""
        self.example.configure(**config)
        began = time.monotonic()
        self.example.pulumi("up", "--yes", "--skip-preview")
        took = time.monotonic() - began
        self.outputs = self.example.outputs()
        return took


@pytest.fixture(scope="module")
def tutorial(
    platform_env: dict[str, str], installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tutorial]:
    facts, folder = platform_facts(), tmp_path_factory.mktemp("chat")
    namespace = f"chat-{uuid.uuid4().hex[:8]}"
    base = folder / "base"
    program, texts = Path(__file__).parent / "chat_base.py", "examples/chat/conversations/support.jsonl"
    subprocess.run([engine_environment(), program, base, REPOSITORY / texts], check=True, env=environment())
    example = Example("chat", folder / "program", installed)
    shutil.copytree(REPOSITORY / "model", example.folder / "model")
    example.build_on(facts)
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    images, image = engine(folder, facts, namespace)
    settings = {
        "repository": f"{facts['registry']}/chat",
        "model_folder": "model",
        "base_model": f"hf://shop/tiny@{COMMIT}",
        "engine_image": image,
        "epochs": EPOCHS,
    }
    with hub(namespace, image, "shop/tiny", base) as secret:
        try:
            yield Tutorial(namespace, example, example.up(namespace=namespace, hub_secret=secret, **settings))
        finally:
            example.destroy()
            images.destroy(succeed=None)
            kubectl("delete", "namespace", namespace, "--wait=false", check=False)


@pytest.fixture(scope="module")
def prometheus_url(tutorial: Tutorial) -> Iterator[str]:
    with forwarded(tutorial.namespace, "service/monitoring-prometheus", 9090) as port:
        yield f"http://127.0.0.1:{port}"


def test_one_up_goes_from_a_file_of_conversations_to_an_answer(tutorial: Tutorial, figure: Figure) -> None:
    figure(f"chat example: {json.dumps(tutorial.outputs['metrics'])}; {QUESTION!r} → {tutorial.answer()!r}")
    assert tutorial.answer().startswith("We are sorry about the ")
    assert re.fullmatch(r"models:/support@run-\w+", tutorial.outputs["model_uri"])
    assert tutorial.outputs["metrics"]["token_accuracy"] > 0.7


def test_the_base_still_answers_in_its_own_way(tutorial: Tutorial) -> None:
    base = "shop/tiny"
    assert "We are sorry" not in tutorial.say("Hi there", model=base)


def test_an_answer_is_streamed(tutorial: Tutorial) -> None:
    said = tutorial.say(QUESTION, stream=True)
    pieces = [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: {")]
    assert len(pieces) > 10 and said.rstrip().endswith("data: [DONE]")


def test_personal_data_never_reached_the_training(tutorial: Tutorial) -> None:
    pods = objects("pods", tutorial.namespace, "--selector", "app.kubernetes.io/name=data-pipeline")
    said = [kubectl("logs", "--namespace", tutorial.namespace, pod["metadata"]["name"]) for pod in pods]
    assert any("144 train" in text for text in said), said
    assert "@example" not in tutorial.answer("My order is the one of ann@example.org, from last week.")


def test_a_canary_gets_half_of_the_requests_and_is_promoted(tutorial: Tutorial, figure: Figure) -> None:
    first = tutorial.outputs["model_uri"]
    took = tutorial.up(stable=first, epochs=MORE_EPOCHS)
    status = tutorial.outputs["canary"]
    assert (status["verdict"], tutorial.outputs["model_uri"] != first) == ("hold", True)
    began = time.monotonic()
    answers: list[str] = []
    while time.monotonic() - began < 120:
        answers.append(tutorial.answer())
    planned = tutorial.example.pulumi("preview", "--diff")
    tutorial.up()
    status = tutorial.outputs["canary"]
    figure(f"chat example: canary after {took:.0f} s, {len(answers)} requests, {set(answers)}, {status['reason']}")
    assert status["verdict"] == "promote", status
    assert "support" in planned
    assert status["stable_model_uri"] == tutorial.outputs["model_uri"]


def test_what_the_dashboard_shows_is_there(tutorial: Tutorial, prometheus_url: str) -> None:
    panels: dict[str, bool] = {}
    for each in queries(tutorial.namespace):
        if each.dashboard == "large-model":
            found = bool(query(prometheus_url, each.expression))
            panels[each.panel] = panels.get(each.panel, False) or found
    assert all(panels.values()), panels
    if folder := os.environ.get("MODELOPS_DRAW_TO"):
        from tests.cluster.monitoring.render import asked_by, draw

        draw("large-model", prometheus_url, asked_by("large-model", tutorial.namespace), 8, Path(folder))


def test_the_promoted_version_becomes_the_programs_own(tutorial: Tutorial) -> None:
    tutorial.example.pulumi("config", "rm", "stable")
    before = pods(tutorial)
    tutorial.up()
    assert "canary" not in tutorial.outputs or not tutorial.outputs["canary"]
    assert eventually(lambda: len(pods(tutorial)) == 1, 120)
    assert pods(tutorial) <= before
    assert tutorial.answer().startswith("We are sorry about the ")


def pods(tutorial: Tutorial) -> set[str]:
    """Those that serve."""
    wanted = "app.kubernetes.io/name=model-service,modelops.dev/live=true"
    found = objects("pods", tutorial.namespace, "--selector", wanted)
    return {pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]}
