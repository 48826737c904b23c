"""A real vLLM on this machine's processor, with a model that the tests make themselves."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY
from tests.environments import engine

BASE_URI = "hf://tests/tiny-llama@" + "0" * 40
SMALL = ("--enforce-eager", "--max-model-len", "256", "--max-num-seqs", "16")
"""Arguments with which the engine starts in 20 seconds."""
START_SECONDS = 300
QUESTION: Mapping[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "temperature": 0}


def write_models(folder: Path, base_uri: str = BASE_URI) -> Path:
    """A folder with a model, `base`, and adapters of it, `polite` and `terse`."""
    program = REPOSITORY / "tests" / "llm_model.py"
    done = subprocess.run([engine(), program, folder, base_uri], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    return folder


def environment(**variables: str) -> dict[str, str]:
    """For the engine: without the hub, and with little memory for keys and values."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MODELOPS_", "PYTHON", "VLLM_"))}
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    return {**kept, **offline, **variables}


@dataclass(frozen=True)
class Engine:
    """A server that answers."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> str:
        request = urllib.request.Request(f"{self.url}{path}", headers=self.headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", **self.headers}
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.load(answer))

    def chat(self, model: str, **more: Any) -> str:
        answer = self.post("/v1/chat/completions", {**QUESTION, "model": model, **more})
        return str(answer["choices"][0]["message"]["content"])

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        return {each["id"]: each for each in json.loads(self.get("/v1/models"))["data"]}

    @cached_property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def serving(folder: Path, arguments: Sequence[str], **variables: str) -> Iterator[Engine]:
    """`vllm serve` with these arguments, once it is healthy; its log is in the folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log, command = folder / f"vllm-{port}.log", engine().parent / "vllm"
    words = [command, "serve", *arguments, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=subprocess.STDOUT, env=environment(**variables), start_new_session=True
        )
        try:
            found = Engine(f"http://127.0.0.1:{port}", process, log)
            _wait(found)
            yield found
        finally:
            _stop(process)


def _wait(server: Engine) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{server.url}/health", timeout=5).close()
            return
        except OSError:
            assert server.process.poll() is None, server.log.read_text()[-5000:]
            assert time.monotonic() < deadline, server.log.read_text()[-5000:]
            time.sleep(0.5)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Its workers are in its group, and outlive it when it is killed."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
