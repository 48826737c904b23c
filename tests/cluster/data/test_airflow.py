"""AirflowPipeline: a real Airflow runs the DAG to its end, refuses strangers, raises an alert, makes up for a date, and
ends a run with the DAG that it began with. Its keys, passwords and connections are in Secrets that no stack makes."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

import modelops
from modelops.core.images import AIRFLOW_IMAGE
from tests.cluster import s3
from tests.cluster.data.pipelines import CLAIM, MAIL, PERSON, SALT, STEPS, TYPES, Pipelines
from tests.cluster.provider.harness import Program, Stack
from tests.cluster.support import apply, eventually, exposure, get_json, kubectl, platform_facts
from tests.cluster.training.images import TrainingImages
from tests.cluster.training.registry import TINY, platform_image

pytestmark = [pytest.mark.data, pytest.mark.long]

NAME = "nightly"
TASKS = ("prepare", "train", "evaluate", "register", "notify")
ALERTS = "http://alerts:9093"
# Any characters may be in a password, and a key is 32 bytes.
SECRETS = {
    "airflow-admin": {"username": "admin", "password": "-p@ss/wörd of the administrator"},
    "airflow-keys": {
        "fernet": base64.urlsafe_b64encode(b"planted-key-of-thirty-two-bytes!").decode(),
        "session": "planted-session-key-of-airflow",
        "tokens": "planted-secret-of-airflows-tokens-which-must-be-long-enough-for-sha-512",
    },
    "airflow-database": {"password": "p@ss:w/rd?of#the database"},
    "airflow-connections": {"AIRFLOW_CONN_STORE": "http://writer:planted-password@store:9000"},
}
SECRET_ARGS = {
    "admin_secret": "airflow-admin",
    "keys_secret": "airflow-keys",
    "database_password_secret": "airflow-database",
    "connections_secret": "airflow-connections",
}
_RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


class Airflow:
    """Its REST API, as its administrator."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._url = url
        self._token = ""
        self._token = self.ask("/auth/token", {"username": username, "password": password})["access_token"]

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """POSTs a body, or GETs."""
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, content, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def run(self) -> tuple[str, dict[str, str]]:
        """Triggers the DAG and waits for its end: state of the run, and of each task."""
        return self.end_of(self.trigger())

    def trigger(self) -> str:
        """Begins a run; returns its id."""
        eventually(lambda: self._known(), timeout_seconds=120, every_seconds=3)
        return str(self.ask(f"/api/v2/dags/{NAME}/dagRuns", {"logical_date": None})["dag_run_id"])

    def tasks(self, run: str) -> dict[str, str]:
        """State of each task of a run."""
        found = self.ask(f"/api/v2/dags/{NAME}/dagRuns/{run}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] for task in found}

    def _known(self) -> bool:
        try:
            return not self.ask(f"/api/v2/dags/{NAME}")["is_paused"]
        except urllib.error.HTTPError:
            return False

    def end_of(self, run: str) -> tuple[str, dict[str, str]]:
        """State of a run that has ended, and of each of its tasks."""
        path = f"/api/v2/dags/{NAME}/dagRuns/{run}"

        def ended() -> Any:
            found = self.ask(path)
            return found if found["state"] in ("success", "failed") else None

        state = eventually(ended, timeout_seconds=600, every_seconds=3)["state"]
        return state, self.tasks(run)

    def why(self) -> str:
        """What every failed task's last try said."""
        said = []
        for run in self.ask(f"/api/v2/dags/{NAME}/dagRuns")["dag_runs"]:
            path = f"/api/v2/dags/{NAME}/dagRuns/{run['dag_run_id']}/taskInstances"
            for task in self.ask(path)["task_instances"]:
                if task["state"] == "failed" and task["try_number"]:
                    lines = self.ask(f"{path}/{task['task_id']}/logs/{task['try_number']}")
                    said.append(f"{run['dag_run_id']} {task['task_id']}: {json.dumps(lines)[-3000:]}")
        return "\n".join(said)

    def log(self, run: str, task: str) -> str:
        """What a task's first try said."""
        return json.dumps(self.ask(f"/api/v2/dags/{NAME}/dagRuns/{run}/taskInstances/{task}/logs/1"))


@pytest.fixture(scope="module")
def stack(pipelines: Pipelines) -> Iterator[Stack]:
    made = pipelines.new_stack()
    config = {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}
    metadata = {"name": "alerts", "namespace": pipelines.namespace, "labels": {"app": "alerts"}}
    container = {
        "name": "alertmanager",
        "image": platform_image(platform_facts(), "alertmanager"),
        "args": ["--config.file=/etc/alertmanager/config.json", "--storage.path=/tmp", "--cluster.listen-address="],
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/alertmanager"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
        "securityContext": _RESTRICTED,
        "resources": {"limits": {"memory": "256Mi"}},
    }
    spec = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "config", "configMap": {"name": "alerts"}}, {"name": "tmp", "emptyDir": {}}],
        "containers": [container],
    }
    ports = [{"port": 9093, "targetPort": 9093}]
    apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"config.json": json.dumps(config)}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": "alerts"}, "ports": ports},
        },
    )
    for name, entries in SECRETS.items():
        metadata = {"name": name, "namespace": pipelines.namespace}
        apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": entries})
    yield made
    made.destroy(succeed=None)
    kubectl("delete", "secret", *SECRETS, "--namespace", pipelines.namespace)
    kubectl("delete", "pod,service,configmap", "alerts", "--namespace", pipelines.namespace, "--ignore-not-found")


@pytest.fixture(scope="module")
def train_image(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return TrainingImages(tmp_path_factory.mktemp("train"), platform_facts()).target("train")


def program(pipelines: Pipelines, train_image: str, **gate: dict[str, float]) -> Program:
    """A registry, an Airflow and the DAG."""
    facts = platform_facts()
    exposed = exposure()

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        there = pulumi.ResourceOptions(provider=provider)
        settings: dict[str, Any] = {"image": platform_image(facts, "mlflow"), "storage_size": "1Gi", "resources": TINY}
        registry = modelops.ModelRegistry(
            "flow-registry",
            {"namespace": pipelines.namespace, "expose": exposed, **settings},
            there,  # type: ignore[typeddict-item]
        )
        small = {"cpu": "20m", "memory": "128Mi", "memory_limit": "2Gi"}
        sources = [{"uri": "/data/raw/part-*.csv", "types": TYPES}]
        steps = [*STEPS[:3], {"drop": {"columns": ["who", "note"]}}, *STEPS[3:]]
        args: dict[str, Any] = {
            "namespace": pipelines.namespace,
            "claim": CLAIM,
            "data": {
                "image": pipelines.image,
                "sources": sources,
                "steps": steps,
                "target": "y",
                "salt_secret": "salt",
                "resources": small,
            },
            "training": {
                "image": train_image,
                "framework": "tensorflow",
                "model_name": "flow",
                "tracking_uri": registry.tracking_uri,
                "parameters": {"task": "classification", "epochs": 3},
                "gate": gate or {"accuracy": {"min": 0.1}},
                "resources": small,
            },
            "schedule": "0 3 1 1 *",
            "start": "2024-01-01",
            "retries": 1,
            "retry_seconds": 1,
            "alertmanager_url": ALERTS,
            # So that the retry of a task that a restart has ended comes after one minute instead of five.
            "environment": {"AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60"},
            "airflow": {
                **SECRET_ARGS,
                "image": s3.image(AIRFLOW_IMAGE),
                "database_image": s3.image(modelops.UPSTREAM_IMAGES["postgres"]),
                "storage_size": "1Gi",
                "expose": exposed,
                "resources": {"cpu": "20m", "memory": "256Mi", "memory_limit": "1536Mi"},
            },
        }
        pipeline = modelops.AirflowPipeline(NAME, args, there)  # type: ignore[arg-type]
        outputs = {"url": pipeline.url, "admin": pipeline.admin_secret, "registry": registry.url}
        return outputs

    return build


def airflow(pipelines: Pipelines, stack: Stack) -> Airflow:
    said = stack.outputs()
    secret = json.loads(kubectl("get", "secret", said["admin"], "--namespace", pipelines.namespace, "--output", "json"))
    login = [base64.b64decode(secret["data"][key]).decode() for key in ("username", "password")]
    # Its only pod was replaced, and on a busy machine Airflow takes minutes to start.
    return eventually(lambda: Airflow(said["url"], *login), timeout_seconds=400)  # type: ignore[no-any-return]


def alerts(pipelines: Pipelines) -> list[str]:
    """Names of the alerts that Alertmanager holds as active."""
    script = (
        f"import urllib.request; print(urllib.request.urlopen('{ALERTS}/api/v2/alerts?active=true').read().decode())"
    )
    return [alert["labels"]["alertname"] for alert in json.loads(pipelines.exec("python3", "-c", script))]


def versions(url: str) -> list[str]:
    found = get_json(f"{url}/api/2.0/mlflow/model-versions/search?filter=name%3D%27flow%27")
    return [version["version"] for version in found.get("model_versions", [])]


def test_the_dag_runs_to_its_end_and_registers_a_model_once(
    pipelines: Pipelines, stack: Stack, train_image: str
) -> None:
    made = program(pipelines, train_image)
    stack.up(made)
    stack.unchanged(made)
    said = stack.outputs()
    with pytest.raises(urllib.error.HTTPError) as refused:
        get_json(f"{said['url']}/api/v2/dags/{NAME}")
    assert refused.value.code == 401

    client = airflow(pipelines, stack)
    state, tasks = client.run()
    assert (state, tasks) == ("success", dict.fromkeys(TASKS, "success")), client.why()
    assert versions(said["registry"]) == ["1"]
    latest = json.loads(pipelines.exec("cat", "/data/prepared/latest.json"))["data_version"]
    assert latest in pipelines.exec("ls", "/data/prepared").split()

    # Over the same data nothing is prepared, trained or registered anew.
    assert client.run()[0] == "success"
    assert versions(said["registry"]) == ["1"]
    assert alerts(pipelines) == []


@pytest.fixture
def registered(pipelines: Pipelines, stack: Stack, train_image: str) -> Airflow:
    """An Airflow whose DAG has run: version 1 of the model is in the registry."""
    stack.up(program(pipelines, train_image))
    client = airflow(pipelines, stack)
    if not versions(stack.outputs()["registry"]):
        assert client.run()[0] == "success", client.why()
    return client


def test_a_date_is_made_up_for(registered: Airflow) -> None:
    client = registered
    dates = {"from_date": "2025-01-01T00:00:00Z", "to_date": "2025-01-02T00:00:00Z"}
    client.ask("/api/v2/backfills", {"dag_id": NAME, **dates, "dag_run_conf": {}, "max_active_runs": 1})

    def made() -> list[str]:
        runs = client.ask(f"/api/v2/dags/{NAME}/dagRuns")["dag_runs"]
        return [run["dag_run_id"] for run in runs if run["run_type"] == "backfill"]

    [run] = eventually(made)
    assert client.end_of(run)[0] == "success"


@pytest.mark.usefixtures("registered")
def test_a_gate_that_is_not_met_ends_the_run_and_raises_an_alert(
    pipelines: Pipelines, stack: Stack, train_image: str
) -> None:
    stack.up(program(pipelines, train_image, accuracy={"min": 1.01}))
    client = airflow(pipelines, stack)
    state, tasks = client.run()
    assert state == "failed"
    assert (tasks["train"], tasks["evaluate"], tasks["register"]) == ("success", "failed", "upstream_failed")
    assert alerts(pipelines) == ["ModelPipelineFailed"]
    assert versions(stack.outputs()["registry"]) == ["1"]

    stack.up(program(pipelines, train_image))
    assert airflow(pipelines, stack).run()[0] == "success"
    eventually(lambda: alerts(pipelines) == [], timeout_seconds=60)


@pytest.mark.usefixtures("registered")
def test_a_run_ends_with_the_dag_that_it_began_with(pipelines: Pipelines, stack: Stack, train_image: str) -> None:
    client = airflow(pipelines, stack)
    run = client.trigger()
    eventually(lambda: client.tasks(run)["prepare"] in ("running", "success"), timeout_seconds=120)
    # Its evaluation would fail with the DAG that replaces it, and so does that of the next run.
    stack.up(program(pipelines, train_image, accuracy={"min": 1.01}))
    client = airflow(pipelines, stack)
    assert client.end_of(run) == ("success", dict.fromkeys(TASKS, "success")), client.why()
    assert client.run()[1]["evaluate"] == "failed"
    found = client.ask(f"/api/v2/dags/{NAME}/dagVersions")["dag_versions"]
    assert len({version["bundle_version"] for version in found}) >= 2

    stack.up(program(pipelines, train_image))
    assert airflow(pipelines, stack).run()[0] == "success"


@pytest.mark.usefixtures("registered")
def test_secrets_that_exist_reach_airflow_and_not_the_state(pipelines: Pipelines, stack: Stack) -> None:
    assert stack.outputs()["admin"] == "airflow-admin"
    pod = ("deployment/nightly-airflow", "--container", "scheduler", "--namespace", pipelines.namespace)
    connection = kubectl("exec", *pod, "--", "airflow", "connections", "get", "store", "--output", "json")
    assert json.loads(connection[connection.index("[") :])[0]["login"] == "writer"
    secrets = json.loads(kubectl("get", "secrets", "--namespace", pipelines.namespace, "--output", "json"))["items"]
    names = {secret["metadata"]["name"] for secret in secrets}
    assert not {name for name in names if name.startswith("nightly-")}
    state = "".join(path.read_text(errors="replace") for path in stack.folder.rglob("*") if path.is_file())
    planted = [value for entries in SECRETS.values() for value in entries.values() if value != "admin"]
    assert [value for value in planted if value in state or base64.b64encode(value.encode()).decode() in state] == []


def test_airflow_keeps_no_planted_identifier(pipelines: Pipelines, stack: Stack, registered: Airflow) -> None:
    client = registered
    runs = [run["dag_run_id"] for run in client.ask(f"/api/v2/dags/{NAME}/dagRuns")["dag_runs"]]
    logs = "".join(client.log(run, task) for run in runs for task in ("prepare", "train"))
    # What the steps' own programs said: a run that made its version, or one that found it there.
    assert "data_version" in logs or "is there already: nothing to do" in logs
    pods = json.loads(kubectl("get", "pods,jobs,configmaps", "--namespace", pipelines.namespace, "--output", "json"))
    state = "".join(path.read_text(errors="replace") for path in stack.folder.rglob("*") if path.is_file())
    for planted in (PERSON, MAIL, SALT):
        assert planted not in logs + json.dumps(pods) + state
