"""The extra arguments of `vllm serve`, checked in the plan: a pod would find out after minutes.

`make generate-vllm` renews the list of flags from the version that the library pins.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache

from modelops.core import hints
from modelops.core.assets import asset
from modelops.core.validation import Problems

OWN: Mapping[str, str] = {
    "--config": "it is the library's own, with the models and their names",
    "--model": "model_uri says it",
    "--served-model-name": "model_name says it",
    "--host": "it is the library's own",
    "--port": "it is the library's own",
    "--lora-modules": "vllm.adapters says them",
    "--enable-lora": "it is on if there is an adapter",
    "--api-key": "it would be in the pod's specification: use vllm.api_keys_secret",
    "--shutdown-timeout": "drain_seconds says how long a pod may still answer",
    "--enable-log-requests": "prompts and answers would be in the log, with any personal data in them",
    "--enable-log-outputs": "prompts and answers would be in the log, with any personal data in them",
}
"""Flags that are refused, and why."""


@cache
def known() -> tuple[str, frozenset[str]]:
    """The version of vLLM, and the flags that it has."""
    content = json.loads(asset("serving/assets/vllm-flags.json"))
    return content["version"], frozenset(content["flags"])


def check(problems: Problems, field: str, arguments: object) -> None:
    """Each flag is one that vLLM knows, and none that the library sets."""
    version, flags = known()
    for place, word in enumerate(arguments if isinstance(arguments, Sequence) else ()):
        if not isinstance(word, str) or not (flag := _flag(word)):
            continue
        if flag in OWN:
            problems.add(f"{field}[{place}]", word, f"must not be given: {OWN[flag]}")
        elif flag not in flags:
            near = hints.nearest(flag, [each for each in flags if each.startswith("--")])
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            problems.add(f"{field}[{place}]", word, f"which vLLM {version} doesn't know{hint}")


def _flag(word: str) -> str:
    """The flag in a word as vLLM reads it: `--a_b.c=1` is `--a-b`. Empty for a value, and for `-O3`."""
    if not re.match(r"--?[A-Za-z]", word) or re.fullmatch(r"-O\d?", word):
        return ""
    name = re.split(r"[=.]", word, maxsplit=1)[0]
    return name.replace("_", "-") if name.startswith("--") else name
