"""Before vLLM is told to stop, `modelops-drain`: it fails every request from then on, so it must not get any.

It marks that the pod drains, waits for the nodes to stop sending connections, and then for the last answer.
"""

import os
import re
import time
import urllib.request
from pathlib import Path

from modelops_runtime.contract import Environment

DRAINING = Path(os.environ.get("MODELOPS_DRAINING_FILE", "/tmp/modelops-draining"))
"""Is there while the pod is to stop."""
POLL_SECONDS = 0.5
QUIET_POLLS = 2
"""A request that has just come may not be counted yet."""
_UNFINISHED = re.compile(r"^vllm:num_requests_(?:running|waiting)(?:{[^}]*})? ([0-9.e+]+)$", re.MULTILINE)


def drain(url: str, mark: Path, endpoint_seconds: float, drain_seconds: float) -> bool:
    """Whether every request was answered in time."""
    mark.touch()
    time.sleep(endpoint_seconds)
    deadline, quiet = time.monotonic() + drain_seconds, 0
    while quiet < QUIET_POLLS:
        if time.monotonic() >= deadline:
            return False
        quiet = 0 if unfinished(url) else quiet + 1
        time.sleep(POLL_SECONDS)
    return True


def unfinished(url: str) -> float:
    """How many requests the engine still has; none if it doesn't answer any more."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            return sum(map(float, _UNFINISHED.findall(answer.read().decode())))
    except OSError:
        return 0


def main() -> None:
    env = Environment()
    port = env.integer("MODELOPS_PORT", 8080, minimum=1, maximum=65535)
    endpoint = env.number("MODELOPS_ENDPOINT_SECONDS", 5, minimum=0, maximum=300)
    seconds = env.number("MODELOPS_DRAIN_SECONDS", 300, minimum=0, maximum=600)
    env.check()
    drain(f"http://127.0.0.1:{port}", DRAINING, endpoint, seconds)
