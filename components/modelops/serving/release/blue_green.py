"""Blue/green: two full tracks. The Service leads to one of them and switches to the other at once.

There is no state between updates: the arguments say which track is live and what each serves.
"""

from dataclasses import replace

from modelops.core.validation import Problems
from modelops.serving.args import ModelServiceArgs
from modelops.serving.pinning import check_source
from modelops.serving.release.args import Colour
from modelops.serving.track import Track


def live_track(base: Track) -> Track:
    """The track with `model_uri`. The Service selects its pods by their track, so they don't have the label LIVE."""
    return replace(base, role=Colour(base.args["blue_green"]["live"]).value, live=False)


def standby_track(base: Track) -> Track | None:
    """The other track, if there is to be one."""
    blue_green = base.args["blue_green"]
    if "standby_model_uri" not in blue_green:
        return None
    other = Colour.GREEN if blue_green["live"] is Colour.BLUE else Colour.BLUE
    args: ModelServiceArgs = {**base.args, "model_uri": blue_green["standby_model_uri"]}
    return replace(base, args=args, role=other.value, live=False)


def check(problems: Problems, args: ModelServiceArgs) -> None:
    """Rules of `blue_green`."""
    check_source(problems, "blue_green.standby_model_uri", args["blue_green"].get("standby_model_uri"), args)
    if "canary" in args:
        problems.add("canary", "given", "must not be given with blue_green, which sends all requests to one track")
