"""Compares a canary with the stable track and records whether to promote it or roll it back.

Runs in the cluster, on Python's standard library alone. Every `interval_seconds` it queries Prometheus for both tracks'
figures since the canary started, and updates one record in a ConfigMap: the versions compared, the verdict (hold,
promote, roll back), the reason and the figures. A verdict other than hold is final for these versions. Without steps it
changes nothing else in the cluster: the next `pulumi up` reads the record and acts on it.

With steps it also gives the canary its share of the requests, in the one object that keeps it: the share of the step
that it has reached, and none as soon as it breaks a bound. It looks again every time, so that an update that was
planned before can't undo that for long.
"""

import http.server
import itertools
import json
import math
import os
import signal
import socket
import ssl
import sys
import threading
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
RECENT_SECONDS = (60, 300, 1800)
"""A canary with steps is also judged by the shortest of these times in which there were requests enough: what goes
wrong after a good day must not be lost in that day's figures."""
DOWN_SECONDS = 20
"""For how long no pod of a canary with steps may be available. Its share of the requests fails, and no server counts
that."""
CANARY = "modelops.dev/canary"
"""Annotation of what keeps the share: the canary that it is for."""
APPS, NETWORKING, GATEWAY = "apis/apps/v1", "apis/networking.k8s.io/v1", "apis/gateway.networking.k8s.io/v1"
TRIES, CHANGED = 3, (409, 422)
PORT = 8080
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


def reached(weights: list[int], recorded: int | None) -> int:
    """The step of a canary that has had the share `recorded`: with steps that have changed since, the nearest below."""
    return max((i for i, weight in enumerate(weights) if recorded is not None and weight <= recorded), default=0)


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


def measure(prometheus: Prometheus, record: JsonObject, seconds: float, engine: str = "modelops") -> JsonObject:
    """The figures of both tracks in the last `seconds`."""
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
    steps = settings.get("steps")
    record = at_step(steps, record, now) if steps else record
    try:
        if steps:
            return walked(settings, steps, prometheus, record, now)
        figures = measure(prometheus, record, now - record["started"], settings.get("engine", "modelops"))
    except (OSError, ValueError, KeyError) as error:
        return {**record, "reason": f"the query to Prometheus failed: {error}"}
    verdict, reason = judge(settings["bounds"], figures)
    return {**record, "verdict": verdict, "reason": reason, "figures": figures}


def at_step(steps: list[JsonObject], record: JsonObject, now: float) -> JsonObject:
    """The record with the share of a step, and since when the canary has had it."""
    weight = steps[reached([step["weight_percent"] for step in steps], record.get("weight_percent"))]["weight_percent"]
    since = record["step_started"] if record.get("weight_percent") == weight else now
    return {**record, "weight_percent": weight, "step_started": since}


def walked(
    settings: JsonObject, steps: list[JsonObject], prometheus: Prometheus, record: JsonObject, now: float
) -> JsonObject:
    """The record of a canary with steps after one measurement: out of traffic, a step further, or where it was."""
    weight = record["weight_percent"]
    index = [step["weight_percent"] for step in steps].index(weight)
    pause = steps[index].get("pause_seconds")
    figures = measure(prometheus, record, now - record["step_started"], settings.get("engine", "modelops"))
    verdict, reason = judge({**settings["bounds"], "min_seconds": pause or 0}, figures)
    recent = None if verdict == ROLL_BACK else recent_break(settings, prometheus, record, now)
    if recent is not None:
        verdict, (reason, figures) = ROLL_BACK, recent
    record = {**record, "verdict": HOLD, "reason": reason, "figures": figures}
    if verdict == ROLL_BACK:
        return aborted(record, reason, now)
    if verdict == HOLD:
        return record
    if pause is None:
        return {
            **record,
            "reason": f"{reason}; it stays at {weight} % until the program gives this step `pause_seconds`",
        }
    if index + 1 == len(steps):
        return {**record, "verdict": PROMOTE}
    further = steps[index + 1]["weight_percent"]
    return {
        **record,
        "weight_percent": further,
        "step_started": now,
        "reason": f"{reason}; from {weight} to {further} %",
    }


def aborted(record: JsonObject, reason: str, now: float) -> JsonObject:
    """The record of a canary that is out of traffic for good."""
    return {**record, "verdict": ROLL_BACK, "reason": reason, "weight_percent": 0, "aborted": now}


def recent_break(
    settings: JsonObject, prometheus: Prometheus, record: JsonObject, now: float
) -> tuple[str, JsonObject] | None:
    """Which bounds the canary broke most recently, and the figures of that time; None if it did not."""
    bounds = settings["bounds"]
    for seconds in RECENT_SECONDS:
        if seconds >= now - record["step_started"]:
            return None  # The step's own figures say it all.
        figures = measure(prometheus, record, seconds, settings.get("engine", "modelops"))
        if all(figures[track]["requests"] >= bounds["min_requests"] for track in ("stable", "canary")):
            verdict, reason = judge(bounds, figures)
            return (f"in the last {seconds} seconds: {reason}", figures) if verdict == ROLL_BACK else None
    return None


def looked_after(record: JsonObject, available: int, now: float) -> JsonObject:
    """The record, given how many pods of a canary with steps are available."""
    rest = {key: value for key, value in record.items() if key != "down_since"}
    if record["verdict"] != HOLD or available:
        return rest
    since = record.get("down_since", now)
    if now - since < DOWN_SECONDS:
        return {**rest, "down_since": since, "reason": "no pod of the canary is available"}
    return aborted(rest, f"no pod of the canary has been available for {now - since:.0f} seconds", now)


class Cluster:
    """The API server, as far as the analyst's account may use it."""

    def __init__(self, namespace: str) -> None:
        host = os.environ["KUBERNETES_SERVICE_HOST"]
        host = f"[{host}]" if ":" in host else host
        self.base = f"https://{host}:{os.environ['KUBERNETES_SERVICE_PORT']}"
        self.namespace = namespace
        self.tls = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")

    def call(self, group: str, path: str, body: Any = None, kind: str = "merge-patch") -> Any:
        """Reads an object of the namespace or patches it, under a field manager of its own: the rest is Pulumi's."""
        url = f"{self.base}/{group}/namespaces/{self.namespace}/{path}"
        with open(f"{ACCOUNT}/token", encoding="ascii") as token:
            headers = {"Authorization": f"Bearer {token.read().strip()}"}
        data = None
        if body is not None:
            url, data = f"{url}?fieldManager=modelops-analyst", json.dumps(body).encode()
            headers["Content-Type"] = f"application/{kind}+json"
        request = urllib.request.Request(url, data, headers, method="GET" if data is None else "PATCH")
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=self.tls) as response:
            return json.load(response)


class Traffic:
    """What keeps the canary's share of the requests: an HTTPRoute, an Ingress, or the canary's Deployment, whose
    pods get requests by their number."""

    WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"

    def __init__(self, cluster: Any, settings: JsonObject) -> None:
        self.cluster, self.canary = cluster, settings["traffic"]["canary"]
        self.kind, self.deployment = settings["traffic"]["kind"], settings["traffic"]["deployment"]
        self.names = settings["service"], self.deployment
        self.pods = {0: 0, **{step["weight_percent"]: step.get("replicas", 0) for step in settings["steps"]}}

    def available(self) -> int:
        """How many pods of the canary are available."""
        status = self.cluster.call(APPS, f"deployments/{self.deployment}").get("status") or {}
        return int(status.get("availableReplicas") or 0)

    def give(self, weight: int) -> bool:
        """Gives the canary its share; whether that was a change. What is for another canary by now is left alone."""
        change = {"HTTPRoute": self._route, "Ingress": self._ingress, "Deployment": self._scale}[self.kind]
        for _ in range(TRIES):
            try:
                return change(weight)
            except urllib.error.HTTPError as error:  # Somebody else changed the object since it was read.
                if error.code not in CHANGED:
                    raise
        return False

    def _ours(self, found: JsonObject) -> bool:
        return bool((found["metadata"].get("annotations") or {}).get(CANARY) == self.canary)

    def _route(self, weight: int) -> bool:
        where = GATEWAY, f"httproutes/{self.names[0]}"
        route = self.cluster.call(*where)
        changes = weight_changes(route, dict(zip(self.names, (100 - weight, weight), strict=True)))
        if not changes or not self._ours(route):
            return False
        same = {"op": "test", "path": f"/metadata/annotations/{CANARY.replace('/', '~1')}", "value": self.canary}
        self.cluster.call(*where, [same, *changes], "json-patch")
        return True

    def _ingress(self, weight: int) -> bool:
        where = NETWORKING, f"ingresses/{self.deployment}"
        found = self.cluster.call(*where)
        if not self._ours(found) or found["metadata"]["annotations"].get(self.WEIGHT) == str(weight):
            return False
        version = found["metadata"]["resourceVersion"]  # as it was seen, or not at all
        self.cluster.call(*where, {"metadata": {"resourceVersion": version, "annotations": {self.WEIGHT: str(weight)}}})
        return True

    def _scale(self, weight: int) -> bool:
        path, wanted = f"deployments/{self.deployment}", self.pods[weight]
        found = self.cluster.call(APPS, path)
        if not self._ours(found) or found["spec"].get("replicas") == wanted:
            return False
        version = found["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "spec": {"replicas": wanted}}
        self.cluster.call(APPS, f"{path}/scale", body)
        return True


def weight_changes(route: JsonObject, weights: dict[str, int]) -> list[JsonObject]:
    """The JSON patch that gives an HTTPRoute's backends these weights, and fails if they have moved meanwhile."""
    changes: list[JsonObject] = []
    for r, rule in enumerate(route["spec"].get("rules") or []):
        references = rule.get("backendRefs") or []
        if not set(weights) <= {reference["name"] for reference in references}:
            continue
        for b, reference in enumerate(references):
            wanted, place = weights.get(reference["name"]), f"/spec/rules/{r}/backendRefs/{b}"
            if wanted is not None and reference.get("weight", 1) != wanted:
                changes.append({"op": "test", "path": f"{place}/name", "value": reference["name"]})
                changes.append({"op": "add", "path": f"{place}/weight", "value": wanted})
    return changes


def exposition(record: JsonObject | None) -> str:
    """The record as metrics."""
    if record is None:
        return ""
    labels = f'{{canary_version="{label(record["canary"])}"}}'
    values = {
        "modelops_canary_aborted": ("Whether the analyst has taken the canary out of traffic.", "aborted" in record),
        "modelops_canary_weight_percent": ("The canary's share of the requests.", record.get("weight_percent", 0)),
    }
    lines = [
        f"# HELP {name} {said}\n# TYPE {name} gauge\n{name}{labels} {value:d}\n"
        for name, (said, value) in values.items()
    ]
    return "".join(lines)


class Metrics:
    """Answers Prometheus."""

    def __init__(self) -> None:
        self.record: JsonObject | None = None

    def serve(self, port: int = PORT) -> http.server.HTTPServer:
        """Starts to answer, in a thread of its own."""
        metrics = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = exposition(metrics.record).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

            def server_bind(self) -> None:
                if self.address_family == socket.AF_INET6:
                    self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                super().server_bind()

        server = Server(("", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


class ConfigMap:
    """The ConfigMap that holds the record."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.where = cluster, ("api/v1", f"configmaps/{name}")

    def read(self) -> JsonObject | None:
        """The record, or None if it is missing or unreadable."""
        text = (self.cluster.call(*self.where).get("data") or {}).get(RECORD)
        try:
            record: JsonObject | None = json.loads(text) if text else None
        except ValueError:
            return None
        return record

    def write(self, record: JsonObject) -> None:
        """Writes the record's key."""
        self.cluster.call(*self.where, {"data": {RECORD: json.dumps(record, sort_keys=True)}})


class Analyst:
    """What the analyst does every time."""

    def __init__(self, settings: JsonObject, cluster: Any, prometheus: Any) -> None:
        self.settings, self.prometheus = settings, prometheus
        self.config_map = ConfigMap(cluster, settings["config_map"])
        self.traffic = Traffic(cluster, settings) if "steps" in settings else None
        self.metrics = Metrics()

    def look(self, now: float) -> None:
        """Measures, records, and gives the canary its share."""
        previous = self.config_map.read()
        record = step(self.settings, self.prometheus, previous, now)
        if self.traffic is not None:
            record = looked_after(record, self.traffic.available(), now)
        self.metrics.record = record
        if record != previous:
            self.config_map.write(record)
            tell("analysis", **{key: record[key] for key in ("verdict", "reason", "figures")})
        # A promoted canary is the next update's: it replaces the stable track first.
        weight = None if record["verdict"] == PROMOTE else record.get("weight_percent")
        if self.traffic is not None and weight is not None and self.traffic.give(weight):
            tell("weight", weight_percent=weight)


def tell(event: str, **fields: Any) -> None:
    """A line of the log."""
    print(json.dumps({"event": event, **fields}), flush=True)


def main() -> None:
    """Measures and records until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = json.loads(os.environ["MODELOPS_ANALYSIS"])
    namespace, service = settings["namespace"], settings["service"]
    prometheus = Prometheus(settings["prometheus_url"], namespace, service, settings.get("prometheus_ca_certificate"))
    analyst = Analyst(settings, Cluster(namespace), prometheus)
    if analyst.traffic is not None:
        analyst.metrics.serve()
    while True:
        try:
            analyst.look(time.time())
        except (OSError, KeyError) as error:
            print(json.dumps({"event": "error", "reason": str(error)}), file=sys.stderr, flush=True)
        time.sleep(settings["interval_seconds"])


if __name__ == "__main__":
    main()
