"""The DAG prepare → train → evaluate → register → notify; each step but the last is a Kubernetes Job.

Beside this file are `<its name>.json`, which AirflowPipeline writes (the Jobs, the schedule, retries), and
`modelops_run_id.py`, which gives a run the same identity as a TrainingJob with the same inputs.
"""

import hashlib
import json
import re
import runpy
import ssl
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from kubernetes import client, config

DAG_FILE = Path(__file__)
PIPELINE: dict[str, Any] = json.loads(DAG_FILE.with_suffix(".json").read_text())
NAME, NAMESPACE = PIPELINE["name"], PIPELINE["namespace"]
RUN_ID_FILE = DAG_FILE.with_name("modelops_run_id.py")
RUN_ID = runpy.run_path(str(RUN_ID_FILE))
FILES = (DAG_FILE, DAG_FILE.with_suffix(".json"), RUN_ID_FILE)
VERSION = hashlib.sha256(b"".join(file.read_bytes() for file in FILES)).hexdigest()[:12]
"""Airflow sees that the DAG is another one by what it shows of it, and would not by the Jobs alone."""
FINAL_EXIT_CODES = (2, 3, 10, 11, 13, 14, 15)
"""Exit codes after which a retry would fail again: configuration, gate, data (docs/model.md)."""
POLL_SECONDS = 2
JOB_TTL_SECONDS = 86_400
DATA_VERSION = re.compile(r"[A-Za-z0-9._-]+")


def kubernetes() -> tuple[Any, Any]:
    """Clients for Jobs and for pods."""
    config.load_incluster_config()  # type: ignore[no-untyped-call]
    return client.BatchV1Api(), client.CoreV1Api()


def job_of(step: str, variables: dict[str, str]) -> dict[str, Any]:
    """The Job of a step with additional variables, without a name."""
    template = json.loads(json.dumps(PIPELINE["steps"][step]))
    [container] = template["spec"]["containers"]
    container["env"] += [{"name": name, "value": value} for name, value in variables.items()]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"labels": template["metadata"]["labels"]},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": PIPELINE["timeout_seconds"],
            "ttlSecondsAfterFinished": JOB_TTL_SECONDS,
            "template": template,
        },
    }


def run(step: str, variables: dict[str, str]) -> str:
    """Runs the Job of a step with additional variables and returns its container's termination message.

    Raises AirflowFailException if a retry would fail again, otherwise RuntimeError.
    """
    batch, core = kubernetes()
    ti = get_current_context()["ti"]
    job = job_of(step, variables)
    name, [container] = (
        start(batch, step, job),
        [each["name"] for each in job["spec"]["template"]["spec"]["containers"]],
    )
    print(f"{step}: Job {name}, try {ti.try_number}", flush=True)
    status = None
    try:
        while status is None or not ended(status):
            time.sleep(POLL_SECONDS)
            status = batch.read_namespaced_job_status(name, NAMESPACE).status
    finally:
        if status is None or not ended(
            status
        ):  # this task was killed, or the cluster is unreachable: nobody would see the Job end
            batch.delete_namespaced_job(name, NAMESPACE, propagation_policy="Background")
    pods = core.list_namespaced_pod(NAMESPACE, label_selector=f"batch.kubernetes.io/job-name={name}").items
    if not pods:
        raise RuntimeError(f"{step}: Job {name} has no pod: {status.conditions[0].message}")
    log = core.read_namespaced_pod_log(pods[-1].metadata.name, NAMESPACE, container=container, _preload_content=False)
    print(log.data.decode(errors="replace"), flush=True)  # the client itself would return the repr of bytes
    # By its name: a mesh may have injected containers before and after it.
    states = [each.state for each in pods[-1].status.container_statuses or [] if each.name == container]
    terminated = states[0].terminated if states else None
    message = (terminated.message if terminated else None) or ""
    if status.succeeded:
        return message
    code = terminated.exit_code if terminated else None
    if code == 0:  # something else of the pod failed, or went on until the deadline
        message = "; ".join(each.message or each.reason or "" for each in status.conditions if each.type == "Failed")
    problem = f"{step}: Job {name} ended with exit code {code}: {message or 'no message'}"
    raise AirflowFailException(problem) if code in FINAL_EXIT_CODES else RuntimeError(problem)


def start(batch: Any, step: str, job: dict[str, Any]) -> str:
    """Creates the Job of this try, unless that of the try before still runs. Returns the Job's name.

    A restart of Airflow ends a try without ending its Job, and two Jobs must not write the same files.
    """
    ti = get_current_context()["ti"]

    def name(try_number: int) -> str:
        digest = hashlib.sha256(f"{ti.run_id} {try_number}".encode()).hexdigest()
        return f"{NAME}-{step}-{digest[:10]}"

    previous, current = name(ti.try_number - 1), name(ti.try_number)
    try:
        found = batch.read_namespaced_job_status(previous, NAMESPACE)
        if not ended(found.status) and found.metadata.deletion_timestamp is None:
            return previous
    except client.ApiException as error:
        if error.status != 404:
            raise
    batch.create_namespaced_job(NAMESPACE, {**job, "metadata": {**job["metadata"], "name": current}})
    return current


def ended(status: Any) -> bool:
    """Whether a Job has ended."""
    true_types = {condition.type for condition in status.conditions or [] if condition.status == "True"}
    return bool(true_types & {"Complete", "Failed"})


def run_id(data_uri: str, data_version: str) -> str:
    training = PIPELINE["training"]
    identity: str = RUN_ID["run_id"](
        image_digest=RUN_ID["image_digest"](training["image"]),
        command=training["command"],
        parameters=training["parameters"],
        data_uri=data_uri,
        data_version=data_version,
        framework=training["framework"],
        workers=1,
    )
    return identity


def run_variables(data_version: str) -> dict[str, str]:
    """The run's environment variables for training, evaluation and registration: docs/model.md."""
    data_uri = f"{PIPELINE['destination']}/{data_version}"
    identity = run_id(data_uri, data_version)
    folder = f"{PIPELINE['runs']}/{identity}"
    return {
        "MODELOPS_DATA_URI": data_uri,
        "MODELOPS_DATA_VERSION": data_version,
        "MODELOPS_RUN_ID": identity,
        "MODELOPS_ALIAS": f"run-{identity}",
        "MODELOPS_OUTPUT_DIR": f"{folder}/output",
        "MODELOPS_CHECKPOINT_DIR": f"{folder}/checkpoints",
    }


def post_alert(*, firing: bool, text: str) -> None:
    """Posts the alert to Alertmanager. A firing alert expires a day after its last run."""
    now = datetime.now(UTC)
    alert = {
        "labels": {"alertname": "ModelPipelineFailed", "severity": "warning", "pipeline": NAME, "namespace": NAMESPACE},
        "annotations": {"summary": f"The pipeline {NAME} failed", "description": text, **PIPELINE["runbook"]},
        "endsAt": (now + timedelta(days=1) if firing else now).isoformat(),
    }
    request = urllib.request.Request(
        f"{PIPELINE['alertmanager_url'].rstrip('/')}/api/v2/alerts",
        json.dumps([alert]).encode(),
        {"Content-Type": "application/json"},
    )
    trusted = ssl.create_default_context(cadata=PIPELINE["alertmanager_ca_certificate"] or None)
    with urllib.request.urlopen(request, timeout=30, context=trusted):
        pass


with DAG(
    NAME,
    description=(__doc__ or "").split("\n")[0],
    doc_md=f"Version {VERSION} of the DAG's files.",
    schedule=PIPELINE["schedule"],
    start_date=datetime.fromisoformat(PIPELINE["start"]),
    catchup=PIPELINE["catchup"],
    max_active_runs=1,
    default_args={"retries": PIPELINE["retries"], "retry_delay": timedelta(seconds=PIPELINE["retry_seconds"])},
    tags=["modelops"],
):

    @task
    def prepare() -> str:
        version = run("prepare", {"MODELOPS_WORK": "airflow"}).strip()
        if not DATA_VERSION.fullmatch(version):
            raise AirflowFailException("prepare left no data version in its termination message")
        return version

    @task
    def train(data_version: str) -> str:
        run("train", run_variables(data_version))
        return data_version

    @task
    def evaluate(data_version: str) -> str:
        run("evaluate", run_variables(data_version))
        return data_version

    @task
    def register(data_version: str) -> str:
        variables = run_variables(data_version)
        run("register", variables)
        return f"models:/{PIPELINE['training']['model_name']}@{variables['MODELOPS_ALIAS']}"

    @task(trigger_rule="all_done", retries=3)
    def notify() -> None:
        """Reports how the run ended, and fails if it failed."""
        context = get_current_context()
        dag_run = context["dag_run"]
        states = context["ti"].get_task_states(
            dag_id=NAME, run_ids=[dag_run.run_id], task_ids=["prepare", "train", "evaluate", "register"]
        )
        failed = [step for step, state in states[dag_run.run_id].items() if state == "failed"]
        outcome = f"Run {dag_run.run_id} " + (f"failed in {', '.join(failed)}." if failed else "succeeded.")
        print(outcome, flush=True)
        if PIPELINE["alertmanager_url"]:
            post_alert(firing=bool(failed), text=outcome)
        if failed:
            raise AirflowFailException(outcome)

    register(evaluate(train(prepare()))) >> notify()
