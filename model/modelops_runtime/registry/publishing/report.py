"""Tells the component what came of a run: a ConfigMap in the cluster that it reads when the Job is done.

Standard library only. The pod may patch that one object and nothing else, with the token of its ServiceAccount.
"""

import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelops_runtime.contract import ContractError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
FIELD_MANAGER = "modelops-publisher"
TIMEOUT_SECONDS = 30
MOST_METRICS_BYTES = 900_000
"""Of the metrics in the ConfigMap, of which Kubernetes takes 1 MiB."""


@dataclass(frozen=True)
class Published:
    """A registered version and the MLflow run that it came from."""

    name: str
    version: str
    experiment_id: str
    mlflow_run_id: str
    metrics: Mapping[str, float]


def report(config_map: str, run_id: str, published: Published, account: Path = ACCOUNT) -> None:
    """Writes into the ConfigMap `namespace/name`. Raises ContractError with the API server's reason.

    By server-side apply under a field manager of its own: fields of other managers stay as they are.
    """
    namespace, _, name = config_map.partition("/")
    try:
        token = (account / "token").read_text().strip()
    except OSError as error:
        raise ContractError(f"the run can't be reported: {error.filename}: {error.strerror}") from None
    metrics = json.dumps(dict(published.metrics), sort_keys=True)
    if len(metrics) > MOST_METRICS_BYTES:
        print(f"{len(published.metrics)} metrics are too long for a ConfigMap: they are in MLflow alone", flush=True)
        metrics = "{}"
    content = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {
            "run_id": run_id,
            "version": published.version,
            "experiment_id": published.experiment_id,
            "mlflow_run_id": published.mlflow_run_id,
            "metrics": metrics,
        },
    }
    path = f"/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager={FIELD_MANAGER}&force=true"
    request = urllib.request.Request(
        _api_server() + path,
        json.dumps(content).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/apply-patch+yaml"},
        method="PATCH",
    )
    try:
        context = ssl.create_default_context(cafile=account / "ca.crt") if request.type == "https" else None
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context):
            pass
    except urllib.error.HTTPError as error:
        raise ContractError(f"the API server refused the run's report: {_message(error)}") from None
    except OSError as error:
        raise ContractError(f"the API server did not take the run's report: {error}") from None


def _api_server() -> str:
    """The address that every container gets. MODELOPS_API_SERVER is for tests."""
    if address := os.environ.get("MODELOPS_API_SERVER"):
        return address
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return f"{json.loads(error.read(100_000))['message']} (HTTP {error.code})"
    except (ValueError, KeyError, TypeError, OSError):
        return f"HTTP {error.code} {error.reason}"
