"""What the tests of engines share: a namespace with images, small services in it, and what their endpoints say."""

import base64
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from threading import Event
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import ModelService
from tests.cluster.provider.harness import Stack
from tests.cluster.support import apply, exposure, kubectl, objects
from tests.llm import QUESTION, SMALL

SIZES = {"cpu": "200m", "memory": "3Gi", "memory_limit": "6Gi", "gpus": 0}
TOKENS = 60
"""Of the answers that are streamed."""
Program = Callable[[k8s.Provider], Mapping[str, Any]]


@dataclass(frozen=True)
class Place:
    """A namespace with the images of an engine and of its models."""

    namespace: str
    folder: Path
    image: str
    base: str
    polite: str
    terse: str

    def args(self, **changes: Any) -> Any:
        """Of a service of the adapter `polite` and its base; `vllm` adds to its settings, or with None takes away."""
        engine = {
            "base_model_uri": self.base,
            "shared_memory": "256Mi",
            "api_keys_secret": "keys",
            "arguments": [*SMALL],
        }
        engine |= changes.pop("vllm", {})
        return {
            "namespace": self.namespace,
            "runtime": "vllm",
            "image": self.image,
            "model_uri": self.polite,
            "model_name": "chat",
            "resources": SIZES,
            **({} if "autoscaling" in changes else {"replicas": 1}),
            "expose": exposure(),
            "startup_timeout_seconds": 600,
            "vllm": {name: value for name, value in engine.items() if value is not None},
            **changes,
        }

    def program(self, name: str = "chat", **changes: Any) -> Program:
        """The service alone."""
        args = self.args(**changes)

        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            made = ModelService(name, args, pulumi.ResourceOptions(provider=provider))
            return {"url": made.url, "canary": made.canary_status}

        return build

    @contextmanager
    def stack(self, name: str, program: Program) -> Iterator[Stack]:
        """A stack that is up, and gone at the end."""
        made = Stack(self.folder / name, namespace=self.namespace)
        try:
            made.up(program)
            yield made
        finally:
            made.destroy(succeed=None)

    def keys(self, **values: str) -> None:
        """The Secret with the API keys."""
        data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        meta = {"name": "keys", "namespace": self.namespace}
        apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})

    def engines(self, service: str = "chat", track: str | None = None) -> list[dict[str, Any]]:
        """The service's pods that are to stay, or those of a track."""
        wanted = f"app.kubernetes.io/name=model-service,app.kubernetes.io/instance={service}"
        wanted += "" if track is None else f",modelops.dev/track={track}"
        return [
            pod
            for pod in objects("pods", self.namespace, "--selector", wanted)
            if "deletionTimestamp" not in pod["metadata"]
            and pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
        ]

    def uids(self, service: str = "chat") -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.engines(service)}

    def log(self, service: str, container: str) -> str:
        """What a container of the service's only pod has said."""
        [pod] = self.engines(service)
        where = ("--namespace", self.namespace, pod["metadata"]["name"], "--container", container)
        return kubectl("logs", *where)

    def metrics(self, service: str, track: str) -> str:
        """Those of the track's only engine."""
        [pod] = self.engines(service, track)
        where = f"{pod['metadata']['name']}:8080"
        return kubectl("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{where}/proxy/metrics")

    def answers(self, service: str, track: str) -> float:
        """How many the track's only engine has made."""
        found = re.findall(r"^vllm:request_success_total\{.*\} (\S+)$", self.metrics(service, track), re.MULTILINE)
        return sum(map(float, found))


def ask(url: str, key: str = "first", **body: Any) -> str:
    """The whole answer's text, streamed or not."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}", "Connection": "close"}
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


def streamed(url: str, work: Callable[[], object], least: int, callers: int = 4) -> tuple[int, list[str]]:
    """How many streams were whole while `work` went on, at least that many if none breaks; and what broke others."""
    done, whole, broken = Event(), [0], list[str]()

    def call(_: int) -> None:
        while not broken and not (done.is_set() and whole[0] >= least):
            try:
                text = ask(url, stream=True, max_tokens=TOKENS, ignore_eos=True)
                assert text.rstrip().endswith("[DONE]") and re.search('"finish_reason": ?"length"', text), text[-500:]
                whole[0] += 1
            except (OSError, HTTPException, AssertionError) as error:
                broken.append(repr(error))
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
