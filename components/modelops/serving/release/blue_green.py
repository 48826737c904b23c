"""Blue and green: two full tracks. The Service leads to one of them, and to the other one from one moment to the next.

Nothing has to be remembered between two updates: the arguments say which track is live and what each serves.
"""

from dataclasses import replace
from typing import Any, cast

from modelops.core.validation import Problems
from modelops.serving.args import ModelServiceArgs
from modelops.serving.release.args import Colour
from modelops.serving.track import Track


def live_track(base: Track) -> Track:
    """The track with `model_uri`. Its pods have no label that the Service looks for but the track's own."""
    return replace(base, role=Colour(base.args["blue_green"]["live"]).value, live=False)


def standby_track(base: Track) -> Track | None:
    """The other track, where it is to be there."""
    given = base.args["blue_green"]
    if "standby_model_uri" not in given:
        return None
    other = Colour.GREEN if given["live"] is Colour.BLUE else Colour.BLUE
    changed: dict[str, Any] = {"model_uri": given["standby_model_uri"]}
    return replace(base, args=cast(ModelServiceArgs, {**base.args, **changed}), role=other.value, live=False)


def check(problems: Problems, args: ModelServiceArgs) -> None:
    """Rules of `blue_green`."""
    problems.model_uri("blue_green.standby_model_uri", args["blue_green"].get("standby_model_uri"))
    if "canary" in args:
        problems.add("canary", "given", "must not be given with blue_green, which sends all requests to one track")
