"""What a run reports, as the component sees it: TrainingJob's `metrics` and `run_url`."""

import json
from typing import Any

from modelops import TrainingJob
from tests.unit.components.harness import IMAGE, Program, container, pod, run

ARGS: dict[str, Any] = {
    "image": IMAGE,
    "model_name": "linear",
    "framework": "tensorflow",
    "namespace": "ml",
    "tracking_uri": "http://registry.ml.svc:5000",
    "tracking_url": "https://mlflow.example.com/",
}


def start(changes: Any = None, **how: Any) -> Program:
    return run(lambda: TrainingJob("demo", {**ARGS, **(changes or {})}), **how)  # type: ignore[typeddict-item]


def report(**changes: str) -> dict[str, str]:
    identity = start().outputs["run_id"].value
    whole = {"run_id": identity, "experiment_id": "3", "mlflow_run_id": "0a1b", "metrics": json.dumps({"mse": 0.25})}
    return {**whole, **changes}


def test_metrics_and_the_runs_page_come_from_the_report() -> None:
    outputs = start(records={"demo-reported": report()}).outputs
    assert outputs["metrics"].value == {"mse": 0.25}
    assert outputs["run_url"].value == "https://mlflow.example.com/#/experiments/3/runs/0a1b"


def test_the_report_of_another_run_counts_for_nothing() -> None:
    for stale in (report(run_id="000000000000"), {}):
        outputs = start(records={"demo-reported": stale}).outputs
        assert outputs["metrics"].value == {}
        assert outputs["run_url"].value == "https://mlflow.example.com/"


def test_the_publisher_may_patch_the_one_config_map_see_the_jobs_and_nothing_else() -> None:
    """An older Job may still be at work on the same run."""
    role = start().one("Role", "demo-report")
    seen = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]}
    patched = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["demo-report"], "verbs": ["patch"]}
    assert sorted(role.inputs["rules"], key=lambda rule: rule["verbs"]) == [seen, patched]


def test_only_the_publisher_holds_the_token() -> None:
    job = start().one("Job", "demo")
    assert pod(job)["automountServiceAccountToken"] is False
    mounted = {
        name
        for name in ("train", "publish")
        for mount in container(job, name)["volumeMounts"]
        if mount["name"] == "account"
    }
    assert mounted == {"publish"}


def test_only_what_publishes_has_the_registrys_password() -> None:
    program = start({"tracking_secret": "writer"})
    given = {
        name: [
            entry["valueFrom"]["secretKeyRef"]
            for entry in container(program.one("Job", "demo"), name)["env"]
            if entry["name"] == "MLFLOW_TRACKING_PASSWORD"
        ]
        for name in ("check", "train", "publish")
    }
    reference = {"name": "writer", "key": "password"}
    assert given == {"check": [reference], "train": [], "publish": [reference]}


def test_the_best_of_a_sweep_is_reported_by_the_job_that_selects_it() -> None:
    program = start(
        {"sweep": {"rate": [0.1, 0.2]}, "sweep_metric": "mse", "tracking_secret": "writer"},
        records={"demo-reported": report()},
    )
    names = {
        (job.name, each["name"])
        for job in program.of("Job")
        for each in pod(job)["containers"]
        for entry in each["env"]
        if entry["name"] == "MODELOPS_REPORT"
    }
    assert names == {("demo-select", "select")}
