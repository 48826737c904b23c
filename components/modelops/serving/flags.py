"""The extra arguments of `vllm serve`, checked in the plan: a pod would find out after minutes.

`make generate-vllm` renews the list of flags from the version that the library pins.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pulumi

from modelops.core import hints
from modelops.core.assets import asset
from modelops.core.errors import logged
from modelops.core.validation import Problems
from modelops.serving.args import ModelServiceArgs

_LOGGED = "prompts and answers would be in the log, with any personal data in them: vllm.log_texts masks it"
_HTTP = "probes, drains and the Service speak plain HTTP: TLS is the route's"
_NODES = "vllm.nodes says it"
OWN: Mapping[str, str] = {
    "--config": "it is the library's own, with the models and their names",
    "--model": "model_uri says it",
    "--served-model-name": "model_name says it",
    "--host": "it is the library's own",
    "--port": "it is the library's own",
    "--uds": "it is the library's own",
    "--grpc": _HTTP,
    "--ssl-keyfile": _HTTP,
    "--ssl-certfile": _HTTP,
    "--lora-modules": "vllm.adapters says them",
    "--enable-lora": "it is on if there is an adapter",
    "--no-enable-lora": "it is on if there is an adapter",
    **dict.fromkeys(("--nnodes", "-n", "--node-rank", "-r", "--master-addr", "--headless"), _NODES),
    "--api-key": "it would be in the pod's specification: use vllm.api_keys_secret",
    "--hf-token": "it would be in the pod's specification: use vllm.token_secret",
    "--shutdown-timeout": "drain_seconds says how long a pod may still answer",
    "--disable-log-stats": "a drain counts the requests by the engine's metrics",
    "--enable-log-requests": _LOGGED,
    "--enable-log-outputs": _LOGGED,
    "--help": "the engine would not start",
    "-h": "the engine would not start",
}
"""Flags that are refused, and why."""


@cache
def known() -> tuple[str, frozenset[str]]:
    """The version of vLLM, and the flags that it has."""
    content = json.loads(asset("serving/assets/vllm-flags.json"))
    return content["version"], frozenset(content["flags"])


def check(problems: Problems, field: str, arguments: object) -> None:
    """Each flag is one that vLLM knows, and none that the library sets. Values aren't shown: one may be a secret."""
    version, flags = known()
    words = arguments if isinstance(arguments, Sequence) else ()
    for place, word in enumerate(words):
        if not isinstance(word, str):
            continue
        at, flag = f"{field}[{place}]", _flag(word)
        shown = re.split(r"[=\s]", word, maxsplit=1)[0]
        if not flag:
            if word == "--" or (_begins(word) and not _takes_value(words[place - 1] if place else "--", flags)):
                problems.add(at, word, "must follow a flag that takes a value: vLLM would take it for the model")
        elif flag in OWN:
            problems.add(at, shown, f"must not be given: {OWN[flag]}")
        elif flag.split()[0] in flags and flag not in flags:
            problems.add(at, shown, "must be without its value, which is an argument of its own")
        elif flag not in flags:
            near = hints.nearest(flag, [each for each in flags if each.startswith("--")])
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            problems.add(at, shown, f"which vLLM {version} doesn't know{hint}")


def judged(service: pulumi.Resource, name: str, args: ModelServiceArgs) -> ModelServiceArgs:
    """The arguments with flags that are judged as soon as their values are known, as those in an output are."""
    engine = args.get("vllm", {})
    if "arguments" not in engine:
        return args

    def judge(words: Sequence[str]) -> Sequence[str]:
        with logged(service):
            problems = Problems("ModelService", name)
            check(problems, "vllm.arguments", words)
            problems.raise_if_any()
        return words

    later: pulumi.Output[Any] = pulumi.Output.from_input(engine["arguments"])
    return {**args, "vllm": {**engine, "arguments": later.apply(judge)}}


def _begins(word: str) -> bool:
    """Whether a word without a flag stands for itself, as `-1` and `-O3` don't."""
    return not re.match(r"-[\dO]", word)


def _takes_value(before: object, flags: frozenset[str]) -> bool:
    """Whether a value may follow this word: not after `--a=1`, nor after a flag that is on or off."""
    if not isinstance(before, str) or not (flag := _flag(before)):
        return before != "--"
    twin = f"--{flag[5:]}" if flag.startswith("--no-") else f"--no-{flag[2:]}"
    return "=" not in before and twin not in flags


def _flag(word: str) -> str:
    """The flag in a word as vLLM reads it: `--a_b.c=1` is `--a-b`. Empty for a value, and for `-O3`."""
    if not re.match(r"--?[A-Za-z]", word) or re.fullmatch(r"-O\d?", word):
        return ""
    name = re.split(r"[=.]", word, maxsplit=1)[0]
    return name.replace("_", "-") if name.startswith("--") else name
