"""Exports the registry's state to Prometheus: whether it answers, its number of models, the metrics of its newest runs.

Runs beside the MLflow server, in its image, because MLflow exports no such metrics. Trainings log to MLflow and their
runs stay there, so even the metrics of a Job that lasted seconds can be scraped while its run is among the newest.
Queries the server at most once in REFRESH_SECONDS. Standard library only.
"""

import base64
import http.server
import json
import os
import re
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any

SERVER = os.environ.get("MODELOPS_REGISTRY", "http://127.0.0.1:5000")
PORT = int(os.environ.get("MODELOPS_METRICS_PORT", "9105"))
MAX_RUNS = 50
"""Number of newest runs to export: bounds the number of series in Prometheus."""
MAX_METRICS_PER_RUN = 50
REFRESH_SECONDS = 10.0
TIMEOUT_SECONDS = 5.0
_PAGE = 1000

Sample = tuple[Mapping[str, str], float]


def call(path: str, body: Mapping[str, Any] | None = None) -> Any:
    """The server's response to a GET, or to a POST of `body`."""
    headers = {"Content-Type": "application/json"}
    name, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if name and password:
        headers["Authorization"] = f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{SERVER}/api/2.0/mlflow/{path}", data, headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        return json.load(response)


def model_count() -> int:
    """The number of registered models."""
    count, token = 0, ""
    while True:
        page = call(f"registered-models/search?max_results={_PAGE}&page_token={token}")
        count += len(page.get("registered_models", []))
        if not (token := page.get("next_page_token", "")):
            return count


def newest_runs() -> list[dict[str, Any]]:
    """The runs of all experiments that started last."""
    experiments = call("experiments/search", {"max_results": _PAGE}).get("experiments", [])
    ids = [experiment["experiment_id"] for experiment in experiments]
    if not ids:
        return []
    query = {"experiment_ids": ids, "max_results": MAX_RUNS, "order_by": ["attributes.start_time DESC"]}
    return list(call("runs/search", query).get("runs", []))


def samples(runs: Iterable[Mapping[str, Any]], now: float) -> dict[str, list[Sample]]:
    """The samples of `runs` by metric family."""
    families: dict[str, list[Sample]] = {name: [] for name in _RUN_FAMILIES}
    for run in runs:
        info, data = run["info"], run.get("data", {})
        tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
        labels = {
            "model": tags.get("modelops.model", ""),
            "run": info.get("run_name") or info["run_id"],
            "mlflow_run_id": info["run_id"],
        }
        start = int(info.get("start_time") or 0) / 1000
        # A failed run may have no end time.
        end = int(info.get("end_time") or 0) / 1000 or now
        families["modelops_run_info"].append(({**labels, "status": info.get("status", "")}, 1))
        families["modelops_run_start_time_seconds"].append((labels, start))
        families["modelops_run_duration_seconds"].append((labels, max(0.0, end - start)))
        for metric in data.get("metrics", [])[:MAX_METRICS_PER_RUN]:
            own = {**labels, "metric": own_name(metric["key"])}
            families["modelops_run_metric"].append((own, float(metric["value"])))
    return families


def own_name(name: str) -> str:
    """The name that the training gave, of one in MLflow: publishing writes characters that MLflow refuses as
    `_x0040_` (`modelops_runtime/registry/publishing/names.py`)."""
    return re.sub("_x([0-9A-F]{4,6})_", _character, name)


def _character(escape: re.Match[str]) -> str:
    code = int(escape[1], 16)
    return chr(code) if code < 0xD800 or 0xDFFF < code <= sys.maxunicode else escape[0]


_RUN_FAMILIES = {
    "modelops_run_info": "A run of the registry and its status.",
    "modelops_run_start_time_seconds": "When a run started, in seconds since 1970.",
    "modelops_run_duration_seconds": "How long a run took, or has taken so far.",
    "modelops_run_metric": "The latest value of a run's metric.",
}
_FAMILIES = {
    "modelops_registry_up": "Whether the registry answers.",
    "modelops_registry_models": "How many models are registered.",
    **_RUN_FAMILIES,
}


def collect(now: Callable[[], float] = time.time) -> str:
    """All metrics in Prometheus' text format. A registry that does not answer is a value, not an error."""
    families: dict[str, list[Sample]]
    try:
        families = {"modelops_registry_models": [({}, model_count())], **samples(newest_runs(), now())}
        families["modelops_registry_up"] = [({}, 1)]
    except (OSError, ValueError, KeyError) as error:
        print(f"the registry does not answer: {error}", file=sys.stderr, flush=True)
        families = {"modelops_registry_up": [({}, 0)]}
    lines = []
    for name, description in _FAMILIES.items():
        if name in families:
            lines += [f"# HELP {name} {description}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in families[name]]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    """As Prometheus reads it, which accepts Python's `nan` and `inf`."""
    return repr(float(value))


class CachedMetrics:
    """The metrics, collected at most once in REFRESH_SECONDS, however many Prometheus servers scrape."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text, self._expiry = "", 0.0

    def text(self) -> str:
        with self._lock:
            if time.monotonic() >= self._expiry:
                self._text = collect()
                self._expiry = time.monotonic() + REFRESH_SECONDS
            return self._text


class _Server(http.server.ThreadingHTTPServer):
    """Listens on IPv4 and IPv6 alike, where there are both."""

    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def serve(port: int = PORT) -> http.server.ThreadingHTTPServer:
    """A server of `/metrics`, not started yet."""
    metrics = CachedMetrics()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = {"/metrics": metrics.text, "/healthz": lambda: "ok\n"}.get(self.path)
            body = page().encode() if page else b"not found\n"
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are not logged."""

    return _Server(("", port), Handler)


if __name__ == "__main__":
    serve().serve_forever()
