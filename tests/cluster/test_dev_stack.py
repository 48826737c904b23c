"""The dev stack, from source to a served and monitored model, and what happens when something changes or breaks.

The tests share one stack. Each takes it as it is, up and serving, and leaves it so; the last one takes it down.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from previews.reading import read
from tests.cluster.support import REPOSITORY, ProjectStack, eventually, get_json, kubectl, objects, post
from tests.load import load

pytestmark = pytest.mark.dev_stack

STACK = "devtest"
NAMESPACE = f"modelops-{STACK}"
ACCOUNTS = REPOSITORY / "tests" / "security" / "accounts.json"
"""What each service account may do; UPDATE_GOLDEN=1 renews it."""
JOB_WATCH = next(name for name in json.loads(ACCOUNTS.read_text()) if name.startswith("job-watch-"))
"""The account that the watches of the namespace share."""
ALWAYS = {
    "url",
    "predict_url",
    "image",
    "run_id",
    "model_uri",
    "model_version",
    "tracking_uri",
    "metrics",
    "run_url",
    "prometheus_url",
}


@pytest.fixture(scope="module")
def stack(project_copy: Path) -> Iterator[ProjectStack]:
    config = (project_copy / "stacks" / "Pulumi.dev.yaml").read_text()
    (project_copy / "stacks" / f"Pulumi.{STACK}.yaml").write_text(config)
    made = ProjectStack(project_copy, STACK)
    try:
        made.up()
        yield made
    finally:
        made.pulumi("destroy", "--yes", "--skip-preview")
        made.pulumi("stack", "rm", "--yes", "--force", "--preserve-config")


@pytest.fixture
def outputs(stack: ProjectStack) -> dict[str, str]:
    """The outputs as the test finds them."""
    return stack.outputs()


def job_ids() -> dict[str, str]:
    trainings = objects("jobs", NAMESPACE, "--selector", "app.kubernetes.io/component=training-job")
    return {job["metadata"]["name"]: job["metadata"]["uid"] for job in trainings}


def pod_ids() -> set[str]:
    return {pod["metadata"]["uid"] for pod in objects("pods", NAMESPACE)}


def run_of(outputs: dict[str, str]) -> dict[str, dict[str, str]]:
    """The MLflow run behind the model that the stack serves, asked through the registry's own API."""
    name, alias = outputs["model_uri"].removeprefix("models:/").split("@")
    base = f"{outputs['tracking_uri']}/api/2.0/mlflow"
    version = get_json(f"{base}/registered-models/alias?name={name}&alias={alias}")["model_version"]
    data = get_json(f"{base}/runs/get?run_id={version['run_id']}")["run"]["data"]
    return {kind: {item["key"]: item["value"] for item in data[kind]} for kind in ("params", "metrics")}


def test_up_exports_the_outputs_that_every_environment_has(outputs: dict[str, str]) -> None:
    assert set(outputs) >= ALWAYS
    assert "@sha256:" in outputs["image"]
    assert outputs["model_version"] == f"run-{outputs['run_id']}"
    assert outputs["predict_url"] == f"{outputs['url']}/api/predict"


def test_the_service_answers_with_the_trained_line(outputs: dict[str, str]) -> None:
    status, answer = post(outputs["predict_url"], {"inputs": [[0.5]]})
    assert status == 200
    assert answer["outputs"][0] == pytest.approx(2.0, abs=0.25)


def test_the_service_is_a_load_balancer_from_80_to_8080(outputs: dict[str, str]) -> None:
    address = outputs["url"].removeprefix("http://")
    services = objects("services", NAMESPACE)
    [spec] = [s["spec"] for s in services if {"ip": address} in _addresses(s)]
    [pod] = objects("pods", NAMESPACE, "--selector", ",".join(f"{k}={v}" for k, v in spec["selector"].items()))[:1]
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    target = spec["ports"][0]["targetPort"]
    assert spec["type"] == "LoadBalancer"
    assert (spec["ports"][0]["port"], ports.get(target, target)) == (80, 8080)


def _addresses(service: dict[str, Any]) -> list[dict[str, str]]:
    ingress = service["status"].get("loadBalancer", {}).get("ingress", [])
    return [{"ip": entry["ip"]} for entry in ingress]


def test_the_registry_has_parameters_metrics_and_the_version(outputs: dict[str, str]) -> None:
    run = run_of(outputs)
    assert "learning_rate" in run["params"]
    assert float(run["metrics"]["mse"]) > 0


def test_prometheus_scrapes_the_service_the_cluster_and_itself(outputs: dict[str, str]) -> None:
    wanted = {"apiserver", "cadvisor", "kubelet", "prometheus", "model", "registry", "alertmanager", "node-exporter"}
    wanted.add("kube-state-metrics")

    def missing() -> set[str]:
        targets = get_json(f"{outputs['prometheus_url']}/api/v1/targets?state=active")["data"]["activeTargets"]
        up = [target["labels"] for target in targets if target["health"] == "up"]
        names = {labels["job"] for labels in up} | {labels.get("pod", "") for labels in up}
        return {name for name in wanted if not any(name in found for found in names)}

    eventually(lambda: not missing() or None)
    assert missing() == set()


def test_prometheus_counts_the_predictions_of_the_service(outputs: dict[str, str]) -> None:
    def counted() -> float:
        post(outputs["predict_url"], {"inputs": [[0.5]]})
        answer = get_json(f"{outputs['prometheus_url']}/api/v1/query?query=sum(modelops_predictions_total)")
        return float(answer["data"]["result"][0]["value"][1])

    assert eventually(counted) >= 1


def test_an_unchanged_preview_and_up_do_nothing(stack: ProjectStack, outputs: dict[str, str]) -> None:
    jobs, pods = job_ids(), pod_ids()
    preview = stack.pulumi("preview", "--expect-no-changes")
    assert preview.returncode == 0, preview.stdout
    changes = stack.up().summary.resource_changes or {}
    assert set(changes) <= {"same", "read"}, changes
    assert (job_ids(), pod_ids()) == (jobs, pods)


def test_a_refresh_sees_no_drift(stack: ProjectStack, outputs: dict[str, str]) -> None:
    found = json.loads(stack.pulumi("refresh", "--preview-only", "--json").stdout)
    assert read(json.dumps(found), source="refresh").steps == ()
    # The provider notes kind and name of the one object that the stack only reads, the run's report.
    assert found["changeSummary"]["update"] == 1 and set(found["changeSummary"]) == {"same", "update"}


def test_touched_files_build_nothing(stack: ProjectStack, outputs: dict[str, str]) -> None:
    for file in (stack.project / "model").rglob("*.py"):
        file.touch()
    assert stack.pulumi("preview", "--expect-no-changes").returncode == 0


def test_a_changed_hyperparameter_trains_once_and_rolls_without_a_failed_request(
    stack: ProjectStack, outputs: dict[str, str], figure: Callable[[str], None]
) -> None:
    stack.edit("modelops:model", "parameters", "epochs", value=310)
    steps = stack.preview()
    # A Job of the service watches the rollout, and after it another one tells the registry what serves.
    made = [step["urn"] for step in steps if step["op"] in ("create", "replace")]
    created = [urn for urn in made if "-watch" not in urn and "-alias" not in urn]
    updated = [step["urn"] for step in steps if step["op"] == "update"]
    assert len(created) == 1 and "kubernetes:batch/v1:Job::" in created[0], created
    assert sum("kubernetes:apps/v1:Deployment::" in urn for urn in updated) == 1, updated

    before = job_ids()
    with load(outputs["predict_url"], callers=1) as result:
        stack.up()
    after = stack.outputs()
    assert not result.failed
    assert result.answered > 100
    assert after["run_id"] != outputs["run_id"]
    assert len(set(job_ids()) - set(before)) == 1
    assert run_of(after)["params"]["epochs"] == "310"
    figure(f"requests while a changed model rolled out: {result.answered} answered, {len(result.failed)} failed")


def test_a_failing_training_names_job_and_reason_and_leaves_the_old_model(
    stack: ProjectStack, outputs: dict[str, str]
) -> None:
    script = stack.project / "model" / "sample" / "train.py"
    good = script.read_text()
    script.write_text('import sys\nprint("the data is upside down", file=sys.stderr)\nsys.exit(1)\n')
    try:
        with load(outputs["predict_url"], callers=1) as result:
            failed = stack.pulumi("up", "--yes", "--skip-preview")
    finally:
        script.write_text(good)
    text = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert "Job" in text and "the data is upside down" in text, text
    assert not result.failed and result.answered > 0
    assert len(result.outputs) == 1

    stack.up()
    status, _ = post(stack.outputs()["predict_url"], {"inputs": [[0.5]]})
    assert status == 200


def test_a_gate_that_is_not_met_stops_the_release(stack: ProjectStack, outputs: dict[str, str]) -> None:
    stack.edit("modelops:model", "gate", value={"mse": {"max": 0.0001}})
    stack.edit("modelops:model", "parameters", "epochs", value=311)
    failed = stack.pulumi("up", "--yes", "--skip-preview")
    text = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert "mse" in text and "0.0001" in text, text
    status, _ = post(outputs["predict_url"], {"inputs": [[0.5]]})
    assert status == 200

    stack.edit("modelops:model", "gate", value={"mse": {"max": 100.0}})
    stack.up()
    assert run_of(stack.outputs())["params"]["epochs"] == "311"


def test_wrong_settings_are_all_named_before_anything_is_created(stack: ProjectStack, outputs: dict[str, str]) -> None:
    good = stack.config_file.read_text()
    before = stack.resources()
    stack.edit("modelops:service", value={"autoscaling": {"min_replicas": -1, "max_replicas": -2}})
    stack.edit("modelops:model", "framework", value="abacus")
    stack.edit("modelops:images", value={"registry": ""})
    try:
        failed = stack.pulumi("up", "--yes", "--skip-preview")
    finally:
        stack.config_file.write_text(good)
    text = failed.stdout + failed.stderr
    assert failed.returncode != 0
    for key in ("autoscaling.min_replicas is -1", "max_replicas is -2", "framework is 'abacus'", "images.registry"):
        assert key in text, text
    assert stack.resources() == before


@pytest.mark.usefixtures("outputs")
def test_each_account_may_do_what_it_must_and_nothing_more(outputs: dict[str, str]) -> None:
    found = {
        account["metadata"]["name"]: sorted(permissions(namespace, account["metadata"]["name"]))
        for namespace in (NAMESPACE, f"{NAMESPACE}-monitoring", f"{NAMESPACE}-node-agents")
        for account in objects("serviceaccounts", namespace)
    }
    if "UPDATE_GOLDEN" in os.environ:
        ACCOUNTS.write_text(json.dumps(found, indent=4, sort_keys=True) + "\n")
    assert found == json.loads(ACCOUNTS.read_text())


@pytest.mark.parametrize(
    ("account", "verb", "what"),
    [
        ("model", "get", "secrets"),
        ("model", "get", "pods"),
        ("training", "get", "secrets"),
        ("training", "create", "pods"),
        (JOB_WATCH, "delete", "jobs.batch"),
        (JOB_WATCH, "get", "secrets"),
        ("model-watch", "patch", "deployments.apps"),
        ("registry", "list", "pods"),
        ("default", "get", "configmaps"),
    ],
)
def test_an_account_is_refused_what_it_has_no_use_for(
    account: str, verb: str, what: str, outputs: dict[str, str]
) -> None:
    who = f"system:serviceaccount:{NAMESPACE}:{account}"
    assert kubectl("auth", "can-i", verb, what, "--as", who, "--namespace", NAMESPACE, check=False).strip() == "no"


def permissions(namespace: str, account: str) -> set[str]:
    """What the account may do in its namespace (`here`) or in any (`everywhere`), beyond what every account may."""

    def allowed(who: str, where: str) -> set[str]:
        listed = kubectl("auth", "can-i", "--list", "--no-headers", "--as", who, "--namespace", where)
        return {" ".join(line.split()) for line in listed.splitlines()}

    own, nobody = f"system:serviceaccount:{namespace}:{account}", f"system:serviceaccount:{namespace}:nobody"
    everywhere = allowed(own, "kube-public") - allowed(nobody, "kube-public")
    here = allowed(own, namespace) - allowed(nobody, namespace) - everywhere
    return {f"here: {rule}" for rule in here} | {f"everywhere: {rule}" for rule in everywhere}


def test_committed_stack_config_is_not_edited_by_all_this() -> None:
    done = subprocess.run(["git", "status", "--porcelain", "stacks"], cwd=REPOSITORY, capture_output=True, text=True)
    assert "Pulumi.dev.yaml" not in done.stdout or done.returncode != 0


def test_destroy_leaves_nothing(stack: ProjectStack, outputs: dict[str, str]) -> None:
    done = stack.pulumi("destroy", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stdout + done.stderr
    names = kubectl("get", "namespaces", "--output", "name").split()
    assert not [name for name in names if NAMESPACE in name]
    for kind in ("clusterroles", "clusterrolebindings", "persistentvolumes"):
        assert STACK not in kubectl("get", kind, "--output", "json")
