"""Compares a canary with the stable track and records whether to promote it or roll it back.

Runs in the cluster, on Python's standard library alone. Every `interval_seconds` it queries Prometheus for both tracks'
figures since the canary started, and updates one record in a ConfigMap: the versions compared, the verdict (hold,
promote, roll back), the reason and the figures. A verdict other than hold is final for these versions. It changes
nothing else in the cluster: the next `pulumi up` reads the record and acts on it.
"""

import itertools
import json
import math
import os
import signal
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

JsonObject = dict[str, Any]
Buckets = list[tuple[float, float]]
"""(upper bound, cumulative count) of each bucket of a histogram, in ascending order."""

RECORD = "analysis.json"
PROMOTE, HOLD, ROLL_BACK = "promote", "hold", "roll back"
TIMES = (
    ("p99_seconds", "max_p99_ratio", "latency"),
    ("first_token_p99_seconds", "max_first_token_ratio", "time to the first token"),
    ("token_interval_p99_seconds", "max_token_interval_ratio", "time between tokens"),
)
"""Figure, bound and name of each time that is compared."""
SLACK_SECONDS = 0.005
"""Latency differences up to this are ignored: on a busy node they are noise."""
MIN_SHARE = 1e-4
"""An empty bin would make the population stability index infinite."""
TIMEOUT_SECONDS = 10
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
NOT_PREDICTIONS = "/healthz.*|/metrics|/v2/health/.*|/v2/models/.+/ready|.+/(Server|Model)(Live|Ready)|grpc.health.*"


def label(served: JsonObject) -> str:
    """The pods' version label. Older records don't have it, but then a registry's alias or number."""
    uri = str(served["model_uri"])
    return str(served.get("version") or uri.rpartition("@" if "@" in uri else "/")[2])


def same(served: JsonObject | None, other: JsonObject) -> bool:
    """Whether both are one model in one image."""
    return served is not None and all(served.get(key) == other[key] for key in ("model_uri", "image"))


def begin(settings: JsonObject, record: JsonObject | None, now: float) -> JsonObject:
    """The record to continue: the existing one if it is about these versions, otherwise a new one."""
    declared, canary = settings["declared"], settings["canary"]
    stable = declared
    if record and same(record.get("declared"), declared):
        stable = record["canary"] if record["verdict"] == PROMOTE else record["stable"]
        if same(record["canary"], canary):
            return record
    new = {"declared": declared, "stable": stable, "canary": canary, "started": now, "figures": {}}
    if same(stable, canary):
        return {**new, "verdict": PROMOTE, "reason": "both tracks are the same"}
    return {**new, "verdict": HOLD, "reason": "no figures yet"}


class Prometheus:
    """Instant queries about one service."""

    def __init__(self, url: str, namespace: str, service: str, ca_certificate: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.tls = ssl.create_default_context(cadata=ca_certificate) if ca_certificate else None
        self.labels = f'namespace="{namespace}", service="{service}"'

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of each series; NaN and infinity are dropped."""
        body = urllib.parse.urlencode({"query": expression}).encode()
        address = f"{self.url}/api/v1/query"
        with urllib.request.urlopen(address, body, timeout=TIMEOUT_SECONDS, context=self.tls) as response:
            result = json.load(response)["data"]["result"]
        samples = [(series["metric"], float(series["value"][1])) for series in result]
        return [(labels, value) for labels, value in samples if math.isfinite(value)]

    def number(self, expression: str) -> float | None:
        """The value of the only series, or None."""
        samples = self.query(expression)
        return samples[0][1] if samples else None

    def track(self, name: str, version: str, seconds: float) -> JsonObject:
        """Requests, error rate, 99th percentile and restarts of a track in the last `seconds`."""
        window = f"[{max(60, math.ceil(seconds))}s]"
        pods = f'{self.labels}, track="{name}", version="{version}"'
        calls = f'{pods}, path!~"{NOT_PREDICTIONS}"'
        requests = self.number(f"sum(increase(modelops_requests_total{{{calls}}}{window}))") or 0
        errors = self.number(f'sum(increase(modelops_requests_total{{{calls}, code=~"5.."}}{window}))') or 0
        buckets = f"sum by (le) (rate(modelops_request_duration_seconds_bucket{{{calls}}}{window}))"
        restarts = self.number(f"sum(changes(process_start_time_seconds{{{pods}}}{window}))") or 0
        return {
            "requests": round(requests),
            "error_percent": rounded(100 * errors / requests) if requests else None,
            "p99_seconds": rounded(self.number(f"histogram_quantile(0.99, {buckets})")),
            "restarts": round(restarts),
        }

    def engine(self, name: str, version: str, seconds: float) -> JsonObject:
        """The same of a track whose servers are vLLM, but of its tokens: 99th percentile times to the first and between
        two, and the mean length of an answer."""
        window = f"[{max(60, math.ceil(seconds))}s]"
        pods = f'{self.labels}, track="{name}", version="{version}"'
        calls = f'{pods}, method="POST", path!~"{NOT_PREDICTIONS}"'
        requests = self.number(f"sum(increase(modelops_requests_total{{{calls}}}{window}))") or 0
        refused = self.number(f'sum(increase(modelops_requests_total{{{calls}, code=~"5.."}}{window}))') or 0
        # A stream that breaks has its status already. One that isn't a stream is in both counts.
        broken = f'{{__name__="vllm:request_success_total", {pods}, finished_reason="error"}}'
        errors = max(refused, self.number(f"sum(increase({broken}{window}))") or 0)
        restarts = self.number(f"sum(changes(process_start_time_seconds{{{pods}}}{window}))") or 0
        lengths = [
            f'sum(increase({{__name__="vllm:request_generation_tokens_{part}", {pods}}}{window}))'
            for part in ("sum", "count")
        ]
        return {
            "requests": round(requests),
            "error_percent": rounded(100 * errors / requests) if requests else None,
            "first_token_p99_seconds": self._p99("vllm:time_to_first_token_seconds", pods, window),
            "token_interval_p99_seconds": self._p99("vllm:inter_token_latency_seconds", pods, window),
            "answer_tokens": rounded(self.number(f"{lengths[0]} / {lengths[1]}")),
            "restarts": round(restarts),
        }

    def _p99(self, histogram: str, pods: str, window: str) -> float | None:
        buckets = f'sum by (le) (rate({{__name__="{histogram}_bucket", {pods}}}{window}))'
        return rounded(self.number(f"histogram_quantile(0.99, {buckets})"))

    def predictions(self, name: str, version: str, seconds: float) -> dict[str, Buckets]:
        """Histogram of a track's predictions in the last `seconds`, by output."""
        window = f"[{max(60, math.ceil(seconds))}s]"
        pods = f'{self.labels}, track="{name}", version="{version}"'
        series = self.query(f"sum by (le, output) (increase(modelops_prediction_value_bucket{{{pods}}}{window}))")
        histograms: dict[str, Buckets] = {}
        for labels, value in series:
            histograms.setdefault(labels.get("output", ""), []).append((float(labels["le"]), value))
        return {output: sorted(buckets) for output, buckets in histograms.items()}


def cumulative_share(buckets: Buckets, at: float) -> float:
    """Share of the values up to `at`, interpolated linearly within each bucket.

    Values below the first bound or above the last finite one count as equal to that bound.
    """
    total = buckets[-1][1]
    finite = [(bound, count / total) for bound, count in buckets if math.isfinite(bound)]
    if not finite or at < finite[0][0]:
        return 0.0
    for (low, share_at_low), (high, share_at_high) in itertools.pairwise(finite):
        if at < high:
            return share_at_low + (share_at_high - share_at_low) * (at - low) / (high - low)
    return finite[-1][1] if at == finite[-1][0] else 1.0


def bin_shares(buckets: Buckets, edges: list[float]) -> list[float]:
    """Share of the values in each bin between `edges`, at least MIN_SHARE."""
    cumulative = [0.0, *(cumulative_share(buckets, edge) for edge in edges), 1.0]
    return [max(upper - lower, MIN_SHARE) for lower, upper in itertools.pairwise(cumulative)]


def stability_index(expected: Buckets | None, actual: Buckets | None) -> float | None:
    """Population stability index of `actual` against `expected`, in the bins of `expected`; None without values.

    A model with its own baseline has other bins; its values are then assumed to be spread evenly within each.
    """
    if not expected or not actual or not expected[-1][1] or not actual[-1][1]:
        return None
    edges = [bound for bound, _ in expected if math.isfinite(bound)]
    shares = zip(bin_shares(expected, edges), bin_shares(actual, edges), strict=True)
    return sum((actual_share - share) * math.log(actual_share / share) for share, actual_share in shares)


def drift(stable: dict[str, Buckets], canary: dict[str, Buckets]) -> float | None:
    """The stability index of the output that differs most between the tracks; None without values."""
    indices = [stability_index(stable.get(output), buckets) for output, buckets in canary.items()]
    known = [index for index in indices if index is not None]
    return rounded(max(known)) if known else None


def measure(prometheus: Prometheus, record: JsonObject, now: float, engine: str = "modelops") -> JsonObject:
    """The figures of both tracks since the record began."""
    seconds = now - record["started"]
    tracks = {name: label(record[name]) for name in ("stable", "canary")}
    if engine == "vllm":
        figures = {name: prometheus.engine(name, version, seconds) for name, version in tracks.items()}
        return {"seconds": round(seconds), **figures}
    figures = {name: prometheus.track(name, version, seconds) for name, version in tracks.items()}
    values = [prometheus.predictions(name, version, seconds) for name, version in tracks.items()]
    return {"seconds": round(seconds), **figures, "prediction_drift": drift(*values)}


def judge(bounds: dict[str, float], figures: JsonObject) -> tuple[str, str]:
    """(verdict, reason). With enough requests, a broken bound rolls back at once; promotion takes `min_seconds`."""
    stable, canary = figures["stable"], figures["canary"]
    for name, track in (("canary", canary), ("stable track", stable)):
        if track["requests"] < bounds["min_requests"]:
            return HOLD, f"the {name} has served {track['requests']} of {bounds['min_requests']} requests"
    broken, unknown = [], []
    extra = canary["error_percent"] - stable["error_percent"]
    if extra > bounds["max_extra_error_percent"]:
        broken.append(
            f"error rate {canary['error_percent']:g} % against {stable['error_percent']:g} %,"
            f" limit +{bounds['max_extra_error_percent']:g} points"
        )
    for key, bound, what in TIMES:
        if bound not in bounds:
            continue
        if canary[key] is None or stable[key] is None:
            unknown.append(what)
        elif canary[key] > bounds[bound] * stable[key] + SLACK_SECONDS:
            broken.append(
                f"p99 {what} {1000 * canary[key]:.4g} ms against {1000 * stable[key]:.4g} ms,"
                f" limit {bounds[bound]:g} times the stable track's"
            )
    if limit := bounds.get("max_answer_length_ratio"):
        lengths = canary["answer_tokens"], stable["answer_tokens"]
        if None in lengths:
            unknown.append("length of answers")
        elif max(lengths) > limit * min(lengths):
            broken.append(f"answers of {lengths[0]:g} tokens against {lengths[1]:g}, limit a factor of {limit:g}")
    if canary["restarts"] > bounds["max_restarts"]:
        broken.append(f"{canary['restarts']} restarts, limit {bounds['max_restarts']}")
    if bounds.get("max_prediction_drift"):
        if figures["prediction_drift"] is None:
            unknown.append("predicted values")
        elif figures["prediction_drift"] > bounds["max_prediction_drift"]:
            drift_index, limit = figures["prediction_drift"], bounds["max_prediction_drift"]
            broken.append(f"prediction drift {drift_index:g}, limit {limit:g}")
    if broken:
        return ROLL_BACK, "; ".join(broken)
    if unknown:
        return HOLD, f"no figures for {' and '.join(unknown)}"
    if figures["seconds"] < bounds["min_seconds"]:
        return HOLD, f"within all bounds for {figures['seconds']} of {bounds['min_seconds']} seconds"
    return PROMOTE, f"within all bounds over {canary['requests']} requests in {figures['seconds']} seconds"


def rounded(value: float | None) -> float | None:
    """Four significant digits suffice."""
    return None if value is None else float(f"{value:.4g}")


def step(settings: JsonObject, prometheus: Prometheus, record: JsonObject | None, now: float) -> JsonObject:
    """The record after one measurement."""
    record = begin(settings, record, now)
    if record["verdict"] != HOLD:
        return record
    try:
        figures = measure(prometheus, record, now, settings.get("engine", "modelops"))
    except (OSError, ValueError, KeyError) as error:
        return {**record, "reason": f"the query to Prometheus failed: {error}"}
    verdict, reason = judge(settings["bounds"], figures)
    return {**record, "verdict": verdict, "reason": reason, "figures": figures}


class ConfigMap:
    """The ConfigMap that holds the record."""

    def __init__(self, namespace: str, name: str) -> None:
        base = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
        self.url = f"{base}/api/v1/namespaces/{namespace}/configmaps/{name}"
        self.tls = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")

    def _call(self, url: str, **more: Any) -> Any:
        with open(f"{ACCOUNT}/token", encoding="ascii") as token:
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token.read().strip()}"}, **more)
        if request.data:
            request.add_header("Content-Type", "application/merge-patch+json")
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=self.tls) as response:
            return json.load(response)

    def read(self) -> JsonObject | None:
        """The record, or None if it is missing or unreadable."""
        text = (self._call(self.url).get("data") or {}).get(RECORD)
        try:
            record: JsonObject | None = json.loads(text) if text else None
        except ValueError:
            return None
        return record

    def write(self, record: JsonObject) -> None:
        """Patches the record's key under its own field manager: the rest of the object is Pulumi's."""
        data = json.dumps({"data": {RECORD: json.dumps(record, sort_keys=True)}}).encode()
        self._call(f"{self.url}?fieldManager=modelops-analyst", data=data, method="PATCH")


def main() -> None:
    """Measures and records until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = json.loads(os.environ["MODELOPS_ANALYSIS"])
    namespace, service = settings["namespace"], settings["service"]
    config_map = ConfigMap(namespace, settings["config_map"])
    prometheus = Prometheus(settings["prometheus_url"], namespace, service, settings.get("prometheus_ca_certificate"))
    while True:
        try:
            previous = config_map.read()
            record = step(settings, prometheus, previous, time.time())
            if record != previous:
                config_map.write(record)
                event = {"event": "analysis", **{key: record[key] for key in ("verdict", "reason", "figures")}}
                print(json.dumps(event), flush=True)
        except OSError as error:
            print(json.dumps({"event": "error", "reason": str(error)}), file=sys.stderr, flush=True)
        time.sleep(settings["interval_seconds"])


if __name__ == "__main__":
    main()
