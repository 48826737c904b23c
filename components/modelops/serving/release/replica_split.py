"""The share of the requests that replica counts give a canary: each connection is equally likely to reach any pod."""

from dataclasses import dataclass

MAX_PERCENT = 50
"""Above it, the canary would need more pods than the stable track has."""
_MAX_REPLICAS = 1000


@dataclass(frozen=True)
class Count:
    """How many pods a track has: a fixed number, or the range of its autoscaler."""

    low: int
    high: int

    @classmethod
    def fixed(cls, replicas: int) -> "Count":
        """Always this many."""
        return cls(replicas, replicas)


def share(stable: int, canary: int) -> float:
    """The canary's share of the requests, in percent."""
    return 100 * canary / (stable + canary)


def canary_replicas(stable: int, percent: float) -> int:
    """How many canary pods beside `stable` ones come closest to a share of `percent`; at least one."""
    exact = percent * stable / (100 - percent)
    candidates = {max(1, int(exact)), int(exact) + 1}
    return min(sorted(candidates), key=lambda canary: abs(share(stable, canary) - percent))


def canary_count(stable: Count, percent: float) -> Count:
    """The canary's pods for the counts that the stable track may have."""
    percent = min(percent, 99)  # More is refused.
    return Count(canary_replicas(stable.low, percent), canary_replicas(stable.high, percent))


def shares(stable: Count, canary: Count) -> tuple[float, float]:
    """The lowest and the highest share that the counts allow; autoscalers act independently."""
    return share(stable.high, canary.low), share(stable.low, canary.high)


def keeps(stable: Count, canary: Count, percent: float, tolerance: float) -> bool:
    """Whether all counts keep the share within `tolerance` percentage points of `percent`."""
    lowest, highest = shares(stable, canary)
    return percent - tolerance <= lowest and highest <= percent + tolerance


def replicas_for(percent: float, tolerance: float) -> int | None:
    """The smallest stable track beside which a canary can have that share."""
    for replicas in range(1, _MAX_REPLICAS + 1):
        stable = Count.fixed(replicas)
        if keeps(stable, canary_count(stable, percent), percent, tolerance):
            return replicas
    return None


def broken_rule(stable: Count, canary: Count, percent: float, tolerance: float) -> str | None:
    """The rule that `percent` breaks, with what is possible instead; None if the counts keep the share."""
    if percent > MAX_PERCENT:
        return f"must be at most {MAX_PERCENT} where replica counts split the requests"
    if keeps(stable, canary, percent, tolerance):
        return None
    lowest, highest = shares(stable, canary)
    rule = f"must be a share that replica counts keep to within {tolerance:g} points"
    if stable.low == stable.high and canary.low == canary.high:
        pods = f"{_pods(canary.low, 'canary')} beside {_pods(stable.low, 'stable')}"
        problem = f"the nearest possible is {lowest:.3g} %, {pods}"
    else:
        problem = f"but autoscaling may make it anything from {lowest:.3g} to {highest:.3g} %"
    needed = replicas_for(percent, tolerance)
    remedies = [f"`replicas` of {needed}"] if needed is not None else []
    remedies += ["a larger tolerance_points", "weights in an Ingress or HTTPRoute"]
    return f"{rule}: {problem}. It takes {', '.join(remedies[:-1])} or {remedies[-1]}"


def _pods(count: int, track: str) -> str:
    return f"{count} {track} pod{'s' * (count != 1)}"
