"""Pods of a ModelService deleted one at a time under load: with two of them nobody notices, but for connections that
SIGKILL cuts.

`MODELOPS_CHAOS_MINUTES` (default 10), by the seed `MODELOPS_CHAOS_SEED`.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chaos.answering import answers_steadily, ready
from tests.cluster.serving.support import Serving
from tests.cluster.support import eventually, kubectl
from tests.load import Failure, LoadResult, load

pytestmark = pytest.mark.chaos
MINUTES = float(os.environ.get("MODELOPS_CHAOS_MINUTES", "10"))
SEED = int(os.environ.get("MODELOPS_CHAOS_SEED", "20"))
HOW = {"with grace": (), "killed": ("--grace-period=0", "--force")}
SETTLED_SECONDS = 2
"""How long after a new pod is ready what the deletion did to clients is over."""
CALLERS, KEPT = 8, 4


@dataclass
class Deletions:
    """How pods were deleted, and what clients saw of each way."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[str, list[Failure]] = field(default_factory=lambda: {how: [] for how in HOW})

    def cut(self, how: str) -> list[Failure]:
        """Connections that ended without a whole answer."""
        return [each for each in self.failures[how] if each.status is None]

    def refused(self, how: str) -> list[Failure]:
        """Answers that are no prediction."""
        return [each for each in self.failures[how] if each.status is not None]

    def __str__(self) -> str:
        ways = (f"{self.counts[how]} {how} ({len(self.refused(how))} failed, {len(self.cut(how))} cut)" for how in HOW)
        return ", ".join(ways)


def delete_pods(
    serving: Serving, name: str, replicas: int, seconds: float, rng: random.Random, result: LoadResult
) -> Deletions:
    """Deletes one pod after the other for so long, each as soon as a while after the last one has a successor."""
    done, end = Deletions(), time.monotonic() + seconds
    while time.monotonic() < end:
        how, before = rng.choice(sorted(HOW)), len(result.failed)
        victim = rng.choice(sorted(ready(serving, name)))
        kubectl("delete", "pod", victim, "--namespace", serving.namespace, "--wait=false", *HOW[how])
        eventually(lambda victim=victim: victim not in (there := ready(serving, name)) and len(there) == replicas, 180)
        time.sleep(SETTLED_SECONDS + rng.uniform(0, 3))
        done.counts[how] += 1
        done.failures[how] += result.failed[before:]
    return done


def test_of_two_pods_one_may_go_at_any_time(serving: Serving, figure: Callable[[str], None]) -> None:
    stack, rng = serving.new_stack(), random.Random(SEED)
    shape: dict[str, Any] = {"exposed": True, "drain_seconds": 5}
    stack.up(serving.program("pair", replicas=2, **shape))
    answers_steadily(stack.outputs()["predict_url"])
    with load(stack.outputs()["predict_url"], callers=CALLERS, kept=KEPT) as result:
        deletions = delete_pods(serving, "pair", 2, 60 * MINUTES, rng, result)
    stack.destroy()
    figure(f"pods deleted for {MINUTES:g} min, seed {SEED}: {deletions}; {result.answered} predictions")
    assert min(deletions.counts[how] for how in HOW) >= 1 and result.answered > 100
    assert deletions.failures["with grace"] == []
    assert deletions.refused("killed") == []
    # What a client had under way, and what it sent before nodes knew.
    assert len(deletions.cut("killed")) <= 2 * CALLERS * deletions.counts["killed"]
    assert result.outputs == {2.0}
    assert len(result.failed) == sum(map(len, deletions.failures.values())), "none between deletions"


def test_of_one_pod_without_grace_clients_notice(serving: Serving, figure: Callable[[str], None]) -> None:
    """The control: the same load on a service of one pod."""
    stack = serving.new_stack()
    stack.up(serving.program("single", replicas=1, exposed=True))
    with load(stack.outputs()["predict_url"], callers=CALLERS, kept=KEPT) as result:
        [only] = ready(serving, "single")
        kubectl("delete", "pod", only, "--namespace", serving.namespace, "--wait=false", *HOW["killed"])
        eventually(lambda: ready(serving, "single") not in ([], [only]), 180)
    stack.destroy()
    figure(f"control, one pod killed: {len(result.failed)} of {result.total} requests without a prediction")
    assert result.failed
