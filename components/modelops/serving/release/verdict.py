"""What a canary's analysis decides for the tracks. Pure: the same record always gives the same plan.

The analyst in the cluster keeps one record: which version it compared with which, and its verdict. A record counts only
for the versions that it names, so an old verdict never affects a new canary.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RECORD = "analysis.json"
"""The key of the record in its ConfigMap."""
PROMOTE, HOLD, ROLL_BACK = "promote", "hold", "roll back"


@dataclass(frozen=True)
class Version:
    """What a track serves: a model, and the image that serves it; None is the service's own image."""

    model_uri: str
    image: str | None = None


@dataclass(frozen=True)
class Plan:
    """What the tracks should be."""

    stable: Version
    canary: Version
    takes_traffic: bool
    """Whether the canary gets requests. Only then does it have pods."""
    weight_percent: int
    """The canary's share of the requests."""
    verdict: str
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def status(self) -> dict[str, Any]:
        """The component's output."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "stable_model_uri": self.stable.model_uri,
            "canary_model_uri": self.canary.model_uri,
            "canary_takes_traffic": self.takes_traffic,
            "weight_percent": self.weight_percent,
            "figures": dict(self.figures),
        }


def reached(weights: Sequence[int], recorded: Any) -> int:
    """The share of a canary whose analyst recorded one: with steps that have changed since, the nearest below."""
    done = [weight for weight in weights if isinstance(recorded, int) and weight <= recorded]
    return max(done, default=weights[0])


def plan(declared: Version, canary: Version, data: Mapping[str, str] | None, weights: Sequence[int]) -> Plan:
    """The tracks, from the versions in the arguments and the data of the analyst's ConfigMap. `weights` are the shares
    that the canary is to have one after the other.

    A promoted version stays promoted while the arguments name the stable version that it replaced, so the next canary
    is compared with it and runs beside it.
    """
    record = _record(data)
    counts, judged = _version(record.get("declared")) == declared, _version(record.get("canary"))
    verdict, stable = HOLD, declared
    if counts:
        verdict = record["verdict"]
        stable = (judged if verdict == PROMOTE else None) or _version(record.get("stable")) or declared
    figures = record["figures"] if isinstance(record.get("figures"), Mapping) else {}
    if stable == canary:
        reason = record.get("reason") if judged == canary else None
        return Plan(stable, canary, False, 0, PROMOTE, str(reason or "both are the same"), figures)
    if not counts or judged != canary:
        return Plan(stable, canary, True, weights[0], HOLD, "no figures yet")
    weight = 0 if verdict == ROLL_BACK else reached(weights, record.get("weight_percent"))
    return Plan(stable, canary, verdict != ROLL_BACK, weight, verdict, str(record.get("reason", "")), figures)


def _record(data: Mapping[str, str] | None) -> dict[str, Any]:
    """The analyst's record. Empty if there is none, or an unreadable one: then nothing is decided."""
    try:
        record = json.loads((data or {}).get(RECORD) or "null")
    except ValueError:
        return {}
    valid = isinstance(record, dict) and record.get("verdict") in (PROMOTE, HOLD, ROLL_BACK)
    return record if valid else {}


def _version(entry: Any) -> Version | None:
    if not isinstance(entry, Mapping) or not entry.get("model_uri"):
        return None
    return Version(str(entry["model_uri"]), str(entry.get("image") or "") or None)
