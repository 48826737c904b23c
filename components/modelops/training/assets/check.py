"""Says on stdout, in one line, whether this run is to be trained.

That is `train`, `published <why>`, `alone <why>` (other workers are done: only what is trained already is of use) or
`<exit code> <why>`.

A run that is published already is not trained again: its Job may be a new one only because the old one was removed
(time to live, another machine's state). A run that an older Job is at work on is waited for: that Job may be what an
interrupted `pulumi up` left behind. Needs nothing but Python itself.
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


def said(text: str) -> None:
    """Says something in the container's log."""
    print(text, file=sys.stderr, flush=True)


def get(url: str, headers: Mapping[str, str], context: ssl.SSLContext | None = None) -> Any:
    """The JSON at an address."""
    with urllib.request.urlopen(
        urllib.request.Request(url, headers=dict(headers)), timeout=10, context=context
    ) as found:
        return json.load(found)


def same_run_jobs() -> list[dict[str, Any]]:
    """The Jobs of this very run, our own among them."""
    address = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}"
    namespace = os.environ["MODELOPS_NAMESPACE"]
    query = urllib.parse.urlencode({"labelSelector": os.environ["MODELOPS_SAME_RUN"]})
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    token = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    found: list[dict[str, Any]] = get(f"{address}/apis/batch/v1/namespaces/{namespace}/jobs?{query}", token, context)[
        "items"
    ]
    return found


def older(own: str, jobs: list[dict[str, Any]]) -> list[str]:
    """Of `jobs`, those that came before the one named `own` and have pods at work or still ending."""
    ages = {job["metadata"]["name"]: (job["metadata"]["creationTimestamp"], job["metadata"]["name"]) for job in jobs}
    return [name for job in jobs if own in ages and ages[name := job["metadata"]["name"]] < ages[own] and at_work(job)]


def at_work(job: dict[str, Any]) -> bool:
    """Whether a Job still has something to do, suspended ones apart: nobody knows whether they ever go on."""
    conditions = job.get("status", {}).get("conditions") or []
    ended = any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)
    return not ended and not job["spec"].get("suspend")


def workers_done(own: str, jobs: list[dict[str, Any]]) -> str:
    """Indexes of the workers of the Job named `own` that are done and never started again, in Kubernetes' words."""
    done = [job.get("status", {}).get("completedIndexes", "") for job in jobs if job["metadata"]["name"] == own]
    return str(done[0]) if done else ""


def published() -> bool:
    """Whether the registry has a version under this run's alias. Raises what urllib raises."""
    name = os.environ["MODELOPS_MODEL_NAME"]
    query = urllib.parse.urlencode({"name": name, "alias": os.environ["MODELOPS_ALIAS"]})
    base = os.environ["MLFLOW_TRACKING_URI"].rstrip("/")
    try:
        found = get(f"{base}/api/2.0/mlflow/registered-models/alias?{query}", credentials())
    except urllib.error.HTTPError as error:
        # MLflow's answer for an alias that is not there (400), and for a model that is not (404).
        if error.code in (400, 404):
            return False
        # A server with accounts refuses to speak of a model that is not there.
        wanted = urllib.parse.urlencode({"filter": f"name = '{name}'"})
        search = f"{base}/api/2.0/mlflow/registered-models/search?{wanted}"
        if error.code == 403 and not get(search, credentials()).get("registered_models"):
            return False
        raise
    return isinstance(found, dict) and "model_version" in found


def credentials() -> dict[str, str]:
    """The header that MLflow's own clients would send, from the same variables."""
    name, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if name and password:
        return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    return {}


def verdict() -> str:
    """The line, after waiting for older Jobs and for a registry that does not answer yet."""
    deadline, waited_for = time.monotonic() + WAIT_SECONDS, None
    own, done = os.environ.get("MODELOPS_JOB_NAME", ""), ""
    while True:
        try:
            same_run = same_run_jobs()
            if int(os.environ["MODELOPS_WORKERS"]) > 1:
                done = workers_done(own, same_run)
            if jobs := older(own, same_run):
                if jobs != waited_for:
                    said(f"waiting for {', '.join(jobs)}: the same run, started before this one")
                waited_for, deadline = jobs, time.monotonic() + WAIT_SECONDS
                time.sleep(PAUSE_SECONDS)
                continue
        except (OSError, KeyError, ValueError) as error:
            said(f"other Jobs of this run are not looked up: {error}")
        try:
            if published():
                return f"published this run is in the registry as {os.environ['MODELOPS_ALIAS']}"
            return f"alone this worker was lost when those with the index {done} were done" if done else "train"
        except urllib.error.HTTPError as error:
            problem: object = error
            if error.code in (401, 403):
                return f"{WRONG_CONFIGURATION} the registry {os.environ['MLFLOW_TRACKING_URI']} refuses us ({error})"
        except (OSError, ValueError) as error:
            problem = error
        if time.monotonic() > deadline:
            return f"{FAILURE} the registry {os.environ['MLFLOW_TRACKING_URI']} could not be asked ({problem})"
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    print(verdict())
