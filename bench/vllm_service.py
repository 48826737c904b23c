"""What ModelService costs over a bare vLLM, on the cluster of the current kubeconfig; `make bench-vllm`.

    eval "$(python3 -m devkit env)" && .venv/bin/python -m bench.vllm_service [--rounds 5] [--prompts 100] [--callers 4]

A ModelService with the vLLM runtime and a pod with nothing but the engine serve the same tiny model on the same
processor, with the same arguments. vLLM's own `vllm bench serve` asks both in turns, the service through its address,
the pod by its own. Also the seconds from the start of `pulumi up` to the first token: the first time, and again when
image and model are on the node. Absolute figures depend on the machine: compare ratios.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import ModelService
from tests.cluster.llm.images import built
from tests.cluster.provider.harness import Stack
from tests.cluster.support import apply, exposure, kubectl, platform_facts
from tests.environments import engine
from tests.llm import QUESTION, SMALL, environment

GOAL = 0.97
INPUT_TOKENS, OUTPUT_TOKENS = 32, 64
RESOURCES = {"cpu": "200m", "memory": "3Gi", "memory_limit": "6Gi"}
SHARED_MEMORY = "256Mi"
FIGURES = ("output_throughput", "p99_ttft_ms", "p99_itl_ms")


def service(namespace: str, image: str, model_uri: str) -> Any:
    """The program of the ModelService."""
    args: Any = {
        "namespace": namespace,
        "runtime": "vllm",
        "image": image,
        "model_uri": model_uri,
        "model_name": "chat",
        "resources": {**RESOURCES, "gpus": 0},
        "replicas": 1,
        "expose": exposure(),
        "startup_timeout_seconds": 600,
        "vllm": {"shared_memory": SHARED_MEMORY, "arguments": [*SMALL]},
    }

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        return {"url": ModelService("chat", args, pulumi.ResourceOptions(provider=provider)).url}

    return program


def bare(namespace: str, image: str, model: str) -> dict[str, Any]:
    """A pod with the engine alone."""
    words = ["vllm", "serve", "/model", "--served-model-name", "chat", "--host", "0.0.0.0", "--port", "8080", *SMALL]
    quantities = {"cpu": RESOURCES["cpu"], "memory": RESOURCES["memory"]}
    container = {
        "name": "serve",
        "image": image,
        "command": words,
        "resources": {"requests": quantities, "limits": {"memory": RESOURCES["memory_limit"]}},
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 5},
        "volumeMounts": [
            {"name": "model", "mountPath": "/model", "readOnly": True},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ],
    }
    volume = {"name": "model", "image": {"reference": model.removeprefix("oci://"), "pullPolicy": "IfNotPresent"}}
    memory = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bare", "namespace": namespace},
        "spec": {"containers": [container], "volumes": [volume, memory], "terminationGracePeriodSeconds": 5},
    }


def started(pod: dict[str, Any]) -> str:
    """The address of the pod, once its engine answers. Ends with the log of one that doesn't."""
    of = ["--namespace", pod["metadata"]["namespace"]]
    apply(pod)
    try:
        kubectl("wait", *of, "--for=condition=Ready", "pod/bare", "--timeout=300s")
    except AssertionError:
        raise SystemExit(f"the bare engine doesn't answer:\n{kubectl('logs', *of, 'bare', '--tail=50')}") from None
    return kubectl("get", *of, "pod", "bare", "--output=jsonpath={.status.podIP}")


def first_token(url: str) -> None:
    """Waits for the first token of a streamed answer."""
    body = json.dumps({**QUESTION, "model": "chat", "stream": True}).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        while b'"content"' not in answer.readline():
            pass


def up(stack: Stack, program: Any) -> float:
    """Seconds from the start of `pulumi up` to the first token."""
    began = time.monotonic()
    stack.up(program)
    first_token(stack.outputs()["url"])
    return time.monotonic() - began


def measured(url: str, tokenizer: Path, prompts: int, callers: int) -> dict[str, float]:
    """What `vllm bench serve` finds."""
    with tempfile.TemporaryDirectory() as folder:
        words: list[str | Path] = [engine().parent / "vllm", "bench", "serve", "--backend", "openai", "--base-url", url]
        words += ["--model", "chat", "--tokenizer", tokenizer, "--dataset-name", "random", "--ignore-eos"]
        words += ["--random-input-len", str(INPUT_TOKENS), "--random-output-len", str(OUTPUT_TOKENS)]
        words += ["--num-prompts", str(prompts), "--max-concurrency", str(callers), "--num-warmups", str(callers)]
        words += ["--percentile-metrics", "ttft,itl", "--save-result", "--result-dir", folder]
        done = subprocess.run(words, capture_output=True, text=True, env=environment())
        if done.returncode != 0:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
        [result] = Path(folder).glob("*.json")
        found = json.loads(result.read_text())
    if found["completed"] != prompts:
        raise SystemExit(f"{url} answered {found['completed']} of {prompts}")
    return {name: found[name] for name in FIGURES}


def report(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> None:
    """A table of medians, and the medians of each round's ratios."""
    print("\n| | through the Service | bare engine | ratio, median of the rounds' | goal |\n|---|---|---|---|---|")
    for name in FIGURES:
        ours, theirs = ([each[which][name] for each in rounds] for which in ("service", "bare"))
        better = [a / b if name == "output_throughput" else b / a for a, b in zip(ours, theirs, strict=True)]
        goal = f"≥ {GOAL}" if name != "p99_itl_ms" else ""
        medians = f"{statistics.median(ours):.1f} | {statistics.median(theirs):.1f} | {statistics.median(better):.3f}"
        print(f"| `{name}` | {medians} ({min(better):.2f} to {max(better):.2f}) | {goal} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=100, help="in a round, of each of the two")
    parser.add_argument("--callers", type=int, default=4, help="how many ask at a time")
    options = parser.parse_args()
    if "MODELOPS_PLATFORM" not in os.environ:
        raise SystemExit('no cluster is up: make up, then eval "$(python3 -m devkit env)"')
    namespace = f"bench-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images, found = built(folder, platform_facts(), namespace)
        stack, program = Stack(folder / "chat", namespace=namespace), service(namespace, found["image"], found["base"])
        try:
            cold = up(stack, program)
            stack.destroy()
            warm = up(stack, program)
            print(f"from `pulumi up` to the first token: {cold:.1f} s the first time, {warm:.1f} s again", flush=True)
            address = started(bare(namespace, found["image"], found["base"]))
            urls = {"service": stack.outputs()["url"], "bare": f"http://{address}:8080"}
            rounds = []
            for place in range(options.rounds):
                order = list(urls)[:: 1 if place % 2 else -1]
                tokenizer = folder / "models" / "base"
                rounds.append({n: measured(urls[n], tokenizer, options.prompts, options.callers) for n in order})
                print(f"round {place + 1}: {rounds[-1]}", flush=True)
            report(rounds)
        finally:
            stack.destroy(succeed=None)
            images.destroy(succeed=None)
            kubectl("delete", "namespace", namespace, "--wait=false", check=False)


if __name__ == "__main__":
    main()
