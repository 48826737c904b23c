"""Arguments of ModelService's canary, blue/green and shadow releases."""

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

import pulumi

DEFAULT_TOLERANCE_POINTS = 3.0
DEFAULT_MAX_EXTRA_ERROR_PERCENT = 1.0
DEFAULT_MAX_P99_RATIO = 1.5
DEFAULT_MAX_PREDICTION_DRIFT = 0.25
DEFAULT_MAX_FIRST_TOKEN_RATIO = 1.5
DEFAULT_MAX_TOKEN_INTERVAL_RATIO = 1.5
DEFAULT_MAX_ANSWER_LENGTH_RATIO = 1.5
DEFAULT_MAX_RESTARTS = 0
DEFAULT_MIN_REQUESTS = 500
DEFAULT_MIN_SECONDS = 600
DEFAULT_INTERVAL_SECONDS = 15
DEFAULT_MIRROR_PERCENT = 100
DEFAULT_SHADOW_REPLICAS = 1


class Split(Enum):
    """What gives a canary its share of the requests."""

    REPLICAS = "Replicas"
    """The number of pods: a new connection is equally likely to go to any pod of either track. Works everywhere."""
    GATEWAY = "Gateway"
    """The weights of the HTTPRoute that `route` creates."""
    NGINX_INGRESS = "NginxIngress"
    """A second Ingress with ingress-nginx's canary annotations, beside the one that `route` creates."""


class Colour(Enum):
    """One of two tracks that take turns."""

    BLUE = "blue"
    """The blue track."""
    GREEN = "green"
    """The green track."""


class Mirroring(Enum):
    """What copies requests to a shadow."""

    SERVER = "Server"
    """The model server, after it has answered, configured by `MODELOPS_MIRROR_URL` and `MODELOPS_MIRROR_PERCENT`. Works
    on every cluster."""
    GATEWAY = "Gateway"
    """The Gateway, by a RequestMirror filter in the HTTPRoute that `route` creates."""


if TYPE_CHECKING:
    AnySplit = Split | Literal["Replicas", "Gateway", "NginxIngress"]
    AnyColour = Colour | Literal["blue", "green"]
    AnyMirroring = Mirroring | Literal["Server", "Gateway"]
else:  # Pulumi's schema has the enum alone.
    AnySplit = Split
    AnyColour = Colour
    AnyMirroring = Mirroring


class CanaryAnalysis(TypedDict):
    """How much worse than the stable track the canary may be, by Prometheus metrics since the canary started."""

    prometheus_url: pulumi.Input[str]
    """Address of Prometheus, reachable from pods. It must scrape the pods with this library's labels, as
    MonitoringStack's does, and the servers must have the metrics `modelops_requests_total`,
    `modelops_request_duration_seconds` and `process_start_time_seconds`, or be vLLM."""
    prometheus_ca_certificate: NotRequired[pulumi.Input[str]]
    """Certificate (PEM) of the CA that signed Prometheus' certificate, such as MonitoringStack's `web_ca_certificate`.
    Default: the CAs that the image trusts."""
    max_extra_error_percent: NotRequired[pulumi.Input[float]]
    """How far the canary's rate of server errors (5xx) may exceed the stable track's, in percentage points. Default 1;
    0 to 100."""
    max_p99_ratio: NotRequired[pulumi.Input[float]]
    """Maximum ratio of the canary's 99th percentile latency to the stable track's; a difference of up to 5 ms never
    counts. Default 1.5; 1 to 100. Not with the `vllm` runtime."""
    max_prediction_drift: NotRequired[pulumi.Input[float]]
    """How far the distribution of predicted values may differ from the stable track's, as population stability index:
    below 0.1 nothing changed, above 0.25 a lot did. By the servers' `modelops_prediction_value`; 0 turns the comparison
    off. Default 0.25, or 0 with `metric_names` of others; 0 to 100. Not with the `vllm` runtime."""
    max_first_token_ratio: NotRequired[pulumi.Input[float]]
    """Maximum ratio of the canary's 99th percentile time to the first token to the stable track's. Default 1.5; 1 to
    100. This and the next two are for the `vllm` runtime."""
    max_token_interval_ratio: NotRequired[pulumi.Input[float]]
    """Maximum ratio of the canary's 99th percentile time between two tokens to the stable track's. Default 1.5; 1 to
    100."""
    max_answer_length_ratio: NotRequired[pulumi.Input[float]]
    """How many times as long as the stable track's, or as short, the canary's answers may be, by their mean number of
    tokens. Default 1.5; 1 to 100."""
    max_restarts: NotRequired[pulumi.Input[int]]
    """How often the canary's servers may restart. Default 0; 0 to 1000."""
    min_requests: NotRequired[pulumi.Input[int]]
    """Requests that each track must have served before there is a verdict. Default 500; 1 to 10,000,000."""
    min_seconds: NotRequired[pulumi.Input[int]]
    """How long a canary must stay within all bounds before it is promoted, in seconds. One that exceeds them is rolled
    back without that wait. Default 600; 0 to 2,592,000. Not with `steps`, which have pauses."""
    interval_seconds: NotRequired[pulumi.Input[int]]
    """Interval between queries to Prometheus, in seconds. Default 15; 1 to 3600, at most 20 with `steps`."""
    image: NotRequired[pulumi.Input[str]]
    """Image with `python3` (3.10 or later) to run the analysis. Default: the service's `runtime_image`."""


class CanaryStep(TypedDict):
    """A share of the requests that a canary has for a while."""

    weight_percent: int
    """Its share of the requests, in percent, more than in the step before. 1 to 100; at most 50 with the split
    `Replicas`."""
    pause_seconds: NotRequired[pulumi.Input[int]]
    """How long it keeps this share at least, in seconds: it goes on once it has then also served `min_requests` within
    all bounds. Default: until the program gives the step a pause, for which 0 will do; 0 to 2,592,000."""


class Canary(TypedDict):
    """A second track that gets a share of the requests."""

    model_uri: pulumi.Input[str]
    """The model version to try, in any form of the service's `model_uri`."""
    weight_percent: NotRequired[int]
    """Its share of the requests, in percent. 1 to 99; at most 50 with the split `Replicas`. Required, unless
    there are `steps`."""
    steps: NotRequired[Sequence[CanaryStep]]
    """The shares that it has one after the other, in place of `weight_percent`. The analyst takes each step between
    updates, and takes all requests from a canary that breaks a bound, within a minute. Needs `analysis`. Default: one
    share, until the next `pulumi up`."""
    split: NotRequired[AnySplit]
    """What splits the requests: `Replicas`, `Gateway` or `NginxIngress`. The latter two split what comes through
    `route`; the Service itself leads to the stable track. Default `Replicas`."""
    image: NotRequired[pulumi.Input[str]]
    """Serving image of the canary. Default: the service's own."""
    tolerance_points: NotRequired[float]
    """How far the share may be off with the split `Replicas`, in percentage points. A weight that replica counts can't
    match is an error. Default 3; 0.1 to 50."""
    analysis: NotRequired[CanaryAnalysis]
    """Bounds by which the next `pulumi up` promotes the canary, holds it or rolls it back. Default: no analysis."""


class BlueGreen(TypedDict):
    """Two full tracks, one of which is live. A release goes to the other one, and then all requests switch at once."""

    live: AnyColour
    """The track that serves `model_uri` and gets all requests: `blue` or `green`. A release names the other one."""
    standby_model_uri: NotRequired[pulumi.Input[str]]
    """What the other track serves, ready for an instant switch back, typically the previous version. Default: no other
    track."""


class Shadow(TypedDict):
    """A track that gets copies of the requests, and whose answers are discarded."""

    model_uri: pulumi.Input[str]
    """The model version to watch, in any form of the service's `model_uri`."""
    image: NotRequired[pulumi.Input[str]]
    """Serving image of the shadow. Default: the service's own."""
    percent: NotRequired[pulumi.Input[int]]
    """Share of the requests to copy, in percent. Default 100; 1 to 100."""
    replicas: NotRequired[pulumi.Input[int]]
    """Number of the shadow's pods. Default 1; 1 to 1000."""
    mirroring: NotRequired[AnyMirroring]
    """What copies the requests: `Server` or `Gateway`. Default `Server`."""
