"""AirflowPipeline: a DAG's files and rights, and an Airflow where none is there."""

import json
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pulumi
import pytest

from modelops import UPSTREAM_IMAGES, AirflowPipeline, ArgumentsError
from modelops.core.assets import asset
from modelops.kubernetes.runtime import runtime_command
from tests.certificates import make
from tests.unit.components.harness import (
    IMAGE,
    Program,
    Resource,
    breaks_restricted,
    container,
    environment,
    ignored_provider,
    on,
    pod,
    provider,
    run,
)

ARGS: dict[str, Any] = {
    "namespace": "ml",
    "claim": "raw",
    "data": {"image": IMAGE, "sources": [{"uri": "/data/raw/*.csv"}], "steps": [{"split": {}}], "target": "y"},
    "training": {
        "image": IMAGE,
        "framework": "tensorflow",
        "model_name": "customers",
        "tracking_uri": "http://registry.ml.svc:5000",
        "gate": {"mse": {"max": 1.2}},
    },
}
EXISTING = {**ARGS, "existing": {"service_account": "worker", "namespace": "airflow"}}


def deploy(args: Any, **how: Any) -> Program:
    return run(lambda: AirflowPipeline("nightly", args), **how)


def files(args: Any) -> dict[str, str]:
    """The files of the DAG."""
    return dict(deploy(args).one("ConfigMap", "nightly-dag").inputs["data"])


def document(program: Program) -> dict[str, Any]:
    files = program.one("ConfigMap", "nightly-dag").inputs["data"]
    assert sorted(files) == ["modelops_run_id.py", "nightly.json", "nightly.py"]
    return dict(json.loads(files["nightly.json"]))


def test_the_dag_has_the_steps_in_pods_without_rights() -> None:
    program = deploy(ARGS)
    found = document(program)
    assert list(found["steps"]) == sorted(["prepare", "train", "evaluate", "register"])
    for step in found["steps"].values():
        assert breaks_restricted(Resource("Job", "step", {"spec": {"template": step}}, "", {})) == []
        assert step["spec"]["automountServiceAccountToken"] is False
        assert step["spec"]["serviceAccountName"] == "nightly"
        assert step["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "raw"
    [prepare] = found["steps"]["prepare"]["spec"]["containers"]
    variables = {each["name"]: each.get("value") for each in prepare["env"]}
    assert json.loads(variables["MODELOPS_PIPELINE"])["target"] == "y"
    assert variables["MODELOPS_VERSION_FILE"] == "/dev/termination-log"
    commands = {name: step["spec"]["containers"][0]["command"] for name, step in found["steps"].items()}
    assert commands["evaluate"] == runtime_command("publish", "--gate")
    images = {name: step["spec"]["containers"][0]["image"] for name, step in found["steps"].items()}
    assert images == {
        "prepare": IMAGE,
        "train": IMAGE,
        "evaluate": UPSTREAM_IMAGES["mlflow"],
        "register": UPSTREAM_IMAGES["mlflow"],
    }
    # The identity of a run hashes these words, whatever the command is called.
    assert found["training"]["command"] == ["python", "-m", "model.train"]
    assert commands["train"] == ["python", "-m", "sample.train"]
    assert (found["schedule"], found["catchup"], found["retries"], found["retry_seconds"]) == (None, False, 1, 60)


def test_a_step_gets_every_resource_that_a_training_job_would_get() -> None:
    resources = {"cpu": "1", "cpu_limit": "2", "memory": "1Gi", "gpus": 1, "gpu_resource": "amd.com/gpu"}
    resources["devices"] = {"rdma/hca": 1}
    args = {**ARGS, "training": {**ARGS["training"], "resources": resources}}
    [step] = document(deploy(args))["steps"]["train"]["spec"]["containers"]
    assert step["resources"] == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "1Gi", "amd.com/gpu": "1", "rdma/hca": "1"},
    }


def test_a_bound_of_the_gate_may_be_an_output() -> None:
    gate = {"mse": {"max": 1.5}}

    def program() -> AirflowPipeline:
        training: Any = {**ARGS["training"], "gate": {"mse": {"max": pulumi.Output.from_input(1.5)}}}
        return AirflowPipeline("nightly", {**ARGS, "training": training})

    [step] = document(run(program))["steps"]["evaluate"]["spec"]["containers"]
    variables = {each["name"]: each.get("value") for each in step["env"]}
    assert json.loads(variables["MODELOPS_GATE"]) == gate


def test_a_relative_gate_says_what_it_compares_with_as_that_of_a_training_job_does() -> None:
    training: Any = {**ARGS["training"], "gate": {"mse": {"max_delta": 0}}}
    with pytest.raises(
        ArgumentsError, match=r"training\.serving_alias is missing, it is required with training\.gate\.mse"
    ):
        deploy({**ARGS, "training": training})
    training |= {"serving_alias": "live", "first_version": True}
    [step] = document(deploy({**ARGS, "training": training}))["steps"]["register"]["spec"]["containers"]
    variables = {each["name"]: each.get("value") for each in step["env"]}
    assert (variables["MODELOPS_SERVING_ALIAS"], variables["MODELOPS_FIRST_VERSION"]) == ("live", "true")


def test_secrets_are_references() -> None:
    args = {**ARGS, "data": {**ARGS["data"], "steps": [{"hash": {"columns": ["who"]}}, {"split": {}}]}}
    args["data"] |= {"salt_secret": "salt", "data_secret": "store"}
    args["training"] = {**ARGS["training"], "tracking_secret": "writer"}
    steps = document(deploy(args))["steps"]
    [prepare] = steps["prepare"]["spec"]["containers"]
    references = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in prepare["env"] if "valueFrom" in each}
    account = {f"MLFLOW_TRACKING_{key.upper()}": {"name": "writer", "key": key} for key in ("username", "password")}
    assert references == {"MODELOPS_SALT": {"name": "salt", "key": "salt"}, **account}
    assert prepare["envFrom"] == [{"secretRef": {"name": "store"}}]
    named = {name: json.dumps(step).count('"writer"') for name, step in steps.items()}
    assert named == {"prepare": 2, "train": 0, "evaluate": 0, "register": 2}


def test_a_real_airflow_has_accounts_a_database_and_one_token() -> None:
    program = deploy(ARGS)
    deployment = program.one("Deployment")
    assert breaks_restricted(deployment) == []
    assert pod(deployment)["automountServiceAccountToken"] is False
    for name in ("api-server", "scheduler", "dag-processor"):
        variables = environment(deployment, name)
        assert variables["AIRFLOW__CORE__AUTH_MANAGER"].endswith("FabAuthManager")
        assert variables["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
        references = {each["name"] for each in container(deployment, name)["env"] if "valueFrom" in each}
        assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" in references and "AIRFLOW__CORE__FERNET_KEY" in references
        has_token = "account" in {each["name"] for each in container(deployment, name)["volumeMounts"]}
        assert has_token == (name == "scheduler")
    assert [found.name for found in program.resources if found.type.endswith(":StatefulSet")] == ["nightly-postgres"]
    [binding] = [found for found in program.resources if found.type.endswith(":RoleBinding")]
    assert binding.inputs["subjects"][0]["name"] == "nightly-airflow"
    assert (
        program.outputs["admin_secret"].value and program.outputs["url"].value == "http://nightly-airflow.ml.svc:8080"
    )


SECRETS = {
    "admin_secret": "airflow-admin",
    "keys_secret": "airflow-keys",
    "connections_secret": "airflow-connections",
    "database_password_secret": "airflow-database",
}


def references(deployment: Resource, container_name: str) -> dict[str, dict[str, str]]:
    variables = container(deployment, container_name)["env"]
    return {each["name"]: each["valueFrom"]["secretKeyRef"] for each in variables if "valueFrom" in each}


def test_secrets_that_exist_are_referred_to_and_none_is_made() -> None:
    program = deploy({**ARGS, "airflow": SECRETS})
    assert [found.name for found in program.resources if found.type.endswith(":Secret")] == []
    deployment, database = program.one("Deployment"), program.one("StatefulSet", "nightly-postgres")
    keys = {
        "AIRFLOW__CORE__FERNET_KEY": {"name": "airflow-keys", "key": "fernet"},
        "AIRFLOW__API__SECRET_KEY": {"name": "airflow-keys", "key": "session"},
        "AIRFLOW__API_AUTH__JWT_SECRET": {"name": "airflow-keys", "key": "tokens"},
    }
    password = {"name": "airflow-database", "key": "password"}
    for name in ("api-server", "scheduler", "dag-processor"):
        assert references(deployment, name) == {**keys, "PGPASSWORD": password}
        assert container(deployment, name)["envFrom"] == [{"secretRef": {"name": "airflow-connections"}}]
        url = environment(deployment, name)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        assert url == "postgresql+psycopg2://airflow@nightly-postgres:5432/airflow"
    assert references(database, "prepare") == {"POSTGRES_PASSWORD": password}
    login = {f"ADMIN_{key.upper()}": {"name": "airflow-admin", "key": key} for key in ("username", "password")}
    assert references(deployment, "prepare").items() >= login.items()
    assert program.outputs["admin_secret"].value == "airflow-admin"


def test_an_existing_database_is_reached_by_the_address_in_its_secret() -> None:
    program = deploy({**ARGS, "airflow": {"database_secret": "managed"}})
    assert [found.name for found in program.resources if found.type.endswith(":StatefulSet")] == []
    found = references(program.one("Deployment"), "scheduler")["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert found == {"name": "managed", "key": "url"}


def test_an_existing_airflow_gets_files_and_rights_alone() -> None:
    program = deploy(EXISTING)
    kinds = sorted({found.type.rpartition(":")[2] for found in program.resources if found.is_kubernetes})
    assert kinds == ["ConfigMap", "Role", "RoleBinding", "ServiceAccount"]
    [binding] = [found for found in program.resources if found.type.endswith(":RoleBinding")]
    assert binding.inputs["subjects"] == [{"kind": "ServiceAccount", "name": "worker", "namespace": "airflow"}]
    assert program.outputs["url"].value == ""


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"data": {**ARGS["data"], "steps": [{"scale": {"columns": ["a"]}}]}}, r"data\.steps is .*exactly one split"),
        ({"data": {**ARGS["data"], "image": "prepare:1"}}, r"data\.image is 'prepare:1', must be named by digest"),
        ({"training": {**ARGS["training"], "image": "train:1"}}, r"training\.image is 'train:1', must be named by"),
        ({"catchup": True}, "catchup is True, must not be given without schedule"),
        ({"retries": 11}, "retries is 11, must be 0 to 10"),
        ({"airflow": {}, **{"existing": EXISTING["existing"]}}, "existing is .*, must not be given together with"),
        ({"alertmanager_url": "alerts"}, "alertmanager_url is 'alerts', must be"),
        ({"airflow": {"keys_secret": ""}}, r"airflow\.keys_secret is '', must be an object's name"),
        (
            {"airflow": {"database_secret": "managed", "storage_size": "1Gi"}},
            r"airflow\.storage_size is '1Gi', must not be given with database_secret, whose server runs elsewhere",
        ),
        ({"runbook_url": "docs"}, "runbook_url is 'docs', must be"),
    ],
)
def test_what_is_wrong_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError, match=problem):
        deploy({**ARGS, **changes})


def test_every_child_is_on_the_given_provider() -> None:
    assert ignored_provider(run(lambda: AirflowPipeline("nightly", ARGS, on(provider())))) == []  # type: ignore[arg-type]


def in_airflow(folder: Path, args: Any, script: str) -> "subprocess.CompletedProcess[str]":
    """Runs a script beside the DAG's files, with stand-ins for Airflow, which is not installed here."""
    files = deploy(args).one("ConfigMap", "nightly-dag").inputs["data"]
    for name, text in files.items():
        (folder / name).write_text(text)
    stand_ins = {
        "airflow/__init__.py": "",
        "airflow/sdk/__init__.py": (
            "class DAG:\n    def __init__(self, *a, **k): pass\n    def __enter__(self): return self\n"
            "    def __exit__(self, *a): pass\n"
            "class Step:\n    def __call__(self, *a, **k): return self\n    def __rshift__(self, other): return other\n"
            "def task(*a, **k): return Step()\ndef get_current_context(): return {}\n"
        ),
        "airflow/sdk/exceptions.py": "class AirflowFailException(Exception): pass\n",
    }
    for name, text in stand_ins.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)


class Alertmanager(BaseHTTPRequestHandler):
    """Keeps the alerts that it is sent."""

    alerts: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.alerts += json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "not trusted"])
def test_an_alert_reaches_an_alertmanager_with_tls_whose_authority_is_given(tmp_path: Path, trusted: bool) -> None:
    files = make({"server": ["localhost"]})
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with ThreadingHTTPServer(("127.0.0.1", 0), Alertmanager) as server:
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
        server.socket = own.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Alertmanager.alerts.clear()
        args = {**ARGS, "alertmanager_url": f"https://localhost:{server.server_port}"}
        if trusted:
            args["alertmanager_ca_certificate"] = files["ca.crt"].decode()
        done = in_airflow(tmp_path, args, "import nightly; nightly.post_alert(firing=True, text='Run 1 failed.')")
        server.shutdown()
    if trusted:
        assert done.returncode == 0, done.stderr
        [alert] = Alertmanager.alerts
        assert alert["labels"]["alertname"] == "ModelPipelineFailed"
    else:
        assert "CERTIFICATE_VERIFY_FAILED" in done.stderr and Alertmanager.alerts == []


def test_the_alert_leads_to_its_section() -> None:
    section = "#modelpipelinefailed"
    assert document(deploy(ARGS))["runbook"] == {"runbook": f"docs/components/airflow_pipeline.md{section}"}
    found = document(deploy({**ARGS, "runbook_url": "https://docs.example.com/airflow_pipeline.html"}))["runbook"]
    assert found == {"runbook_url": f"https://docs.example.com/airflow_pipeline.html{section}"}


def test_a_run_has_the_identity_that_a_training_job_has(tmp_path: Path) -> None:
    """By the DAG's own code."""
    found = in_airflow(tmp_path, ARGS, "import nightly; print(nightly.run_variables('v1')['MODELOPS_RUN_ID'])")
    assert found.returncode == 0, found.stderr

    from modelops import TrainingJob

    training = {key: value for key, value in ARGS["training"].items() if key != "gate"}
    given = {**training, "namespace": "ml", "data_uri": "/data/prepared/v1", "data_version": "v1"}
    job = run(lambda: TrainingJob("demo", given))  # type: ignore[arg-type]
    assert found.stdout.strip() == job.outputs["run_id"].value
    assert "modelops_run_id" in asset("airflow/assets/model_pipeline.py")
