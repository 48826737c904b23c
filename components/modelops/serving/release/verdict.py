"""What a canary's analysis means for the tracks. Pure: the same record always gives the same plan.

The analyst in the cluster keeps one record: which version it judged, against which, and how. A record counts only for
the versions that it names, so an old verdict never touches a new canary.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RECORD = "analysis.json"
"""The key of the record in its ConfigMap."""
PROMOTE, HOLD, ROLL_BACK = "promote", "hold", "roll back"
_WAITING = "no figures yet"


@dataclass(frozen=True)
class Version:
    """What a track serves: a model, and the image that serves it; None is the service's own image."""

    model_uri: str
    image: str | None = None

    def as_record(self) -> dict[str, str]:
        """As the analyst keeps it."""
        return {"model_uri": self.model_uri, "image": self.image or ""}


@dataclass(frozen=True)
class Plan:
    """What the tracks are to be."""

    stable: Version
    canary: Version
    takes_traffic: bool
    """Whether the canary gets requests. It has pods only then."""
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
            "figures": dict(self.figures),
        }


def plan(declared: Version, canary: Version, data: Mapping[str, str] | None) -> Plan:
    """The tracks for the versions that the arguments name and what the analyst left in its ConfigMap.

    A promoted version stays promoted for as long as the arguments name the stable version that it replaced; so a next
    canary is compared with it, and goes on beside it.
    """
    record = _record(data)
    counts = record is not None and _version(record.get("declared")) == declared
    judged = _version(record.get("canary")) if record is not None else None
    verdict = str(record["verdict"]) if record is not None and counts else HOLD
    stable = declared
    if record is not None and counts:
        stable = judged if verdict == PROMOTE and judged is not None else _version(record.get("stable")) or declared
    if stable == canary:
        return Plan(
            stable, canary, False, PROMOTE, _reason(record, judged, canary, "both are the same"), _figures(record)
        )
    if record is None or not counts or judged != canary:
        return Plan(stable, canary, True, HOLD, _WAITING)
    return Plan(stable, canary, verdict != ROLL_BACK, verdict, str(record.get("reason", "")), _figures(record))


def _record(data: Mapping[str, str] | None) -> dict[str, Any] | None:
    """None where there is no record, or none that can be read: then nothing is decided."""
    try:
        found = json.loads((data or {}).get(RECORD) or "null")
    except ValueError:
        return None
    known = isinstance(found, dict) and found.get("verdict") in (PROMOTE, HOLD, ROLL_BACK)
    return found if known else None


def _version(entry: Any) -> Version | None:
    if not isinstance(entry, Mapping) or not entry.get("model_uri"):
        return None
    return Version(str(entry["model_uri"]), str(entry.get("image") or "") or None)


def _figures(record: Mapping[str, Any] | None) -> Mapping[str, Any]:
    found = (record or {}).get("figures")
    return found if isinstance(found, Mapping) else {}


def _reason(record: Mapping[str, Any] | None, judged: Version | None, canary: Version, otherwise: str) -> str:
    return str((record or {}).get("reason", otherwise)) if judged == canary else otherwise
