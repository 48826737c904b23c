"""The metrics that Prometheus scrapes. Only known paths become labels: clients can't create new series.

Requests are counted in plain numbers, on the event loop alone, and turned into metric families when they are read: the
client library's own counters lock, and cost four times as much as a small prediction.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from modelops_runtime.serving.drift import Watch
from modelops_runtime.serving.http import Response
from modelops_runtime.serving.served import Observed, Served

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Durations:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0


class Metrics(Collector):
    """Request counts and times, predictions, requests in flight, the model that is served."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests: dict[tuple[str, int], int] = {}
        self._durations: dict[str, Durations] = {}
        self._rows = 0
        self._in_flight = 0
        self._ready = False
        self._model: tuple[str, str] | None = None
        self._watch: Watch | None = None
        self._registry.register(self)

    def add(self, collector: Collector) -> None:
        """Expose another collector's metrics too."""
        self._registry.register(collector)

    def started(self) -> None:
        self._in_flight += 1

    def answered(self, path: str, code: int, seconds: float) -> None:
        self._in_flight -= 1
        key = (path, code)
        self._requests[key] = self._requests.get(key, 0) + 1
        durations = self._durations.get(path)
        if durations is None:
            durations = self._durations[path] = Durations()
        durations.counts[bisect_left(BUCKETS, seconds)] += 1
        durations.total += seconds

    def predicted(self, observed: Observed) -> None:
        rows, inputs, outputs = observed
        self._rows += rows
        if self._watch is not None:
            if self._watch.features:
                self._watch.asked(inputs)
            self._watch.predicted(outputs)

    def serving(self, model: Served) -> None:
        self._model = (model.name, model.version)
        self._watch = model.watch

    def ready(self, value: bool) -> None:
        self._ready = value

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily("modelops_requests", "Requests answered.", labels=["path", "code"])
        for (path, code), count in self._requests.items():
            requests.add_metric([path, str(code)], count)
        durations = HistogramMetricFamily(
            "modelops_request_duration_seconds", "From a request's first byte to its answer.", labels=["path"]
        )
        for path, observed in self._durations.items():
            durations.add_metric([path], _buckets(BUCKETS, observed.counts), observed.total)
        info = GaugeMetricFamily("modelops_model_info", "The model served.", labels=["model", "version"])
        if self._model:
            info.add_metric(self._model, 1)
        yield requests
        yield durations
        yield CounterMetricFamily("modelops_predictions", "Rows predicted.", self._rows)
        yield GaugeMetricFamily("modelops_in_flight", "Requests being answered.", self._in_flight)
        yield GaugeMetricFamily("modelops_ready", "1 while ready for traffic.", float(self._ready))
        yield info
        yield from self._predictions()

    def _predictions(self) -> Iterable[Metric]:
        values = HistogramMetricFamily("modelops_prediction_value", "What was predicted.", labels=["output"])
        drift = GaugeMetricFamily(
            "modelops_prediction_drift",
            "Population stability index of the latest predictions against those of the model's test.",
            labels=["output"],
        )
        for name, column in (self._watch.columns if self._watch else {}).items():
            labels = {"output": name}
            values.add_metric([labels["output"]], _buckets(column.edges, column.counts), None)
            # The library leaves these out where a bound is negative.
            values.add_sample("modelops_prediction_value_count", labels, sum(column.counts))
            values.add_sample("modelops_prediction_value_sum", labels, column.total)
            index = column.drift()
            if index is not None:
                drift.add_metric([name], index)
        features = GaugeMetricFamily(
            "modelops_feature_drift",
            "Population stability index of the latest requests' features against those of the training set.",
            labels=["feature"],
        )
        for name, column in (self._watch.features if self._watch else {}).items():
            index = column.drift()
            if index is not None:
                features.add_metric([name], index)
        yield values
        yield drift
        yield features

    def response(self) -> Response:
        return Response(200, generate_latest(self._registry), CONTENT_TYPE_LATEST.encode())


def _buckets(edges: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative, as the text format wants them."""
    bounds = [*map(floatToGoString, edges), "+Inf"]
    cumulative, buckets = 0, []
    for bound, count in zip(bounds, counts, strict=True):
        cumulative += count
        buckets.append((bound, float(cumulative)))
    return buckets
