"""What Prometheus reads. Only known paths become labels: strangers can't make new series."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from model.serve.http import Response

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Request counts and times, predictions, requests in flight, the model that is served."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter("modelops_requests", "Requests answered.", ["path", "code"], registry=self._registry)
        self._durations = Histogram(
            "modelops_request_duration_seconds",
            "From a request's first byte to its answer.",
            ["path"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._predictions = Counter("modelops_predictions", "Rows predicted.", registry=self._registry)
        self._in_flight = Gauge("modelops_in_flight", "Requests being answered.", registry=self._registry)
        self._ready = Gauge("modelops_ready", "1 while ready for traffic.", registry=self._registry)
        self._info = Gauge("modelops_model_info", "The model served.", ["model", "version"], registry=self._registry)
        # labels() costs more than the counting itself; there are few combinations.
        self._counters: dict[tuple[str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    def started(self) -> None:
        self._in_flight.inc()

    def ended(self) -> None:
        self._in_flight.dec()

    def answered(self, path: str, code: int, seconds: float, rows: int) -> None:
        counter = self._counters.get((path, code))
        if counter is None:
            counter = self._counters[path, code] = self._requests.labels(path, str(code))
        histogram = self._histograms.get(path)
        if histogram is None:
            histogram = self._histograms[path] = self._durations.labels(path)
        counter.inc()
        histogram.observe(seconds)
        if rows:
            self._predictions.inc(rows)

    def serving(self, model: str, version: str) -> None:
        self._info.labels(model, version).set(1)

    def ready(self, value: bool) -> None:
        self._ready.set(value)

    def response(self) -> Response:
        return Response(200, generate_latest(self._registry), CONTENT_TYPE_LATEST.encode())
