"""`make verify-gpu`: what only a GPU can show, by examples/chat on the cluster that kubectl talks to.

It pushes images to REPOSITORY, works in a namespace of its own, and removes that at the end.
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.examples import Example, installed
from tests.cluster.support import REPOSITORY, forwarded, kubectl, objects

__all__ = ["installed"]
pytestmark = pytest.mark.gpu

RESOURCE = os.environ.get("GPU_RESOURCE", "nvidia.com/gpu")
TOKENS, CALLERS = 128, 16


@pytest.fixture(scope="session")
def most_gpus() -> int:
    """How many GPUs a pod may have: those of the node with the most."""
    if shutil.which("kubectl") is None:
        pytest.exit("kubectl is not installed", 2)
    done = subprocess.run(["kubectl", "get", "nodes", "--output=json"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.exit(f"kubectl reaches no cluster: {done.stderr.strip().splitlines()[-1]}", 2)
    offered = [int(node["status"]["allocatable"].get(RESOURCE, 0)) for node in json.loads(done.stdout)["items"]]
    if not any(offered):
        what = f"no node of the cluster has {RESOURCE}: install the device plugin of its GPUs"
        pytest.exit(f"{what}, or name another resource in GPU_RESOURCE", 2)
    return max(offered)


@pytest.fixture(scope="session")
def repository() -> str:
    found = os.environ.get("REPOSITORY", "")
    if not found:
        pytest.exit("say where images may be pushed: make verify-gpu REPOSITORY=registry.example.com/ml/verify", 2)
    return found


class Chat:
    """The example on GPUs."""

    def __init__(self, namespace: str, example: Example) -> None:
        self.namespace = namespace
        self._example = example
        self.outputs: dict[str, Any] = {}

    def up(self, **config: str) -> None:
        self.outputs = self._example.up(**config)

    def log_of_training(self) -> str:
        pods = objects("pods", self.namespace, "--selector", "app.kubernetes.io/name=training-job")
        newest = max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])["metadata"]["name"]
        return kubectl("logs", "--namespace", self.namespace, newest, "--container=train")

    def in_the_engine(self, *command: str) -> str:
        engine = ("--namespace", self.namespace, "deployment/support", "--container=serve")
        return kubectl("exec", *engine, "--", *command)

    @contextmanager
    def reached(self) -> Iterator[str]:
        """The endpoint's address here."""
        with forwarded(self.namespace, "service/support", 80) as port:
            yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def chat(most_gpus: int, repository: str, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    namespace = f"verify-gpu-{uuid.uuid4().hex[:8]}"
    example = Example("chat", tmp_path_factory.mktemp("gpu") / "program", installed)
    shutil.copytree(REPOSITORY / "model", example.folder / "model")
    kubectl("create", "namespace", namespace)
    try:
        made = Chat(namespace, example)
        made.up(namespace=namespace, repository=repository, model_folder="model", expose="ClusterIP", gpus="1")
        yield made
    finally:
        example.destroy()
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def test_the_training_ran_on_a_gpu_in_bfloat16(chat: Chat) -> None:
    said = chat.log_of_training()
    assert re.search(r"are trained, on 1 × (?!cpu)", said), said[-2000:]
    assert chat.outputs["metrics"]["token_accuracy"] >= 0.7


def test_the_engine_runs_on_the_gpu(chat: Chat) -> None:
    program = (
        "import torch; print(torch.cuda.device_count(), torch.cuda.mem_get_info()[1] > torch.cuda.mem_get_info()[0])"
    )
    assert chat.in_the_engine("python3", "-c", program).split() == ["1", "True"]


def test_answers_are_streamed(chat: Chat, figure: Callable[[str], None]) -> None:
    with chat.reached() as url, ThreadPoolExecutor(CALLERS) as callers:
        asked(url)
        began = time.monotonic()
        firsts = sorted(callers.map(lambda _: asked(url), range(CALLERS * 4)))
        took = time.monotonic() - began
    rate = CALLERS * 4 * TOKENS / took
    figure(f"GPU: {rate:.0f} tokens a second for {CALLERS} callers, first token after {firsts[len(firsts) // 2]:.3f} s")


def test_several_gpus_share_the_training_and_the_engine(chat: Chat, most_gpus: int) -> None:
    """FSDP in bfloat16 and NCCL; tensor parallel in the engine."""
    if most_gpus < 2:
        pytest.skip(f"no node has two of {RESOURCE}")
    chat.up(gpus="2")
    assert re.search(r"are trained, on 2 × (?!cpu)", chat.log_of_training())
    with chat.reached() as url:
        asked(url)


def asked(url: str) -> float:
    """Seconds to the first token of a whole stream."""
    body = {
        "model": "support",
        "messages": [{"role": "user", "content": "Tell me all about lamps."}],
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "stream": True,
    }
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    began, first, ended = time.monotonic(), 0.0, False
    with urllib.request.urlopen(request, timeout=300) as answer:
        for line in answer:
            if b'"content":"' in line and not first:
                first = time.monotonic() - began
            ended |= b"[DONE]" in line
    assert first and ended
    return first
