"""Watches a canary beside the stable track and writes down what is to become of it.

Runs in the cluster, on Python's standard library alone. Every `interval_seconds` it asks Prometheus how both tracks did
since the canary came, and keeps one record in a ConfigMap: the versions compared, the verdict (hold, promote, roll
back), the reason and the figures. A verdict other than hold is final for these versions. Nothing else in the cluster is
changed: the next `pulumi up` reads the record and acts on it.
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

Entry = dict[str, Any]
Buckets = list[tuple[float, float]]
"""(upper bound, cumulative count) of a histogram, rising."""

RECORD = "analysis.json"
PROMOTE, HOLD, ROLL_BACK = "promote", "hold", "roll back"
SLACK_SECONDS = 0.005
"""Differences in latency that small don't count: at a millisecond a busy node makes them."""
SMALLEST_SHARE = 1e-4
"""An empty bin would make the population stability index infinite."""
TIMEOUT_SECONDS = 10
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
NOT_PREDICTIONS = "/healthz.*|/v2/health.*|/metrics"


def version(uri: str) -> str:
    """What a model URI ends with: the pods' version label."""
    path = uri.removeprefix("models:/")
    return path.partition("@")[2] if "@" in path else path.rpartition("/")[2]


def begin(settings: Entry, record: Entry | None, now: float) -> Entry:
    """The record to go on with: the one there is, where it is about these versions, else a new one."""
    declared, canary = settings["declared"], settings["canary"]
    stable = declared
    if record and record.get("declared") == declared:
        stable = record["canary"] if record["verdict"] == PROMOTE else record["stable"]
        if record["canary"] == canary:
            return record
    entry = {"declared": declared, "stable": stable, "canary": canary, "started": now, "figures": {}}
    if stable == canary:
        return {**entry, "verdict": PROMOTE, "reason": "both tracks are the same"}
    return {**entry, "verdict": HOLD, "reason": "no figures yet"}


class Prometheus:
    """Instant queries about one service."""

    def __init__(self, url: str, namespace: str, service: str, authority: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.trust = ssl.create_default_context(cadata=authority) if authority else None
        self.labels = f'namespace="{namespace}", service="{service}"'

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of each series; NaN and infinity are left out."""
        body = urllib.parse.urlencode({"query": expression}).encode()
        address = f"{self.url}/api/v1/query"
        with urllib.request.urlopen(address, body, timeout=TIMEOUT_SECONDS, context=self.trust) as answer:
            result = json.load(answer)["data"]["result"]
        found = [(series["metric"], float(series["value"][1])) for series in result]
        return [(labels, value) for labels, value in found if math.isfinite(value)]

    def number(self, expression: str) -> float | None:
        """The value of the only series, or None."""
        found = self.query(expression)
        return found[0][1] if found else None

    def track(self, name: str, model_uri: str, seconds: float) -> Entry:
        """Requests, error rate, 99th percentile and restarts of a track in the last `seconds`."""
        window = f"[{max(60, math.ceil(seconds))}s]"
        pods = f'{self.labels}, track="{name}", version="{version(model_uri)}"'
        asked = f'{pods}, path!~"{NOT_PREDICTIONS}"'
        requests = self.number(f"sum(increase(modelops_requests_total{{{asked}}}{window}))") or 0
        errors = self.number(f'sum(increase(modelops_requests_total{{{asked}, code=~"5.."}}{window}))') or 0
        buckets = f"sum by (le) (rate(modelops_request_duration_seconds_bucket{{{asked}}}{window}))"
        restarts = self.number(f"sum(changes(process_start_time_seconds{{{pods}}}{window}))") or 0
        return {
            "requests": round(requests),
            "error_percent": rounded(100 * errors / requests) if requests else None,
            "p99_seconds": rounded(self.number(f"histogram_quantile(0.99, {buckets})")),
            "restarts": round(restarts),
        }

    def predictions(self, name: str, model_uri: str, seconds: float) -> dict[str, Buckets]:
        """Output → the buckets of what a track predicted, as (upper bound, cumulative count)."""
        window = f"[{max(60, math.ceil(seconds))}s]"
        pods = f'{self.labels}, track="{name}", version="{version(model_uri)}"'
        series = self.query(f"sum by (le, output) (increase(modelops_prediction_value_bucket{{{pods}}}{window}))")
        found: dict[str, Buckets] = {}
        for labels, value in series:
            found.setdefault(labels.get("output", ""), []).append((float(labels["le"]), value))
        return {output: sorted(buckets) for output, buckets in found.items()}


def cumulative_share(buckets: Buckets, at: float) -> float:
    """Share of the values up to `at`, by straight lines between the buckets' bounds.

    What lies under the first bound or above the last finite one is taken to lie at that bound.
    """
    total = buckets[-1][1]
    finite = [(bound, count / total) for bound, count in buckets if math.isfinite(bound)]
    if not finite or at < finite[0][0]:
        return 0.0
    for (low, before), (high, after) in itertools.pairwise(finite):
        if at < high:
            return before + (after - before) * (at - low) / (high - low)
    return finite[-1][1] if at == finite[-1][0] else 1.0


def stability_index(expected: Buckets | None, actual: Buckets | None) -> float | None:
    """Population stability index of `actual` against `expected`, in the bins of `expected`; None without values.

    Models with baselines of their own have other bins: then the values are spread evenly within each of theirs.
    """
    if not expected or not actual or not expected[-1][1] or not actual[-1][1]:
        return None
    bounds = [bound for bound, _ in expected if math.isfinite(bound)]
    index = last_wanted = last_found = 0.0
    for bound in [*bounds, math.inf]:
        wanted, found = (1.0 if bound == math.inf else cumulative_share(side, bound) for side in (expected, actual))
        share_wanted = max(wanted - last_wanted, SMALLEST_SHARE)
        share_found = max(found - last_found, SMALLEST_SHARE)
        index += (share_found - share_wanted) * math.log(share_found / share_wanted)
        last_wanted, last_found = wanted, found
    return index


def drift(stable: dict[str, Buckets], canary: dict[str, Buckets]) -> float | None:
    """The output that differs most between the tracks says how far predictions drifted; None without values."""
    indices = [stability_index(stable.get(output), buckets) for output, buckets in canary.items()]
    known = [index for index in indices if index is not None]
    return rounded(max(known)) if known else None


def measure(prometheus: Prometheus, record: Entry, now: float) -> Entry:
    """The figures of both tracks since the record began."""
    seconds = now - record["started"]
    tracks = {name: record[name]["model_uri"] for name in ("stable", "canary")}
    figures = {name: prometheus.track(name, uri, seconds) for name, uri in tracks.items()}
    values = [prometheus.predictions(name, uri, seconds) for name, uri in tracks.items()]
    return {"seconds": round(seconds), **figures, "prediction_drift": drift(*values)}


def judge(bounds: dict[str, float], figures: Entry) -> tuple[str, str]:
    """(verdict, reason). Too few requests decide nothing; enough bad ones decide at once; good ones after a time."""
    stable, canary = figures["stable"], figures["canary"]
    least = bounds["min_requests"]
    for name, track in (("canary", canary), ("stable track", stable)):
        if track["requests"] < least:
            return HOLD, f"the {name} had {track['requests']} of {least} requests"
    broken, unknown = [], []
    extra = canary["error_percent"] - stable["error_percent"]
    if extra > bounds["max_extra_error_percent"]:
        broken.append(
            f"error rate {canary['error_percent']:g} % against {stable['error_percent']:g} %,"
            f" at most {bounds['max_extra_error_percent']:g} points more are allowed"
        )
    if canary["p99_seconds"] is None or stable["p99_seconds"] is None:
        unknown.append("latency")
    elif canary["p99_seconds"] > bounds["max_p99_ratio"] * stable["p99_seconds"] + SLACK_SECONDS:
        broken.append(
            f"p99 latency {1000 * canary['p99_seconds']:.4g} ms against {1000 * stable['p99_seconds']:.4g} ms,"
            f" at most {bounds['max_p99_ratio']:g} times as long is allowed"
        )
    if canary["restarts"] > bounds["max_restarts"]:
        broken.append(f"{canary['restarts']} restarts, at most {bounds['max_restarts']} are allowed")
    if bounds["max_prediction_drift"]:
        if figures["prediction_drift"] is None:
            unknown.append("predicted values")
        elif figures["prediction_drift"] > bounds["max_prediction_drift"]:
            drifted, allowed = figures["prediction_drift"], bounds["max_prediction_drift"]
            broken.append(f"prediction drift {drifted:g}, at most {allowed:g} is allowed")
    if broken:
        return ROLL_BACK, "; ".join(broken)
    if unknown:
        return HOLD, f"no figures of {' and '.join(unknown)}"
    if figures["seconds"] < bounds["min_seconds"]:
        return HOLD, f"all bounds are kept since {figures['seconds']} of {bounds['min_seconds']} seconds"
    return PROMOTE, f"all bounds are kept over {canary['requests']} requests in {figures['seconds']} seconds"


def rounded(value: float | None) -> float | None:
    """Four digits say all there is to say."""
    return None if value is None else float(f"{value:.4g}")


def step(settings: Entry, prometheus: Prometheus, record: Entry | None, now: float) -> Entry:
    """The record after one look."""
    record = begin(settings, record, now)
    if record["verdict"] != HOLD:
        return record
    try:
        figures = measure(prometheus, record, now)
    except (OSError, ValueError, KeyError) as error:
        return {**record, "reason": f"Prometheus gives no figures: {error}"}
    verdict, reason = judge(settings["bounds"], figures)
    return {**record, "verdict": verdict, "reason": reason, "figures": figures}


class ConfigMap:
    """The record's place."""

    def __init__(self, namespace: str, name: str) -> None:
        base = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
        self.url = f"{base}/api/v1/namespaces/{namespace}/configmaps/{name}"
        self.trust = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")

    def _call(self, url: str, **more: Any) -> Any:
        with open(f"{ACCOUNT}/token", encoding="ascii") as token:
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token.read().strip()}"}, **more)
        if request.data:
            request.add_header("Content-Type", "application/merge-patch+json")
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=self.trust) as answer:
            return json.load(answer)

    def read(self) -> Entry | None:
        """The record, or None where there is none that can be read."""
        text = (self._call(self.url).get("data") or {}).get(RECORD)
        try:
            found: Entry | None = json.loads(text) if text else None
        except ValueError:
            return None
        return found

    def write(self, record: Entry) -> None:
        """Only the record's key, under a field manager of its own: the rest of the object is Pulumi's."""
        data = json.dumps({"data": {RECORD: json.dumps(record, sort_keys=True)}}).encode()
        self._call(f"{self.url}?fieldManager=modelops-analyst", data=data, method="PATCH")


def main() -> None:
    """Looks again and again until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = json.loads(os.environ["MODELOPS_ANALYSIS"])
    namespace, service = settings["namespace"], settings["service"]
    place = ConfigMap(namespace, settings["config_map"])
    prometheus = Prometheus(settings["prometheus_url"], namespace, service, settings.get("prometheus_ca_certificate"))
    while True:
        try:
            before = place.read()
            record = step(settings, prometheus, before, time.time())
            if record != before:
                place.write(record)
                said = {"event": "analysis", **{key: record[key] for key in ("verdict", "reason", "figures")}}
                print(json.dumps(said), flush=True)
        except OSError as error:
            print(json.dumps({"event": "error", "reason": str(error)}), file=sys.stderr, flush=True)
        time.sleep(settings["interval_seconds"])


if __name__ == "__main__":
    main()
