"""A DAG: prepare → train → evaluate → register → notify, each a Kubernetes Job of the image that does it elsewhere too.

Beside this file are `<its name>.json`, which AirflowPipeline writes (what each Job is, schedule, retries), and
`modelops_run_id.py`, by which a run here has the identity that a TrainingJob with the same inputs has.
"""

import json
import re
import runpy
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from kubernetes import client, config

HERE = Path(__file__)
PIPELINE: dict[str, Any] = json.loads(HERE.with_suffix(".json").read_text())
NAME, NAMESPACE = PIPELINE["name"], PIPELINE["namespace"]
IDENTITY = runpy.run_path(str(HERE.with_name("modelops_run_id.py")))
FINAL = (2, 3, 10, 11, 13, 14, 15)
"""Exit codes after which another try would end the same: configuration, gate, data (docs/model.md)."""
POLL_SECONDS = 2
JOB_KEPT_SECONDS = 86_400
DATA_VERSION = re.compile(r"[A-Za-z0-9._-]+")


def kubernetes() -> tuple[Any, Any]:
    """Clients for Jobs, and for pods."""
    config.load_incluster_config()  # type: ignore[no-untyped-call]
    return client.BatchV1Api(), client.CoreV1Api()


def run(step: str, variables: dict[str, str]) -> str:
    """Runs the Job of a step to its end, with further variables; returns what its container left as its message.

    Raises AirflowFailException where another try would end the same, RuntimeError otherwise.
    """
    batch, core = kubernetes()
    ti = get_current_context()["ti"]
    template = json.loads(json.dumps(PIPELINE["steps"][step]))
    [container] = template["spec"]["containers"]
    container["env"] += [{"name": name, "value": value} for name, value in variables.items()]
    labels = template["metadata"]["labels"]
    job = {
        "metadata": {"generateName": f"{NAME}-{step}-", "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": PIPELINE["timeout_seconds"],
            "ttlSecondsAfterFinished": JOB_KEPT_SECONDS,
            "template": template,
        },
    }
    name = batch.create_namespaced_job(NAMESPACE, job).metadata.name
    print(f"{step}: Job {name}, try {ti.try_number}", flush=True)
    ended = False
    try:
        while not ended:
            time.sleep(POLL_SECONDS)
            status = batch.read_namespaced_job_status(name, NAMESPACE).status
            ended = any(
                each.type in ("Complete", "Failed") and each.status == "True" for each in status.conditions or []
            )
    finally:
        if not ended:  # this task was killed, or the cluster is away: nobody would look at the Job's end
            batch.delete_namespaced_job(name, NAMESPACE, propagation_policy="Background")
    pods = core.list_namespaced_pod(NAMESPACE, label_selector=f"batch.kubernetes.io/job-name={name}").items
    if not pods:
        raise RuntimeError(f"{step}: Job {name} has no pod: {status.conditions[0].message}")
    said = core.read_namespaced_pod_log(pods[-1].metadata.name, NAMESPACE, _preload_content=False)
    print(said.data.decode(errors="replace"), flush=True)  # decoded here: the client's own text is that of bytes
    states = pods[-1].status.container_statuses or []
    end = states[0].state.terminated if states else None
    if status.succeeded:
        return (end.message if end else None) or ""
    code = end.exit_code if end else None
    problem = f"{step}: Job {name} ended with exit code {code}: {(end.message if end else None) or 'no message'}"
    raise AirflowFailException(problem) if code in FINAL else RuntimeError(problem)


def run_id(data_uri: str, data_version: str) -> str:
    training = PIPELINE["training"]
    found: str = IDENTITY["run_id"](
        image_digest=IDENTITY["image_digest"](training["image"]),
        command=training["command"],
        parameters=training["parameters"],
        data_uri=data_uri,
        data_version=data_version,
        framework=training["framework"],
        workers=1,
    )
    return found


def of_run(data_version: str) -> dict[str, str]:
    """What training, evaluation and registration are told of the run: docs/model.md."""
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


def post_alert(*, firing: bool, words: str) -> None:
    """Tells Alertmanager; a firing alert ends by itself a day after its last run."""
    now = datetime.now(UTC)
    alert = {
        "labels": {"alertname": "ModelPipelineFailed", "severity": "warning", "pipeline": NAME, "namespace": NAMESPACE},
        "annotations": {"summary": f"The pipeline {NAME} failed", "description": words, "runbook": PIPELINE["runbook"]},
        "endsAt": (now + timedelta(days=1) if firing else now).isoformat(),
    }
    request = urllib.request.Request(
        f"{PIPELINE['alertmanager_url'].rstrip('/')}/api/v2/alerts",
        json.dumps([alert]).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30):
        pass


with DAG(
    NAME,
    description=(__doc__ or "").split("\n")[0],
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
        run("train", of_run(data_version))
        return data_version

    @task
    def evaluate(data_version: str) -> str:
        run("evaluate", of_run(data_version))
        return data_version

    @task
    def register(data_version: str) -> str:
        told = of_run(data_version)
        run("register", told)
        return f"models:/{PIPELINE['training']['model_name']}@{told['MODELOPS_ALIAS']}"

    @task(trigger_rule="all_done", retries=3)
    def notify() -> None:
        """Says how the run ended, and ends as it did."""
        context = get_current_context()
        dag_run = context["dag_run"]
        states = context["ti"].get_task_states(
            dag_id=NAME, run_ids=[dag_run.run_id], task_ids=["prepare", "train", "evaluate", "register"]
        )
        bad = [step for step, state in states[dag_run.run_id].items() if state == "failed"]
        words = (
            f"Run {dag_run.run_id} failed in {', '.join(bad) or 'a step'}." if bad else f"Run {dag_run.run_id} is done."
        )
        print(words, flush=True)
        if PIPELINE["alertmanager_url"]:
            post_alert(firing=bool(bad), words=words)
        if bad:
            raise AirflowFailException(words)

    register(evaluate(train(prepare()))) >> notify()
