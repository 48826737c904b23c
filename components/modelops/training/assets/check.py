"""Prints on stdout, in one line, whether to train this run.

The line is `train`, `published <reason>`, `alone <reason>` (other workers have completed: only a model that is already
trained is of use) or `<exit code> <reason>`.

A published run is not trained again: its Job may be new only because the old one was removed (time to live, another
machine's state). While an older Job is still at this run, this one waits: an interrupted `pulumi up` may have left that
Job behind. Standard library only.
"""

import base64
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ACCOUNT = Path(os.environ.get("MODELOPS_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
WAIT_SECONDS = float(os.environ.get("MODELOPS_REGISTRY_WAIT_SECONDS") or 120)
PAUSE_SECONDS = float(os.environ.get("MODELOPS_CHECK_PAUSE_SECONDS") or 3)
FAILURE, WRONG_CONFIGURATION = 1, 2


def log(text: str) -> None:
    """Prints a line to the container's log; stdout is for the verdict."""
    print(text, file=sys.stderr, flush=True)


def get(url: str, headers: Mapping[str, str], context: ssl.SSLContext | None = None) -> Any:
    """The JSON at a URL."""
    request = urllib.request.Request(url, headers=dict(headers))
    with urllib.request.urlopen(request, timeout=10, context=context) as response:
        return json.load(response)


def same_run_jobs() -> list[dict[str, Any]]:
    """The Jobs of this run, including this one."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    host = f"[{host}]" if ":" in host else host
    server = f"https://{host}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}"
    namespace = os.environ["MODELOPS_NAMESPACE"]
    query = urllib.parse.urlencode({"labelSelector": os.environ["MODELOPS_SAME_RUN"]})
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    token = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    jobs = get(f"{server}/apis/batch/v1/namespaces/{namespace}/jobs?{query}", token, context)
    return list(jobs["items"])


def older_active_jobs(name: str, jobs: list[dict[str, Any]]) -> list[str]:
    """Names of the active Jobs in `jobs` that are older than the Job `name`."""
    ages = {job["metadata"]["name"]: (job["metadata"]["creationTimestamp"], job["metadata"]["name"]) for job in jobs}
    return [
        older for job in jobs if name in ages and ages[older := job["metadata"]["name"]] < ages[name] and active(job)
    ]


def active(job: dict[str, Any]) -> bool:
    """Whether a Job has yet to end. A suspended one does not count, because it may never resume."""
    conditions = job.get("status", {}).get("conditions") or []
    true_types = {condition["type"] for condition in conditions if condition["status"] == "True"}
    return not true_types & {"Complete", "Failed"} and not job["spec"].get("suspend")


def completed_workers(name: str, jobs: list[dict[str, Any]]) -> str:
    """Indexes of the workers of the Job `name` that have completed and never start again, as Kubernetes writes them."""
    indexes = [job.get("status", {}).get("completedIndexes", "") for job in jobs if job["metadata"]["name"] == name]
    return str(indexes[0]) if indexes else ""


def relative_bounds() -> list[str]:
    """`f1.min_delta`: bounds of the gate that compare with the version that serves; none if there need not be one."""
    if os.environ.get("MODELOPS_FIRST_VERSION") == "true":
        return []
    gate = json.loads(os.environ.get("MODELOPS_GATE") or "{}")
    return [f"{metric}.{key}" for metric, bounds in gate.items() for key in bounds if key.endswith("_delta")]


def has_version(alias: str) -> bool:
    """Whether the registry has a version of the model under this alias. Raises what urllib raises."""
    model = os.environ["MODELOPS_MODEL_NAME"]
    base = f"{os.environ['MLFLOW_TRACKING_URI'].rstrip('/')}/api/2.0/mlflow/registered-models"
    alias_query = urllib.parse.urlencode({"name": model, "alias": alias})
    try:
        alias_version = get(f"{base}/alias?{alias_query}", auth_header())
    except urllib.error.HTTPError as error:
        # MLflow's answers for an alias (400) and a model (404) that do not exist.
        if error.code in (400, 404):
            return False
        # With accounts, the server answers 403 for a model that does not exist.
        model_query = urllib.parse.urlencode({"filter": f"name = '{model}'"})
        if error.code == 403 and not get(f"{base}/search?{model_query}", auth_header()).get("registered_models"):
            return False
        raise
    return isinstance(alias_version, dict) and "model_version" in alias_version


def auth_header() -> dict[str, str]:
    """The header that MLflow's own clients would send, from the same variables."""
    name, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if name and password:
        return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    return {}


def verdict() -> str:
    """The line to print. Waits for older Jobs to end and, up to WAIT_SECONDS, for the registry to answer."""
    deadline, waiting_for = time.monotonic() + WAIT_SECONDS, None
    job_name, completed = os.environ.get("MODELOPS_JOB_NAME", ""), ""
    registry = f"the registry {os.environ['MLFLOW_TRACKING_URI']}"
    while True:
        try:
            jobs = same_run_jobs()
            if int(os.environ["MODELOPS_WORKERS"]) > 1:
                completed = completed_workers(job_name, jobs)
            if older := older_active_jobs(job_name, jobs):
                if older != waiting_for:
                    log(f"waiting for an older Job of the same run: {', '.join(older)}")
                waiting_for, deadline = older, time.monotonic() + WAIT_SECONDS
                time.sleep(PAUSE_SECONDS)
                continue
        except (OSError, KeyError, ValueError) as error:
            log(f"cannot look up other Jobs of this run: {error}")
        try:
            if has_version(os.environ["MODELOPS_ALIAS"]):
                return f"published this run is already registered as {os.environ['MODELOPS_ALIAS']}"
            if (bounds := relative_bounds()) and not has_version(serving := os.environ["MODELOPS_SERVING_ALIAS"]):
                return (
                    f"{WRONG_CONFIGURATION} no version of {os.environ['MODELOPS_MODEL_NAME']} has the alias {serving}, "
                    f"which the gate's {', '.join(bounds)} would compare with: set first_version for the first "
                    "version, or make serving_alias the alias that ModelService moves after a rollout"
                )
            return f"alone this worker was lost after others (index {completed}) completed" if completed else "train"
        except urllib.error.HTTPError as error:
            problem: object = error
            if error.code in (401, 403):
                return f"{WRONG_CONFIGURATION} {registry} denies access ({error})"
        except (OSError, ValueError) as error:
            problem = error
        if time.monotonic() > deadline:
            return f"{FAILURE} {registry} could not be queried ({problem})"
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    print(verdict())
