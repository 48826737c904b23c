"""Counts of a version's raw rows, logged in the registry as a run of its own: its exporter makes metrics of the newest
runs, and a run outlives the Job's pod. Standard library only, by MLflow's REST API.
"""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from modelops_runtime.registry.sources.client import credentials

EXPERIMENT = "data"
TIMEOUT_SECONDS = 30
_NO_VIOLATION = ("duplicates", "near_duplicates", "too_long")
"""Why rows are left out that break no rule."""


def counts(report: Mapping[str, Any]) -> dict[str, float]:
    """A version's report as metrics: `data_rows_read`, `data_rows` (what came out), `data_missing` (values
    of the raw rows that are not there), `data_violations` (of the declared check, and of texts). With texts for a
    language model also `data_tokens`, `data_tokens_p99` and `data_tokens_max` (of a text of the training split),
    `data_masked`, and `data_dropped_<reason>`."""
    found = {
        "data_rows_read": report["rows_read"],
        "data_rows": sum(report["rows"].values()),
        "data_violations": report["violation_count"],
        "data_missing": sum(report["missing"].values()),
    }
    if texts := report.get("texts"):
        dropped = {f"data_dropped_{reason}": count for reason, count in texts["dropped"].items()}
        found |= {"data_masked": sum(texts["masked"].values()), **dropped}
        found["data_violations"] += sum(
            count for reason, count in texts["dropped"].items() if reason not in _NO_VIOLATION
        )
        if tokens := texts["tokens"]:
            found["data_tokens"] = sum(part["total"] for part in tokens.values())
            found |= {f"data_tokens_{name}": tokens["train"][name] for name in ("p99", "max")}
    return found


def log(
    tracking_uri: str, pipeline: str, version: str, report: Mapping[str, Any], pages: Mapping[str, str] | None = None
) -> None:
    """A finished run `data-<version>` in the experiment `data`, with `pages` among its files where the registry takes
    files itself. Raises OSError or ValueError: the registry."""
    experiment = _experiment(tracking_uri)
    now = int(time.time() * 1000)
    tags = [{"key": "modelops.model", "value": pipeline}, {"key": "modelops.data_version", "value": version}]
    body = {"experiment_id": experiment, "run_name": f"data-{version}", "start_time": now, "tags": tags}
    created = _post(tracking_uri, "mlflow/runs/create", body)["run"]["info"]
    run = created["run_id"]
    metrics = [
        {"key": key, "value": value, "timestamp": now, "step": 0} for key, value in sorted(counts(report).items())
    ]
    _post(tracking_uri, "mlflow/runs/log-batch", {"run_id": run, "metrics": metrics})
    for name, text in (pages or {}).items():
        scheme, _, folder = created["artifact_uri"].partition(":")
        if scheme == "mlflow-artifacts":  # through the server; else only who has the store's keys can write there
            address = f"mlflow-artifacts/artifacts/{folder.lstrip('/')}/{name}"
            _ask(tracking_uri, address, text.encode(), method="PUT", kind="text/html")
    _post(
        tracking_uri, "mlflow/runs/update", {"run_id": run, "status": "FINISHED", "end_time": int(time.time() * 1000)}
    )


def _experiment(tracking_uri: str) -> str:
    try:
        return str(_post(tracking_uri, "mlflow/experiments/create", {"name": EXPERIMENT})["experiment_id"])
    except urllib.error.HTTPError as error:
        if error.code != 400:
            raise
    query = urllib.parse.urlencode({"experiment_name": EXPERIMENT})
    return str(_ask(tracking_uri, f"mlflow/experiments/get-by-name?{query}")["experiment"]["experiment_id"])


def _post(tracking_uri: str, path: str, body: Mapping[str, Any]) -> Any:
    return _ask(tracking_uri, path, json.dumps(body).encode())


def _ask(
    tracking_uri: str,
    path: str,
    body: bytes | None = None,
    *,
    method: str | None = None,
    kind: str = "application/json",
) -> Any:
    headers = {"Content-Type": kind, **credentials()}
    request = urllib.request.Request(f"{tracking_uri.rstrip('/')}/api/2.0/{path}", body, headers, method=method)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        # A server without accounts says nothing when it has taken a file.
        return json.loads(answer.read() or "null")
