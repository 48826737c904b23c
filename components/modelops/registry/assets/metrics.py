"""What the registry knows, for Prometheus: whether it answers, how many models it has, what its newest runs measured.

Runs beside the MLflow server, in its image, which exports no metrics of its own. Trainings log to MLflow while they go
on, and a run stays there: so the figures of a Job that lasted seconds are there to be scraped for as long as its run is
among the newest. Asks the server at most once in REFRESH_SECONDS. Needs nothing but Python itself.
"""

import base64
import http.server
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any

SERVER = os.environ.get("MODELOPS_REGISTRY", "http://127.0.0.1:5000")
PORT = int(os.environ.get("MODELOPS_METRICS_PORT", "9105"))
RUNS = 50
"""How many runs are told of: what Prometheus keeps stays small, however many runs there ever were."""
METRICS_OF_A_RUN = 50
REFRESH_SECONDS = 10.0
TIMEOUT_SECONDS = 5.0
_PAGE = 1000

Sample = tuple[Mapping[str, str], float]


def ask(path: str, body: Mapping[str, Any] | None = None) -> Any:
    """The server's answer to a GET, or to a POST of `body`."""
    headers = {"Content-Type": "application/json"}
    name, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if name and password:
        headers["Authorization"] = f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{SERVER}/api/2.0/mlflow/{path}", data, headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        return json.load(answer)


def models() -> int:
    """How many models are registered."""
    count, token = 0, ""
    while True:
        page = ask(f"registered-models/search?max_results={_PAGE}&page_token={token}")
        count += len(page.get("registered_models", []))
        if not (token := page.get("next_page_token", "")):
            return count


def newest_runs() -> list[dict[str, Any]]:
    """The runs that started last, of all experiments."""
    experiments = ask("experiments/search", {"max_results": _PAGE}).get("experiments", [])
    ids = [found["experiment_id"] for found in experiments]
    if not ids:
        return []
    wanted = {"experiment_ids": ids, "max_results": RUNS, "order_by": ["attributes.start_time DESC"]}
    found: list[dict[str, Any]] = ask("runs/search", wanted).get("runs", [])
    return found


def samples(runs: Iterable[Mapping[str, Any]], now: float) -> dict[str, list[Sample]]:
    """What runs say, by the name of the metric."""
    found: dict[str, list[Sample]] = {name: [] for name in _RUN_FAMILIES}
    for run in runs:
        info, data = run["info"], run.get("data", {})
        tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
        own = {
            "model": tags.get("modelops.model", ""),
            "run": info.get("run_name") or info["run_id"],
            "mlflow_run_id": info["run_id"],
        }
        start = int(info.get("start_time") or 0) / 1000
        # A run that failed may have no end.
        end = int(info.get("end_time") or 0) / 1000 or now
        found["modelops_run_info"].append(({**own, "status": info.get("status", "")}, 1))
        found["modelops_run_start_time_seconds"].append((own, start))
        found["modelops_run_duration_seconds"].append((own, max(0.0, end - start)))
        for metric in data.get("metrics", [])[:METRICS_OF_A_RUN]:
            found["modelops_run_metric"].append(({**own, "metric": metric["key"]}, float(metric["value"])))
    return found


_RUN_FAMILIES = {
    "modelops_run_info": "A run of the registry and its status.",
    "modelops_run_start_time_seconds": "When a run began, in seconds since 1970.",
    "modelops_run_duration_seconds": "How long a run took, or has taken so far.",
    "modelops_run_metric": "The latest value of a run's metric.",
}
_FAMILIES = {
    "modelops_registry_up": "Whether the registry answers.",
    "modelops_registry_models": "How many models are registered.",
    **_RUN_FAMILIES,
}


def collect(now: Callable[[], float] = time.time) -> str:
    """Everything in Prometheus' text format. A registry that does not answer is a value, not an error."""
    found: dict[str, list[Sample]]
    try:
        found = {"modelops_registry_models": [({}, models())], **samples(newest_runs(), now())}
        found["modelops_registry_up"] = [({}, 1)]
    except (OSError, ValueError, KeyError) as error:
        print(f"the registry does not answer: {error}", file=sys.stderr, flush=True)
        found = {"modelops_registry_up": [({}, 0)]}
    lines = []
    for name, meaning in _FAMILIES.items():
        if name in found:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in found[name]]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    """As Prometheus reads it; Python's `nan` and `inf` are its own as well."""
    return repr(float(value))


class Remembered:
    """The text, renewed at most once in REFRESH_SECONDS, however many Prometheis ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text, self._until = "", 0.0

    def text(self) -> str:
        with self._lock:
            if time.monotonic() >= self._until:
                self._text = collect()
                self._until = time.monotonic() + REFRESH_SECONDS
            return self._text


def serve(port: int = PORT) -> http.server.ThreadingHTTPServer:
    """A server of `/metrics`, not started yet."""
    remembered = Remembered()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = {"/metrics": remembered.text, "/healthz": lambda: "ok\n"}.get(self.path)
            body = known().encode() if known else b"not found\n"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are not worth a line each."""

    return http.server.ThreadingHTTPServer(("", port), Handler)


if __name__ == "__main__":
    serve().serve_forever()
