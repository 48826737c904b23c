"""Arguments of the ways in which a ModelService brings out a new version beside the old one."""

from enum import Enum
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

import pulumi

DEFAULT_TOLERANCE_POINTS = 3.0
DEFAULT_MAX_EXTRA_ERROR_PERCENT = 1.0
DEFAULT_MAX_P99_RATIO = 1.5
DEFAULT_MAX_PREDICTION_DRIFT = 0.25
DEFAULT_MAX_RESTARTS = 0
DEFAULT_MIN_REQUESTS = 500
DEFAULT_MIN_SECONDS = 600
DEFAULT_INTERVAL_SECONDS = 15
DEFAULT_MIRROR_PERCENT = 100
DEFAULT_SHADOW_REPLICAS = 1


class Split(Enum):
    """What gives a canary its share of the requests."""

    REPLICAS = "Replicas"
    """The number of pods: a new connection goes to any pod of both tracks with the same chance. Works everywhere."""
    GATEWAY = "Gateway"
    """The weights of the HTTPRoute that `route` makes."""
    NGINX_INGRESS = "NginxIngress"
    """A second Ingress with the canary annotations of ingress-nginx, beside the one that `route` makes."""


class Colour(Enum):
    """One of two tracks that take turns."""

    BLUE = "blue"
    """The one."""
    GREEN = "green"
    """The other."""


class Mirroring(Enum):
    """What copies requests to a shadow."""

    SERVER = "Server"
    """The model server, after it answered: `MODELOPS_MIRROR_URL` and `MODELOPS_MIRROR_PERCENT` tell it. Works on every
    cluster."""
    GATEWAY = "Gateway"
    """The Gateway, by a RequestMirror filter in the HTTPRoute that `route` makes."""


if TYPE_CHECKING:
    AnySplit = Split | Literal["Replicas", "Gateway", "NginxIngress"]
    AnyColour = Colour | Literal["blue", "green"]
    AnyMirroring = Mirroring | Literal["Server", "Gateway"]
else:  # Pulumi's schema has the enum alone.
    AnySplit = Split
    AnyColour = Colour
    AnyMirroring = Mirroring


class CanaryAnalysis(TypedDict):
    """What the canary must not do worse than the stable track, by the figures of Prometheus since the canary came."""

    prometheus_url: pulumi.Input[str]
    """Address of Prometheus as pods see it. It must have scraped the pods with this library's labels: MonitoringStack's
    does."""
    prometheus_ca_certificate: NotRequired[pulumi.Input[str]]
    """Certificate (PEM) of the CA that signed Prometheus' certificate: MonitoringStack's `web_ca_certificate`. Default:
    the CAs that the image trusts."""
    max_extra_error_percent: NotRequired[float]
    """How many percentage points the canary's rate of server errors (5xx) may be above the stable track's. Default 1;
    0 to 100."""
    max_p99_ratio: NotRequired[float]
    """How many times the stable track's 99th percentile of latency the canary's may be; 5 ms more never count.
    Default 1.5; 1 to 100."""
    max_prediction_drift: NotRequired[float]
    """How far the predicted values may be spread otherwise than the stable track's: population stability index, below
    0.1 nothing changed, above 0.25 a lot did. 0: they are not compared. Default 0.25; 0 to 100."""
    max_restarts: NotRequired[int]
    """How often the canary's servers may be restarted. Default 0; 0 to 1000."""
    min_requests: NotRequired[int]
    """How many requests each track must have had before there is a verdict. Default 500; 1 to 10,000,000."""
    min_seconds: NotRequired[int]
    """How long a canary must have kept all bounds before it is promoted, in seconds. One that breaks them is rolled
    back without that wait. Default 600; 0 to 2,592,000."""
    interval_seconds: NotRequired[int]
    """How often Prometheus is asked, in seconds. Default 15; 1 to 3600."""
    image: NotRequired[pulumi.Input[str]]
    """Image with `python3` (3.10 or later) that runs the analysis. Default: the service's own."""


class Canary(TypedDict):
    """A second track that gets a share of the requests."""

    model_uri: pulumi.Input[str]
    """The model version to try, `models:/<name>@<alias>`."""
    weight_percent: int
    """Its share of the requests, in percent. 1 to 99; at most 50 where replica counts make it."""
    split: NotRequired[AnySplit]
    """What makes the share: `Replicas`, `Gateway` or `NginxIngress`; the latter two split what comes through `route`,
    and whoever asks the Service itself gets the stable track. Default `Replicas`."""
    image: NotRequired[pulumi.Input[str]]
    """Serving image of the canary. Default: the service's own."""
    tolerance_points: NotRequired[float]
    """How far the share may be off where replica counts make it, in percentage points; a weight that they can't keep is
    an error. Default 3; 0.1 to 50."""
    analysis: NotRequired[CanaryAnalysis]
    """Bounds by which the next `pulumi up` promotes the canary, holds it or rolls it back. Default: it stays
    as it is."""


class BlueGreen(TypedDict):
    """Two full tracks, of which one answers. A release goes to the other one, and then all requests at once."""

    live: AnyColour
    """The track that serves `model_uri` and gets all requests: `blue` or `green`. A release names the other one."""
    standby_model_uri: NotRequired[pulumi.Input[str]]
    """What the other track serves, ready for an instant switch back: the version before, as a rule. Default: the other
    track isn't there."""


class Shadow(TypedDict):
    """A track that gets copies of the requests, and whose answers go to nobody."""

    model_uri: pulumi.Input[str]
    """The model version to watch, `models:/<name>@<alias>`."""
    image: NotRequired[pulumi.Input[str]]
    """Serving image of the shadow. Default: the service's own."""
    percent: NotRequired[int]
    """How many of the requests are copied, in percent. Default 100; 1 to 100."""
    replicas: NotRequired[int]
    """How many pods the shadow has. Default 1; 1 to 1000."""
    mirroring: NotRequired[AnyMirroring]
    """What copies the requests: `Server` or `Gateway`. Default `Server`."""
