"""How long a release may take: what Kubernetes is told, and for how long Pulumi waits."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from modelops.core.outputs import plain_or, whole
from modelops.kubernetes.pods import PROGRESS_SECONDS
from modelops.serving.args import (
    DEFAULT_REPLICAS,
    MAX_PROGRESS_SECONDS,
    MAX_REPLICAS,
    ModelServiceArgs,
    drain_seconds,
    endpoint_seconds,
    is_vllm,
    longest_drain,
    longest_endpoint,
    longest_startup,
    startup_seconds,
)
from modelops.serving.pod import grace_seconds


def progress_seconds(args: ModelServiceArgs) -> pulumi.Output[int]:
    """How long a rollout may go without progress."""
    if "progress_seconds" in args.get("rollout", {}):
        return whole(args["rollout"]["progress_seconds"])
    own = pulumi.Output.all(startup_seconds(args), grace_seconds(args)).apply(sum)
    return own.apply(lambda seconds: max(PROGRESS_SECONDS, int(seconds)))


def longest_progress(args: ModelServiceArgs) -> int:
    """The same, or as long as it ever may be if outputs decide it."""
    if "progress_seconds" in args.get("rollout", {}):
        return plain_or(args["rollout"]["progress_seconds"], MAX_PROGRESS_SECONDS)
    return max(PROGRESS_SECONDS, longest_startup(args) + longest_endpoint(args) + longest_drain(args) + 10)


def rollout_seconds(args: ModelServiceArgs) -> pulumi.Output[int]:
    """How long a rollout may take: one slow pod may use the whole deadline, the others go at the usual pace."""
    waits = (progress_seconds, startup_seconds, endpoint_seconds, drain_seconds)
    known = pulumi.Output.all(*(wait(args) for wait in waits), _most_replicas(args))
    return known.apply(lambda values: _seconds(args, values))


def longest_rollout(args: ModelServiceArgs) -> int:
    """The same, or as long as it ever may take if outputs decide it: for how long Pulumi waits."""
    waits = (longest_progress, longest_startup, longest_endpoint, longest_drain)
    return _seconds(args, [*(wait(args) for wait in waits), plain_or(_most_replicas(args), MAX_REPLICAS)])


def _seconds(args: ModelServiceArgs, values: Sequence[int]) -> int:
    progress, startup, endpoint, drain, replicas = map(int, values)
    return progress + 30 + replicas * (startup if is_vllm(args) else 25 + endpoint + drain)


def _most_replicas(args: ModelServiceArgs) -> pulumi.Input[int]:
    return args["autoscaling"]["max_replicas"] if "autoscaling" in args else args.get("replicas", DEFAULT_REPLICAS)
